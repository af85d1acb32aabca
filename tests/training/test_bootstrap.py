"""The bootstrap: every sum reproduces its metric, cells and projections agree with the plain way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esml_engine.training.asking import metrics_of
from esml_engine.training.measuring import bootstrap
from esml_engine.training.measuring.answers import Answers
from esml_engine.training.measuring.bootstrap import differences
from esml_engine.training.measuring.metrics import regression_metrics
from esml_engine.training.measuring.ranks import rank_metrics
from esml_engine.training.measuring.sums import summed


def pair(n: int, seed: int = 0, *, ties: bool = False, gap: float = 1.0, block=None):
    r = np.random.default_rng(seed)
    y = r.normal(100, 30, n)
    a, b = y + r.normal(0, 10, n), y + r.normal(0, 10 + gap, n)
    if ties:
        y, a, b = np.round(y / 10) * 10, np.round(a / 3) * 3, np.round(b / 5) * 5
    both = tuple(Answers("regression", y, p, block=block) for p in (a, b))
    return both, tuple(regression_metrics(y, p) for p in (a, b))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 60), st.booleans())
def test_sums_and_weights_of_one_reproduce_every_metric(seed: int, n: int, ties: bool) -> None:
    (a, _), (metrics, _) = pair(n, seed, ties=ties)
    made = summed(a)
    sums = {k: np.array([c.sum()]) for k, c in made.columns.items()}
    for name, value in metrics.items():
        if value is None:
            continue
        assert made.metrics[name](sums)[0] == pytest.approx(value, rel=1e-9, abs=1e-9), name
    if metrics["spearman"] is not None:
        exact = rank_metrics(a)["spearman"](np.ones((1, n)))[0]
        assert exact == pytest.approx(metrics["spearman"], abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(8, 40))
def test_weights_are_rows_drawn_so_often(seed: int, n: int) -> None:
    """A drawn table's metrics, computed from its rows, are those computed from weights and from sums."""
    (a, _), _ = pair(n, seed, ties=True)
    picks = np.random.default_rng(seed).integers(0, n, n)
    drawn = regression_metrics(a.truth[picks], a.prediction[picks])
    weights = np.bincount(picks, minlength=n)[None, :].astype(float)
    made = summed(a, ranks=False)
    sums = {k: weights @ c for k, c in made.columns.items()}
    for name in ("rmse", "mae", "r2"):
        if drawn[name] is not None:
            assert made.metrics[name](sums)[0] == pytest.approx(drawn[name], rel=1e-9), name
    if drawn["spearman"] is not None:
        assert rank_metrics(a)["spearman"](weights)[0] == pytest.approx(drawn["spearman"], abs=1e-9)


def test_cells_agree_with_the_plain_bootstrap_within_a_few_per_cent(monkeypatch: pytest.MonkeyPatch) -> None:
    both, metrics = pair(20_000, gap=0.5)
    cells = differences(*both, metrics, primary="rmse", resamples=4_000)
    assert cells["unit"] == "cell" and cells["units"] == bootstrap.UNITS
    monkeypatch.setattr(bootstrap, "UNITS", 20_000)
    plain = differences(*both, metrics, primary="rmse", resamples=4_000)
    assert plain["unit"] == "row"
    for name, (low, high) in plain["intervals"].items():
        width = high - low
        assert cells["intervals"][name] == pytest.approx([low, high], abs=0.05 * width), name


def test_projected_ranks_agree_with_the_exact_ones() -> None:
    both, metrics = pair(900, ties=True, gap=4.0)
    exact = differences(*both, metrics, primary="rmse", resamples=3_000)
    assert exact["method"]["spearman"] == "plain"
    old = bootstrap.EXACT_RANKS
    bootstrap.EXACT_RANKS = 0
    try:
        near = differences(*both, metrics, primary="rmse", resamples=3_000)
    finally:
        bootstrap.EXACT_RANKS = old
    assert near["method"]["spearman"] == "projection"
    low, high = exact["intervals"]["spearman"]
    assert near["intervals"]["spearman"] == pytest.approx([low, high], abs=0.08 * (high - low))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """95 % intervals of the difference in MAE between two known errors: 300 tables, hits within four standard errors."""
    hits = 0
    for seed in range(300):
        r = np.random.default_rng(seed)
        y = np.zeros(200)
        a, b = r.normal(0, 1.0, 200), r.normal(0, 1.2, 200)
        y[0] = 1e-9
        both = tuple(Answers("regression", y, p) for p in (a, b))
        metrics = tuple({"mae": float(np.mean(np.abs(y - p)))} for p in (a, b))
        low, high = differences(*both, metrics, primary="mae", resamples=400, seed=seed)["intervals"]["mae"]
        hits += low <= 0.2 * np.sqrt(2 / np.pi) <= high
    assert 0.95 - 4 * 0.0126 <= hits / 300 <= 1.0


