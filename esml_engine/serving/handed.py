"""A CSV file of rows to score: read as IN files are, typed by the model's signature, each row with its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from esml_engine.errors import UnreadableError, UsageError

if TYPE_CHECKING:
    from esml_engine.lake.landing import Source
    from esml_engine.settings import ModelSettings

Signature = Sequence[Mapping[str, str]]
_DELIMITERS = (",", ";", "\t", "|")
_MOST_SHIFTS = 2_000  # more than so many are not kept: then no row of the file says its line


@dataclass(frozen=True)
class Handed:
    """What a file holds.

    Args:
        rows: a parquet file of them, in the file's order; columns that the signature names have its types.
        lines: `[[first row, line of it], …]`: from there on one row a line, until the next entry; empty where there
            are too many to keep.
    """

    rows: Path
    lines: list[list[int]]


def dialect_of(settings: ModelSettings) -> dict[str, str]:
    """How a model's csv files are written, as far as all of its datasets agree: `null` and `encoding`."""
    found = {}
    for key in ("null", "encoding"):
        values = {getattr(ds, key) for ds in settings.datasets.values() if ds.format == "csv"}
        if len(values) == 1:
            found[key] = values.pop()
    return found


def read(
    path: Path, signature: Signature, work: Path, dialect: Mapping[str, str] = MappingProxyType({})
) -> Handed:
    """Read a file of rows to score; `work` is a folder for what comes of it, `dialect` how the model's files are written.

    Raises:
        UsageError: a value or a record does not fit, with its line, or there are no rows.
        UnreadableError: no text, no header, or a column name twice.
    """
    import duckdb
    import pyarrow.parquet as pq

    from esml_engine.lake.columns import Column
    from esml_engine.lake.delimited import Dialect
    from esml_engine.lake.incoming import csv_header, read_csv
    from esml_engine.lake.landing import Source

    kinds = {c["name"]: _lake_type(c["type"]) for c in signature}
    work.mkdir(parents=True, exist_ok=True)
    rows, kept_out = work / "rows.parquet", work / "kept_out.parquet"
    try:
        how = Dialect.of(
            {**dialect, "delimiter": _delimiter(path, set(kinds), dialect.get("encoding", "utf-8"))}
        )
        source = Source(path, path.name, "", how)
        source, names, _ = csv_header(source, work)
    except UnreadableError as e:
        raise UnreadableError(
            e.message, hint=f"give a csv file with a header, in {dialect.get('encoding', 'utf-8').upper()}"
        ) from e
    columns = [Column(name, at, kinds.get(name)) for at, name in enumerate(names)]
    with duckdb.connect() as con:
        found = read_csv(con, source, names, columns, rows, kept_out, work)
    if found.quarantine:
        first = pq.read_table(kept_out, columns=["line", "reason"]).sort_by("line").slice(0, 1).to_pylist()[0]
        raise UsageError(
            f"{path.name}, line {first['line']}: {first['reason']}",
            hint=f"mend or leave out {found.quarantine} of {found.rows_in} records: all of a file is scored, or nothing",
        )
    if not found.bronze:
        raise UsageError("there are no rows to score")
    return Handed(rows, _lines(source, len(names)))


def row_line(name: str, lines: Sequence[Sequence[int]] | None, row: int) -> int | None:
    """Where row `row` (from 0) of a scored file stands: its line, or in a parquet file its number from 1; None: not kept.

    `lines` as in `Handed`; None: of a file that was scored before lines were kept.
    """
    if name.endswith(".parquet"):
        return row + 1
    if lines is None:
        return row + 2
    first, line = next(((a, b) for a, b in reversed(lines) if a <= row), (0, 0))
    return line + row - first if line else None


def _lake_type(signature: str) -> str:
    """The lake's type for a type of a signature."""
    if signature == "bool":
        return "bool"
    if signature.startswith(("int", "uint")) and signature != "uint64":
        return "int64"
    if signature.startswith(("uint64", "float", "double", "halffloat", "decimal")):
        return "float64"
    if signature.startswith("timestamp"):
        return "timestamp"
    return "date" if signature.startswith("date") else "string"


def _delimiter(path: Path, known: set[str], encoding: str) -> str:
    """The one that makes most names of the signature out of the header."""
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, errors="replace") as f:
        head = f.readline(1 << 16).strip()

    def found(delimiter: str) -> int:
        return len({part.strip('"') for part in head.split(delimiter)} & known)

    return max(_DELIMITERS, key=found)


def _lines(source: Source, width: int) -> list[list[int]]:
    from esml_engine.lake.landing import data_records
    from esml_engine.lake.layout import regular_layout

    layout = regular_layout(source.path, source.dialect.delimiter, width)
    if layout is not None and not layout.blank:
        return [[0, 2]]
    out: list[list[int]] = []
    for row, record in enumerate(data_records(source)):
        if not out or record.line != out[-1][1] + row - out[-1][0]:
            out.append([row, record.line])
            if len(out) > _MOST_SHIFTS:
                return []
    return out
