"""The training job for classification, and users' own estimators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import datasets

from esml_engine.errors import StepError, UsageError
from esml_engine.training import storage, tracking
from esml_engine.training.asking import answers_of, metrics_of
from esml_engine.training.models.class_model import EnsembleClassifier, EstimatorClassifier
from esml_engine.training.models.classes import places_of
from esml_engine.training.steps import train


@pytest.fixture
def iris() -> dict[str, pa.Table]:
    """60/20/20 of iris as gold tables, with a key; gold_test has one row of a class that the others lack."""
    frame = datasets.load_iris(as_frame=True).frame.sample(frac=1, random_state=1).reset_index(drop=True)
    names = np.array(["setosa", "versicolor", "virginica"])
    frame["species"] = names[frame.pop("target")]
    frame["number"] = np.arange(150)
    frame.loc[149, "species"] = "orchid"
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return {
        "gold_train": table.slice(0, 90),
        "gold_validate": table.slice(90, 30),
        "gold_test": table.slice(120),
    }


@pytest.fixture
def classifying(
    make_job: Any, iris: dict[str, pa.Table], diabetes: Any, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """As `make_job`, over iris."""
    for name, table in iris.items():
        monkeypatch.setitem(diabetes, name, table)
    known = {"task": "classification", "label": "species", "key": "number"}
    profile = {"seconds": 300, "trials": 3, "folds": 3}
    return lambda **params: make_job(**{**known, "profile": profile, **params})


def test_a_job_leaves_classes_and_a_confusion_matrix(classifying: Any, iris: dict[str, pa.Table]) -> None:
    job = classifying()
    value, tables = train(job)
    assert tables == []
    json.dumps(value, allow_nan=False)
    assert value["metrics"]["auc"] > 0.9 > value["baseline"]["auc"]
    assert value["classes"] == ["setosa", "versicolor", "virginica"] == value["confusion"]["classes"]
    matrix = np.array(value["confusion"]["matrix"])
    assert matrix.sum() == 29 and sum(value["confusion"]["unknown"]) == 1
    assert value["metrics"]["accuracy"] == pytest.approx(np.trace(matrix) / 30)
    assert {f["estimator"] for f in value["families"]} == {"lightgbm", "linear", "xgboost"}
    assert value["importance"][0]["column"].startswith("petal")
    model = storage.load(value["artifact_uri"], value["sha256"])
    assert isinstance(model, EnsembleClassifier)
    assert metrics_of(answers_of(model, iris["gold_test"])) == pytest.approx(value["metrics"])
    run = tracking.client(job.spec.tracking).get_run(value["mlflow_run"])
    assert run.data.metrics["log_loss"] == pytest.approx(value["metrics"]["log_loss"])
    assert run.data.params["profile.metric"] == "auc"

    champion = {"folder": value["model_folder"], "sha256": value["sha256"], "version": 1}
    second, _ = train(classifying(run="r2", champion=champion))
    assert second["champion_metrics"] == second["metrics"] == value["metrics"]


def test_a_champion_of_another_task_or_label_is_said(classifying: Any, iris: dict[str, pa.Table]) -> None:
    first, _ = train(classifying())
    champion = {"folder": first["model_folder"], "sha256": first["sha256"], "version": 1}
    profile = {"seconds": 60, "trials": 1, "folds": 2, "estimators": ["linear"]}
    second, _ = train(
        classifying(run="r2", label="number", key="", task="regression", profile=profile, champion=champion)
    )
    assert second["champion_metrics"] is None and "task is classification" in second["champion_error"]
    assert "classes" not in second and "confusion" not in second


BODIES = {
    "sklearn": "from sklearn.linear_model import LogisticRegression\n\ndef train(train, validate, ctx):\n"
    "    return LogisticRegression(max_iter=1000).fit(train[list(ctx.features)], train[ctx.label])\n",
    "hist": "from sklearn.ensemble import HistGradientBoostingClassifier\n\ndef train(train, validate, ctx):\n"
    "    return HistGradientBoostingClassifier(max_iter=20).fit(train[list(ctx.features)], train[ctx.label])\n",
    "lightgbm": "from lightgbm import LGBMClassifier\n\ndef train(train, validate, ctx):\n"
    "    model = LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1, min_child_samples=5)\n"
    "    return model.fit(train[list(ctx.features)], train[ctx.label])\n",
    "xgboost": "from xgboost import XGBClassifier\n\ndef train(train, validate, ctx):\n"
    "    places = train[ctx.label].map({c: i for i, c in enumerate(ctx.classes)})\n"
    "    return XGBClassifier(n_estimators=20, n_jobs=1).fit(train[list(ctx.features)], places)\n",
}


@pytest.mark.parametrize("library", BODIES)
@pytest.mark.parametrize("classes", [2, 3])
def test_estimators_of_users(
    classifying: Any,
    iris: dict[str, pa.Table],
    tmp_path: Path,
    library: str,
    classes: int,
    monkeypatch: pytest.MonkeyPatch,
    diabetes: Any,
) -> None:
    if classes == 2:
        for name, table in iris.items():
            kept = [s != "setosa" for s in table.column("species").to_pylist()]
            monkeypatch.setitem(diabetes, name, table.filter(pa.array(kept)))
    code = tmp_path / "train.py"
    code.write_text(BODIES[library])
    value, _ = train(classifying(mode="custom", code=str(code)))
    assert value["metrics"]["accuracy"] > 0.8 and value["trials"][0]["loss"] < -0.8
    assert value["classes"] == ["setosa", "versicolor", "virginica"][3 - classes :]
    model = storage.load(value["artifact_uri"], value["sha256"])
    assert isinstance(model, EstimatorClassifier)
    test = diabetes["gold_test"]
    columns = {n: test.column(n).to_pylist() for n in model.features}
    said = model.predict_all(columns)
    assert said["prediction"] == model.predict(test).tolist()
    probability = np.array(list(said["probability"].values())).T
    np.testing.assert_allclose(probability, model.predict_proba(test), rtol=1e-6)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-6)
    assert model.predict_all({k: [] for k in columns})["prediction"] == []


def test_an_estimator_s_own_decision_counts(
    classifying: Any, iris: dict[str, pa.Table], tmp_path: Path
) -> None:
    code = tmp_path / "train.py"
    code.write_text(
        "from sklearn.linear_model import LogisticRegression\nfrom sklearn.model_selection import FixedThresholdClassifier\n"
        "def train(train, validate, ctx):\n    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.0)\n"
        "    return model.fit(train[['petal width (cm)']], train['is'])\n"
    )
    from esml_engine.training.search.custom import TrainContext, train_custom

    table = iris["gold_train"]
    flag = pa.array([s == "setosa" for s in table.column("species").to_pylist()])
    table = table.append_column("is", flag)
    ctx = TrainContext("dev", "classification", "is", "number", (), 1, classes=(False, True))
    model = train_custom(code, table, table, ctx)
    assert model.predict(table).tolist() == [True] * 90
    _, places = places_of(table, "is", model.classes)
    assert answers_of(model, table).prediction.tolist() == [1] * 90 and places.sum() < 90


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "    from sklearn.svm import LinearSVC\n    return LinearSVC().fit(x, train[ctx.label])",
            "gives no probabilities",
        ),
        (
            "    from sklearn.linear_model import LogisticRegression\n    return LogisticRegression().fit(x, train[ctx.label].str.upper())",
            "'SETOSA'",
        ),
        (
            "    from sklearn.linear_model import LogisticRegression\n    return LogisticRegression().fit(x, train[ctx.label].str.len())",
            "knows the classes",
        ),
        (
            "    import lightgbm as lgb\n    y = train[ctx.label].str.len()\n    return lgb.train({'verbose': -1}, lgb.Dataset(x, y), 2)",
            "probabilities of 3 classes",
        ),
    ],
)
def test_an_estimator_that_does_not_classify_is_refused(
    classifying: Any, tmp_path: Path, body: str, says: str
) -> None:
    code = tmp_path / "train.py"
    code.write_text(f"def train(train, validate, ctx):\n    x = train[list(ctx.features)]\n{body}\n")
    with pytest.raises((StepError, UsageError), match=says):
        train(classifying(mode="custom", code=str(code)))
