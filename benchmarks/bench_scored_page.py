"""Counts by day and a page of 100 of a million scored rows in 30 partitions, against the same SQL by hand in DuckDB.

    python -m benchmarks.bench_scored_page [narrow|values|all]

Target: at most twice the time of the SQL by hand.
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import psutil

from benchmarks.harness import interleaved, report, timed
from esml_engine.scored.facts import ScoredFilter, ScoredSource
from esml_engine.scored.query import query

ROWS, DAYS, ROUNDS = 1_000_000, 30, 15
FIRST = dt.date(2026, 10, 1)


def _make(folder: str) -> ScoredSource:
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    features = ", ".join(f"round(random() * 100, 3) AS f{n}" for n in range(8))
    con.execute(
        f"""COPY (
            SELECT 'r-' || (i // 4) AS request_id, i % 4 AS row,
                   TIMESTAMPTZ '{FIRST} 00:00:00+00' + to_microseconds((i // 4) * 4 * {DAYS * 86_400_000_000 // ROWS}) AS scored_at,
                   CAST(scored_at AS DATE) AS scored_date, 'caller' || ((i // 4) % 20) AS caller_id,
                   CAST(1 + (i // 4) % 3 AS BIGINT) AS model_version, random() AS prediction, {features}, 'text' || i % 50 AS city
            FROM range({ROWS}) t(i)
        ) TO '{folder}' (FORMAT parquet, PARTITION_BY (scored_date), COMPRESSION zstd)"""
    )
    found = sorted(Path(folder).glob("scored_date=*/*.parquet"))
    return ScoredSource([(str(p), dt.date.fromisoformat(p.parent.name.partition("=")[2])) for p in found])


def _by_hand(
    con: duckdb.DuckDBPyConnection, folder: str, where: str
) -> Callable[[], tuple[list[Any], list[Any]]]:
    table = f"read_parquet('{folder}/*/*.parquet', hive_partitioning = true)"

    def run() -> tuple[list[Any], list[Any]]:
        counts = f"SELECT scored_date, count(*), count(DISTINCT request_id) FROM {table} WHERE {where} GROUP BY 1 ORDER BY 1"
        page = f"SELECT * FROM {table} WHERE {where} ORDER BY scored_at DESC, request_id, row LIMIT 100"
        return con.execute(counts).fetchall(), con.execute(page).fetchall()

    return run


def main(case: str) -> None:
    """Run both in turns, for a narrow filter, a filter on values, and none."""
    cases = {
        "narrow": (
            ScoredFilter(since=dt.date(2026, 10, 8), until=dt.date(2026, 10, 21), callers=("caller7",)),
            "scored_date BETWEEN '2026-10-08' AND '2026-10-21' AND caller_id = 'caller7'",
        ),
        "values": (
            ScoredFilter(where=("f0 > 50", "city in text1,text2,text3")),
            "f0 > 50 AND city IN ('text1','text2','text3')",
        ),
        "all": (ScoredFilter(), "true"),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = f"{name}/scored"
        source = _make(folder)
        con = duckdb.connect()
        con.execute("SET TimeZone = 'UTC'")
        wanted, where = cases[case]
        hand = _by_hand(con, folder, where)
        ours = query(source, wanted)
        counts, page = hand()
        assert [(d["day"], d["rows"], d["calls"]) for d in ours["by_day"]] == [
            (str(a), b, c) for a, b, c in counts
        ]
        assert [r["request_id"] for r in ours["rows"]] == [r[0] for r in page]
        a, b = interleaved(timed(lambda: query(source, wanted)), timed(hand), ROUNDS)
        report(f"scored_page_{case}", a, b, psutil.Process().memory_info().rss / 1e6)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "narrow")
