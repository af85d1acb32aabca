"""Classification from rows to answers: classes, search, storage, single rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import datasets

from esml_engine.errors import UsageError
from esml_engine.training import storage
from esml_engine.training.asking import answers_of, metrics_of
from esml_engine.training.facts import Profile
from esml_engine.training.measuring.answers import Answers, agreed
from esml_engine.training.measuring.baselines import baseline_metrics
from esml_engine.training.measuring.importance import permutation_importance
from esml_engine.training.models.class_model import EnsembleClassifier
from esml_engine.training.models.classes import Classes, classes_of, places_of
from esml_engine.training.search.leakage import leaks
from esml_engine.training.search.plan import LARGE_ROWS, plan_for
from esml_engine.training.search.portfolio import Search, folds_of, search

Tables = Mapping[str, pa.Table]


def parts_of(load: Any, label: Any) -> Tables:
    """60/20/20 of a bundled table, its classes through `label`, with a gap and a category."""
    data = load(as_frame=True)
    frame = data.frame.sample(frac=1, random_state=1).reset_index(drop=True)
    frame["target"] = [label(data, t) for t in frame["target"]]
    first = frame.columns[0]
    frame["size"] = np.where(frame[first] > frame[first].median(), "large", "small")
    frame.loc[::11, first] = np.nan
    table = pa.Table.from_pandas(frame, preserve_index=False)
    a, b = int(0.6 * len(frame)), int(0.8 * len(frame))
    return {"train": table.slice(0, a), "validate": table.slice(a, b - a), "test": table.slice(b)}


def found_in(tables: Tables, **profile: Any) -> Search:
    settings = {"seconds": 600, "trials": 5, "folds": 3, **profile}
    return search(
        tables["train"],
        tables["validate"],
        label="target",
        task="classification",
        profile=Profile(**settings),
    )


@pytest.fixture(scope="module")
def cancer() -> tuple[Tables, Search]:
    """Two classes, as texts."""
    tables = parts_of(datasets.load_breast_cancer, lambda d, t: str(d.target_names[t]))
    return tables, found_in(tables)


@pytest.fixture(scope="module")
def wine() -> tuple[Tables, Search]:
    """Three classes, as numbers that do not begin at 0."""
    tables = parts_of(datasets.load_wine, lambda d, t: 10 * (int(t) + 1))
    return tables, found_in(tables)


# classes


@pytest.mark.parametrize(
    ("column", "values", "names"),
    [
        (pa.array(["b", None, "a"]), ("a", "b"), ("a", "b")),
        (pa.array(["b", "a"]).dictionary_encode(), ("a", "b"), ("a", "b")),
        (pa.array([10, 9, 10], pa.int8()), (9, 10), ("9", "10")),
        (pa.array([2.0, 1.0, None]), (1, 2), ("1", "2")),
        (pa.array([True, False]), (False, True), ("false", "true")),
    ],
)
def test_classes_keep_their_kind(column: Any, values: tuple[Any, ...], names: tuple[str, ...]) -> None:
    table = pa.table({"y": column})
    classes = classes_of([table], "y")
    assert classes.values == values and [type(v) for v in classes.values] == [type(v) for v in values]
    assert classes.names == names
    rows, places = places_of(table, "y", classes)
    assert rows.num_rows == len(places) == len(column) - column.null_count
    assert classes.labels(places).tolist() == [v for v in column.to_pylist() if v is not None]
    assert json.loads(json.dumps(values)) == list(values)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([1.5, 2.0]), "double"),
        (pa.array(["a", "a"]), "two classes"),
        (pa.array([None, None], pa.string()), "no value"),
        (pa.array(list(range(101))), "101 classes"),
        (pa.array(["Yes", "yes"]), "case"),
    ],
)
def test_labels_that_are_no_classes_are_refused(column: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        classes_of([pa.table({"y": column})], "y")


def test_a_class_unknown_or_of_another_kind() -> None:
    table = pa.table({"y": ["a", "z"]})
    assert places_of(table, "y", Classes(("a", "b")))[1].tolist() == [0, -1]
    with pytest.raises(UsageError, match="texts, the model's classes are whole numbers"):
        places_of(table, "y", Classes((0, 1)))
    with pytest.raises(UsageError, match="true and false"):
        places_of(pa.table({"y": [True]}), "y", Classes((0, 1)))


@given(st.integers(2, 6), st.lists(st.integers(0, 3), min_size=6, max_size=60), st.integers(0, 99))
def test_each_class_is_spread_evenly_over_the_folds(folds: int, labels: list[int], seed: int) -> None:
    places = np.array(labels)
    fold_of = folds_of(places, len(places), folds, seed)
    assert set(fold_of.tolist()) == set(range(folds))
    for place in set(labels):
        sizes = np.bincount(fold_of[places == place], minlength=folds)
        assert np.ptp(sizes) <= 1


def test_perpetual_classifies_only_many_rows_of_two_classes() -> None:
    kinds = [{k for k, _ in plan_for(*n)} for n in ((300, 2), (LARGE_ROWS, 2), (LARGE_ROWS, 3))]
    assert ["perpetual" in k for k in kinds] == [False, True, False]


# search


@pytest.mark.parametrize("name", ["cancer", "wine"])
def test_it_learns_and_is_the_same_after_loading(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tables, found = request.getfixturevalue(name)
    assert len(found.trials) == 5 and not found.failures
    model = found.model()
    got = metrics_of(answers_of(model, tables["test"]))
    _, y_train = places_of(tables["train"], "target", model.classes)
    _, y_test = places_of(tables["test"], "target", model.classes)
    trivial = baseline_metrics("classification", y_train, y_test)
    assert got["log_loss"] < 0.35 * trivial["log_loss"] and got["auc"] > 0.97 and got["accuracy"] > 0.9
    every = EnsembleClassifier(
        [replace(m, weight=1 / len(found.members)) for m in found.members],
        found.preparing,
        "target",
        found.example,
        found.classes,
    )
    loaded = storage.load(tmp_path / "m", storage.save(every, tmp_path / "m"))
    assert isinstance(loaded, EnsembleClassifier) and loaded.task == "classification"
    assert loaded.classes == found.classes and loaded.signature == every.signature
    np.testing.assert_allclose(
        loaded.predict_proba(tables["test"]), every.predict_proba(tables["test"]), rtol=1e-9
    )
    assert loaded.predict(tables["test"]).tolist() == every.predict(tables["test"]).tolist()
    # single rows of each kind, strange ones too
    test = tables["test"].select(loaded.features)
    gap = {**loaded.example, "size": "huge", loaded.features[1]: None}
    rows = pa.concat_tables([test, pa.Table.from_pylist([gap], schema=test.schema)])
    columns = {n: rows.column(n).to_pylist() for n in loaded.features}
    for member in loaded.members:
        alone = EnsembleClassifier(
            [replace(member, weight=1.0)], loaded.preparing, "target", loaded.example, loaded.classes
        )
        singly = [
            alone.decide_columns({k: [v[i]] for k, v in columns.items()}).probability
            for i in range(rows.num_rows)
        ]
        exact = 1e-6 if member.kind == "xgboost" else 1e-11
        whole = alone.predict_proba(rows)
        np.testing.assert_allclose(np.vstack(singly), whole, rtol=exact, atol=exact, err_msg=member.kind)
        np.testing.assert_allclose(whole.sum(axis=1), 1)
    said = loaded.predict_all({k: v[:2] for k, v in columns.items()})
    assert said["prediction"] == loaded.predict(rows.slice(0, 2)).tolist()
    assert list(said["probability"]) == list(loaded.classes.names)
    assert type(said["prediction"][0]) is type(found.classes.values[0])
    json.dumps(said, allow_nan=False)
    nothing = loaded.predict_all({k: [] for k in loaded.features})
    assert nothing["prediction"] == [] and loaded.predict(rows.slice(0, 0)).shape == (0,)


def test_limited_by_trials_it_is_deterministic(wine: tuple[Tables, Search]) -> None:
    tables, first = wine
    again = found_in(tables)
    assert [(t.estimator, t.loss) for t in first.trials] == [(t.estimator, t.loss) for t in again.trials]
    np.testing.assert_array_equal(
        first.model().predict_proba(tables["test"]), again.model().predict_proba(tables["test"])
    )


def test_a_trial_s_loss_is_the_profile_s_metric(cancer: tuple[Tables, Search]) -> None:
    tables, found = cancer
    best = found.best_of_families()["linear"]
    trial = next(t for t in found.trials if t.estimator == "linear")
    assert trial.loss == pytest.approx(-metrics_of(answers_of(best, tables["validate"]))["auc"])
    by_loss = found_in(tables, metric="log_loss", trials=1)
    best = by_loss.best_of_families()["lightgbm"]
    assert by_loss.trials[0].loss == pytest.approx(
        metrics_of(answers_of(best, tables["validate"]))["log_loss"]
    )


def test_rare_and_unknown_classes_end_in_an_answer() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    label = np.where(x[:, 0] > 1.5, "rare", "common").astype(object)
    label[7], label[250], label[251] = "once", "never seen", None
    table = pa.table({"x": x[:, 0], "z": x[:, 1], "target": pa.array(label.tolist())})
    tables = {"train": table.slice(0, 200), "validate": table.slice(200, 40), "test": table.slice(240)}
    found = found_in(tables, trials=4, learn_from_validate=True)
    assert found.classes.values == ("common", "once", "rare") and not found.failures
    answers = answers_of(found.model(), tables["test"])
    assert answers.rows == 59 and (answers.truth == -1).sum() == 1
    got = metrics_of(answers)
    assert got["accuracy"] > 0.9 and all(v is not None for v in got.values())
    assert metrics_of(replace(answers, truth=np.full(59, -1)))["auc"] is None


def test_imbalance_keeps_probabilities_honest() -> None:
    x, y = datasets.make_classification(
        1_500, 6, n_informative=4, weights=[0.96], flip_y=0.01, random_state=0
    )
    frame = {f"x{i}": x[:, i] for i in range(6)}
    table = pa.table({**frame, "target": y.astype(bool)})
    tables = {"train": table.slice(0, 900), "validate": table.slice(900, 300), "test": table.slice(1_200)}
    model = found_in(tables, trials=3).model()
    assert model.classes.values == (False, True)
    said = model.predict_proba(tables["test"])[:, 1]
    assert abs(said.mean() - y[1_200:].mean()) < 0.02
    got = metrics_of(answers_of(model, tables["test"]))
    trivial = baseline_metrics("classification", y[:900], y[1_200:])
    assert got["auc"] > 0.8 and got["log_loss"] < trivial["log_loss"]


# insight


def test_importance_and_leaks() -> None:
    rng = np.random.default_rng(0)
    n = 400
    strong, noise = rng.normal(size=n), rng.normal(size=n)
    label = np.where(strong + 0.3 * rng.normal(size=n) > 0, "yes", "no")
    table = pa.table({"strong": strong, "noise": noise, "target": label})
    found = search(
        table,
        None,
        label="target",
        task="classification",
        profile=Profile(seconds=60, trials=1, folds=2, estimators=("linear",)),
    )
    classes = classes_of([table], "target")
    _, y = places_of(table, "target", classes)
    ranked, _ = permutation_importance(found.model(), table, y, metric="auc", seed=1)
    assert [i.column for i in ranked] == ["strong", "noise"] and ranked[0].importance > 0.2
    apart = y + 0.9 * rng.random(n)
    told = table.append_column("apart", pa.array(apart)).append_column("code", pa.array(10 - 3 * y))
    told = told.append_column("word", pa.array(np.where(y > 0, "p", "q")))
    told = told.append_column("half", pa.array(np.where(y > 0, rng.integers(0, 2, n), 0)))
    got = leaks(told, y.astype(float), leave_out=["target"], classes=True)
    assert [(k.column, k.kind) for k in got] == [
        ("apart", "determines"),
        ("code", "scaled"),
        ("word", "determines"),
    ]


@pytest.mark.parametrize("load", [datasets.load_breast_cancer, datasets.load_wine, datasets.load_iris])
def test_real_tables_do_not_leak(load: Any) -> None:
    frame = load(as_frame=True).frame
    table = pa.Table.from_pandas(frame, preserve_index=False)
    assert leaks(table, frame["target"].to_numpy(float), leave_out=["target"], classes=True) == []


def test_answers_hold_places_and_names(wine: tuple[Tables, Search]) -> None:
    tables, found = wine
    answers = answers_of(found.model(), tables["test"])
    assert isinstance(answers, Answers) and answers.classes == ("10", "20", "30")
    assert answers.probability is not None and answers.probability.shape == (answers.rows, 3)
    assert set(answers.truth.tolist()) <= {0, 1, 2}


def test_flaml_searches_classes(cancer: tuple[Tables, Search], tmp_path: Path) -> None:
    pytest.importorskip("flaml")
    from esml_engine.training.search.flaml_search import search_flaml

    tables, _ = cancer
    profile = Profile(seconds=3, trials=6, search="flaml")
    found = search_flaml(
        tables["train"], tables["validate"], label="target", task="classification", profile=profile
    )
    loaded = storage.load(tmp_path / "m", storage.save(found.model(), tmp_path / "m"))
    assert isinstance(loaded, EnsembleClassifier)
    got = metrics_of(answers_of(loaded, tables["test"]))
    assert got["auc"] is not None and got["auc"] > 0.95
    single = loaded.predict_all({k: [v] for k, v in loaded.example.items()})
    whole = loaded.predict_proba(tables["train"].slice(0, 1))
    np.testing.assert_allclose([p[0] for p in single["probability"].values()], whole[0], rtol=1e-5, atol=1e-6)


def test_models_of_other_classes_are_measured_alike() -> None:
    """No row is of the class that one of them knows besides: both are the model of two, and measured as it is."""
    rng = np.random.default_rng(3)
    place = rng.integers(0, 2, 80)
    said = np.where(rng.random(80) < 0.8, place, 1 - place)
    sure = np.where(said[:, None] == np.arange(2), 0.7, 0.3)
    two = Answers("classification", place, said, sure, ("b", "c"))
    three = Answers(
        "classification", place + 1, said + 1, np.column_stack([np.zeros(80), sure]), ("a", "b", "c")
    )
    apart = metrics_of(two), metrics_of(three)
    assert apart[0]["precision"] != apart[1]["precision"]
    for pair in ((two, three), (three, two)):
        first, second = agreed(*pair)
        assert metrics_of(first) == pytest.approx(metrics_of(second), rel=1e-12)
        assert set(first.classes) == {"a", "b", "c"}
    assert agreed(two, two) == (two, two)
    assert metrics_of(agreed(two, more=("a",))[0]) == pytest.approx(apart[1], rel=1e-12)
    # a class that only one of them knows is no unknown one to the pair
    strange = replace(two, truth=np.where(np.arange(80) < 9, -1, place))
    known = replace(three, truth=np.where(np.arange(80) < 9, 0, place + 1))
    first, second = agreed(strange, known)
    assert (first.truth == second.truth).all() and (first.truth >= 0).all()
    assert metrics_of(first) == pytest.approx(metrics_of(second), rel=1e-12)
    trivial = baseline_metrics("classification", place, place, 3)
    assert trivial["precision"] is not None and trivial["recall"] == trivial["accuracy"]
