"""Looking at versions: first rows, what each column holds, and what changed between two."""

from __future__ import annotations

import uuid
from typing import Any

import duckdb

from esml_engine.lake.files import columns_of, relation
from esml_engine.runs.facts import TableIn


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def plain(value: Any) -> Any:
    """A cell as JSON holds it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def first_rows(table: TableIn, limit: int) -> list[dict[str, Any]]:
    """The first rows of a version."""
    con = duckdb.connect()
    try:
        found = relation(con, table).limit(limit)
        names = found.columns
        return [{n: plain(v) for n, v in zip(names, row, strict=True)} for row in found.fetchall()]
    finally:
        con.close()


def diff(a: TableIn, b: TableIn, key: str) -> dict[str, Any]:
    """Schema and rows from version a to b. With a key in both: added, removed, changed; else whole rows, nothing changed.

    A key that stands more than once: of its new and its gone rows, as many as there are of both are changed ones.
    """
    before = {c["name"]: c["type"] for c in columns_of(a.schema)}
    after = {c["name"]: c["type"] for c in columns_of(b.schema)}
    schema = {
        "added": [n for n in after if n not in before],
        "dropped": [n for n in before if n not in after],
        "retyped": [
            {"name": n, "from": before[n], "to": after[n]}
            for n in after
            if n in before and before[n] != after[n]
        ],
    }
    both = [n for n in after if n in before]
    con = duckdb.connect()
    try:
        relation(con, a).create_view("a")
        relation(con, b).create_view("b")
        names = ", ".join(_name(n) for n in both)

        gone = f"(SELECT {names} FROM a EXCEPT ALL SELECT {names} FROM b)"
        new = f"(SELECT {names} FROM b EXCEPT ALL SELECT {names} FROM a)"
        of = _name(key) if key in both else "NULL"
        found = con.execute(
            f"""SELECT sum(new - same), sum(gone - same), sum(same) FROM (
                SELECT sum(new) AS new, sum(gone) AS gone, {"least(sum(new), sum(gone))" if key in both else 0} AS same
                FROM (SELECT {of} AS k, 1 AS new, 0 AS gone FROM {new} UNION ALL SELECT {of}, 0, 1 FROM {gone}) GROUP BY k)"""
        ).fetchone()
        added, removed, changed = (int(n or 0) for n in found or (0, 0, 0))
    finally:
        con.close()
    return {
        "schema": schema,
        "rows": {"added": added, "removed": removed, "changed": changed},
        "columns": [{"name": n, "shift": None} for n in both],
        "note": "column shift comes with a later version",
    }


def profile(table: TableIn) -> list[dict[str, Any]]:
    """What each column of a version holds.

    Returns:
        `[{"name", "type", "rows", "nulls", "distinct", "min", "max", "mean", "std", "q25", "median", "q75"}]`, in the
        version's order; `distinct` is an estimate (HyperLogLog), quartiles are approximate, figures that a type has
        not are None.
    """
    con = duckdb.connect()
    try:
        return summarized(con, relation(con, table))
    finally:
        con.close()


_FIGURES = {"mean": "avg", "std": "std", "q25": "q25", "median": "q50", "q75": "q75"}


def summarized(con: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation) -> list[dict[str, Any]]:
    """`profile` of any relation, by DuckDB's SUMMARIZE in one pass."""
    view = f"summarized_{uuid.uuid4().hex}"  # cursors of one connection share its views
    rows.create_view(view)
    try:
        found = con.execute(f"SUMMARIZE {view}")
        at = {d[0]: n for n, d in enumerate(found.description)}
        lines = found.fetchall()
        # its share of nulls is rounded to two digits: count them
        counted = ", ".join(f"count({_name(r[at['column_name']])})" for r in lines)
        filled = con.execute(f"SELECT {counted} FROM {view}").fetchone() or ()
    finally:
        con.execute(f"DROP VIEW IF EXISTS {view}")
    out = []
    for r, have in zip(lines, filled, strict=True):
        count = int(r[at["count"]])
        kind = str(r[at["column_type"]])
        numeric = kind.split("(")[0] in _NUMBERS
        out.append(
            {
                "name": r[at["column_name"]],
                "type": kind.lower(),
                "rows": count,
                "nulls": count - int(have),
                "distinct": min(
                    int(r[at["approx_unique"]] or 0), int(have)
                ),  # an estimate may exceed the rows
                "min": _figure(r[at["min"]], numeric),
                "max": _figure(r[at["max"]], numeric),
                **{k: _figure(r[at[v]], numeric) if numeric else None for k, v in _FIGURES.items()},
            }
        )
    return out


_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT",
    "DOUBLE", "DECIMAL")  # fmt: skip


def _figure(text: Any, numeric: bool) -> Any:
    """SUMMARIZE answers text: a number where the column is one."""
    if text is None or not numeric:
        return None if text is None else str(text)
    number = float(text)
    return plain(int(number) if number.is_integer() and abs(number) < 2**53 else number)
