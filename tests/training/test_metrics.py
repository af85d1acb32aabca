"""Each metric against an independent implementation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn import metrics as sk

from esml_engine.errors import UsageError
from esml_engine.training.facts import DIRECTION, TASK_METRICS
from esml_engine.training.measuring.metrics import metric, regression_metrics

NUMBER = st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3))
PAIRS = st.lists(st.tuples(NUMBER, NUMBER), min_size=2, max_size=40)


@given(PAIRS)
def test_regression_metrics_are_those_of_scikit_learn_and_scipy(pairs: list[tuple[float, float]]) -> None:
    y, pred = (np.array(v) for v in zip(*pairs, strict=True))
    got = regression_metrics(y, pred)
    assert got["rmse"] == pytest.approx(sk.root_mean_squared_error(y, pred), rel=1e-9)
    assert got["mae"] == pytest.approx(sk.mean_absolute_error(y, pred), rel=1e-9)
    assert got["mape"] == pytest.approx(sk.mean_absolute_percentage_error(y, pred), rel=1e-9)
    if np.ptp(y) > 0:
        assert got["r2"] == pytest.approx(sk.r2_score(y, pred), rel=1e-9, abs=1e-9)
        assert got["nrmse"] == pytest.approx(got["rmse"] / np.ptp(y), rel=1e-9)
        if np.ptp(pred) > 0:
            assert got["spearman"] == pytest.approx(spearmanr(y, pred).statistic, rel=1e-9, abs=1e-9)


def test_by_hand() -> None:
    got = regression_metrics([1.0, 2.0, 4.0], [1.0, 3.0, 2.0])
    assert got["rmse"] == pytest.approx(math.sqrt(5 / 3))
    assert got["nrmse"] == pytest.approx(math.sqrt(5 / 3) / 3)
    assert got["mae"] == 1.0
    assert got["mape"] == pytest.approx((0 + 0.5 + 0.5) / 3)
    assert got["r2"] == pytest.approx(1 - 5 / (14 / 3))
    assert got["spearman"] == pytest.approx(0.5)


def test_what_is_undefined_is_none_and_never_nan() -> None:
    got = regression_metrics([1.0, 2.0], [5.0, 5.0])
    assert got["spearman"] is None and got["r2"] is not None
    got = regression_metrics([3.0, 3.0], [1.0, 2.0])
    assert got["nrmse"] is None and got["r2"] is None and got["spearman"] is None
    json.dumps(got, allow_nan=False)


@pytest.mark.parametrize(
    ("y", "pred"), [([], []), ([1.0], [1.0, 2.0]), ([float("nan")], [1.0]), ([1.0], [float("inf")])]
)
def test_what_can_not_be_scored_is_refused(y: list[float], pred: list[float]) -> None:
    with pytest.raises(UsageError):
        regression_metrics(y, pred)


def test_every_task_metric_has_a_direction() -> None:
    assert {m for names in TASK_METRICS.values() for m in names} == set(DIRECTION)
    assert set(regression_metrics([1.0, 2.0], [1.0, 2.0])) == set(TASK_METRICS["regression"])
    with pytest.raises(UsageError):
        metric("auc", [1.0], [1.0])
