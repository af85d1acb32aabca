"""What the engine adds to a training: the wall time of `esml train`, over the seconds that the search itself took.

    python -m benchmarks.overhead [--seconds 60] [--rounds 1]

A made table of 54,000 rows and 10 columns, and trials without a limit: the search uses the profile's seconds. Everything
counts that a person waits for: reading gold, scoring gold_test, importance, saving, MLflow, registering. Once with a
worker that is up, whose children have their libraries loaded, and once by a command for itself (`alone`), with its start,
its worker and a cold child. Outside of `make bench`, as it takes minutes. The lines `as_asked` hold the same wall time against the
seconds that were asked for: a search ends when no further trial fits into them. Target: ratio at most 1.15; alone, where
a cold start of a fixed length is in it, of the seconds asked for.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.harness import process, report
from esml_engine.estate import init_estate, open_estate
from esml_engine.training.registering import trained_value

MODEL, ROWS = "project1/model1", 54_000


def made(rows: int) -> pd.DataFrame:
    """Numbers and texts of which a price follows, as diamonds have it: not in a line, and with noise."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({f"x{n}": rng.gamma(2.0, 1.0, rows).round(3) for n in range(6)})
    grades = {f"c{n}": rng.choice([f"g{i}" for i in range(5 + n)], rows) for n in range(3)}
    step = sum(pd.Series(v).str[1:].astype(int) for v in grades.values())
    y = 400 * x["x0"] ** 1.6 + 90 * x["x1"] * x["x2"] + 60 * step + rng.normal(0, 120, rows)
    return pd.DataFrame({"id": range(rows), **x, **grades, "price": y.round(2)})


def prepare(root: Path, seconds: float) -> None:
    """An estate with the table split, and a profile of so many seconds that trials do not end earlier."""
    init_estate(root, ["dev"])
    open_estate(root).new_project("project1", "team")
    open_estate(root).new_model(MODEL, "regression", ["ds01"], label="price", key="id")
    path = root / "projects" / MODEL / "model.toml"
    profile = f"seconds = {seconds:g}\ntrials = 100000\nfolds = 5"
    path.write_text(path.read_text().replace("seconds = 15\ntrials = 20\nfolds = 5", profile))
    file = root / ".esml" / "made.csv"
    made(ROWS).to_csv(file, index=False)
    model = open_estate(root).model(MODEL)
    model.ingest("ds01", [file], "2026-01-01")
    with model.estate.hand.holding(warm=True):
        model.refine()
        model.split()


def main() -> None:
    """Train and compare with what the search says of itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "estate"
        prepare(root, given.seconds)
        with open_estate(root).hand.holding(warm=True):
            _measure(root, "", given.seconds, given.rounds)
        _measure(root, "_alone", given.seconds, given.rounds)


def _measure(root: Path, how: str, seconds: float, rounds: int) -> None:
    ours, search, peak = [], [], 0.0
    for _ in range(rounds):
        took = process([sys.executable, "-m", "esml_engine.cli", "--estate", str(root), "train", MODEL])
        estate = open_estate(root)
        run = next(r["run"] for r in estate.runs() if r["act"] == "train")
        ours.append(took.seconds)
        search.append(float(trained_value(estate.site, run)["search_seconds"]))
        peak = max(peak, took.peak_mb)
    report(f"overhead_of_{seconds:g}_s{how}", ours, search, peak)
    report(f"overhead_of_{seconds:g}_s{how}_as_asked", ours, [seconds] * len(ours), peak)


if __name__ == "__main__":
    main()
