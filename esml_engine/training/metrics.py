"""Metrics of a prediction against the truth. Undefined values are None, never NaN, so they survive JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esml_engine.errors import NotYetError, UsageError

Floats = NDArray[np.float64]
Metrics = dict[str, float | None]


def rmse(y: Floats, pred: Floats) -> float | None:
    """Root mean squared error, in the label's unit."""
    return _finite(math.sqrt(float(np.mean((y - pred) ** 2))))


def nrmse(y: Floats, pred: Floats) -> float | None:
    """RMSE / (max(y) - min(y)), without unit; None where the label is constant."""
    span = float(np.max(y) - np.min(y))
    error = rmse(y, pred)
    return None if span == 0 or error is None else _finite(error / span)


def mae(y: Floats, pred: Floats) -> float | None:
    """Mean absolute error, in the label's unit."""
    return _finite(float(np.mean(np.abs(y - pred))))


def mape(y: Floats, pred: Floats) -> float | None:
    """Mean of |y - pred| / max(|y|, 2.2e-16), a fraction (0.1 = 10 %).

    As scikit-learn's `mean_absolute_percentage_error`: a label of 0 is not left out, it makes the value huge.
    """
    return _finite(float(np.mean(np.abs(y - pred) / np.maximum(np.abs(y), np.finfo(np.float64).eps))))


def r2(y: Floats, pred: Floats) -> float | None:
    """1 - SS_res / SS_tot; None for fewer than two rows or a constant label (scikit-learn answers 0 or 1 there)."""
    total = float(np.sum((y - np.mean(y)) ** 2))
    if len(y) < 2 or total == 0:
        return None
    return _finite(1.0 - float(np.sum((y - pred) ** 2)) / total)


def spearman(y: Floats, pred: Floats) -> float | None:
    """Spearman's rank correlation: Pearson's over average ranks; None where either side is constant."""
    if len(y) < 2 or np.ptp(y) == 0 or np.ptp(pred) == 0:
        return None
    from scipy.stats import rankdata

    a, b = rankdata(y), rankdata(pred)
    a, b = a - a.mean(), b - b.mean()
    return _finite(float(np.sum(a * b) / math.sqrt(float(np.sum(a * a)) * float(np.sum(b * b)))))


_REGRESSION: dict[str, Callable[[Floats, Floats], float | None]] = {
    "rmse": rmse,
    "nrmse": nrmse,
    "mae": mae,
    "mape": mape,
    "r2": r2,
    "spearman": spearman,
}


def regression_metrics(y: ArrayLike, pred: ArrayLike) -> Metrics:
    """All regression metrics of `pred` (n,) against `y` (n,).

    Raises:
        UsageError: the lengths differ, there is no row, or a value is not finite.
    """
    truth, guess = _pair(y, pred)
    return {name: metric(truth, guess) for name, metric in _REGRESSION.items()}


def metrics_for(task: str) -> Callable[[ArrayLike, ArrayLike], Metrics]:
    """The function that computes all metrics of a task.

    Raises:
        NotYetError: the task's metrics are not built yet.
    """
    if task == "regression":
        return regression_metrics
    raise NotYetError(f"metrics of task '{task}' are not built yet")


def metric(name: str, y: ArrayLike, pred: ArrayLike) -> float | None:
    """One regression metric by its key; errors as `regression_metrics`."""
    if name not in _REGRESSION:
        raise UsageError(f"unknown regression metric '{name}'", hint=f"one of: {', '.join(_REGRESSION)}")
    truth, guess = _pair(y, pred)
    return _REGRESSION[name](truth, guess)


def _pair(y: ArrayLike, pred: ArrayLike) -> tuple[Floats, Floats]:
    truth: Any = np.asarray(y, dtype=np.float64)
    guess: Any = np.asarray(pred, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != guess.shape:
        raise UsageError(f"label and prediction differ in shape: {truth.shape} and {guess.shape}")
    if truth.size == 0:
        raise UsageError("there is no row to score")
    if not (np.isfinite(truth).all() and np.isfinite(guess).all()):
        raise UsageError("label or prediction holds a value that is not finite")
    return truth, guess


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
