"""The training job from gold tables to MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from esml_engine.errors import FailedError, StepError, UsageError
from esml_engine.training import storage, tracking
from esml_engine.training.steps import train


def test_a_job_leaves_a_scored_model_and_a_finished_run(make_job: Any, diabetes: dict[str, pa.Table]) -> None:
    job = make_job(tags={"esml.project": "project002"})
    value, tables = train(job)
    assert tables == []
    json.dumps(value, allow_nan=False)
    assert value["metrics"]["rmse"] < value["baseline"]["rmse"]
    assert value["baseline"]["spearman"] is None
    assert {f["estimator"] for f in value["families"]} == {"lightgbm", "linear", "xgboost"}
    assert len(value["trials"]) == 3 and all(t["folds"] == 3 for t in value["trials"])
    assert value["champion_metrics"] is None and value["champion_error"] == ""
    names = [c["name"] for c in value["signature"]]
    assert "patient_id" not in names and "target" not in names
    assert value["importance"][0]["importance"] >= value["importance"][-1]["importance"]
    assert value["importance_sampled_rows"] == 89
    model = storage.load(value["artifact_uri"], value["sha256"])
    test = diabetes["gold_test"]
    again = float(np.sqrt(np.mean((model.predict(test) - test.column("target").to_numpy()) ** 2)))
    assert again == pytest.approx(value["metrics"]["rmse"], rel=1e-9)

    run = tracking.client(job.spec.tracking).get_run(value["mlflow_run"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["esml.run"] == "r1" and run.data.tags["esml.project"] == "project002"
    assert run.data.metrics["rmse"] == pytest.approx(value["metrics"]["rmse"])
    assert run.data.params["data.gold_train"] == "1"
    assert not [p for p in Path(value["artifact_uri"]).rglob("*") if p.suffix in (".pkl", ".joblib")]


def test_the_champion_is_scored_on_the_same_rows_and_a_changed_one_is_said(make_job: Any) -> None:
    first, _ = train(make_job())
    champion = {"folder": first["model_folder"], "sha256": first["sha256"], "version": 1}
    second, _ = train(make_job(run="r2", champion=champion))
    assert second["champion_metrics"] == first["metrics"]
    third, _ = train(make_job(run="r3", champion={**champion, "sha256": "0" * 64}))
    assert third["champion_metrics"] is None and "registered" in third["champion_error"]


def test_a_gate_on_the_interval_of_the_gain_is_told_it(make_job: Any, diabetes: dict[str, pa.Table]) -> None:
    first, _ = train(make_job())
    champion = {"folder": first["model_folder"], "sha256": first["sha256"], "version": 1}
    second, _ = train(make_job(run="r2", champion=champion, gates={"interval": ["rmse", "mae"]}))
    assert second["champion_gains"] == {"rmse": [0.0, 0.0], "mae": [0.0, 0.0]}, "the very same model"
    assert second["champion_rows"] == diabetes["gold_test"].num_rows
    assert train(make_job(run="r3", champion=champion))[0]["champion_gains"] == {}, "nobody asked"


def test_an_earlier_attempt_is_closed_as_killed(make_job: Any) -> None:
    first, _ = train(make_job())
    job = make_job(attempt=2)
    second, _ = train(job)
    client = tracking.client(job.spec.tracking)
    assert client.get_run(first["mlflow_run"]).info.status == "KILLED"
    assert client.get_run(second["mlflow_run"]).info.status == "FINISHED"
    assert second["metrics"] == first["metrics"], "limited by trials, the same seed gives the same model"


def test_a_forecast_without_its_time_column_and_unknown_modes_are_refused(make_job: Any) -> None:
    with pytest.raises(UsageError, match="time column"):
        train(make_job(task="forecasting"))
    with pytest.raises(UsageError, match="mode"):
        train(make_job(run="r2", mode="magic"))


def test_a_leak_warns_or_stops(
    make_job: Any, diabetes: dict[str, pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, table in list(diabetes.items()):
        doubled = pa.array(table.column("target").to_numpy() * 2 + 1)
        monkeypatch.setitem(diabetes, name, table.append_column("twice", doubled))
    value, _ = train(make_job())
    assert [(leak["column"], leak["kind"]) for leak in value["leakage"]] == [("twice", "scaled")]
    with pytest.raises(FailedError, match="twice"):
        train(make_job(run="r2", leakage="stop"))
    value, _ = train(make_job(run="r3", leakage="stop", ignore=["twice"]))
    assert value["leakage"] == []


CUSTOM = """
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

COLUMNS = ["bmi", "bp", "s5"]

def train(train, validate, ctx):
    assert ctx.label == "target" and "patient_id" not in ctx.features
    return make_pipeline(SimpleImputer(), StandardScaler(), Ridge(ctx.params.get("alpha", 1.0))).fit(train[COLUMNS], train[ctx.label])
"""


def test_custom_training(make_job: Any, tmp_path: Path) -> None:
    code = tmp_path / "train.py"
    code.write_text(CUSTOM)
    value, _ = train(make_job(mode="custom", code=str(code)))
    assert value["estimator"] == "Pipeline"
    assert [c["name"] for c in value["signature"]] == ["bmi", "bp", "s5"]
    assert value["metrics"]["rmse"] < value["baseline"]["rmse"]
    model = storage.load(value["artifact_uri"], value["sha256"])
    assert model.predict_columns({k: [v] for k, v in model.example.items()}).shape == (1,)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("def train(train, validate, ctx):\n    x = 1\n    return 1 / 0\n", r"train.py:3: ZeroDivisionError"),
        ("def fit(train):\n    pass\n", "no function train"),
        ("def train(train, validate, ctx)\n    pass\n", r"train.py:1"),
        (
            "from sklearn.linear_model import Ridge\ndef train(train, validate, ctx):\n    return Ridge()\n",
            r"train.py: NotFittedError",
        ),
        ("def train(train, validate, ctx):\n    return 3\n", "no predict"),
        (
            "from sklearn.linear_model import Ridge\ndef train(train, validate, ctx):\n"
            "    return Ridge().fit(train[['bmi', 'target']], train['target'])\n",
            "'target', the label",
        ),
    ],
)
def test_a_broken_train_file_is_named_with_its_line(
    make_job: Any, tmp_path: Path, body: str, says: str
) -> None:
    code = tmp_path / "train.py"
    code.write_text(body)
    with pytest.raises(StepError, match=says):
        train(make_job(mode="custom", code=str(code)))
    job = make_job(run="other")
    runs = tracking.client(job.spec.tracking).search_runs(["1"])
    assert [r.info.status for r in runs] == ["FAILED"]


def test_an_estimator_that_needs_pickle_is_refused(make_job: Any, tmp_path: Path) -> None:
    code = tmp_path / "train.py"
    code.write_text(
        "class Mine:\n    def predict(self, x):\n        return x\ndef train(train, validate, ctx):\n    return Mine()\n"
    )
    with pytest.raises(UsageError, match="without pickle"):
        train(make_job(mode="custom", code=str(code)))
