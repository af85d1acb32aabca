"""The leaderboard of a model with 10,000 candidates, read and made into the page's table, against the bare SQL of the same rows.

    python -m benchmarks.bench_leaderboard [CANDIDATES]

Every fifth candidate is a registered version, every fiftieth was compared with the next environment. Target: at most
3 x the bare SQL, the columns of JSON decoded as any reader of them must.
"""

from __future__ import annotations

import gc
import json
import sqlite3
import sys
import tempfile
from pathlib import Path

import psutil

from benchmarks.estates import leaderboard_of, make
from benchmarks.harness import interleaved, report, timed
from cockpit.acts.deciding import became, promotions
from cockpit.views.candidates import table
from cockpit.views.leaderboard import with_costs
from esml_engine.estate import open_estate

MODEL = "project000/model0000"
SQL = """
SELECT k.env, k.run, k.version, k.estimator, k.metrics, k.baseline, k.data, k.cost, k.at, k.verdict, c.version, c.previous
FROM candidates k LEFT JOIN champions c ON c.object = k.object AND c.env = k.env
WHERE k.object = ? ORDER BY json_extract(k.metrics, '$.rmse') IS NULL, json_extract(k.metrics, '$.rmse')
"""


def main(candidates: int) -> None:
    """Make the store and read it in turns."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "estate"
        make(root, 1)
        leaderboard_of(root, MODEL, candidates)
        estate = open_estate(root)

        def ours() -> int:
            asked = became(promotions(estate, MODEL))
            rows = with_costs(estate.model(MODEL).leaderboard("all"))
            return len(table(rows, "rmse", "EUR", asked))

        def bare() -> int:
            with sqlite3.connect(root / ".esml/store.db") as c:
                rows = [
                    (*r[:4], *(r[n] and json.loads(r[n]) for n in (4, 5, 6, 9)))
                    for r in c.execute(SQL, [MODEL])
                ]
            return len(rows)

        assert ours() == bare() == candidates
        gc.freeze()  # as the cockpit's server does with what it has loaded
        a, b = interleaved(timed(ours), timed(bare), 9)
        report(f"leaderboard_{candidates}", a, b, psutil.Process().memory_info().rss / 2**20)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
