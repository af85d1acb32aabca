"""No code outside a platform's own room knows of it, but for the two places that ask platforms by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from esml_engine.errors import UsageError
from esml_engine.platforms.base import lake_error, open_files, tracking_error

ROOT = Path(__file__).parents[2]
OF_AZURE = re.compile(
    r"azure|abfss|vault|subscription|resource_?group|storage_?account|file_?system|workspace|tenant|\barm\b|microsoft|"
    r"entra|managed identity|standard_d|role assignment|\baz (ml|role|storage|keyvault|login)",
    re.IGNORECASE,
)
BY_NAME = {"esml_engine/platforms/base.py", "esml_engine/platforms/places.py"}


def said(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name and every text of a module, with its line: what its code can know."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for field in ("id", "attr", "arg", "name", "module", "asname"):
            if isinstance(found := getattr(node, field, None), str):
                yield line, found
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            yield line, str(node.value)


def test_code_outside_its_room_knows_nothing_of_azure() -> None:
    wrong, allowed, looked = [], set(), 0
    for folder in ("esml_engine", "cockpit", "pages"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith("esml_engine/platforms/azure/"):
                continue
            looked += 1
            for line, text in said(ast.parse(path.read_text(encoding="utf-8"))):
                if OF_AZURE.search(text):
                    (allowed.add if name in BY_NAME else wrong.append)(f"{name}:{line}: {text[:80]}")
    assert looked > 200 and not wrong, "\n".join(wrong)
    assert {a.partition(":")[0] for a in allowed} == BY_NAME, "the search finds what is there"
    texts = {a.split(": ", 1)[1] for a in allowed}
    odd = {t for t in texts if not re.fullmatch(r"[\w.]*azure[\w.]*|AzurePlatform|AzurePlace", t)}
    assert not odd, f"those two name the platform, and know nothing else of it: {odd}"


def test_an_address_that_is_no_platforms_is_not_taken_for_azures(tmp_path: Path) -> None:
    refused = MlflowException("API request failed with error code 403 != 200")
    elsewhere = "https://mlflow.example/api"
    workspace = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    assert tracking_error(elsewhere, refused) is None, "MLflow's own to say"
    assert "workspace w" in str(tracking_error(f"https://w.example/mlflow/v1.0{workspace}", refused))
    assert lake_error("s3://bucket/table", OSError("403")) is None
    with pytest.raises(UsageError, match="no platform keeps a lake at s3://"):
        open_files("s3://bucket/any", tmp_path)
