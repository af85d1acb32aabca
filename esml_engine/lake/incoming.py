"""One IN file into bronze: every record becomes a typed row of bronze or, with its reason, a row of quarantine.

Two ways lead there and give the same rows. The quick one lets DuckDB parse and write in one pass; it is taken only for
files whose bytes are regular, and its count of rows is held against an independent one. Everything else goes the exact
way, which splits records in Python and knows each one's line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from esml_engine.errors import UnreadableError
from esml_engine.lake import types
from esml_engine.lake.columns import Column
from esml_engine.lake.delimited import Dialect, as_utf8, header
from esml_engine.lake.landing import Read, Source, data_records, reason_sql, sampled, write_rows
from esml_engine.lake.layout import Layout, regular_layout
from esml_engine.lake.sql import copy_parquet, counted, first_row, ident, literal, scalar

_FAULTS = pa.schema([("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string())])
_WHOLE, _BROKEN = "whole.parquet", "broken.parquet"  # scratch tables of the exact way
_SAMPLE = 4_096
_BATCH = 16_384


def csv_header(source: Source, work: Path) -> tuple[Source, list[str], int]:
    """Make the text readable line by line, and read its header.

    Returns:
        the source (a UTF-8 copy below `work` where its encoding is another and every byte is legal), the column
        names, and the header's line.

    Raises:
        UnreadableError: no text, no header, column names twice, or bytes that are not of a wide encoding.
    """
    if source.path.stat().st_size == 0:
        raise UnreadableError(f"{source.name} is empty")
    if not source.dialect.is_utf8:
        try:
            copy = as_utf8(source.path, source.dialect, work)
        except UnicodeError as e:
            if not source.dialect.has_ascii_lines:
                raise UnreadableError(f"{source.name} is not {source.dialect.encoding}: {e}") from e
        else:
            dialect = Dialect(source.dialect.delimiter, "utf-8", source.dialect.null)
            source = replace(source, path=copy, dialect=dialect)
    names, line = header(source.path, source.dialect, source.name)
    return source, names, line


def read_csv(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    names: Sequence[str],
    columns: Sequence[Column],
    bronze: Path,
    quarantine: Path,
    work: Path,
    *,
    exact: bool = False,
) -> Read:
    """Read a CSV file into the parquet files `bronze` and `quarantine`, rows in the file's order.

    Args:
        names: the file's columns (`csv_header`).
        columns: bronze's columns; those without a type are inferred.
        exact: don't try the quick way.
    """
    layout: Layout | None = None
    if not exact and not source.sample and source.dialect.is_utf8:
        layout = regular_layout(source.path, source.dialect.delimiter, len(names))
        if layout is not None:
            read = _quick(con, source, names, columns, bronze, layout)
            if read is not None:
                return read
            bronze.unlink(missing_ok=True)
    if layout is None or layout.blank or not _split_by_lines(con, source, len(names), layout, work):
        _split(source, len(names), work)
    return _typed(con, source, len(names), columns, bronze, quarantine, work)


def _text_column(column: Column) -> str:
    return "CAST(NULL AS VARCHAR)" if column.position is None else f"c{column.position}"


def _text_rows(source: Source, width: int) -> str:
    """SQL table function: DuckDB's own reading of the file, all columns (`c0`, …) as text, nulls as NULL."""
    spec = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(width))
    return (
        f"read_csv({literal(str(source.path))}, columns={{{spec}}}, auto_detect=false, header=false, skip=1, "
        f"delim={literal(source.dialect.delimiter)}, quote='\"', escape='\"', comment='', nullstr=[{_nulls(source)}], "
        "strict_mode=true, null_padding=false)"
    )


def _own_nulls(columns: Sequence[Column]) -> list[str]:
    """SQL that takes each column's own words for no value out of its text."""
    return [
        f"CASE WHEN c{c.position} NOT IN ({', '.join(map(literal, c.nulls))}) THEN c{c.position} END AS c{c.position}"
        for c in columns
        if c.nulls and c.position is not None
    ]


def _nulls(source: Source) -> str:
    return ", ".join(literal(n) for n in dict.fromkeys(("", source.dialect.null)))


