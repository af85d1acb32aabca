"""ESML: the engine behind the cockpit. `import esml_engine as esml; estate = esml.open_estate("estate")`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# MLflow would tell its makers of each use; what a company trains leaves its machines by no side door
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

if TYPE_CHECKING:
    from esml_engine.estate import Estate, init_estate, open_estate

__version__ = "0.1.0"
__all__ = ["Estate", "__version__", "init_estate", "open_estate"]


def __getattr__(name: str) -> Any:
    if name in ("Estate", "init_estate", "open_estate"):
        from esml_engine import estate

        return getattr(estate, name)
    raise AttributeError(f"module 'esml_engine' has no attribute {name!r}")
