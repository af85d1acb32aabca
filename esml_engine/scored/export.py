"""The whole filtered result as a file, at flat memory: in the order of time some days after the other, else sorted on disk."""

from __future__ import annotations

import datetime as dt
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from esml_engine.errors import UsageError
from esml_engine.scored.facts import ScoredFilter, ScoredSource
from esml_engine.scored.query import BY_TIME, Rows, counts, filtered, opened, view
from esml_engine.scored.where import quoted

_SLICE = 250_000  # rows that are sorted at once, unless a single day has more
_BATCH = 50_000  # rows of a row group in parquet
_UNSAFE = tuple("=+-@\t\r")  # what a formula begins with, in a spreadsheet
_LISTED = ", ".join(f"chr({ord(c)})" for c in _UNSAFE)


def export(source: ScoredSource, wanted: ScoredFilter, path: str | Path) -> int:
    """Write every row that the filter leaves (its limit and offset do not apply) to `path`, .csv or .parquet.

    In CSV, text that a spreadsheet would take for a formula gets a leading apostrophe, headers included.

    Returns:
        the number of rows written.

    Raises:
        UsageError: another ending, or a wrong filter. FailedError: the rows can't be read.
    """
    target = Path(path)
    if target.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{target.name} can't be written", hint="the name ends in .csv or .parquet")
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with opened(source, wanted) as (con, table):
            parts = _slices(con, table, source, wanted)
            written = (_csv if target.suffix == ".csv" else _parquet)(con, table, parts, draft)
        draft.replace(target)  # whole or not at all
    finally:
        draft.unlink(missing_ok=True)
    return written


def _slices(con: Any, table: Rows, source: ScoredSource, wanted: ScoredFilter) -> Iterator[Rows]:
    """The rows in parts, one after the other in the wanted order; always at least one."""
    days = counts(con, table, "day") if wanted.order_by in BY_TIME else []
    if sum(d["rows"] for d in days) <= _SLICE:
        yield table
        return
    for first, last in _spans(days, newest_first=wanted.order_by in ("", "scored_at:desc")):
        # the outermost days keep the filter's own moments
        since = wanted.since if first == days[0]["day"] else dt.date.fromisoformat(first)
        until = wanted.until if last == days[-1]["day"] else dt.date.fromisoformat(last)
        narrow = replace(wanted, since=since, until=until)
        yield filtered(*view(con, source, narrow), narrow)


def _spans(days: list[dict[str, Any]], *, newest_first: bool) -> Iterator[tuple[str, str]]:
    """First and last day of parts of about `_SLICE` rows."""
    span: list[str] = []
    rows = 0
    for day in reversed(days) if newest_first else days:
        if span and rows + day["rows"] > _SLICE:
            yield min(span), max(span)
            span, rows = [], 0
        span.append(day["day"])
        rows += day["rows"]
    yield min(span), max(span)


def _select(part: Rows, columns: Mapping[str, str], *, csv: bool) -> str:
    """The query of one part with the columns of all of them, in their types: days may differ in both."""
    shown = []
    for name, kind in columns.items():
        own, value = part.columns.get(name), quoted(name)
        if own is None:
            value = "NULL"
        elif csv and kind == "VARCHAR":
            value = f"CASE WHEN left({value}, 1) IN ({_LISTED}) THEN chr(39) || {value} ELSE {value} END"
        typed = value if own == kind else f"CAST({value} AS {kind})"
        shown.append(f"{typed} AS {quoted(_head(name) if csv else name)}")
    return f"SELECT {', '.join(shown)} FROM {part.sql} WHERE {part.where} ORDER BY {part.order}"


def _csv(con: Any, table: Rows, parts: Iterator[Rows], target: Path) -> int:
    written = 0
    piece = target.with_name(target.name + ".part")
    try:
        for number, part in enumerate(parts):
            literal = "'" + str(piece if number else target).replace("'", "''") + "'"
            header = "false" if number else "true"
            sql = (
                f"COPY ({_select(part, table.columns, csv=True)}) TO {literal} (FORMAT csv, HEADER {header})"
            )
            written += int(part.one(con, sql)[0])
            if number:
                with target.open("ab") as whole, piece.open("rb") as more:
                    shutil.copyfileobj(more, whole, 1 << 20)
    finally:
        piece.unlink(missing_ok=True)
    return written


def _head(name: str) -> str:
    """A header that a spreadsheet does not take for a formula."""
    return "'" + name if name[:1] in _UNSAFE else name


def _parquet(con: Any, table: Rows, parts: Iterator[Rows], target: Path) -> int:
    import pyarrow.parquet as pq

    written, writer = 0, None
    try:
        for part in parts:
            rows = con.sql(_select(part, table.columns, csv=False), params=list(part.values))
            batches = rows.to_arrow_reader(_BATCH)
            if writer is None:
                writer = pq.ParquetWriter(target, batches.schema, compression="zstd", compression_level=1)
            for batch in batches:
                writer.write_batch(batch)
                written += batch.num_rows
    finally:
        if writer is not None:
            writer.close()
    return written
