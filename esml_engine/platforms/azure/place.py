"""What an environment on Azure says of where it lies. The forms are those that the service publishes for its names."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import model_validator

from esml_engine.platforms.places import Place

_FORMS = {
    "subscription": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "resource_group": r"[\w().-]{0,89}[\w()-]",
    "workspace": r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}",
    "storage_account": r"[a-z0-9]{3,24}",
    "file_system": r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
    "key_vault": r"(?!.*--)[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]",
    "region": r"[a-z0-9]+",
    "compute": r"[A-Za-z][A-Za-z0-9-]{1,31}",
}


class AzurePlace(Place):
    """An environment in one workspace.

    Args:
        cloud: a name, or a file of addresses. image: the engine's container image, where it is not the workspace's own.
        identity: resource id of the managed identity that endpoints have. serving_node: node type of endpoints.
    """

    platform: Literal["azure"] = "azure"
    subscription: str = ""
    resource_group: str = ""
    workspace: str = ""
    storage_account: str = ""
    file_system: str = ""
    key_vault: str = ""
    region: str = ""
    compute: str = ""
    cloud: str = ""
    image: str = ""
    identity: str = ""
    serving_node: str = "Standard_DS3_v2"

    @classmethod
    def needed(cls) -> tuple[str, ...]:
        return tuple(_FORMS)

    @model_validator(mode="after")
    def _whole(self) -> AzurePlace:
        """An environment says all of where it lies, in names that the service allows; nothing is guessed."""
        if missing := [key for key in _FORMS if not getattr(self, key)]:
            raise ValueError(f"the azure platform needs {', '.join(missing)}")
        for key, form in _FORMS.items():
            if not re.fullmatch(form, getattr(self, key)):
                raise ValueError(f"{key} {getattr(self, key)!r} is no name that Azure allows")
        if "@" in self.image:  # endpoints use the same name with "-scoring" behind its tag
            raise ValueError(f"image {self.image!r} is named by a digest: name it by a tag, NAME:TAG")
        return self
