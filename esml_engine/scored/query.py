"""Queries over scored rows: what Delta holds and what the ledger still holds, as one table, through DuckDB.

Partitions outside the asked days are left out before DuckDB sees them. A page in the order of time reads only the days
that the counts say it lies in.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from esml_engine.errors import FailedError, UsageError
from esml_engine.scored.facts import IDENTITY, ScoredFilter, ScoredSource
from esml_engine.scored.where import checked, condition, quoted, utc

_BY = {
    "day": ("scored_date", "day"),
    "caller": ("caller_id", "caller_id"),
    "model_version": ("model_version",) * 2,
}
_OF_REQUEST = {"request_id", "scored_at", "scored_date", "caller_id", "model_version"}
_EMPTY: list[tuple[str, str]] = [
    ("request_id", "VARCHAR"),
    ("row", "BIGINT"),
    ("scored_at", "TIMESTAMP WITH TIME ZONE"),
    ("scored_date", "DATE"),
    ("caller_id", "VARCHAR"),
    ("model_version", "BIGINT"),
    ("prediction", "DOUBLE"),
]
_ARROW_NAMES = {
    "VARCHAR": "string",
    "BIGINT": "int64",
    "INTEGER": "int32",
    "FLOAT": "float",
    "BOOLEAN": "bool",
    "DATE": "date32[day]",
    "TIMESTAMP WITH TIME ZONE": "timestamp[us, tz=UTC]",
}
BY_TIME = ("", "scored_at:desc", "scored_at:asc", "scored_at")
"""Orders in which a later row never lies in an earlier day's partition."""
MEMORY = "2GB"
"""What all questions of a process may take together; larger sorts go to disk."""
_connection: Any = None
_connecting = threading.Lock()


def connection() -> Any:
    """A cursor of this process's one DuckDB connection (in memory; zone UTC)."""
    global _connection
    import duckdb

    with _connecting:
        if _connection is None:
            spill = str(Path(tempfile.gettempdir()) / f"esml-scored-{os.getpid()}")
            _connection = duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": spill})
            _connection.execute("SET GLOBAL TimeZone = 'UTC'")
            _connection.execute("SET GLOBAL preserve_insertion_order = false")
    return _connection.cursor()


def query(source: ScoredSource, wanted: ScoredFilter) -> dict[str, Any]:
    """Counts and one page of the scored rows that the filter leaves.

    Returns:
        `{"total", "calls", "columns", "rows", "by_day"}` (or `by_caller`, `by_model_version`); no match: empty.

    Raises:
        UsageError: a column, operator or value of the filter is wrong.
    """
    by = wanted.by or "day"
    if by not in _BY:
        raise UsageError(f"counts can't be grouped by {by!r}", hint="by is day, caller or model_version")
    if wanted.offset < 0 or (wanted.limit or 0) < 0:
        raise UsageError("limit and offset can't be negative")
    with opened(source, wanted) as (con, table):
        found = counts(con, table, by)
        total = sum(c["rows"] for c in found)
        rows: list[dict[str, Any]] = []
        if total and not wanted.count_only and wanted.limit != 0:
            rows = _page(con, table, source, wanted, found if by == "day" else None)
        return {
            "total": total,
            "calls": sum(c["calls"] for c in found),
            "columns": [
                {"name": n, "type": _ARROW_NAMES.get(t, t.lower())} for n, t in table.columns.items()
            ],
            "rows": rows,
            f"by_{by}": found,
        }


def histogram(source: ScoredSource, wanted: ScoredFilter, column: str, bins: int = 20) -> dict[str, Any]:
    """How a column's values are spread over the rows that the filter leaves.

    Returns:
        numbers and times: `{"column", "nulls", "bins": [{"low", "high", "rows"}]}`, equal widths; else the `bins`
        most frequent values: `{"column", "nulls", "values": [{"value", "rows"}], "others"}`.
    """
    with opened(source, wanted) as (con, table):
        name = quoted(checked(column, table.columns))
        kind = table.columns[column]
        rows, filled = table.one(con, f"SELECT count(*), count({name}) FROM {table.sql} WHERE {table.where}")
        if kind in ("BIGINT", "DOUBLE", "DATE", "INTEGER", "FLOAT") or kind.startswith("TIMESTAMP"):
            value = f"epoch({name})" if kind.startswith(("DATE", "TIMESTAMP")) else f"CAST({name} AS DOUBLE)"
            return {"column": column, "nulls": rows - filled, "bins": _bins(con, table, value, bins)}
        found = table.all(
            con,
            f"SELECT CAST({name} AS VARCHAR), count(*) AS n FROM {table.sql} "
            f"WHERE {table.where} AND {name} IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1 LIMIT {int(bins)}",
        )
        values = [{"value": v, "rows": n} for v, n in found]
        others = filled - sum(n for _, n in found)
        return {"column": column, "nulls": rows - filled, "values": values, "others": others}


