"""The packages of the extra `azure`, imported only when used; without them the error names what to install."""

from __future__ import annotations

import importlib
from typing import Any

from esml_engine.errors import UsageError


class MissingExtraError(UsageError):
    """The packages for Azure are not installed."""

    code = "missing_extra"


def need(module: str) -> Any:
    """A module of Azure's packages.

    Raises:
        MissingExtraError: it is not installed; the hint names the command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise MissingExtraError(
            f"the azure platform needs {module.split('.')[0]} packages that are not installed ({e.name or module})",
            hint="pip install 'esml-cockpit[azure]'",
        ) from e
