"""Tables in the shapes that people's steps ask for, and back into Arrow in the types that Delta tables have."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from esml_engine.errors import UsageError
from esml_engine.lake.holding import held_type, require_held

FLAVOURS = ("pandas", "polars", "pyarrow", "duckdb")


def hand_over(table: pa.Table, flavour: str, con: duckdb.DuckDBPyConnection) -> Any:
    """`table` as a pandas or polars frame, an Arrow table, or a relation of `con`.

    pandas: whole numbers and booleans stay what they are where nulls stand among them (`Int64`, `boolean`), and dates
    are `datetime64`.
    """
    if flavour == "pyarrow":
        return table
    if flavour == "duckdb":
        return con.from_arrow(table)
    if flavour == "polars":
        import polars as pl

        return pl.from_arrow(table)
    import pandas as pd

    nullable = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame = table.to_pandas(date_as_object=False)
    for field in table.schema:
        column = table.column(field.name)
        if field.type in nullable and column.null_count:
            frame[field.name] = column.to_pandas(types_mapper=nullable.get)
    return frame


def take_back(result: Any, before: pa.Schema | None = None) -> pa.Table:
    """What a step returned, as an Arrow table in plain types.

    Args:
        before: the schema that the step was given; a column that was a date there and comes back as midnights is a
            date again.

    Raises:
        TypeError: it is no table.
        UsageError: a table can't hold it.
        pa.ArrowException: a column has no one type.
    """
    table = _arrow(result)
    require_held(table.schema)
    return _plain(table, before)


def _arrow(result: Any) -> pa.Table:
    if isinstance(result, pa.Table):
        return result
    if isinstance(result, pa.RecordBatchReader):
        return result.read_all()
    if isinstance(result, pa.RecordBatch):
        return pa.Table.from_batches([result])
    if isinstance(result, duckdb.DuckDBPyRelation):
        return result.to_arrow_table()
    package = type(result).__module__.split(".")[0]
    kind = type(result).__name__
    if package == "polars" and kind in ("DataFrame", "LazyFrame"):
        return result.lazy().collect().to_arrow()
    if package == "pandas" and kind == "DataFrame":
        named = any(name is not None for name in result.index.names)
        return pa.Table.from_pandas(result, preserve_index=named).replace_schema_metadata(None)
    raise TypeError(
        f"{type(result).__module__}.{kind} is no pandas, polars or Arrow table and no DuckDB relation"
    )


def _plain(table: pa.Table, before: pa.Schema | None) -> pa.Table:
    arrays, fields = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        was = (
            before.field(field.name).type
            if before is not None and before.names.count(field.name) == 1
            else None
        )
        column = _as(column, field.name)
        if was == pa.date32() and pa.types.is_timestamp(column.type):
            days = column.cast(pa.date32(), safe=False)
            if pc.all(pc.equal(days.cast(column.type), column), skip_nulls=True).as_py() is not False:
                column = days
        arrays.append(column)
        fields.append(pa.field(field.name, column.type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _as(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column in the type of a table that holds its values (times to the microsecond)."""
    kind = held_type(column.type)
    assert kind is not None, "require_held let it pass"
    try:
        return column.cast(kind, safe=not pa.types.is_timestamp(column.type))
    except pa.ArrowInvalid as e:
        raise UsageError(
            f"column {name!r} of type {column.type} does not fit {kind}: {e}",
            hint="make it a number or a text that does",
        ) from e
