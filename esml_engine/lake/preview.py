"""Looking at versions: first rows, and what changed between two."""

from __future__ import annotations

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
    """Schema and rows from version a to b. With a key in both: added, removed, changed; else whole rows, nothing changed."""
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

        def count(sql: str) -> int:
            row = con.execute(sql).fetchone()
            return int(row[0]) if row else 0

        gone = f"(SELECT {names} FROM a EXCEPT ALL SELECT {names} FROM b)"
        new = f"(SELECT {names} FROM b EXCEPT ALL SELECT {names} FROM a)"
        if key and key in both:
            k = _name(key)
            changed = count(f"SELECT count(DISTINCT x.{k}) FROM {new} x SEMI JOIN {gone} y ON x.{k} = y.{k}")
            added = count(f"SELECT count(*) FROM b ANTI JOIN a ON a.{k} = b.{k}")
            removed = count(f"SELECT count(*) FROM a ANTI JOIN b ON a.{k} = b.{k}")
        else:
            changed, added, removed = (
                0,
                count(f"SELECT count(*) FROM {new}"),
                count(f"SELECT count(*) FROM {gone}"),
            )
    finally:
        con.close()
    return {
        "schema": schema,
        "rows": {"added": added, "removed": removed, "changed": changed},
        "columns": [{"name": n, "shift": None} for n in both],
        "note": "column shift comes with a later version",
    }
