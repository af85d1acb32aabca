"""Silvers into gold: the default join, its refusals, and people's own."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from esml_engine.errors import StepError
from esml_engine.refining.steps import gold
from tests.table_kit import TestLake


def join(lake: TestLake, tables: dict[str, pa.Table], **params: Any) -> list[dict[str, Any]]:
    inputs = {name: lake.put(f"{name}/silver", table) for name, table in tables.items()}
    given = {
        "datasets": list(tables),
        "purpose": "train",
        "step": None,
        "key": "id",
        "table": "gold",
        **params,
    }
    target = str(given["table"])
    lake.run(gold, given, inputs, {target: target})
    return lake.rows(target)


def test_the_first_dataset_is_the_spine(lake: TestLake) -> None:
    a = pa.table({"id": [3, 1, 2, 3], "x": [1, 2, 3, 4]})
    b = pa.table(
        {"id": [1, 3, 9, None, None], "x": ["p", "q", "r", "s", "t"], "z": [1.0, 2.0, 3.0, 4.0, 5.0]}
    )
    rows = join(lake, {"ds01": a, "ds02": b})
    assert rows[0] == {"id": 3, "x": 1, "ds02_x": "q", "z": 2.0}
    assert [(r["id"], r["ds02_x"]) for r in rows] == [(3, "q"), (1, "p"), (2, None), (3, "q")]
    assert lake.outs["gold"].remove_all


def test_duplicate_keys_are_shown(lake: TestLake) -> None:
    b = pa.table({"id": [k for k in range(7) for _ in range(2)], "z": list(range(14))})
    with pytest.raises(StepError, match=r"7 keys stand more than once in ds02.*: 0, 1, 2, 3, 4, …"):
        join(lake, {"ds01": pa.table({"id": [1]}), "ds02": b})


@pytest.mark.parametrize(
    "second, params, message",
    [
        (pa.table({"id": [1]}), {"key": None}, "has no key"),
        (pa.table({"other": [1]}), {}, "ds02 has no column id"),
        (pa.table({"id": ["1"]}), {}, "the key id is BIGINT in ds01 and VARCHAR in ds02"),
        (pa.table({"id": [1]}), {"label": "y"}, "gold has no column y, which is the model's label"),
    ],
)
def test_refusals(lake: TestLake, second: pa.Table, params: dict[str, Any], message: str) -> None:
    with pytest.raises(StepError, match=message):
        join(lake, {"ds01": pa.table({"id": [1], "x": [2]}), "ds02": second}, **params)


def test_one_dataset_needs_no_key_and_inference_no_label(lake: TestLake) -> None:
    rows = join(
        lake, {"ds01": pa.table({"x": [2, 2]})}, key=None, label="y", purpose="inference", table="to_score"
    )
    assert rows == [{"x": 2}, {"x": 2}]


def test_python_and_sql(lake: TestLake) -> None:
    tables = {"ds01": pa.table({"id": [1, 2]}), "ds02": pa.table({"id": [2], "z": [5]})}
    path = lake.root / "gold.py"
    path.write_text(
        "import polars as pl\ndef step(tables: dict[str, pl.DataFrame], ctx):\n    return tables['ds01'].join(tables['ds02'], on='id')\n"
    )
    assert join(lake, tables, step={"path": str(path), "kind": "py"}) == [{"id": 2, "z": 5}]
    path = lake.root / "gold.sql"
    path.write_text("SELECT count(*) AS n FROM ds01 LEFT JOIN ds02 USING (id)")
    assert join(lake, tables, step={"path": str(path), "kind": "sql"}) == [{"n": 2}]
