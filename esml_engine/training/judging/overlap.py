"""Rows of a test set that a model was trained on: found by the model's key, or by the whole row where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from esml_engine.errors import UsageError
from esml_engine.lake.files import relation
from esml_engine.lake.sql import connection, ident, literal, scalar
from esml_engine.runs.facts import TableIn

EXAMPLES = 5
BY_ROW = "told by all shared columns, for want of a key that both have: rows that are alike count as one; a key would tell them apart"
_ROW = "__esml_row"
_NUMBERS = ("INT", "UINT", "FLOAT", "DOUBLE", "DECIMAL", "HUGEINT")


def trained_on(work: Path, test: TableIn, tables: Sequence[TableIn], key: Sequence[str]) -> dict[str, Any]:
    """Which rows of `test` stand in any of `tables`.

    Args:
        key: columns that name a row; empty, or not in both: all columns that both have.

    Returns:
        `{"rows": how many, "examples": at most 5 rows as texts, "by": "key" or "row"}`.

    Raises:
        UsageError: the tables share no column, or a key is of types that can't be held against each other.
    """
    found: dict[str, Any] = {"rows": 0, "examples": [], "by": "key" if key else "row"}
    with connection(work) as con:
        relation(con, test).create_view("test_rows")
        if not test.files or not scalar(con, "SELECT count(*) FROM test_rows"):
            return found
        seen, names, by = _seen(con, tables, key)
        if by == "row":
            found["by"] = by
        if not seen:
            return found
        con.execute(f"CREATE TEMP TABLE seen AS SELECT * FROM test_rows WHERE {seen}")
        found["rows"] = scalar(con, "SELECT count(*) FROM seen")
        shown = ", ".join(ident(c) for c in names[:4])
        rows = con.execute(f"SELECT {shown} FROM seen LIMIT {EXAMPLES}").fetchall()
        found["examples"] = [", ".join(f"{c} {v}" for c, v in zip(names, row, strict=False)) for row in rows]
    return found


def learned_rows(
    work: Path, test: pa.Table, tables: Sequence[TableIn], key: Sequence[str]
) -> tuple[NDArray[np.bool_], str]:
    """Which rows of `test` stand in any of `tables`, as a mask (n,), told by `key` or `row`; else as `trained_on`."""
    mask, by = np.zeros(test.num_rows, dtype=bool), "key" if key else "row"
    if not test.num_rows:
        return mask, by
    with connection(work) as con:
        con.register("handed", test.append_column(_ROW, pa.array(range(test.num_rows), pa.int64())))
        con.execute("CREATE VIEW test_rows AS SELECT * FROM handed")
        seen, _, by = _seen(con, tables, key)
        if seen:
            mask[[r[0] for r in con.execute(f"SELECT {_ROW} FROM test_rows WHERE {seen}").fetchall()]] = True
    return mask, by


def _seen(
    con: duckdb.DuckDBPyConnection, tables: Sequence[TableIn], key: Sequence[str]
) -> tuple[str, list[str], str]:
    """The SQL condition for a row of the view `test_rows` that stands in any of `tables`, the columns of a row's identity, and `key` or `row`.

    The condition is empty where none of the tables has a file.
    """
    parts: list[str] = []
    names: list[str] = []
    found = "key" if key else "row"
    for n, table in enumerate(tables):
        if not table.files:
            continue
        relation(con, table).create_view(f"trained_{n}")
        columns, by = _columns(con, f"trained_{n}", key)
        if by == "row":
            found = by
        names = names or columns
        mine, theirs = _texts(con, f"trained_{n}", columns)
        parts.append(f"{mine} IN (SELECT {theirs} FROM trained_{n} WHERE {theirs} IS NOT NULL)")
    return " OR ".join(parts), names, found


def _types(con: duckdb.DuckDBPyConnection, view: str) -> dict[str, str]:
    return {str(r[0]): str(r[1]) for r in con.execute(f"DESCRIBE {view}").fetchall()}


def _columns(con: duckdb.DuckDBPyConnection, view: str, key: Sequence[str]) -> tuple[list[str], str]:
    """The columns to hold against each other; a key that is null somewhere in the test rows names no row."""
    here, there = _types(con, "test_rows"), _types(con, view)
    if key and all(k in here and k in there for k in key):
        empty = " OR ".join(f"{ident(k)} IS NULL" for k in key)
        if not scalar(con, f"SELECT count(*) FROM test_rows WHERE {empty}"):
            return list(key), "key"
    both = sorted(set(here) & set(there))
    if not both:
        raise UsageError(
            "gold_test and the training data share no column: no row can be told from another",
            hint="give the model a key",
        )
    return both, "row"


def _texts(con: duckdb.DuckDBPyConnection, view: str, names: list[str]) -> tuple[str, str]:
    """SQL texts of a row's identity on both sides, of one form where the types differ."""
    here, there = _types(con, "test_rows"), _types(con, view)
    mine, theirs = [], []
    for c in names:
        kinds = {here[c], there[c]}
        if len(kinds) == 1:
            cast = "CAST({} AS VARCHAR)"
        elif all(k.startswith(_NUMBERS) or k.endswith("INT") for k in kinds):
            cast = "CAST(CAST({} AS DOUBLE) AS VARCHAR)"
        else:
            raise UsageError(
                f"column {c} is {here[c]} in gold_test and {there[c]} in the training data: their rows can't be told apart",
                hint="declare its type in [datasets.….types]",
            )
        mine.append(f"coalesce({cast.format(ident(c))}, '')")
        theirs.append(f"coalesce({cast.format(ident(c))}, '')")
    if len(names) == 1:
        return mine[0], theirs[0]
    join = literal(chr(31))
    return f"md5(concat_ws({join}, {', '.join(mine)}))", f"md5(concat_ws({join}, {', '.join(theirs)}))"
