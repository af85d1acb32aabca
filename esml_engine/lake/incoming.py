"""One IN file into bronze: every record becomes a typed row of bronze or, with its reason, a row of quarantine.

Two ways lead there and give the same rows. The quick one lets DuckDB parse and write in one pass; it is taken only for
files whose bytes are regular, and its count of rows is held against an independent one. Everything else goes the exact
way, which splits records in Python and knows each one's line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from esml_engine.errors import UnreadableError
from esml_engine.lake import types
from esml_engine.lake.columns import Column
from esml_engine.lake.delimited import Dialect, Record, as_utf8, header, records
from esml_engine.lake.layout import regular_records
from esml_engine.lake.sql import copy_parquet, ident, literal, scalar

QUARANTINE = pa.schema(
    [("file", pa.string()), ("sha256", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string())]
)
RND_SHARE = 0.2
_RND_BELOW = f"{int(RND_SHARE * 2**64):016x}"  # a hash in hexadecimal below this belongs to the sample
_SAMPLE = 20_480
_BATCH = 16_384
_SHOWN = 80


@dataclass(frozen=True)
class Source:
    """An IN file to be read."""

    path: Path
    name: str  # for messages and quarantine
    sha256: str
    dialect: Dialect = field(default_factory=Dialect)
    sample: bool = False  # R&D: a deterministic fifth of the records


@dataclass(frozen=True)
class Read:
    """What reading one IN file gave. `bronze` and `quarantine` are row counts; a table without rows has no file."""

    bronze: int
    quarantine: int
    types: dict[str, str]  # of every column of bronze
    retyped: dict[str, str] = field(default_factory=dict)  # known column -> the type that its values now look like
    way: str = "exact"  # quick | exact

    @property
    def rows_in(self) -> int:
        """Records of the file (of the sample)."""
        return self.bronze + self.quarantine


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
            source = Source(copy, source.name, source.sha256, dialect, source.sample)
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
    if not exact and not source.sample and source.dialect.is_utf8:
        expected = regular_records(source.path, source.dialect.delimiter, len(names))
        if expected is not None:
            read = _quick(con, source, names, columns, bronze, expected)
            if read is not None:
                return read
            bronze.unlink(missing_ok=True)
    return _exact(con, source, names, columns, bronze, quarantine, work)


def _text_column(column: Column) -> str:
    return "CAST(NULL AS VARCHAR)" if column.position is None else f"c{column.position}"


def _quick(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    names: Sequence[str],
    columns: Sequence[Column],
    bronze: Path,
    expected: int,
) -> Read | None:
    """One pass by DuckDB; None when anything at all does not fit, for the exact way to say what."""
    spec = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(names)))
    nulls = ", ".join(literal(n) for n in dict.fromkeys(("", source.dialect.null)))
    text = (
        f"read_csv({literal(str(source.path))}, columns={{{spec}}}, auto_detect=false, header=false, skip=1, "
        f"delim={literal(source.dialect.delimiter)}, quote='\"', escape='\"', comment='', nullstr=[{nulls}], "
        "strict_mode=true, null_padding=false)"
    )
    open_columns = [c for c in columns if c.type is None]
    try:
        guess = types.shares(
            con, f"(SELECT * FROM {text} LIMIT {_SAMPLE})", [f"c{c.position}" for c in open_columns]
        )
        chosen = {c.name: c.type or types.choose(guess[f"c{c.position}"]) for c in columns}
        select, where = [], []
        for c in columns:
            kind, expr = chosen[c.name], _text_column(c)
            select.append(f"{types.value_sql(expr, kind, lenient=False)} AS {ident(c.name)}")
            if kind != "string" and c.position is not None:
                where.append(f"({expr} IS NULL OR {types.shape_sql(expr, kind, suggests=c.type is None)})")
        copy_parquet(con, f"SELECT {', '.join(select)} FROM {text} WHERE {' AND '.join(where) or 'TRUE'}", bronze)
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException):
        return None
    if pq.read_metadata(bronze).num_rows != expected:
        return None
    if not _holds(con, bronze, chosen, [c.name for c in open_columns]):
        return None
    if expected == 0:
        bronze.unlink()
    return Read(expected, 0, chosen, way="quick")


def _holds(con: duckdb.DuckDBPyConnection, bronze: Path, chosen: dict[str, str], inferred: Sequence[str]) -> bool:
    """Whether what a sample of the file suggested holds for all of it, and no number overflowed."""
    table = f"read_parquet({literal(str(bronze))})"
    checks = [f"isinf({ident(name)})" for name, kind in chosen.items() if kind == "float64"]
    if checks and scalar(con, f"SELECT count(*) FROM {table} WHERE {' OR '.join(checks)}"):
        return False
    texts = [name for name in inferred if chosen[name] == "string"]
    if not texts:
        return True
    parts = [f"count(*) FILTER (WHERE {types.maybe_typed_sql(n)}) / nullif(count({ident(n)}), 0)" for n in texts]
    row = con.execute(f"SELECT {', '.join(parts)} FROM {table}").fetchone()
    likely = [n for n, share in zip(texts, row or (), strict=True) if share is not None and share >= types.INFERRED_SHARE]
    return all(types.choose(share) == "string" for share in types.shares(con, table, likely).values())


def _exact(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    names: Sequence[str],
    columns: Sequence[Column],
    bronze: Path,
    quarantine: Path,
    work: Path,
) -> Read:
    """Split records in Python into a scratch table of text, then type it."""
    whole, broken = work / "whole.parquet", work / "broken.parquet"
    _split(source, len(names), whole, broken)
    nulls = ", ".join(literal(n) for n in dict.fromkeys(("", source.dialect.null)))
    text = ", ".join(f"CASE WHEN c{i} NOT IN ({nulls}) THEN c{i} END AS c{i}" for i in range(len(names)))
    con.execute(f"CREATE OR REPLACE TEMP VIEW split AS SELECT {text}, line, raw FROM read_parquet({literal(str(whole))})")
    shares = types.shares(con, "split", [f"c{c.position}" for c in columns if c.position is not None])
    chosen: dict[str, str] = {}
    retyped: dict[str, str] = {}
    for c in columns:
        share = shares.get(f"c{c.position}", {})
        chosen[c.name] = c.type or types.choose(share)
        if c.type not in (None, "string") and c.position is not None and share:
            fitting = scalar(con, f"SELECT count(*) FROM split WHERE {types.fits_sql(_text_column(c), c.type or '')}")
            filled = scalar(con, f"SELECT count({_text_column(c)}) FROM split")
            if fitting < types.INFERRED_SHARE * filled:
                retyped[c.name] = types.choose(share)
    values, reasons = [], []
    for c in columns:
        kind, expr = chosen[c.name], _text_column(c)
        values.append((c.name, types.value_sql(expr, kind, lenient=True)))
        if kind != "string" and c.position is not None:
            fits = types.fits_sql(expr, kind)
            reasons.append(_reason(c.name, expr, kind, f"{expr} IS NOT NULL AND NOT coalesce({fits}, FALSE)"))
    return _write(con, source, "split", values, reasons, broken, bronze, quarantine, Read(0, 0, chosen, retyped))


def _reason(name: str, shown: str, kind: str, misfit: str) -> str:
    cut = f"CASE WHEN length({shown}) > {_SHOWN} THEN left({shown}, {_SHOWN}) || '…' ELSE {shown} END"
    before, after = literal(f"column {name}: '"), literal(f"' is not {kind}")
    return f"WHEN {misfit} THEN {before} || ({cut}) || {after}"


def _write(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    table: str,
    values: Sequence[tuple[str, str]],
    reasons: Sequence[str],
    broken: Path | None,
    bronze: Path,
    quarantine: Path,
    read: Read,
) -> Read:
    """Write the rows of `table` that have no reason against them to `bronze`, all others to `quarantine`."""
    reason = f"CASE {' '.join(reasons)} END" if reasons else "CAST(NULL AS VARCHAR)"
    select = ", ".join(f"{value} AS {ident(name)}" for name, value in values)
    copy_parquet(con, f"SELECT {select} FROM {table} WHERE ({reason}) IS NULL", bronze)
    bad = f"SELECT line, {reason} AS reason, raw FROM {table} WHERE ({reason}) IS NOT NULL"
    if broken is not None:
        bad += f" UNION ALL SELECT line, reason, raw FROM read_parquet({literal(str(broken))})"
    origin = f"{literal(source.name)} AS file, {literal(source.sha256)} AS sha256"
    copy_parquet(con, f"SELECT {origin}, CAST(line AS BIGINT) AS line, reason, raw FROM ({bad}) ORDER BY line", quarantine)
    rows = []
    for path in (bronze, quarantine):
        rows.append(int(pq.read_metadata(path).num_rows))
        if not rows[-1]:
            path.unlink()
    return Read(rows[0], rows[1], read.types, read.retyped)


def sampled(raw: str) -> bool:
    """Whether a record belongs to the deterministic R&D sample, by the hash of its text (csv) or of file and row number (parquet)."""
    return hashlib.md5(raw.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest() < _RND_BELOW


def _data_records(source: Source) -> Iterator[Record]:
    found = islice(records(source.path, source.dialect), 1, None)
    return (r for r in found if sampled(r.raw)) if source.sample else found


def _split(source: Source, width: int, whole: Path, broken: Path) -> None:
    """Write well-formed records as text (`c0`, …, `line`, `raw`) and malformed ones (`line`, `reason`, `raw`)."""
    text = pa.schema([*((f"c{i}", pa.string()) for i in range(width)), ("line", pa.int64()), ("raw", pa.string())])
    fault = pa.schema([("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string())])
    found = _data_records(source)
    with pq.ParquetWriter(whole, text, compression="lz4") as good, pq.ParquetWriter(broken, fault) as bad:
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
                good.write_table(pa.Table.from_arrays([*arrays, pa.array(lines), pa.array(raws, pa.string())], schema=text))
            if faults:
                bad.write_table(pa.Table.from_pylist(faults, schema=fault))


def parquet_columns(source: Source) -> pa.Schema:
    """The schema of a parquet IN file.

    Raises:
        UnreadableError: empty, truncated, or not parquet.
    """
    if source.path.stat().st_size == 0:
        raise UnreadableError(f"{source.name} is empty")
    try:
        schema = pq.read_schema(source.path)
    except (pa.ArrowException, OSError) as e:
        raise UnreadableError(f"{source.name} is not a readable parquet file: {e}", hint="was it delivered completely?") from e
    lower = [n.lower() for n in schema.names]
    for n in schema.names:
        if lower.count(n.lower()) > 1:
            raise UnreadableError(f"{source.name} has the column {n!r} twice (upper and lower case count as the same)")
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
    keep = f"WHERE md5({literal(source.sha256)} || ':' || (file_row_number + 1)) < {literal(_RND_BELOW)}" if source.sample else ""
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
                kind = c.type or types.type_of_arrow(arrow)
                value, fits = types.native_sql(f"c{c.position}", arrow, str(native[f"c{c.position}"]), kind)
                values.append((c.name, value))
                if fits:
                    misfit = f"c{c.position} IS NOT NULL AND NOT coalesce({fits}, FALSE)"
                    reasons.append(_reason(c.name, f"CAST(c{c.position} AS VARCHAR)", kind, misfit))
                    bad = scalar(con, f"SELECT count(*) FROM delivered WHERE {misfit}")
                    if bad > (1 - types.INFERRED_SHARE) * scalar(con, f"SELECT count(c{c.position}) FROM delivered"):
                        retyped[c.name] = types.type_of_arrow(arrow)
            chosen[c.name] = kind
        return _write(con, source, "delivered", values, reasons, None, bronze, quarantine, Read(0, 0, chosen, retyped))
    except (duckdb.InvalidInputException, duckdb.IOException, duckdb.SerializationException) as e:
        bronze.unlink(missing_ok=True)
        quarantine.unlink(missing_ok=True)
        raise UnreadableError(f"{source.name} can't be read to its end: {e}", hint="was it delivered completely?") from e


def line_of(
    path: Path,
    dialect: Dialect,
    position: int,
    quarantined_lines: set[int],
    *,
    sample: bool = False,
    sha256: str = "",
) -> int:
    """The physical line on which the accepted record at `position` (from 0) of an IN file starts.

    Args:
        quarantined_lines: lines of the file's records that went to quarantine.
        sample: the file was read in R&D mode; parquet files then need their `sha256`.

    Raises:
        UnreadableError: the file has no such record (any more).
    """
    accepted: Iterator[int]
    if path.suffix == ".parquet":
        numbers = range(1, pq.read_metadata(path).num_rows + 1)
        accepted = (n for n in numbers if n not in quarantined_lines and (not sample or sampled(f"{sha256}:{n}")))
    else:
        found = _data_records(Source(path, path.name, "", dialect, sample))
        accepted = (r.line for r in found if r.line not in quarantined_lines)
    line = next(islice(accepted, position, None), None)
    if line is None:
        raise UnreadableError(f"{path.name} has no accepted record number {position + 1}")
    return line
