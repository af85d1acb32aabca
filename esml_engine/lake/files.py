"""Parquet files of a table: reading a version's files, writing new ones with the statistics that Delta prunes by."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import uuid
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esml_engine.errors import unreadable
from esml_engine.runs.facts import FileOut, TableIn

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

ROW_GROUP = 122_880
_STAT_COLUMNS = 64


def schema_text(schema: pa.Schema) -> str:
    """An Arrow schema as text (base64 of its IPC message), without pandas metadata."""
    return base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()


def schema_of(text: str) -> pa.Schema:
    """Inverse of `schema_text`."""
    import pyarrow as pa

    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def columns_of(text: str) -> list[dict[str, str]]:
    """A schema as the contract's list of `{"name", "type"}`."""
    return [{"name": f.name, "type": str(f.type)} for f in schema_of(text)]


def paths(table: TableIn) -> list[str]:
    """Full paths of the table version's files, in commit order."""
    return [f"{table.uri}/{f}" for f in table.files]


def relation(con: duckdb.DuckDBPyConnection, table: TableIn) -> duckdb.DuckDBPyRelation:
    """A DuckDB relation over exactly the version's files; rows in commit and file order, columns by name."""
    if not table.files:
        import pyarrow as pa

        empty = schema_of(table.schema).empty_table() if table.schema else pa.table({})
        return con.from_arrow(empty)
    return con.read_parquet(paths(table), union_by_name=True, hive_partitioning=False)


def arrow(table: TableIn, columns: list[str] | None = None) -> pa.Table:
    """The version's rows as one Arrow table with the version's schema; `columns`: only these are read.

    Raises:
        FailedError: a file is not there, or is no parquet file.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    schema = schema_of(table.schema) if table.schema else None
    if not table.files:
        empty = schema.empty_table() if schema is not None else pa.table({})
        return empty.select(columns) if columns is not None else empty
    try:
        return ds.dataset(paths(table), format="parquet", schema=schema).to_table(columns=columns)
    except (FileNotFoundError, pa.ArrowInvalid) as e:
        raise unreadable(str(e).splitlines()[0]) from e


_names = count()  # of this process: a job is one


def new_name(run: str, attempt: int, prefix: str = "part") -> str:
    """A file name that no other attempt ever uses; names of a run are in the order in which they were asked for.

    A version's files are read in the order of their names, so the same files in IN give the same rows in the same order.
    """
    return f"{prefix}-{run}-{attempt}-{next(_names):05d}{uuid.uuid4().hex[:12]}.parquet"


def write_arrow(
    table: pa.Table, folder: str, name: str, *, source: str = "", partition: dict[str, str] | None = None
) -> FileOut:
    """Write one parquet file `folder/name` and describe it for the commit."""
    import pyarrow.parquet as pq

    target = Path(folder) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, target, compression="zstd", compression_level=1, row_group_size=ROW_GROUP)
    return describe(folder, name, source=source, partition=partition)


def describe(folder: str, name: str, *, source: str = "", partition: dict[str, str] | None = None) -> FileOut:
    """Describe a parquet file that is already in the table's folder (rows, bytes, Delta statistics)."""
    import pyarrow.parquet as pq

    target = Path(folder) / name
    meta = pq.read_metadata(target)
    return FileOut(name, meta.num_rows, target.stat().st_size, _stats(meta), partition or {}, source)


def _stats(meta: Any) -> str:
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    broken: set[str] = set()
    for c in range(min(meta.num_columns, _STAT_COLUMNS)):
        name = meta.schema.column(c).path
        if "." in name:
            continue
        for g in range(meta.num_row_groups):
            s = meta.row_group(g).column(c).statistics
            if s is None:
                broken.add(name)
                continue
            if s.has_null_count:
                nulls[name] = nulls.get(name, 0) + s.null_count
            if not s.has_min_max:
                if not (s.has_null_count and s.null_count == meta.row_group(g).num_rows):
                    broken.add(name)
                continue
            a, b = _plain(s.min), _plain(s.max)
            if a is None or b is None:
                broken.add(name)
                continue
            low[name] = a if name not in low else min(low[name], a)
            high[name] = b if name not in high else max(high[name], b)
    for name in broken:
        low.pop(name, None)
        high.pop(name, None)
        nulls.pop(name, None)
    return json.dumps({"numRecords": meta.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls})


def _plain(value: Any) -> Any:
    """A statistic as Delta's JSON writes it, or None where it can't be trusted (NaN, bytes, long text)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.datetime):
        # Delta truncates timestamps to milliseconds, which would prune wrongly on the high side
        return None
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, str) and len(value) <= 32:
        return value
    return None


def total_rows(files: Iterable[FileOut]) -> int:
    """Rows over a list of files."""
    return sum(f.rows for f in files)