def _quick(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    names: Sequence[str],
    columns: Sequence[Column],
    bronze: Path,
    layout: Layout,
) -> Read | None:
    """One pass by DuckDB; None when anything at all does not fit, for the exact way to say what."""
    text = _text_rows(source, len(names))
    if own := _own_nulls(columns):
        text = f"(SELECT * REPLACE ({', '.join(own)}) FROM {text})"
    open_columns = [c for c in columns if c.type is None]
    try:
        con.execute(f"CREATE OR REPLACE TEMP TABLE sample AS SELECT * FROM {text} LIMIT {_SAMPLE}")
        guess = types.shares(con, "sample", [f"c{c.position}" for c in open_columns])
        chosen = {c.name: c.type or types.choose(guess[f"c{c.position}"]) for c in columns}
        select, where = [], []
        for c in columns:
            kind, expr = chosen[c.name], _text_column(c)
            select.append(f"{types.value_sql(expr, kind, lenient=False)} AS {ident(c.name)}")
            if kind != "string" and c.position is not None:
                where.append(f"({expr} IS NULL OR {types.shape_sql(expr, kind, suggests=c.type is None)})")
        copy_parquet(
            con, f"SELECT {', '.join(select)} FROM {text} WHERE {' AND '.join(where) or 'TRUE'}", bronze
        )
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException):
        return None
    if pq.read_metadata(bronze).num_rows != layout.records:
        return None
    if not _holds(con, bronze, chosen, [c.name for c in open_columns]):
        return None
    if layout.records == 0:
        bronze.unlink()
    return Read(layout.records, 0, chosen, way="quick")


def _holds(
    con: duckdb.DuckDBPyConnection, bronze: Path, chosen: dict[str, str], inferred: Sequence[str]
) -> bool:
    """Whether what a sample of the file suggested holds for all of it, and no number overflowed."""
    meta = pq.read_metadata(bronze)
    floats = [i for i, kind in enumerate(chosen.values()) if kind == "float64"]
    table = f"read_parquet({literal(str(bronze))}, file_row_number=true)"
    if not all(
        _finite(meta.row_group(g).column(i).statistics) for g in range(meta.num_row_groups) for i in floats
    ):
        infinite = " OR ".join(f"isinf({ident(name)})" for name, kind in chosen.items() if kind == "float64")
        if scalar(con, f"SELECT count(*) FROM {table} WHERE {infinite}"):
            return False
    texts = [name for name in inferred if chosen[name] == "string"]
    if not texts:
        return True
    # enough values that are nothing but text, found in a part of the rows, settle a column for all rows
    parts = [f"count({ident(n)}) - {counted(types.maybe_typed_sql(n))}" for n in texts]
    part = f"{table} WHERE file_row_number < {meta.num_rows // 4}"
    row = first_row(con, f"SELECT {', '.join(parts)} FROM {part}")
    open_texts = [
        n for n, text in zip(texts, row, strict=True) if text <= (1 - types.INFERRED_SHARE) * meta.num_rows
    ]
    return all(types.choose(share) == "string" for share in types.shares(con, table, open_texts).values())


def _finite(statistics: Any) -> bool:
    if statistics is None or not statistics.has_min_max:
        return False
    return math.isfinite(statistics.min) and math.isfinite(statistics.max)


def _split_by_lines(
    con: duckdb.DuckDBPyConnection, source: Source, width: int, layout: Layout, work: Path
) -> bool:
    """Like `_split`, by DuckDB, for a regular file: there a record's line follows from its place.

    False when DuckDB's records are not the lines of the file; then nothing can be said about them.
    """
    columns = ", ".join(f"c{i}" for i in range(width))
    query = f"SELECT {columns}, row_number() OVER () + 1 AS line, CAST(NULL AS VARCHAR) AS raw FROM {_text_rows(source, width)}"
    try:
        copy_parquet(con, query, work / _WHOLE)
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        return False
    pq.write_table(_FAULTS.empty_table(), work / _BROKEN)
    return bool(pq.read_metadata(work / _WHOLE).num_rows == layout.records)


