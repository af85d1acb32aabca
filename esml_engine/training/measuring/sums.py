"""Metrics as functions of sums over rows: what a bootstrap can resample a million rows with.

Every metric is `combine(sums)`, where the sums run over drawn rows of a few columns (n,). Errors, hits and losses are
such columns as they are. Ranks are not: for AUC and Spearman's rho the columns hold the first-order (Hájek)
projection of their U-statistic, which is what DeLong's variance rests on (DeLong, DeLong, Clarke-Pearson 1988;
Hoeffding 1948); the rest is of order 1 / rows. `ranks.py` does both exactly, for few rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from esml_engine.training.measuring.answers import Answers

Floats = NDArray[np.float64]
Sums = Mapping[str, Floats]
Combine = Callable[[Sums], Floats]

RANK_METRICS = ("auc", "spearman")


@dataclass(frozen=True)
class Summed:
    """`columns`: (n,) each, to be summed over drawn rows; `metrics`: from those sums (B,) to values (B,), NaN undefined."""

    columns: dict[str, Floats] = field(default_factory=dict)
    metrics: dict[str, Combine] = field(default_factory=dict)


def summed(answers: Answers, *, ranks: bool = True) -> Summed:
    """All metrics of the task that sums can make; `ranks`: with the projections of the rank metrics."""
    n = answers.rows
    if answers.task == "classification":
        return _classification(answers, n, ranks)
    y, p = (np.asarray(v, dtype=np.float64) for v in (answers.truth, answers.prediction))
    made = Summed({"n": np.ones(n), "ae": np.abs(y - p), "se": (y - p) ** 2})
    made.metrics["mae"] = lambda s: s["ae"] / s["n"]
    made.metrics["rmse"] = lambda s: np.sqrt(s["se"] / s["n"])
    if answers.task == "forecasting":
        _forecasting(made, answers, y, p)
    else:
        _regression(made, y, p, ranks)
    return made


def _regression(made: Summed, y: Floats, p: Floats, ranks: bool) -> None:
    span = float(np.ptp(y))
    centred = y - y.mean()
    made.columns["ape"] = made.columns["ae"] / np.maximum(np.abs(y), np.finfo(np.float64).eps)
    made.columns["y"], made.columns["y2"] = centred, centred**2
    made.metrics["mape"] = lambda s: s["ape"] / s["n"]
    # the span is a property of the test set: held fixed, since a resample's is never wider
    made.metrics["nrmse"] = lambda s: np.sqrt(s["se"] / s["n"]) / (span if span > 0 else np.nan)
    made.metrics["r2"] = _r2
    if ranks and len(y) > 1 and np.ptp(p) > 0 and span > 0:
        made.columns.update(_spearman_columns(y, p))
        made.metrics["spearman"] = _spearman


def _r2(s: Sums) -> Floats:
    total = s["y2"] - s["y"] ** 2 / s["n"]
    return np.where(total > 0, 1.0 - _over(s["se"], total), np.nan)


def _forecasting(made: Summed, answers: Answers, y: Floats, p: Floats) -> None:
    size = np.abs(y) + np.abs(p)
    made.columns["sape"] = np.divide(2 * np.abs(y - p), size, out=np.zeros_like(size), where=size > 0)
    made.metrics["smape"] = lambda s: s["sape"] / s["n"]
    scale = answers.more.get("scale")
    if scale:
        made.metrics["mase"] = lambda s: s["ae"] / s["n"] / float(scale)


def middle_ranks(values: Floats) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Mid-distribution (n,) of values, with the sorting order, and first and last place of each row's tie (by rank)."""
    n = len(values)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    fresh = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sizes = np.diff(np.append(fresh, n))
    first, last = np.repeat(fresh, sizes), np.repeat(fresh + sizes - 1, sizes)
    middle = np.empty(n)
    middle[order] = (first + last + 1) / (2 * n)
    return middle, order, first, last


def _above(weights: Floats, order: NDArray, first: NDArray, last: NDArray) -> Floats:
    """(n,) for each row the mean over all rows of weight × (1 where the other's value is higher, ½ where it ties)."""
    n = len(weights)
    upto = np.cumsum(weights[order])
    before = np.concatenate(([0.0], upto[:-1]))
    out = np.empty(n)
    out[order] = (upto[-1] - (upto[last] + before[first]) / 2) / n
    return out


def _spearman_columns(y: Floats, p: Floats) -> dict[str, Floats]:
    """Projections of E[UV], E[U²], E[V²] for the mid-distributions U of p and V of y; their means are those moments."""
    u, *of_p = middle_ranks(p)
    v, *of_y = middle_ranks(y)
    c = u * v + _above(v, *of_p) + _above(u, *of_y)
    a, b = u * u + 2 * _above(u, *of_p), v * v + 2 * _above(v, *of_y)
    return {"uv": c - 2 * np.mean(u * v), "uu": a - 2 * np.mean(u * u), "vv": b - 2 * np.mean(v * v)}


