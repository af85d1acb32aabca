"""Metrics of forecasts; undefined values are None."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import UsageError
from esml_engine.training.measuring.answers import Answers
from esml_engine.training.measuring.metrics import Metrics, mae, rmse

Floats = NDArray[np.float64]


def naive_scale(y: Floats, season: int) -> float | None:
    """Mean |y_t - y_(t-season)| over the history (n,): what the seasonal naive forecast errs by, one step ahead.

    Source: Hyndman, Koehler 2006, "Another look at measures of forecast accuracy". None for a history of one season
    or less, and where it is 0.
    """
    if len(y) <= season:
        return None
    value = float(np.mean(np.abs(y[season:] - y[:-season])))
    return value if value > 0 and math.isfinite(value) else None


def mase(y: Floats, pred: Floats, scale: float | None) -> float | None:
    """Mean |y - pred| / scale, without unit; below 1 is better than `naive_scale`'s forecast was in the history."""
    error = mae(y, pred)
    return None if not scale or error is None else error / scale


def smape(y: Floats, pred: Floats) -> float | None:
    """Mean of 2 |y - pred| / (|y| + |pred|), a fraction from 0 to 2; a row where both are 0 counts 0.

    Source: Makridakis 1993, in the form of the M4 competition (there in per cent).
    """
    below = np.abs(y) + np.abs(pred)
    parts = np.divide(2 * np.abs(y - pred), below, out=np.zeros_like(below), where=below > 0)
    value = float(np.mean(parts))
    return value if math.isfinite(value) else None


def one(name: str, y: Floats, pred: Floats, scale: float | None) -> float | None:
    """One metric by its key: mae, rmse, mase or smape."""
    if name == "mase":
        return mase(y, pred, scale)
    return {"mae": mae, "rmse": rmse, "smape": smape}[name](y, pred)


def forecasting_metrics(answers: Answers) -> Metrics:
    """All metrics of the task.

    Raises:
        UsageError: there is no row, or a value is not finite.
    """
    y, pred = np.asarray(answers.truth, np.float64), np.asarray(answers.prediction, np.float64)
    if not len(y):
        raise UsageError("there is no row to score")
    if not (np.isfinite(y).all() and np.isfinite(pred).all()):
        raise UsageError("label or prediction holds a value that is not finite")
    scale = answers.more.get("scale")
    return {name: one(name, y, pred, scale) for name in ("mae", "rmse", "mase", "smape")}


def coverage(answers: Answers) -> float | None:
    """The share of rows whose truth lies within low and high (inclusive); None without intervals or rows."""
    if answers.low is None or answers.high is None or not answers.rows:
        return None
    inside = (answers.truth >= answers.low) & (answers.truth <= answers.high)
    return float(np.mean(inside))


def mean_width(answers: Answers) -> float | None:
    """Mean of high less low, in the label's unit; None without intervals or rows."""
    if answers.low is None or answers.high is None or not answers.rows:
        return None
    return float(np.mean(answers.high - answers.low))


def by_horizon(answers: Answers, baseline: Answers) -> list[dict[str, Any]]:
    """One row a step of the horizon: metrics, the baseline's MASE and MAE, coverage, and how many rows that rests on."""
    out = []
    for step in np.unique(answers.more["step"]):
        mine, naive = picked(answers, step), picked(baseline, step)
        other = forecasting_metrics(naive)
        out.append(
            {"step": int(step), "rows": mine.rows, **forecasting_metrics(mine)}
            | {"coverage": coverage(mine), "baseline_mae": other["mae"], "baseline_mase": other["mase"]}
        )
    return out


def picked(answers: Answers, step: int) -> Answers:
    """The rows of one step."""
    at = answers.more["step"] == step
    low = None if answers.low is None else answers.low[at]
    high = None if answers.high is None else answers.high[at]
    more = {**answers.more, "step": answers.more["step"][at]}
    return Answers(answers.task, answers.truth[at], answers.prediction[at], low=low, high=high, more=more)