def profile(source: ScoredSource, wanted: ScoredFilter) -> list[dict[str, Any]]:
    """What each column holds over the rows that the filter leaves; as `lake.preview.profile`, in the contract's order."""
    from esml_engine.lake.preview import summarized

    with opened(source, wanted) as (con, table):
        names = ", ".join(quoted(n) for n in table.columns)
        rows = con.sql(f"SELECT {names} FROM {table.sql} WHERE {table.where}", params=list(table.values))
        return summarized(con, rows)


@dataclass(frozen=True)
class Rows:
    """The scored table as DuckDB sees it: a FROM item, its columns in the contract's order, the filter."""

    sql: str
    columns: dict[str, str]
    where: str
    values: tuple[Any, ...]
    order: str
    of_request: bool  # the filter keeps or drops whole requests

    def all(self, con: Any, sql: str, *more: Any) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = con.execute(sql, [*self.values, *more]).fetchall()
        return found

    def one(self, con: Any, sql: str, *more: Any) -> tuple[Any, ...]:
        return self.all(con, sql, *more)[0]


@contextmanager
def opened(source: ScoredSource, wanted: ScoredFilter) -> Iterator[tuple[Any, Rows]]:
    """A cursor and the rows that the filter leaves, for one question."""
    if not source.files and (source.fresh is None or not source.fresh.num_rows):
        # nothing was ever scored: no feature is known yet, and no condition on one can be judged or met
        wanted = replace(wanted, where=(), order_by="")
    import duckdb

    con = connection()
    try:
        sql, columns = view(con, source, wanted)
        yield con, filtered(sql, columns, wanted)
    except (duckdb.Error, OSError) as error:
        raise FailedError(f"the scored rows could not be read: {error}", hint="try again") from error
    finally:
        con.close()


def view(con: Any, source: ScoredSource, wanted: ScoredFilter) -> tuple[str, dict[str, str]]:
    """The days that the filter may touch, as a FROM item, and its columns' types in the contract's order."""
    first, last = _days(wanted)
    files = [path for path, day in source.files if (not first or day >= first) and (not last or day <= last)]
    # with every partition pruned the columns are still known from one file
    shown = source.near(files or [path for path, _ in source.files[:1]])
    parts = []
    if shown:
        listed = ", ".join("'" + path.replace("'", "''") + "'" for path in shown)
        # files are never changed, so their schemas are remembered; where all agree DuckDB need not open each to plan
        unlike = any(_schema(path) != _schema(shown[0]) for path in shown)
        options = f"union_by_name = {'true' if unlike else 'false'}, hive_partitioning = false"
        stored = any(
            "scored_date" in _schema(path).names for path in shown
        )  # another engine's file may hold it
        every = "* EXCLUDE (scored_date)" if stored else "*"
        part = (
            f"SELECT {every}, CAST(scored_at AS DATE) AS scored_date FROM read_parquet([{listed}], {options})"
        )
        parts.append(part if files else f"({part} LIMIT 0)")
    known = {"scored_date"}.union(*(_schema(path).names for path in shown))
    if source.fresh is not None and (source.fresh.num_rows or set(source.fresh.column_names) - known):
        con.register("fresh", source.fresh)
        parts.append("SELECT * FROM fresh")
    if not parts:
        nothing = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in _EMPTY)
        parts.append(f"SELECT {nothing} WHERE false")
    sql = f"({' UNION ALL BY NAME '.join(parts)})"
    found = {str(row[0]): str(row[1]) for row in con.execute(f"DESCRIBE SELECT * FROM {sql}").fetchall()}
    return sql, {name: found[name] for name in _ordered(found)}


@lru_cache(maxsize=65_536)
def _schema(path: str) -> Any:
    import pyarrow.parquet as pq

    return pq.read_schema(path).remove_metadata()


def filtered(sql: str, columns: dict[str, str], wanted: ScoredFilter) -> Rows:
    """The rows of a FROM item that the filter leaves."""
    where, values, of_request = _conditions(wanted, columns)
    return Rows(sql, columns, where, tuple(values), _order(wanted, columns), of_request)


def _ordered(names: Mapping[str, str]) -> list[str]:
    """Column names in the contract's order, features last."""
    probabilities = [n for n in names if n.startswith("probability_")]
    head = [*IDENTITY, "prediction", *probabilities, "low", "high"]
    present = [n for n in head if n in names]
    return present + [n for n in names if n not in set(present)]


def _days(wanted: ScoredFilter) -> tuple[dt.date | None, dt.date | None]:
    return _day(wanted.since), _day(wanted.until)


def _day(moment: dt.date | dt.datetime | None) -> dt.date | None:
    return utc(moment).astimezone(dt.UTC).date() if isinstance(moment, dt.datetime) else moment


