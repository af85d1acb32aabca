"""Tables and jobs for the training room's tests: scikit-learn's bundled diabetes, nothing from the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings

from esml_engine.lake import files
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import JobSpec, TableIn
from esml_engine.training.facts import Profile
from esml_engine.training.search.portfolio import Search, search

# a busy machine must not fail a rule that holds
settings.register_profile("training", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("training")


@pytest.fixture(scope="session")
def diabetes() -> dict[str, pa.Table]:
    """60/20/20 of diabetes as gold tables, with a key, a category, a date and gaps."""
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True).frame.sample(frac=1, random_state=1).reset_index(drop=True)
    rng = np.random.default_rng(1)
    frame["patient_id"] = np.arange(len(frame))
    frame["clinic"] = np.where(frame["bmi"] > 0.02, "north", np.where(frame["bp"] > 0, "south", "east"))
    frame.loc[rng.random(len(frame)) < 0.1, "clinic"] = None
    frame.loc[rng.random(len(frame)) < 0.1, "s1"] = np.nan
    table = pa.Table.from_pandas(frame, preserve_index=False)
    days = pa.array(rng.integers(0, 3_000, len(frame)).astype("datetime64[D]"))
    table = table.append_column("seen", days).append_column("nothing", pa.nulls(len(frame)))
    return {
        "gold_train": table.slice(0, 265),
        "gold_validate": table.slice(265, 88),
        "gold_test": table.slice(353),
    }


@pytest.fixture(scope="session")
def found(diabetes: dict[str, pa.Table]) -> Search:
    """One small search that several tests look at."""
    return search(
        diabetes["gold_train"],
        diabetes["gold_validate"],
        label="target",
        leave_out=["patient_id"],
        profile=Profile(seconds=600, trials=6, folds=3),
    )


@pytest.fixture(scope="session")
def tracking_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the migrated empty tracking database is kept for the session."""
    return tmp_path_factory.mktemp("cache")


MakeJob = Callable[..., JobContext]


@pytest.fixture
def make_job(tmp_path: Path, diabetes: dict[str, pa.Table], tracking_cache: Path) -> MakeJob:
    """Build a training job over the gold tables; keyword arguments become parameters."""

    def make(attempt: int = 1, run: str = "r1", **params: Any) -> JobContext:
        inputs = {}
        for name, table in diabetes.items():
            folder = tmp_path / "lake" / name
            if not folder.exists():
                files.write_arrow(table, str(folder), "part-0.parquet")
            schema = files.schema_text(table.schema)
            inputs[name] = TableIn(name, str(folder), 1, ("part-0.parquet",), schema, table.num_rows)
        work = tmp_path / f"work-{run}-{attempt}"
        work.mkdir()
        profile = {"seconds": 300, "trials": 3, "folds": 3, "estimators": ["lightgbm", "linear", "xgboost"]}
        known = {
            "task": "regression",
            "label": "target",
            "key": "patient_id",
            "profile": profile,
            "experiment": "project002-m11",
            "cache": str(tracking_cache),
            **params,
        }
        uri = f"sqlite:///{tmp_path}/tracking/mlflow.db"
        return JobContext(
            JobSpec(
                run,
                "train",
                attempt,
                "training.train",
                "dev",
                "project002",
                "m11",
                known,
                str(work),
                inputs,
                tracking=uri,
            )
        )

    return make
