"""The packages of the extra `azure`, imported only when used; without them the error names what to install."""

from __future__ import annotations

import importlib
import threading
from typing import Any

from esml_engine.errors import PlatformError

_one_at_a_time = threading.RLock()
"""Two threads that begin to import such packages at different ends wait for each other's half: Python calls it a deadlock."""


class MissingExtraError(PlatformError):
    """The packages for Azure are not installed: this process can't reach it."""

    code, exit_code = "missing_extra", 2


def need(module: str) -> Any:
    """A module of Azure's packages.

    Raises:
        MissingExtraError: it is not installed; the hint names the command.
    """
    try:
        with _one_at_a_time:
            return importlib.import_module(module)
    except ImportError as e:
        raise MissingExtraError(
            f"the azure platform needs {module.split('.')[0]} packages that are not installed ({e.name or module})",
            hint="pip install 'esml-cockpit[azure]'",
        ) from e
