"""A CSV file of rows to score: read as IN files are, typed by the model's signature, each row with its line."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from esml_engine.errors import UnreadableError, UsageError
from esml_engine.lake.catalogue import all_latest
from esml_engine.lake.files import columns_of

if TYPE_CHECKING:
    from esml_engine.door.site import Site
    from esml_engine.lake.delimited import Dialect
    from esml_engine.lake.landing import Source
    from esml_engine.refs import ModelRef

Signature = Sequence[Mapping[str, str]]
_SUFFIXES = {
    "json": (".json",), "parquet": (".parquet",), "arrow": (".arrow", ".ipc", ".feather"), "csv": (".csv", ".txt", ".tsv", ""),
}  # fmt: skip
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


def dialect_of(site: Site, ref: ModelRef, env: str) -> dict[str, Any]:
    """How a model's csv files are written: `{"delimiters", "encodings", "nulls": {column: [words]}}`.

    A column has the words for no value of the datasets whose bronze it stands in; where all datasets have the same word,
    so has every other column (parquet files have none). A word that one dataset alone uses is a value like others elsewhere.
    """
    from esml_engine.refining.joining import gold_names

    settings, here = site.settings.model(ref), all_latest(site.store, ref, env)
    csv = {name: ds for name, ds in settings.datasets.items() if ds.format == "csv"}
    bronze = {name: here.get(f"{name}/bronze") for name in settings.datasets}
    columns = {name: [c["name"] for c in columns_of(v.schema)] for name, v in bronze.items() if v}
    nulls = {
        name: [csv[ds].null]
        for ds, _, name in gold_names(columns, settings.key)
        if ds in csv and csv[ds].null
    }
    words = {ds.null if ds.format == "csv" else "" for ds in settings.datasets.values()}
    return {
        "delimiters": list(dict.fromkeys(ds.delimiter for ds in csv.values())),
        "encodings": list(dict.fromkeys(ds.encoding for ds in csv.values())),
        "null": words.pop() if len(words) == 1 else "",
        "nulls": nulls,
    }


def read(
    path: Path, signature: Signature, work: Path, dialect: Mapping[str, Any] = MappingProxyType({})
) -> Handed:
    """Read a file of rows to score; `work` is a folder for what comes of it, `dialect` as of `dialect_of`.

    Raises:
        UsageError: a value or a record does not fit, with its line, or there are no rows.
        UnreadableError: no text, no header, or a column name twice.
    """
    import duckdb
    import pyarrow.parquet as pq

    from esml_engine.lake.columns import Column
    from esml_engine.lake.incoming import csv_header, read_csv
    from esml_engine.lake.landing import Source

    kinds = {c["name"]: _lake_type(c["type"]) for c in signature}
    work.mkdir(parents=True, exist_ok=True)
    rows, kept_out = work / "rows.parquet", work / "kept_out.parquet"
    how = _written(path, set(kinds), dialect)
    try:
        source = Source(path, path.name, "", how)
        source, names, _ = csv_header(source, work)
    except UnreadableError as e:
        raise UnreadableError(
            e.message, hint=f"give a csv file with a header, in {how.encoding.upper()}"
        ) from e
    require_columns(path, names, signature)
    nulls = dialect.get("nulls") or {}
    columns = [Column(n, at, kinds.get(n), tuple(nulls.get(n, ()))) for at, n in enumerate(names)]
    with duckdb.connect() as con:
        found = read_csv(con, source, names, columns, rows, kept_out, work)
    if found.quarantine:
        first = pq.read_table(kept_out, columns=["line", "reason"]).sort_by("line").slice(0, 1).to_pylist()[0]
        raise UsageError(
            f"{path.name}, line {first['line']}: {first['reason']}",
            hint=f"mend or leave out {found.quarantine} of {found.rows_in} records: all of a file is scored, or nothing",
        )
    if not found.bronze:
        raise UsageError(f"{path.name}: there are no rows to score")
    return Handed(rows, _lines(source, len(names)))


def require_columns(path: Path, names: Collection[str], signature: Signature) -> None:
    """Refuse a file that lacks a column of the signature.

    Raises:
        UsageError: names the file and the first such column.
    """
    missing = [c["name"] for c in signature if c["name"] not in names]
    if missing:
        raise UsageError(
            f"{path.name}: column {missing[0]!r} is missing from the rows to score",
            hint=f"it has {', '.join(names)}; the model takes {', '.join(c['name'] for c in signature)}",
        )


def kind_of(name: str) -> str:
    """What a file's name says that it is: `json`, `parquet`, `arrow`, `csv`, or '' for none of these."""
    suffix = Path(name).suffix.lower()
    return next((kind for kind, its in _SUFFIXES.items() if suffix in its), "")


def row_line(name: str, lines: Sequence[Sequence[int]] | None, row: int) -> int | None:
    """Where row `row` (from 0) of a scored file stands: its line, or in a parquet or JSON file its number from 1; None: not kept.

    `lines` as in `Handed`; None: of a file that was scored before lines were kept.
    """
    if kind_of(name) in ("parquet", "json"):
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


def _written(path: Path, known: set[str], dialect: Mapping[str, Any]) -> Dialect:
    """The way of writing that makes most names of the signature out of the header, those of the model's datasets first."""
    from esml_engine.lake.delimited import Dialect

    delimiters = dict.fromkeys([*dialect.get("delimiters", ()), *_DELIMITERS])
    encodings = dialect.get("encodings") or ["utf-8"]
    ways = [Dialect.of({"delimiter": d, "encoding": e, "null": dialect.get("null", "")}) for e in encodings for d in delimiters]  # fmt: skip
    heads = {w.encoding: _head(path, w.encoding) for w in ways}

    def found(way: Dialect) -> int:
        return len({part.strip('"') for part in heads[way.encoding].split(way.delimiter)} & known)

    return max(ways, key=found)


def _head(path: Path, encoding: str) -> str:
    """The file's first line as an encoding reads it; '' where it can't: reading the file says why."""
    try:
        with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, errors="replace") as f:
            return f.readline(1 << 16).strip()
    except UnicodeError:
        return ""


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