def _spearman(s: Sums) -> Floats:
    uv, uu, vv = (s[k] / s["n"] - 0.25 for k in ("uv", "uu", "vv"))
    spread = uu * vv
    return np.where(spread > 0, _over(uv, np.sqrt(np.maximum(spread, 0))), np.nan)


def _classification(answers: Answers, n: int, ranks: bool) -> Summed:
    assert answers.probability is not None
    truth, guess, given = answers.truth, answers.prediction, answers.probability
    k = given.shape[1]
    eps = float(np.finfo(np.float64).eps)
    of_true = np.where(truth >= 0, given[np.arange(n), truth], 0.0)
    made = Summed(
        {
            "n": np.ones(n),
            "hit": (truth == guess).astype(np.float64),
            "loss": -np.log(np.clip(of_true, eps, 1 - eps)),
        }
    )
    # an unknown class (-1) is one more class, after the model's own
    places = [1] if two_classes(answers) else [*range(k), -1]
    for c in [*range(k), -1]:
        made.columns[f"true{c}"] = (truth == c).astype(np.float64)
        made.columns[f"said{c}"] = (guess == c).astype(np.float64)
        made.columns[f"right{c}"] = made.columns[f"true{c}"] * made.columns[f"said{c}"]
    made.metrics["accuracy"] = lambda s: s["hit"] / s["n"]
    made.metrics["log_loss"] = lambda s: s["loss"] / s["n"]
    made.metrics["precision"] = lambda s: _share(s, places, lambda c: (s[f"right{c}"], s[f"said{c}"]))
    made.metrics["recall"] = lambda s: _share(s, places, lambda c: (s[f"right{c}"], s[f"true{c}"]))
    made.metrics["f1"] = lambda s: _share(
        s, places, lambda c: (2 * s[f"right{c}"], s[f"said{c}"] + s[f"true{c}"])
    )
    made.metrics["mcc"] = lambda s: _mcc(s, [*range(k), -1])
    if ranks:
        _auc_columns(made, answers, places)
    return made


def two_classes(answers: Answers) -> bool:
    """Whether the second class's figures stand for the whole: two classes, and no row of an unknown one."""
    assert answers.probability is not None
    return answers.probability.shape[1] == 2 and bool((answers.truth >= 0).all())


def _share(s: Sums, places: list[int], of: Callable[[int], tuple[Floats, Floats]]) -> Floats:
    """part / whole of the one class, or weighted by each class's rows (a whole of 0 counts 0)."""
    if len(places) == 1:
        part, whole = of(places[0])
        return np.where(whole > 0, _over(part, whole), np.nan)
    total = np.zeros_like(s["n"])
    for c in places:
        part, whole = of(c)
        total = total + np.where(whole > 0, _over(part, whole), 0.0) * s[f"true{c}"]
    return total / s["n"]


def _mcc(s: Sums, places: list[int]) -> Floats:
    n = s["n"]
    tp = sum((s[f"true{c}"] * s[f"said{c}"] for c in places), np.zeros_like(n))
    tt = sum((s[f"true{c}"] ** 2 for c in places), np.zeros_like(n))
    pp = sum((s[f"said{c}"] ** 2 for c in places), np.zeros_like(n))
    both = (n * n - tt) * (n * n - pp)
    return np.where(both > 0, _over(s["hit"] * n - tp, np.sqrt(np.maximum(both, 0))), np.nan)


def _auc_columns(made: Summed, answers: Answers, places: list[int]) -> None:
    """For each class the projection of E[own row, other row, ordered rightly] = p (1 - p) AUC."""
    assert answers.probability is not None
    n, used = answers.rows, []
    for c in places:
        own = answers.truth == c
        p = float(own.mean())
        if p in (0.0, 1.0):
            continue
        score = answers.probability[:, c] if c >= 0 else np.zeros(n)
        _, order, first, last = middle_ranks(score)
        ones = own.astype(np.float64)
        above = _above(ones, order, first, last)  # own rows above each row
        below = (1 - p) - _above(1 - ones, order, first, last)  # other rows below each row
        column = np.where(own, below, above)
        made.columns[f"auc{c}"] = column - float(np.mean(column)) / 2
        used.append(c)

    def area(s: Sums) -> Floats:
        total, weight = np.zeros_like(s["n"]), np.zeros_like(s["n"])
        for c in used:
            p = s[f"true{c}"] / s["n"]
            pairs = p * (1 - p)
            value = np.where(pairs > 0, _over(s[f"auc{c}"] / s["n"], pairs), 0.0)
            rows = np.where(pairs > 0, s[f"true{c}"], 0.0)
            total, weight = total + rows * value, weight + rows
        return np.where(weight > 0, _over(total, weight), np.nan)

    if used:
        made.metrics["auc"] = area


def _over(a: Floats, b: Floats) -> Floats:
    return np.asarray(
        np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=np.asarray(b) != 0)
    )
