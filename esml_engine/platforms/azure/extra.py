"""The packages of the extra `azure`, imported only when used; without them the error names what to install."""

from __future__ import annotations

from typing import Any

from esml_engine.errors import PlatformError
from esml_engine.importing import import_whole


class MissingExtraError(PlatformError):
    """The packages for Azure are not installed: this process can't reach it."""

    code, exit_code = "missing_extra", 2


def need(module: str) -> Any:
    """A module of Azure's packages.

    Raises:
        MissingExtraError: it is not installed; the hint names the command.
    """
    try:
        return import_whole(module)
    except ImportError as e:
        raise MissingExtraError(
            f"the azure platform needs {module.split('.')[0]} packages that are not installed ({e.name or module})",
            hint="pip install 'esml-cockpit[azure]'",
        ) from e