def test_whole_blocks_are_drawn() -> None:
    block = np.repeat(np.arange(12), 25)
    both, metrics = pair(300, block=block)
    said = differences(*both, metrics, primary="mae", resamples=500)
    assert (said["unit"], said["units"]) == ("block", 12) and "mae" in said["intervals"]
    few, metrics = pair(300, block=np.repeat(np.arange(3), 100))
    said = differences(*few, metrics, primary="mae", resamples=500)
    assert said["intervals"] == {} and "too few" in said["without"]["mae"]


def test_the_same_seed_gives_the_same_answer_and_a_histogram() -> None:
    both, metrics = pair(120)
    a, b = (differences(*both, metrics, primary="rmse", resamples=700) for _ in range(2))
    assert a == b
    assert len(a["distribution"]["edges"]) == 41 and sum(a["distribution"]["counts"]) == 700


def test_a_metric_of_another_definition_gets_no_interval() -> None:
    both, metrics = pair(120)
    wrong = tuple({**m, "rmse": m["rmse"] * 1.01, "new": 1.0} for m in metrics)
    said = differences(*both, wrong, primary="rmse", resamples=300)
    assert "rmse" not in said["intervals"] and "computes" in said["without"]["rmse"]
    assert said["without"]["new"] and said["distribution"] is None


def classified(n: int, k: int, seed: int) -> Answers:
    r = np.random.default_rng(seed)
    truth = r.integers(0, k, n)
    score = np.eye(k)[truth] + r.normal(0, 1.0, (n, k))
    p = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    return Answers("classification", truth, p.argmax(axis=1), np.round(p, 2), tuple("abcdef"[:k]))


@pytest.mark.parametrize("k", [2, 4])
def test_classification_against_scikit_learn(k: int) -> None:
    from sklearn import metrics as sk

    a = classified(400, k, 3)
    made = summed(a)
    sums = {c: np.array([v.sum()]) for c, v in made.columns.items()}
    own = a.probability[:, 1] if k == 2 else a.probability / a.probability.sum(axis=1, keepdims=True)
    area = (
        sk.roc_auc_score(a.truth, own)
        if k == 2
        else np.average(
            [sk.roc_auc_score(a.truth == c, a.probability[:, c]) for c in range(k)],
            weights=np.bincount(a.truth),
        )
    )
    how = {"average": "binary" if k == 2 else "weighted"}
    wanted = {
        "auc": area,
        "accuracy": sk.accuracy_score(a.truth, a.prediction),
        "precision": sk.precision_score(a.truth, a.prediction, **how),
        "recall": sk.recall_score(a.truth, a.prediction, **how),
        "f1": sk.f1_score(a.truth, a.prediction, **how),
        "mcc": sk.matthews_corrcoef(a.truth, a.prediction),
    }
    for name, value in wanted.items():
        assert made.metrics[name](sums)[0] == pytest.approx(value, abs=1e-9), name
    assert rank_metrics(a)["auc"](np.ones((1, 400)))[0] == pytest.approx(area, abs=1e-9)
    picks = np.random.default_rng(1).integers(0, 400, 400)
    weights = np.bincount(picks, minlength=400)[None, :].astype(float)
    drawn = np.average(
        [
            sk.roc_auc_score(a.truth[picks] == c, a.probability[picks, c])
            for c in ([1] if k == 2 else range(k))
        ],
        weights=None if k == 2 else np.bincount(a.truth[picks], minlength=k),
    )
    assert rank_metrics(a)["auc"](weights)[0] == pytest.approx(drawn, abs=1e-9)
    # the projection's error is of the order of 1 / rows
    assert made.metrics["auc"]({c: weights @ v for c, v in made.columns.items()})[0] == pytest.approx(
        drawn, abs=0.01
    )


def test_the_interval_of_one_models_metric_is_that_of_its_mean() -> None:
    """For MAE the bootstrap's interval is close to the normal one of a mean."""
    rng = np.random.default_rng(3)
    y = rng.normal(0, 1, 2_000)
    p = y + rng.normal(0, 1, 2_000)
    answers = Answers("regression", y, p)
    metrics = metrics_of(answers)
    low, high = bootstrap.intervals_of(answers, metrics)["mae"]
    errors = np.abs(y - p)
    half = 1.96 * errors.std() / np.sqrt(len(errors))
    assert low == pytest.approx(errors.mean() - half, rel=0.02)
    assert high == pytest.approx(errors.mean() + half, rel=0.02)
    assert low < metrics["mae"] < high


def test_too_few_rows_have_no_interval() -> None:
    answers = Answers("regression", np.arange(3.0), np.arange(3.0) + 1)
    assert bootstrap.intervals_of(answers, metrics_of(answers)) == {}
