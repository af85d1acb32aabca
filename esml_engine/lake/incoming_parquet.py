"""A parquet IN file into bronze and quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from esml_engine.errors import UnreadableError, UsageError, disk_full
from esml_engine.lake import types
from esml_engine.lake.columns import Column
from esml_engine.lake.holding import held_type, require_held
from esml_engine.lake.landing import RND_BELOW, Read, Source, reason_sql, write_rows
from esml_engine.lake.sql import ident, literal, scalar


def parquet_columns(source: Source) -> pa.Schema:
    """The schema of a parquet IN file.

    Raises:
        UnreadableError: empty, truncated, not parquet, or nothing that a table can hold.
    """
    if source.path.stat().st_size == 0:
        raise UnreadableError(f"{source.name} is empty")
    try:
        schema = pq.read_schema(source.path)
    except (pa.ArrowException, OSError) as e:
        raise UnreadableError(
            f"{source.name} is not a readable parquet file: {e}", hint="was it delivered completely?"
        ) from e
    try:
        require_held(schema)
    except UsageError as e:
        raise UnreadableError(f"{source.name}: {e.message}", hint=e.hint) from e
    return schema


def read_parquet(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    schema: pa.Schema,
    columns: Sequence[Column],
    bronze: Path,
    quarantine: Path,
) -> Read:
    """Read a parquet file into `bronze` and `quarantine`; a row's line is its number from 1, its raw text is JSON.

    Values are kept as they are or cast without loss; nanoseconds are cut to microseconds, which is what tables keep.

    Raises:
        UnreadableError: a page of the file can't be decoded.
    """
    names = [str(n) for n in schema.names]
    pick = ", ".join(f"{ident(n)} AS c{i}" for i, n in enumerate(names))
    fields = ", ".join(f"{ident(n)} := {ident(n)}" for n in names)
    raw = f"CAST(to_json(struct_pack({fields})) AS VARCHAR)"
    decides = (
        f"CAST({ident(source.key)} AS VARCHAR)"
        if source.key in names
        else f"{literal(source.sha256)} || ':' || (file_row_number + 1)"
    )
    keep = f"WHERE md5({decides}) < {literal(RND_BELOW)}" if source.sample else ""
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW delivered AS SELECT {pick}, file_row_number + 1 AS line, {raw} AS raw "
        f"FROM read_parquet({literal(str(source.path))}, file_row_number=true, hive_partitioning=false) {keep}"
    )
    values, reasons, chosen, retyped = [], [], {}, {}
    try:
        native = dict(zip((f"c{i}" for i in range(len(names))), con.table("delivered").types, strict=False))
        for c in columns:
            if c.position is None:
                kind = c.type or "string"
                values.append((c.name, f"CAST(NULL AS {types.duck_type(kind)})"))
            else:
                arrow = schema.field(c.position).type
                kind = c.type or _first_type(con, f"c{c.position}", arrow)
                at = f"c{c.position}"
                value, misfit = _as(at, arrow, str(native[at]), kind)
                if misfit and _mostly(con, misfit, at):
                    if c.type:
                        retyped[c.name] = types.type_of_arrow(arrow)
                    else:  # an inferred type is one that most values have: text has all of them
                        kind = "string"
                        value, misfit = _as(at, arrow, str(native[at]), kind)
                values.append((c.name, value))
                if misfit:
                    reasons.append(reason_sql(c.name, f"CAST({at} AS VARCHAR)", kind, misfit))
            chosen[c.name] = kind
        read = write_rows(con, source, "delivered", values, reasons, None, bronze, quarantine)
        return Read(read.bronze, read.quarantine, chosen, retyped)
    except duckdb.Error as e:
        if isinstance(e, duckdb.OutOfMemoryException | duckdb.InterruptException) or disk_full(e):
            raise
        bronze.unlink(missing_ok=True)
        quarantine.unlink(missing_ok=True)
        raise UnreadableError(
            f"{source.name} can't be read to its end: {e}", hint="was it delivered completely?"
        ) from e


def _as(column: str, arrow: pa.DataType, native: str, kind: str) -> tuple[str, str]:
    """SQL of a column's values as `kind`, and of which rows don't fit it ('': all do)."""
    value, fits = types.native_sql(column, arrow, native, kind)
    return value, f"{column} IS NOT NULL AND NOT coalesce({fits}, FALSE)" if fits else ""


def _mostly(con: duckdb.DuckDBPyConnection, misfit: str, column: str) -> bool:
    """Whether more of a column's values are misfits than an inferred type may leave out."""
    bad = scalar(con, f"SELECT count(*) FROM delivered WHERE {misfit}")
    return bool(bad > (1 - types.INFERRED_SHARE) * scalar(con, f"SELECT count({column}) FROM delivered"))


def _first_type(con: duckdb.DuckDBPyConnection, column: str, arrow: pa.DataType) -> str:
    """The type of a column that bronze does not have yet.

    Whole numbers beyond 64 bits with a sign stay text, as in csv files; what lists and structs hold has the type that a
    table gives it, where most values fit it; the others go to quarantine.
    """
    if arrow == pa.uint64() and scalar(con, f"SELECT count(*) FROM delivered WHERE {column} > {2**63 - 1}"):
        return "string"
    held = held_type(arrow) if pa.types.is_nested(arrow) else None
    return types.type_of_arrow(held or arrow)
