"""The search: keeps to its budget, repeats itself, survives a failing estimator, beats the baseline."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esml_engine.errors import FailedError, NotYetError, SettingsError, UsageError
from esml_engine.training.causes import cause
from esml_engine.training.facts import Profile, Trial
from esml_engine.training.measuring import metrics
from esml_engine.training.measuring.baselines import baseline_metrics
from esml_engine.training.measuring.metrics import loss_function
from esml_engine.training.models import learners
from esml_engine.training.models.labels import labels
from esml_engine.training.search.blending import greedy_weights
from esml_engine.training.search.plan import LARGE, SMALL, Plan
from esml_engine.training.search.portfolio import Search, search
from esml_engine.training.search.proposals import propose
from esml_engine.training.steps import same_model

QUICK = ("lightgbm", "xgboost", "linear")


def run(diabetes: dict[str, pa.Table], **profile: Any) -> Search:
    settings = {"seconds": 600, "trials": 3, "folds": 3, "estimators": QUICK, **profile}
    return search(
        diabetes["gold_train"],
        diabetes["gold_validate"],
        label="target",
        leave_out=["patient_id"],
        profile=Profile(**settings),
    )


def test_it_beats_the_baseline_and_reports_every_trial(found: Search, diabetes: dict[str, pa.Table]) -> None:
    test, y = labels(diabetes["gold_test"], "target")
    _, y_train = labels(diabetes["gold_train"], "target")
    mine = metrics.rmse(y, found.model().predict(test))
    trivial = baseline_metrics("regression", y_train, y)["rmse"]
    assert mine is not None and trivial is not None and mine < 0.85 * trivial
    assert len(found.trials) == len(found.members) == 6 and not found.failures
    assert sum(m.weight for m in found.members) == pytest.approx(1)
    assert all(t.folds == 3 and t.loss is not None and t.seconds > 0 for t in found.trials)
    assert set(found.best_of_families()) == set(learners.MATRIX)


def test_where_one_family_is_the_whole_model_its_answers_are_those(diabetes: dict[str, pa.Table]) -> None:
    alone = run(diabetes, trials=1, estimators=("linear",))
    (best,) = alone.best_of_families().values()
    assert same_model(best, alone.model())
    test, _ = labels(diabetes["gold_test"], "target")
    assert np.array_equal(best.predict(test), alone.model().predict(test))
    blend = run(diabetes)
    of_blend = blend.model()
    if len(of_blend.members) > 1:
        assert not any(same_model(m, of_blend) for m in blend.best_of_families().values())


def test_a_trial_s_loss_is_that_on_gold_validate(found: Search, diabetes: dict[str, pa.Table]) -> None:
    held, y = labels(diabetes["gold_validate"], "target")
    best = found.best_of_families()["linear"]
    trial = next(t for t in found.trials if t.estimator == "linear")
    assert trial.loss == pytest.approx(metrics.rmse(y, best.predict(held)))


def test_limited_by_trials_it_is_deterministic(diabetes: dict[str, pa.Table]) -> None:
    plan = sum(k in QUICK for k, _ in SMALL)
    first, second = (run(diabetes, trials=plan + 2) for _ in range(2))
    assert len(first.trials) == plan + 2, "settings are drawn after the fixed ones are through"
    assert [(t.estimator, t.params, t.loss) for t in first.trials] == [
        (t.estimator, t.params, t.loss) for t in second.trials
    ]
    test = diabetes["gold_test"]
    np.testing.assert_array_equal(first.model().predict(test), second.model().predict(test))
    other = run(diabetes, trials=plan + 2, seed=2)
    assert [t.loss for t in other.trials] != [t.loss for t in first.trials]


@pytest.mark.parametrize("seconds", [0.05, 1.0])
def test_it_keeps_to_its_seconds_and_keeps_what_it_has(diabetes: dict[str, pa.Table], seconds: float) -> None:
    run(diabetes)  # imports are paid before the clock runs
    at = time.monotonic()
    found = run(diabetes, seconds=seconds, trials=500, folds=10)
    # the very first fit is always finished
    assert time.monotonic() - at < seconds + 1.0
    assert found.model().predict(diabetes["gold_test"]).shape == (89,)


def test_learning_from_validate_uses_its_rows(diabetes: dict[str, pa.Table]) -> None:
    found = run(diabetes, learn_from_validate=True)
    assert all(t.loss is not None for t in found.trials)


def test_a_failing_estimator_is_reported_and_the_others_go_on(
    diabetes: dict[str, pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(params: dict[str, Any], fold: learners.Fold, limits: learners.Limits) -> Any:
        raise RuntimeError("out of luck")

    monkeypatch.setitem(learners._FIT, "xgboost", broken)
    found = run(diabetes)
    assert [t.estimator for t in found.trials] == ["lightgbm", "linear"]
    assert found.failures == ({"estimator": "xgboost", "reason": "RuntimeError: out of luck"},)
    with pytest.raises(FailedError, match="out of luck"):
        run(diabetes, estimators=("xgboost",))


def test_progress_and_trials_are_told(diabetes: dict[str, pa.Table]) -> None:
    said: list[float] = []
    trials: list[Trial] = []
    search(
        diabetes["gold_train"],
        None,
        label="target",
        profile=Profile(seconds=60, trials=2, folds=2, estimators=QUICK),
        progress=lambda fraction, message: said.append(fraction),
        on_trial=trials.append,
    )
    assert said == sorted(said) and said[-1] == 1.0 and len(trials) == 2


def test_rows_without_a_label_are_left_out() -> None:
    table = pa.table({"x": list(range(40)), "y": [None if i % 4 == 0 else float(i) for i in range(40)]})
    known, y = labels(table, "y")
    assert known.num_rows == len(y) == 30
    found = search(
        table, None, label="y", profile=Profile(seconds=20, trials=1, folds=2, estimators=("linear",))
    )
    assert found.model().predict(pa.table({"x": [10]}))[0] == pytest.approx(10, abs=0.5)


def test_what_can_not_be_learned_is_refused(diabetes: dict[str, pa.Table]) -> None:
    with pytest.raises(NotYetError):
        search(diabetes["gold_train"], None, label="target", profile=Profile(), task="forecasting")
    with pytest.raises(UsageError, match="no column"):
        search(diabetes["gold_train"], None, label="goal", profile=Profile())
    with pytest.raises(UsageError, match="regression needs numbers"):
        search(diabetes["gold_train"], None, label="clinic", profile=Profile())
    with pytest.raises(UsageError, match="too few"):
        search(diabetes["gold_train"].slice(0, 3), None, label="target", profile=Profile())


@pytest.mark.parametrize(
    "raw",
    [
        {"second": 5},
        {"seconds": 0},
        {"seconds": float("nan")},
        {"trials": 0},
        {"folds": 1},
        {"search": "luck"},
        {"estimators": ["svm"]},
        {"estimators": []},
        {"metric": "auc"},
    ],
)
def test_wrong_settings_are_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Profile.parse(raw)


def test_settings_have_defaults() -> None:
    assert Profile.parse({}) == Profile(metric="rmse")
    assert Profile.parse({"metric": ""}, "classification") == Profile(metric="auc")
    assert Profile().metric_for("classification") == "auc"
    with pytest.raises(SettingsError, match="rmse") as e:
        Profile.parse({"metric": "rmse"}, "classification")
    assert "log_loss" in e.value.hint
    assert Profile.parse({"estimators": ["linear"]}).estimators == ("linear",)


@given(st.integers(2, 6), st.integers(0, 1_000))
def test_weights_sum_to_one_and_are_never_worse_than_the_best_member_by_much(members: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=60)
    predictions = y + rng.normal(size=(members, 60)) * rng.uniform(0.1, 2, (members, 1))
    loss = loss_function("rmse")
    weights = greedy_weights(predictions, y, loss)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    # dropping members of less than 5 % may cost a trifle
    assert loss(y, weights @ predictions) <= min(loss(y, p) for p in predictions) * 1.02


@given(st.sampled_from([SMALL, LARGE]), st.integers(0, 10_000))
def test_proposals_stay_inside_what_the_libraries_take(plan: Plan, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind, params = propose(rng, [(k, p, float(i)) for i, (k, p) in enumerate(plan)]) or ("", {})
    kind, params = propose(rng, [(kind, params, 0.0)]) or ("", {})
    for name in ("feature_fraction", "bagging_fraction", "subsample", "colsample_bynode", "max_features"):
        assert 0 < params.get(name, 0.5) <= 1
    assert (
        params.get("num_leaves", 2) >= 2
        and params.get("max_depth", 1) >= 1
        and params.get("min_samples_leaf", 1) >= 1
    )
    assert propose(rng, [("linear", {}, 0.0)]) is None


def test_a_cause_is_one_line_without_a_stack_trace_or_a_place() -> None:
    raw = "[10:22:11] /workspace/src/data/data.cc:517: Check failed: valid: Label contains NaN\nStack trace:\n  [bt] (0) /x/libxgboost.so"
    assert cause(RuntimeError(raw)) == "RuntimeError: Check failed: valid: Label contains NaN"
    assert cause(ValueError("\n two\nlines ")) == "ValueError: two"
    assert cause(KeyError()) == "KeyError" and len(cause(ValueError("x" * 999))) < 320