def _conditions(wanted: ScoredFilter, columns: dict[str, str]) -> tuple[str, list[Any], bool]:
    parts = ["true"]
    values: list[Any] = []
    of_request = True
    since, until = wanted.since, wanted.until
    if isinstance(since, dt.datetime):
        parts.append("scored_at >= ?")
        values.append(utc(since))
    elif since is not None:
        parts.append("scored_at >= ?")
        values.append(_midnight(since))
    if isinstance(until, dt.datetime):
        parts.append("scored_at <= ?")
        values.append(utc(until))
    elif until is not None:
        parts.append("scored_at < ?")
        values.append(_midnight(until + dt.timedelta(days=1)))
    for name, allowed in (("caller_id", wanted.callers), ("model_version", wanted.model_versions)):
        if allowed:
            parts.append(f"{name} IN ({', '.join('?' * len(allowed))})")
            values += allowed
    if wanted.without:
        parts.append(f"request_id NOT IN ({', '.join('?' * len(wanted.without))})")
        values += wanted.without
    for text in wanted.where:
        one = condition(text, columns)
        parts.append(f"({one.sql})")
        values += one.values
        of_request = of_request and one.column in _OF_REQUEST
    return " AND ".join(parts), values, of_request


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def counts(con: Any, table: Rows, by: str) -> list[dict[str, Any]]:
    """`[{"day", "rows", "calls"}]`, or by `caller` or `model_version`, in their order."""
    column, key = _BY[by]
    # every request has one row 0: counting those is quicker than counting distinct ids
    calls = 'count(*) FILTER ("row" = 0)' if table.of_request else "count(DISTINCT request_id)"
    sql = f"SELECT {column}, count(*), {calls} FROM {table.sql} WHERE {table.where} GROUP BY 1 ORDER BY 1"
    return [{key: plain(k), "rows": n, "calls": c} for k, n, c in table.all(con, sql)]


def _order(wanted: ScoredFilter, columns: Mapping[str, str]) -> str:
    if not wanted.order_by:
        return 'scored_at DESC, request_id, "row"'
    name, _, way = wanted.order_by.rpartition(":")
    if way.lower() not in ("asc", "desc") or not name:
        name, way = wanted.order_by, "asc"
    return f'{quoted(checked(name, columns))} {way.upper()} NULLS LAST, scored_at DESC, request_id, "row"'


def _page(
    con: Any, table: Rows, source: ScoredSource, wanted: ScoredFilter, days: list[dict[str, Any]] | None
) -> list[dict[str, Any]]:
    offset, limit = wanted.offset, wanted.limit
    if days is not None and wanted.order_by in BY_TIME:
        narrow = _narrowed(wanted, days)
        if narrow is None:
            return []
        wanted, offset = narrow
        sql, columns = view(con, source, wanted)
        if columns != table.columns:  # these days lack a column that other days have
            sql, columns = table.sql, table.columns
        table = filtered(sql, columns, wanted)
    names = ", ".join(quoted(n) for n in table.columns)
    sql = f"SELECT {names} FROM {table.sql} WHERE {table.where} ORDER BY {table.order}"
    if limit is not None:
        sql += f" LIMIT {int(limit)}"
    sql += f" OFFSET {int(offset)}"
    return [dict(zip(table.columns, map(plain, row), strict=True)) for row in table.all(con, sql)]


def _narrowed(wanted: ScoredFilter, days: list[dict[str, Any]]) -> tuple[ScoredFilter, int] | None:
    """The filter for those days in which rows [offset, offset + limit) lie, and the offset there; None: no rows."""
    newest_first = wanted.order_by in ("", "scored_at:desc")
    before = skipped = 0
    chosen: list[dt.date] = []
    for day in reversed(days) if newest_first else days:
        if wanted.limit is not None and before >= wanted.offset + wanted.limit:
            break
        if before + day["rows"] > wanted.offset:
            if not chosen:
                skipped = before
            chosen.append(dt.date.fromisoformat(day["day"]))
        before += day["rows"]
    if not chosen:
        return None
    first, last = _days(wanted)
    low, high = min(chosen), max(chosen)
    since = wanted.since if first == low else low
    until = wanted.until if last == high else high
    return replace(wanted, since=since, until=until), wanted.offset - skipped


def _bins(con: Any, table: Rows, value: str, bins: int) -> list[dict[str, Any]]:
    rows = f"FROM {table.sql} WHERE {table.where} AND isfinite({value})"
    low, high = table.one(con, f"SELECT min({value}), max({value}) {rows}")
    if low is None:
        return []
    used = bins if high > low else 1
    width = (high - low) / used or 1.0
    place = f"least(CAST(floor(({value} - {low!r}) / {width!r}) AS BIGINT), {used - 1})"
    found = dict(table.all(con, f"SELECT {place} AS place, count(*) {rows} GROUP BY 1"))
    return [
        {"low": low + n * width, "high": low + (n + 1) * width, "rows": found.get(n, 0)} for n in range(used)
    ]


def plain(value: Any) -> Any:
    """A value as JSON takes it: times in ISO 8601 (UTC, `Z`), NaN and infinity as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.datetime):
        return utc(value).astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    if isinstance(value, dt.date):
        return value.isoformat()
    if value is None or isinstance(value, str | int):
        return value
    return str(value)
