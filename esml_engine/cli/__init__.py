"""The `esml` command: a thin face over the SDK. `--json`: exactly one document on standard output."""

from esml_engine.cli import data, estate, govern, models
from esml_engine.cli.face import app
from esml_engine.cli.main import main

__all__ = ["app", "data", "estate", "govern", "main", "models"]
