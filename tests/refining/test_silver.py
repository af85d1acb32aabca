"""Bronze to silver: the default step, people's steps, what passes through them again and what does not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esml_engine.errors import ExpectationError, StepError
from esml_engine.lake.files import schema_text
from esml_engine.refining.steps import silver
from esml_engine.runs.facts import TableIn
from tests.table_kit import TestLake


def refine(lake: TestLake, bronze: TableIn, previous: TableIn | None = None, **params: Any) -> dict[str, Any]:
    none = TableIn("ds/bronze", bronze.uri, None)
    inputs = {"bronze": bronze, "silver": lake.table("ds/silver"), "previous_bronze": previous or none}
    given_params = {
        "dataset": "ds",
        "purpose": "train",
        "version": 3,
        "step": None,
        "rows": False,
        "table": "ds/silver",
        **params,
    }
    return lake.run(silver, given_params, inputs, {"silver": "ds/silver"})


def step(lake: TestLake, text: str, name: str = "ds.py") -> dict[str, str]:
    path = lake.root / name
    path.write_text(text, encoding="utf-8")
    return {"path": str(path), "kind": path.suffix[1:]}


def table(*rows: tuple[Any, ...], names: str = "a b") -> pa.Table:
    columns = list(zip(*rows, strict=True))
    return pa.table({n: pa.array(c) for n, c in zip(names.split(" "), columns, strict=True)})


def grow(lake: TestLake, before: TableIn, part: pa.Table) -> TableIn:
    added = lake.put("ds/bronze", part)
    return TableIn(
        "ds/bronze", before.uri, 2, before.files + added.files, before.schema, before.rows + added.rows
    )


def test_default_step_trims_names_and_drops_exact_duplicates(lake: TestLake) -> None:
    rows = pa.table({" a ": [1, 1, None, None, 2], "b": ["x", "x", None, None, " y "]})
    value = refine(lake, lake.put("ds/bronze", rows))
    assert lake.rows("ds/silver") == [{"a": 1, "b": "x"}, {"a": None, "b": None}, {"a": 2, "b": " y "}]
    assert value == {"rows": 3, "added": 3, "mode": "rebuilt"}


def test_names_that_meet_when_trimmed(lake: TestLake) -> None:
    with pytest.raises(StepError, match="two columns that are both called 'a'"):
        refine(lake, lake.put("ds/bronze", pa.table({"a": [1], "a ": [2]})))
    with pytest.raises(StepError, match="of the types"):
        refine(lake, lake.put("ds/bronze", pa.table({"a": [1, None], "a ": [None, "x"]})))


def test_headers_that_differ_in_spaces_are_one_column(lake: TestLake) -> None:
    """Each file filled its own; a corrected one left its own empty."""
    each = pa.table({"a": [1, None], " a": [None, 2], "b": [5, 6]})
    refine(lake, lake.put("ds/bronze", each))
    assert lake.rows("ds/silver") == [{"a": 1, "b": 5}, {"a": 2, "b": 6}]
    empty = pa.table({"a": [1, 2], " a ": pa.array([None, None], pa.string()), "b": [5, 6]})
    refine(lake, lake.put("ds/bronze", empty))
    assert lake.rows("ds/silver") == [{"a": 1, "b": 5}, {"a": 2, "b": 6}]


def test_only_new_files_pass_through(lake: TestLake) -> None:
    first = lake.put("ds/bronze", table((1, "x"), (None, None)))
    refine(lake, first)
    second = grow(lake, first, table((1, "x"), (None, None), (2, "y"), (2, "y")))
    assert refine(lake, second, first) == {"rows": 3, "added": 1, "mode": "incremental"}
    assert [r["a"] for r in lake.rows("ds/silver")] == [1, None, 2]
    third = TableIn("ds/bronze", second.uri, 3, second.files[1:], second.schema, second.rows - 2)
    assert refine(lake, third, second)["mode"] == "rebuilt"


def test_nothing_but_duplicates_adds_no_file(lake: TestLake) -> None:
    first = lake.put("ds/bronze", table((1, "x")))
    refine(lake, first)
    assert refine(lake, grow(lake, first, table((1, "x"))), first) == {
        "rows": 1,
        "added": 0,
        "mode": "incremental",
    }
    assert lake.outs["ds/silver"].add == () and not lake.outs["ds/silver"].remove_all


cells = st.tuples(st.one_of(st.none(), st.integers(0, 3)), st.sampled_from([None, "x", "y"]))


@settings(max_examples=25, deadline=None)
@given(parts=st.lists(st.lists(cells, min_size=1, max_size=5), min_size=2, max_size=3))
def test_incremental_gives_what_a_rebuild_gives(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[tuple[Any, Any]]]
) -> None:
    lake = TestLake(tmp_path_factory.mktemp("lake"))
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    tables = [pa.Table.from_pylist([{"a": a, "b": b} for a, b in part], schema=schema) for part in parts]
    bronze = lake.put("ds/bronze", tables[0])
    refine(lake, bronze)
    for part in tables[1:]:
        bronze, previous = grow(lake, bronze, part), bronze
        assert refine(lake, bronze, previous)["mode"] == "incremental"
    grown = lake.rows("ds/silver")
    refine(lake, bronze)
    assert lake.rows("ds/silver") == grown


@pytest.mark.parametrize(
    "imports, annotation, body",
    [
        ("", "", "return df[df.a > 1]"),
        ("import pandas as pd", ": pd.DataFrame", "return df[df.a > 1]"),
        ("import polars as pl", ": pl.DataFrame", "return df.filter(pl.col('a') > 1)"),
        ("import polars as pl", ": pl.DataFrame", "return df.lazy().filter(pl.col('a') > 1)"),
        ("from __future__ import annotations\nimport pyarrow as pa\nimport pyarrow.compute as pc", ": pa.Table",
            "return df.filter(pc.field('a') > 1)"),
        ("import duckdb", ": duckdb.DuckDBPyRelation", "return df.filter('a > 1')"),
    ],
)  # fmt: skip
def test_python_steps_see_the_table_that_they_ask_for(
    lake: TestLake, imports: str, annotation: str, body: str
) -> None:
    before = set(sys.modules)
    code = step(
        lake,
        f"{imports}\ndef step(df{annotation}, ctx):\n    assert ctx.purpose == 'train' and ctx.version == 3\n    {body}\n",
    )
    refine(lake, lake.put("ds/bronze", table((1, "x"), (2, "y"))), step=code)
    assert lake.rows("ds/silver") == [{"a": 2, "b": "y"}]
    assert not [m for m in set(sys.modules) - before if m.startswith("_esml_step")]


def test_types_survive_pandas(lake: TestLake) -> None:
    import datetime as dt

    rows = pa.table({
        "n": pa.array([1, None], pa.int64()), "ok": [True, None], "day": [dt.date(2020, 1, 1), None],
        "at": pa.array([dt.datetime(2020, 1, 1, 5), None], pa.timestamp("us")), "s": ["x", None],
    })  # fmt: skip
    refine(lake, lake.put("ds/bronze", rows), step=step(lake, "def step(df, ctx):\n    return df"))
    assert lake.rows("ds/silver") == rows.to_pylist()


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "def step(df, ctx):\n    x = 1\n    return df['nope']\n",
            r"^ds\.py line 3: return df\['nope'\]: KeyError",
        ),
        ("import nothing_like_this\n", r"^ds\.py line 1: import nothing_like_this: ModuleNotFoundError"),
        ("def step(df, ctx)\n    return df", r"^ds\.py line 1: def step\(df, ctx\): expected ':'"),
        ("def other(df, ctx):\n    return df", "defines no function step"),
        ("def step(df):\n    return df", "takes 1 arguments"),
        ("def step(df, ctx):\n    return 5", "returned no table: builtins.int"),
        ("def step(df: int, ctx):\n    return df", "asks for int"),
        ("def step(df, ctx):\n    raise SystemExit(3)", r"line 2: raise SystemExit\(3\)"),
        (
            "import polars as pl\ndef step(df: pl.DataFrame, ctx):\n    return df.lazy().select('zz')",
            "ColumnNotFoundError",
        ),
    ],
)
def test_errors_in_steps_name_file_and_line(lake: TestLake, text: str, message: str) -> None:
    with pytest.raises(StepError, match=message) as caught:
        refine(lake, lake.put("ds/bronze", table((1, "x"))), step=step(lake, text))
    assert str(lake.root) not in caught.value.message


def test_sql_steps(lake: TestLake) -> None:
    refine(
        lake,
        lake.put("ds/bronze", table((1, "x"), (2, "y"))),
        step=step(lake, "SELECT a + 1 AS c FROM bronze;\n", "ds.sql"),
    )
    assert lake.rows("ds/silver") == [{"c": 2}, {"c": 3}]


@pytest.mark.parametrize(
    "text, message",
    [
        ("SELECT 1; SELECT 2", "exactly one SELECT, found: SELECT, SELECT"),
        ("DROP TABLE bronze", "exactly one SELECT, found: DROP"),
        ("", "found: nothing"),
        ("SELEC 1", "syntax error"),
        ("SELECT nope FROM bronze", "nope"),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
        ("SELECT * FROM '/etc/passwd'", "ds.sql"),
        ("SELECT * FROM tables", "ds.sql"),
    ],
)
def test_sql_is_one_select_over_what_it_is_given(lake: TestLake, text: str, message: str) -> None:
    with pytest.raises(StepError, match=message):
        refine(lake, lake.put("ds/bronze", table((1, "x"))), step=step(lake, text, "ds.sql"))


def test_a_row_by_row_step_sees_only_new_rows(lake: TestLake) -> None:
    code = step(lake, "SELECT a, b || '!' AS b FROM bronze", "ds.sql")
    first = lake.put("ds/bronze", table((1, "x"), (1, "x")))
    refine(lake, first, step=code, rows=True)
    assert (
        refine(lake, grow(lake, first, table((2, "y"))), first, step=code, rows=True)["mode"] == "incremental"
    )
    assert [r["b"] for r in lake.rows("ds/silver")] == ["x!", "x!", "y!"]


def test_a_false_claim_to_work_row_by_row_is_found(lake: TestLake) -> None:
    code = step(lake, "def step(df, ctx):\n    df['b'] = df.a - df.a.mean()\n    return df")
    with pytest.raises(StepError, match="declared to work row by row"):
        refine(lake, lake.put("ds/bronze", table((1, 0.0), (2, 0.0), (5, 0.0))), step=code, rows=True)


def test_expectations_see_the_whole_version(lake: TestLake) -> None:
    expect = [
        {"on": "silver", "check": "unique", "column": "a"},
        {"on": "bronze", "check": "not_null", "column": "zz"},
    ]
    first = lake.put("ds/bronze", table((1, "x")))
    refine(lake, first, expect=expect)
    assert len(lake.outs["ds/silver"].quality) == 1
    with pytest.raises(ExpectationError, match="2 of 2 rows not unique"):
        refine(lake, grow(lake, first, table((1, "y"))), first, expect=expect)


def test_a_missing_step_file(lake: TestLake, tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"no\.py can't be read"):
        refine(
            lake, lake.put("ds/bronze", table((1, "x"))), step={"path": str(tmp_path / "no.py"), "kind": "py"}
        )


def test_an_empty_bronze_gives_an_empty_silver(lake: TestLake) -> None:
    empty = TableIn("ds/bronze", str(lake.root / "ds/bronze"), 1, (), schema_text(table((1, "x")).schema), 0)
    assert refine(lake, empty) == {"rows": 0, "added": 0, "mode": "rebuilt"}
    assert refine(lake, empty, step=step(lake, "SELECT a FROM bronze", "ds.sql"))["rows"] == 0
