"""What all readers of IN files share: what they are given, what they answer, and the writing of rows and rejects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from esml_engine.lake.delimited import Dialect, Record, records
from esml_engine.lake.sql import copy_parquet, ident, literal, scalar

QUARANTINE = pa.schema(
    [
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("line", pa.int64()),
        ("reason", pa.string()),
        ("raw", pa.string()),
    ]
)
RND_SHARE = 0.2
RND_BELOW = f"{int(RND_SHARE * 2**64):016x}"  # a hash in hexadecimal below this belongs to the sample
_SHOWN = 80


@dataclass(frozen=True)
class Source:
    """An IN file to be read."""

    path: Path
    name: str  # for messages and quarantine
    sha256: str
    dialect: Dialect = field(default_factory=Dialect)
    sample: bool = False  # R&D: a deterministic fifth of the records
    key: str = ""  # the column whose value decides what is in the sample, so that datasets still join


@dataclass(frozen=True)
class Read:
    """What reading one IN file gave. `bronze` and `quarantine` are row counts; a table without rows has no file."""

    bronze: int
    quarantine: int
    types: dict[str, str]  # of every column of bronze
    # known column -> the type that its values now look like
    retyped: dict[str, str] = field(default_factory=dict)
    way: str = "exact"  # quick | exact

    @property
    def rows_in(self) -> int:
        """Records of the file (of the sample)."""
        return self.bronze + self.quarantine


def reason_sql(name: str, shown: str, kind: str, misfit: str) -> str:
    """One WHEN of a CASE: the reason why the value `shown` of column `name` is rejected where `misfit` holds."""
    cut = f"CASE WHEN length({shown}) > {_SHOWN} THEN left({shown}, {_SHOWN}) || '…' ELSE {shown} END"
    before, after = literal(f"column {name}: '"), literal(f"' is not {kind}")
    return f"WHEN {misfit} THEN {before} || ({cut}) || {after}"


def write_rows(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    table: str,
    values: Sequence[tuple[str, str]],
    reasons: Sequence[str],
    broken: Path | None,
    bronze: Path,
    quarantine: Path,
) -> Read:
    """Write the rows of `table` that have no reason against them to `bronze`, all others to `quarantine`."""
    reason = f"CASE {' '.join(reasons)} END" if reasons else "CAST(NULL AS VARCHAR)"
    bad = f"SELECT line, {reason} AS reason, raw FROM {table} WHERE ({reason}) IS NOT NULL"
    if broken is not None:
        bad += f" UNION ALL SELECT line, reason, raw FROM read_parquet({literal(str(broken))})"
    con.execute(f"CREATE OR REPLACE TEMP TABLE rejected AS SELECT * FROM ({bad}) ORDER BY line")
    if scalar(con, "SELECT count(*) FROM rejected WHERE raw IS NULL"):
        _add_raw(con, source)
    select = ", ".join(f"{value} AS {ident(name)}" for name, value in values)
    # most files are clean: then the conditions need not be looked at again
    where = f"WHERE ({reason}) IS NULL" if scalar(con, "SELECT count(*) FROM rejected") else ""
    copy_parquet(con, f"SELECT {select} FROM {table} {where}", bronze)
    origin = f"{literal(source.name)} AS file, {literal(source.sha256)} AS sha256"
    copy_parquet(con, f"SELECT {origin}, CAST(line AS BIGINT) AS line, reason, raw FROM rejected", quarantine)
    rows = []
    for path in (bronze, quarantine):
        rows.append(int(pq.read_metadata(path).num_rows))
        if not rows[-1]:
            path.unlink()
    return Read(rows[0], rows[1], {})


def _add_raw(con: duckdb.DuckDBPyConnection, source: Source) -> None:
    """Fetch the text of rejected lines from a regular file."""
    wanted = {int(row[0]) for row in con.execute("SELECT line FROM rejected").fetchall()}
    found = [r for r in data_records(source) if r.line in wanted]
    lines = pa.table({"line": [r.line for r in found], "raw": [r.raw for r in found]})
    con.register("rejected_text", lines)
    con.execute("UPDATE rejected SET raw = t.raw FROM rejected_text t WHERE t.line = rejected.line")
    con.unregister("rejected_text")


def sampled(raw: str) -> bool:
    """Whether a record belongs to the deterministic R&D sample, by the hash of its key.

    Without a key: of its text (csv), or of file and row number (parquet).
    """
    return hashlib.md5(raw.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest() < RND_BELOW


def data_records(source: Source) -> Iterator[Record]:
    """The records below the header (of the sample)."""
    found = records(source.path, source.dialect)
    first = next(found, None)
    if not source.sample:
        return found
    names = [n.strip() for n in (first.fields or [])] if first else []
    at = names.index(source.key) if source.key in names else None
    return (r for r in found if sampled(_decides(r, at)))


def _decides(record: Record, at: int | None) -> str:
    fields = record.fields
    return record.raw if at is None or fields is None or at >= len(fields) else fields[at].strip()


def mending(files: Sequence[Mapping[str, Any]]) -> str:
    """What to do about files that were refused, from the `hint` of each."""
    hints = [str(f.get("hint") or "") for f in files if f.get("status", "refused") == "refused"]
    said, again = dict.fromkeys(h for h in hints if h), f"deliver {'it' if len(hints) == 1 else 'them'} again"
    if not said:
        return f"{again}, whole"
    # a hint may say already how it is to be delivered
    return "; ".join([*said, *([] if all(h.startswith("deliver ") for h in hints) else [again])])
