"""A whole comparison of two models on 1,000,000 rows with 10,000 resamples: at most 2 × the two predictions alone.

Ours is the job `promotion.compare` as a worker runs it: the rows that each model was trained on (3,000,000) looked for
by key, the test rows read, both models asked, all regression metrics with their intervals, the baseline. The reference
asks both models about the same rows, already in memory. `ESML_BENCH_ROWS` makes it smaller.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.harness import interleaved, report, timed
from esml_engine.lake.files import schema_text, write_arrow
from esml_engine.promotion.steps import compare
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import JobSpec, TableIn
from esml_engine.training import storage
from esml_engine.training.models.custom_model import EstimatorModel

ROWS = int(os.environ.get("ESML_BENCH_ROWS", "1000000"))


def rows(n: int, start: int, seed: int) -> pa.Table:
    """n rows of a key, eight numbers and a label."""
    r = np.random.default_rng(seed)
    x = r.normal(size=(n, 8))
    y = x[:, 0] * 3 + np.sin(x[:, 1] * 2) + x[:, 2] * x[:, 3] + r.normal(0, 0.5, n)
    columns: dict[str, Any] = {"id": np.arange(start, start + n)}
    return pa.table({**columns, **{f"x{i}": x[:, i] for i in range(8)}, "y": y})


def table_in(folder: Path, name: str, table: pa.Table) -> TableIn:
    """Written as the lake writes it."""
    file = write_arrow(table, str(folder / name), "part.parquet")
    return TableIn(name, str(folder / name), 1, (file.path,), schema_text(table.schema), table.num_rows)


def model(folder: Path, trees: int, seed: int) -> dict[str, Any]:
    """One LightGBM of a train.py: light beside what automl makes (that asks five folds of several settings)."""
    from lightgbm import LGBMRegressor

    table = rows(20_000, 0, seed)
    names = [f"x{i}" for i in range(8)]
    fitted = LGBMRegressor(n_estimators=trees, verbose=-1, random_state=seed).fit(
        table.select(names).to_pandas(), table["y"].to_numpy()
    )
    signature = [{"name": n, "type": "double"} for n in names]
    example = {n: 0.0 for n in names}
    made = EstimatorModel(
        fitted.booster_, "lightgbm", "lightgbm.LGBMRegressor", signature, "y", example, "regression"
    )
    sha256 = storage.save(made, folder)
    return {
        "folder": str(folder),
        "sha256": sha256,
        "version": seed,
        "task": "regression",
        "signature": signature,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        test = rows(ROWS, 10 * ROWS, 9)
        both = [model(folder / f"model{i}", 300, i) for i in (1, 2)]
        tables = {"gold_test": table_in(folder, "gold_test", test)}
        for who, seed in (("challenger", 3), ("champion", 4)):
            tables[f"{who}/gold_train"] = table_in(folder, f"{who}-train", rows(int(2.25 * ROWS), 0, seed))
            tables[f"{who}/gold_validate"] = table_in(
                folder, f"{who}-validate", rows(int(0.75 * ROWS), 3 * ROWS, seed)
            )
        tables["gold_train"] = tables["challenger/gold_train"]
        (folder / "work").mkdir()
        params = {"task": "regression", "label": "y", "key": ["id"], "primary": "rmse", "resamples": 10_000,
            "challenger": both[0], "champion": both[1]}  # fmt: skip
        spec = JobSpec(
            "r-bench",
            "compare",
            1,
            "promotion.compare",
            "test",
            "p",
            "m",
            params,
            str(folder / "work"),
            tables,
        )
        job = JobContext(spec)
        loaded = [storage.load(m["folder"], m["sha256"]) for m in both]

        def ours() -> None:
            value, _ = compare(job)
            assert value["rows"] == ROWS and len(value["difference"]["intervals"]) == 6, value
            assert all(v["rows"] == 0 and not v["error"] for v in value["trained_on"].values())

        def reference() -> None:
            for m in loaded:
                m.predict(test)

        mine, theirs = interleaved(timed(ours), timed(reference), 3)
        import resource

        report("compare", mine, theirs, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
