"""Small SQL helpers shared by the steps: quoting, and a DuckDB connection that stays inside a scratch folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from esml_engine.errors import of_disk, unreadable


def ident(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def connection(work: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB whose clock zone is UTC and whose spill files go below `work`."""
    spill = work / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    con = duckdb.connect(config={"temp_directory": str(spill)})
    try:
        con.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        yield con
    except duckdb.IOException as e:
        if of_disk(e):
            raise
        raise unreadable(str(e).partition(": ")[2].splitlines()[0]) from e
    finally:
        con.close()


def counted(condition: str) -> str:
    """SQL aggregate: how many rows meet a condition. (`FILTER` takes a copy of all columns for each count: of a wide file, gigabytes.)"""
    return f"count(CASE WHEN {condition} THEN 1 END)"


def first_row(con: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The only row of an aggregate. (A result that is not read to its end would keep the connection busy.)"""
    row: tuple[Any, ...] = con.execute(query).fetchall()[0]
    return row


def scalar(con: duckdb.DuckDBPyConnection, query: str) -> int:
    """The single integer that `query` returns (NULL counts as 0)."""
    return int(first_row(con, query)[0] or 0)


def copy_parquet(con: duckdb.DuckDBPyConnection, query: str, target: Path) -> None:
    """Write the rows of `query`, in their order, as one parquet file in the form that all tables here use."""
    target.parent.mkdir(parents=True, exist_ok=True)
    con.execute(
        f"COPY ({query}) TO {literal(str(target))} "
        "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 122880)"
    )
