"""What the package and the command line may load: the quick ways stay free of heavy libraries."""

from __future__ import annotations

import ast
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


_AT_ONCE = """
import sys, threading, time
from esml_engine.importing import import_whole
ready, errors = threading.Barrier(2), []

def run(part):
    ready.wait()
    try:
        if part:
            time.sleep(float(sys.argv[1]))
            import_whole("deltalake")
            from deltalake.transaction import AddAction
        else:
            from deltalake import Schema
    except BaseException as e:
        errors.append(repr(e))

threads = [threading.Thread(target=run, args=(part,)) for part in (False, True)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not errors, errors
"""


@pytest.mark.parametrize("later", ["0", "0.002", "0.01", "0.03"])
def test_a_package_and_a_part_of_it_are_imported_by_two_threads_at_once(later: str) -> None:
    assert "deltalake" in loaded(_AT_ONCE, later)


@pytest.mark.parametrize("package", ["deltalake", "mlflow"])
def test_whoever_imports_a_part_imports_the_package_first(package: str) -> None:
    """Where nothing is imported before it is needed, two runs may need it at the same moment."""
    asked, without = 0, []
    for path in (Path(__file__).parents[2] / "esml_engine").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            body = getattr(node, "body", None)
            for before, statement in zip([None, *body], body) if isinstance(body, list) else ():  # noqa: B905
                if not (
                    isinstance(statement, ast.ImportFrom)
                    and (statement.module or "").startswith(f"{package}.")
                ):
                    continue
                asked += 1
                first = ast.unparse(before) if before is not None else ""
                if first != f"import_whole('{package}')" and not first.startswith(f"from {package}."):
                    without.append(f"{path.name}:{statement.lineno}")
    assert asked and not without
