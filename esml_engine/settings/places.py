"""What an environment must say of where it lies, by platform: part of the files' form, so a wrong name is found with its file and line.

Data alone; what a platform does with it is its own. The forms are those that the service publishes for its names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_AZURE = {
    "subscription": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "resource_group": r"[\w().-]{0,89}[\w()-]",
    "workspace": r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}",
    "storage_account": r"[a-z0-9]{3,24}",
    "file_system": r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
    "key_vault": r"(?!.*--)[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]",
    "region": r"[a-z0-9]+",
    "compute": r"[A-Za-z][A-Za-z0-9-]{1,31}",
}
# platform -> key of its environments -> the form of a name there; all of them are needed
PLACES: Mapping[str, Mapping[str, str]] = {"local": {}, "azure": _AZURE}


def wrong(platform: str, said: Mapping[str, str]) -> str:
    """What is missing or is no name there, in words; "" when an environment can be looked for."""
    forms = PLACES[platform]
    if missing := [key for key in forms if not said.get(key)]:
        return f"the {platform} platform needs {', '.join(missing)}"
    return next(
        (
            f"{key} {said[key]!r} is no name that {platform.capitalize()} allows"
            for key, form in forms.items()
            if not re.fullmatch(form, said[key])
        ),
        "",
    )
