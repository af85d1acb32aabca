"""Column types of bronze: what text is a value of which type, and which type a column of text has.

A value fits a type only when nothing of it is lost. SQL casts are laxer (`1.5` becomes the integer 2, a time of day
vanishes in a date, an offset is dropped), so every cast here stands behind a pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa

from esml_engine.errors import SettingsError
from esml_engine.lake.sql import counted, first_row, ident, literal
from esml_engine.settings.values import COLUMN_TYPES

INFERRED_SHARE = 0.95
TYPES = COLUMN_TYPES
_AT_ONCE = 100  # columns looked at by one query: what planning it takes grows with the square of them

_DUCK = {
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "string": "VARCHAR",
}
_ARROW = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "string": pa.string(),
}
_DAY = r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}"
_CLOCK = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6}0*)?)?"
_OFFSET = r"[+-][0-9]{2}(:?[0-9]{2})?"
_NOT_FINITE = r"(?i) *[+-]?(nan|inf|infinity) *"
# What a column of that type accepts.
_ACCEPTS = {
    "int64": r" *[+-]?[0-9]+(\.0*)? *",
    "float64": r"(?i) *[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf|infinity) *",
    "bool": r"(?i)true|false|t|f|yes|no|y|n|1|0",
    "date": rf" *{_DAY} *",
    "timestamp": rf" *{_DAY}([ T]{_CLOCK}(Z|{_OFFSET})?)? *",
}
# What speaks for a type when it is inferred: narrower, so that codes such as 00123 and 20-digit numbers stay text.
_SUGGESTS = {
    "int64": r" *[+-]?(0|[1-9][0-9]*) *",
    "float64": r"(?i) *[+-]?(((0|[1-9][0-9]{0,14})(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf) *",
    "bool": r"(?i)true|false",
    "date": _ACCEPTS["date"],
    "timestamp": _ACCEPTS["timestamp"],
}


def check_type(name: str, column: str) -> str:
    """Return `name` when it is a column type (in upper case: a DuckDB type, as parquet files bring them).

    Raises:
        SettingsError: otherwise, naming column and choices.
    """
    if name not in TYPES and not name.isupper():
        raise SettingsError(
            f"column {column} has the unknown type {name!r}", hint=f"choose one of {', '.join(TYPES)}"
        )
    return name


def duck_type(name: str) -> str:
    """The DuckDB type of a column type (types that only parquet files bring are DuckDB's own names)."""
    return _DUCK.get(name, name)


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of a column type."""
    if name in _ARROW:
        return _ARROW[name]
    with duckdb.connect() as con:
        return con.sql(f"SELECT CAST(NULL AS {name}) AS c").to_arrow_table().schema.field(0).type


def type_of_arrow(kind: pa.DataType) -> str:
    """The column type that holds every value of an Arrow type; where none does, DuckDB's name of the type itself."""
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind):
        return "int64"
    if pa.types.is_floating(kind):
        return "float64"
    if pa.types.is_date(kind):
        return "date"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    if (
        pa.types.is_null(kind)  # a column of nothing, as in text
        or pa.types.is_time(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    ):
        return "string"
    if pa.types.is_dictionary(kind):
        return type_of_arrow(kind.value_type)
    with duckdb.connect() as con:
        return str(con.from_arrow(pa.schema([("c", kind)]).empty_table()).types[0])


def value_sql(text: str, kind: str, *, lenient: bool) -> str:
    """SQL that turns the VARCHAR expression `text` into `kind`; `lenient` gives NULL where the strict form raises."""
    cast = "TRY_CAST" if lenient else "CAST"
    if kind == "string":
        return text
    if kind == "timestamp":
        zoned = f"regexp_matches({text}, {literal(':[0-9.]+' + _OFFSET + ' *$')})"
        return f"CASE WHEN {zoned} THEN CAST({cast}({text} AS TIMESTAMPTZ) AS TIMESTAMP) ELSE {cast}({text} AS TIMESTAMP) END"
    return f"{cast}({text} AS {duck_type(kind)})"


def shape_sql(text: str, kind: str, *, suggests: bool = False) -> str:
    """SQL condition: the VARCHAR expression `text` is written like a `kind` (NULL where `text` is NULL)."""
    if kind not in _ACCEPTS:
        return "TRUE"
    return f"regexp_full_match({text}, {literal((_SUGGESTS if suggests else _ACCEPTS)[kind])})"


def fits_sql(text: str, kind: str, *, suggests: bool = False) -> str:
    """SQL condition: the VARCHAR expression `text` is a value of `kind` without loss (not true where it is NULL)."""
    if kind == "string":
        return f"{text} IS NOT NULL"
    value = value_sql(text, kind, lenient=True)
    holds = f"{value} IS NOT NULL"
    if kind == "float64":
        holds += f" AND (isfinite({value}) OR regexp_full_match({text}, {literal(_NOT_FINITE)}))"
    return f"CASE WHEN {shape_sql(text, kind, suggests=suggests)} THEN {holds} ELSE FALSE END"


def native_sql(column: str, source: pa.DataType, duck_source: str, kind: str) -> tuple[str, str]:
    """SQL that turns a column of a parquet file into `kind`, and the condition under which nothing is lost by it.

    Args:
        column: SQL expression of the column.
        source: its Arrow type; `duck_source` is DuckDB's name for the same.
    The condition is empty where every value fits.
    """
    if kind == type_of_arrow(source) and source != pa.uint64():
        return f"CAST({column} AS {duck_type(kind)})", ""
    if kind == "string":
        return f"CAST({column} AS VARCHAR)", ""
    if duck_source == "VARCHAR" and kind in TYPES:
        return value_sql(column, kind, lenient=True), fits_sql(column, kind)
    value = f"TRY_CAST({column} AS {duck_type(kind)})"
    return value, f"TRY_CAST({value} AS {duck_source}) = {column}"


def shares(
    con: duckdb.DuckDBPyConnection, source: str, columns: Sequence[str]
) -> dict[str, dict[str, float]]:
    """For each VARCHAR column of the SQL table expression `source`: type -> share of its non-null values that fit.

    A column without values, or with too many that look like nothing but text, has no shares.
    """
    found: dict[str, dict[str, float]] = {}
    for n in range(0, len(columns), _AT_ONCE):
        found |= _shares(con, source, columns[n : n + _AT_ONCE])
    return found


def _shares(
    con: duckdb.DuckDBPyConnection, source: str, columns: Sequence[str]
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {column: {} for column in columns}
    parts = [f"count({ident(c)}), {counted(maybe_typed_sql(c))}" for c in columns]
    row: Sequence[Any] = first_row(con, f"SELECT {', '.join(parts)} FROM {source}")
    totals = {
        c: n for c, n, m in zip(columns, row[0::2], row[1::2], strict=True) if n and m >= INFERRED_SHARE * n
    }
    if not totals:
        return found
    checks = [
        counted(fits_sql(ident(column), kind, suggests=True)) for column in totals for kind in TYPES[:-1]
    ]
    counts: Sequence[Any] = first_row(con, f"SELECT {', '.join(checks)} FROM {source}")
    width = len(TYPES) - 1
    for i, (column, total) in enumerate(totals.items()):
        fitting = counts[i * width : (i + 1) * width]
        found[column] = {kind: n / total for kind, n in zip(TYPES[:-1], fitting, strict=True)}
    return found


def choose(share: dict[str, float]) -> str:
    """The type that the most values fit, at least 95 % of them; among equals the narrowest; else string."""
    best = max(TYPES[:-1], key=lambda kind: share.get(kind, 0.0))
    return best if share.get(best, 0.0) >= INFERRED_SHARE else "string"


def maybe_typed_sql(column: str) -> str:
    """SQL condition that every value of another type than string meets: a cheap test before `shares`."""
    return f"regexp_matches({ident(column)}, '(?i)^ *([-+.]*[0-9]|true|false|[-+]?nan|[-+]?inf)')"
