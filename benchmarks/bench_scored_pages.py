"""The page *Scored data* over 10 M rows in 365 days: one server rerun, against the SQL by hand and a bare page with the same frames.

    python -m benchmarks.bench_scored_pages [ROWS]

The reference runs three statements (counts of all callers, counts by day under the filter, a page of 100) and shows
what they answer. Target: at most twice that.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import duckdb
import psutil
from streamlit.testing.v1 import AppTest

from benchmarks.harness import interleaved, report, timed
from benchmarks.scored_estates import make, table_sql
from cockpit import places
from cockpit.frame import opening

ROUNDS = 9
SINCE, UNTIL, CALLER = "2026-03-01", "2026-03-31", "caller7"
WHERE = f"scored_date BETWEEN '{SINCE}' AND '{UNTIL}' AND caller_id = '{CALLER}' AND prediction >= 0.5"


def bare(sql: str) -> None:
    """A Streamlit script of its own (AppTest runs its source): the statements and what they answer."""
    import duckdb
    import streamlit as st

    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    parts = sql.split(";")
    everything, counts, page = (con.execute(p).df() for p in parts)
    st.title("Scored data")
    st.caption(f"{len(everything)} callers")
    st.metric("Rows", int(counts.iloc[:, 1].sum()))
    st.bar_chart(counts, x="scored_date", y=counts.columns[1])
    st.dataframe(page)


def main() -> None:
    """Both in turns."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "estate"
        make(root, rows, 365)
        os.environ[opening.ENVIRONMENT] = str(root)
        table = table_sql(root)
        statements = ";".join([
            f"SELECT caller_id, count(*), count(DISTINCT request_id) FROM {table} GROUP BY 1 ORDER BY 1",
            f"SELECT scored_date, count(*), count(DISTINCT request_id) FROM {table} WHERE {WHERE} GROUP BY 1 ORDER BY 1",
            f"SELECT * FROM {table} WHERE {WHERE} ORDER BY scored_at DESC, request_id, row LIMIT 100",
        ])  # fmt: skip
        ours = AppTest.from_file(str(places.APP), default_timeout=300).run()
        ours.switch_page("../pages/scored.py")
        for k, v in {"project": "project1", "model": "model1", "env": "dev", "from": SINCE, "to": UNTIL, "caller": CALLER,
            "where": "prediction >= 0.5"}.items():  # fmt: skip
            ours.query_params[k] = v
        ours.run()
        assert not ours.exception and not ours.error, (ours.exception, ours.error)
        hand = AppTest.from_function(bare, args=(statements,), default_timeout=300).run()
        assert not hand.exception, hand.exception
        assert ours.metric[0].value == f"{int(hand.metric[0].value):,}", (
            ours.metric[0].value,
            hand.metric[0].value,
        )
        count = duckdb.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert count and count[0] == rows
        a, b = interleaved(timed(ours.run), timed(hand.run), ROUNDS)
        report(f"scored_pages_{rows}", a, b, psutil.Process().memory_info().rss / 1e6)


if __name__ == "__main__":
    main()