def _typed(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    width: int,
    columns: Sequence[Column],
    bronze: Path,
    quarantine: Path,
    work: Path,
) -> Read:
    """Type the text that a split left in `work`: what fits goes to bronze, the rest to quarantine."""
    nulls = _nulls(source)
    text = ", ".join(f"CASE WHEN c{i} NOT IN ({nulls}) THEN c{i} END AS c{i}" for i in range(width))
    own = _own_nulls(columns)
    replace_ = f" REPLACE ({', '.join(own)})" if own else ""
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW split AS SELECT *{replace_} FROM (SELECT {text}, line, raw FROM read_parquet({literal(str(work / _WHOLE))}))"
    )
    there = {c.name: _text_column(c) for c in columns if c.position is not None}
    guess = types.shares(con, "split", [there[c.name] for c in columns if c.type is None])
    chosen = {c.name: c.type or types.choose(guess[there[c.name]]) for c in columns}
    typed = {name: text for name, text in there.items() if chosen[name] != "string"}
    values = [(c.name, types.value_sql(_text_column(c), chosen[c.name], lenient=True)) for c in columns]
    misfit = {n: f"{t} IS NOT NULL AND NOT {types.fits_sql(t, chosen[n])}" for n, t in typed.items()}
    reasons = [reason_sql(n, typed[n], chosen[n], condition) for n, condition in misfit.items()]
    read = write_rows(con, source, "split", values, reasons, work / _BROKEN, bronze, quarantine)
    if not read.quarantine or not misfit:
        return Read(read.bronze, read.quarantine, chosen)
    counts = [
        f"{counted(condition)} > {1 - types.INFERRED_SHARE} * count({typed[n]})"
        for n, condition in misfit.items()
    ]
    changed = first_row(con, f"SELECT {', '.join(counts)} FROM split")
    moved = [name for name, flag in zip(misfit, changed, strict=True) if flag]
    looks = types.shares(con, "split", [typed[name] for name in moved])
    return Read(
        read.bronze, read.quarantine, chosen, {name: types.choose(looks[typed[name]]) for name in moved}
    )


def _split(source: Source, width: int, work: Path) -> None:
    """Write well-formed records as text (`c0`, …, `line`, `raw`) and malformed ones (`line`, `reason`, `raw`)."""
    text = pa.schema(
        [*((f"c{i}", pa.string()) for i in range(width)), ("line", pa.int64()), ("raw", pa.string())]
    )
    found = data_records(source)
    with pq.ParquetWriter(work / _WHOLE, text) as good, pq.ParquetWriter(work / _BROKEN, _FAULTS) as bad:
        while batch := list(islice(found, _BATCH)):
            rows, lines, raws, faults = [], [], [], []
            for r in batch:
                if r.fields is not None and len(r.fields) == width:
                    rows.append(r.fields)
                    lines.append(r.line)
                    raws.append(r.raw)
                else:
                    count = f"expected {width} columns, found {len(r.fields or ())}"
                    faults.append({"line": r.line, "reason": r.reason or count, "raw": r.raw})
            if rows:
                arrays = [pa.array(c, pa.string()) for c in zip(*rows, strict=True)]
                good.write_table(
                    pa.Table.from_arrays([*arrays, pa.array(lines), pa.array(raws, pa.string())], schema=text)
                )
            if faults:
                bad.write_table(pa.Table.from_pylist(faults, schema=_FAULTS))


def line_of(
    path: Path,
    dialect: Dialect,
    position: int,
    quarantined_lines: set[int],
    *,
    sample: bool = False,
    sha256: str = "",
    key: str = "",
) -> int:
    """The physical line on which the accepted record at `position` (from 0) of an IN file starts.

    Args:
        quarantined_lines: lines of the file's records that went to quarantine.
        sample: the file was read in R&D mode; parquet files then need their `sha256`, and both the model's `key`.

    Raises:
        UnreadableError: the file has no such record (any more).
    """
    accepted: Iterator[int]
    if path.suffix == ".parquet":
        numbers = range(1, pq.read_metadata(path).num_rows + 1)
        texts: list[str] | None = None
        if sample and key in pq.read_schema(path).names:
            texts = [str(v) for v in pq.read_table(path, columns=[key]).column(key).to_pylist()]
        accepted = (
            n
            for n in numbers
            if n not in quarantined_lines
            and (not sample or sampled(texts[n - 1] if texts else f"{sha256}:{n}"))
        )
    else:
        found = data_records(Source(path, path.name, "", dialect, sample, key))
        accepted = (r.line for r in found if r.line not in quarantined_lines)
    line = next(islice(accepted, position, None), None)
    if line is None:
        raise UnreadableError(f"{path.name} has no accepted record number {position + 1}")
    return line
