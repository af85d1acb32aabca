"""How long one row takes a stored model, as an online endpoint asks it: one JSON line.

python benchmarks/single_row.py [--trials 20] [--calls 2000]

Trains on scikit-learn's diabetes, stores, loads, then predicts its input example again and again on one thread;
`blend` is the model as trained, `all` every trial with all its folds at once.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from esml_engine.training import storage
from esml_engine.training.facts import Profile
from esml_engine.training.models.model import EnsembleModel, Predictor
from esml_engine.training.search.portfolio import search


def microseconds(model: Predictor, calls: int) -> dict[str, float]:
    """Median and 99th percentile of one call, and the first one, which builds the flat trees."""
    columns = {k: [v] for k, v in model.example.items()}
    at = time.perf_counter()
    model.predict_columns(columns)
    first = time.perf_counter() - at
    spent = np.empty(calls)
    for i in range(calls):
        at = time.perf_counter()
        model.predict_columns(columns)
        spent[i] = time.perf_counter() - at
    p50, p99 = np.percentile(spent, [50, 99]) * 1e6
    return {"p50_us": round(float(p50)), "p99_us": round(float(p99)), "first_us": round(first * 1e6)}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--calls", type=int, default=2_000)
    given = parser.parse_args()
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True).frame.sample(frac=1, random_state=1)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    profile = Profile(seconds=60, trials=given.trials)
    found = search(table.slice(0, 265), table.slice(265, 88), label="target", profile=profile)
    every = [replace(m, weight=1 / len(found.members)) for m in found.members]
    models = {"blend": found.model(), "all": EnsembleModel(every, found.preparing, "target", found.example)}
    for name, model in models.items():
        with tempfile.TemporaryDirectory() as folder:
            sha256 = storage.save(model, Path(folder) / "model")
            loaded = storage.load(Path(folder) / "model", sha256)
        parts = {f"{m.kind}": len(m.parts) for m in model.members}
        line = {
            "model": name,
            "members": len(model.members),
            "parts": sum(len(m.parts) for m in model.members),
            "kinds": sorted(parts),
        }
        print(json.dumps(line | microseconds(loaded, given.calls)), flush=True)


if __name__ == "__main__":
    main()
