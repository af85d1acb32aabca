"""What the package and the command line may load: the quick ways stay free of heavy libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from esml_engine.estate import Estate

HEAVY = ("streamlit", "azure", "mlflow", "sklearn")
_COMMAND = """
import sys
from esml_engine.cli import main
try:
    main()
except SystemExit as e:
    assert not e.code, e.code
"""


def loaded(code: str, *args: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `code`."""
    tail = "\nimport json, sys; print(); print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + tail, *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(("code", "args"), [("import esml_engine", ()), (_COMMAND, ("--help",))])
def test_importing_and_help_load_next_to_nothing(code: str, args: tuple[str, ...]) -> None:
    found = loaded(code, *args)
    assert "esml_engine" in found
    assert not found & {*HEAVY, "pandas", "numpy", "pyarrow", "duckdb", "deltalake", "sqlalchemy", "pydantic"}


def test_opening_an_estate_and_its_status_load_no_heavy_library(empty: Estate) -> None:
    root: Path = empty.site.root
    found = loaded(_COMMAND, "--estate", str(root), "status")
    assert "sqlalchemy" in found
    assert not found & {*HEAVY, "pandas", "numpy", "pyarrow", "duckdb", "deltalake", "dbos", "alembic"}
