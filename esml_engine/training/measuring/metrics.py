"""Metrics of a prediction against the truth. Undefined values are None, never NaN, so they survive JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esml_engine.errors import UsageError
from esml_engine.training.facts import loss_of

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Metrics = dict[str, float | None]
Loss = Callable[[NDArray[Any], Floats], float]


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


def auc(truth: Places, prediction: Places, probability: Floats) -> float | None:
    """Area under the ROC curve; None where no class has both rows of its own and others.

    Two classes: of the second one's probability. More: one-vs-rest over the classes that occur, weighted by their
    rows. An unknown class has probability 0 in every row, hence 0.5.
    """
    if _two(truth, probability):
        return _area(truth == 1, probability[:, 1])
    total = weight = 0.0
    for place in np.unique(truth):
        mine = truth == place
        score = probability[:, place] if place >= 0 else np.zeros(len(truth))
        value = _area(mine, score)
        if value is not None:
            total, weight = total + float(mine.sum()) * value, weight + float(mine.sum())
    return _finite(total / weight) if weight else None


def accuracy(truth: Places, prediction: Places, probability: Floats) -> float | None:
    """Share of rows whose class was predicted."""
    return float(np.mean(truth == prediction))


def precision(truth: Places, prediction: Places, probability: Floats) -> float | None:
    """Share of the rows predicted as a class that are of it.

    Two classes: of the second one, None where it was never predicted. More: each class's, weighted by its rows, a
    class that was never predicted counting 0 (scikit-learn's `average="weighted"`).
    """
    right, predicted, of_class = _counts(truth, prediction, probability)
    return _share(right, predicted, of_class)


def recall(truth: Places, prediction: Places, probability: Floats) -> float | None:
    """Share of a class's rows that were predicted as such; averaged as `precision` (weighted: the accuracy).

    Two classes: of the second one, None where no row is of it.
    """
    right, _, of_class = _counts(truth, prediction, probability)
    return _share(right, of_class, of_class)


def f1(truth: Places, prediction: Places, probability: Floats) -> float | None:
    """Harmonic mean of precision and recall; averaged as `precision`.

    Two classes: of the second one, None where it neither occurs nor was predicted.
    """
    right, predicted, of_class = _counts(truth, prediction, probability)
    return _share(2 * right, predicted + of_class, of_class)


def log_loss(truth: Places, prediction: Places, probability: Floats) -> float | None:
    """Mean of -ln of the true class's probability, that kept within [2.2e-16, 1 - 2.2e-16]; an unknown class has 0."""
    eps = float(np.finfo(np.float64).eps)
    given = np.where(truth >= 0, probability[np.arange(len(truth)), truth], 0.0)
    return _finite(float(-np.mean(np.log(np.clip(given, eps, 1 - eps)))))


def mcc(truth: Places, prediction: Places, probability: Floats) -> float | None:
    """Matthews' correlation of truth and prediction over all classes (Gorodkin 2004), -1 to 1.

    None where either is constant (scikit-learn answers 0 there). Unknown classes count as one more class.
    """
    n = float(len(truth))
    k = probability.shape[1] + 1
    t, p = (np.bincount(v % k, minlength=k).astype(np.float64) for v in (truth, prediction))
    both = (n * n - float(t @ t)) * (n * n - float(p @ p))
    return (
        None
        if both <= 0
        else _finite((float(np.sum(truth == prediction)) * n - float(t @ p)) / math.sqrt(both))
    )


_CLASSIFICATION: dict[str, Callable[[Places, Places, Floats], float | None]] = {
    "auc": auc,
    "accuracy": accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "log_loss": log_loss,
    "mcc": mcc,
}


def classification_metrics(truth: ArrayLike, prediction: ArrayLike, probability: ArrayLike) -> Metrics:
    """All classification metrics.

    Args:
        truth: (n,) places of the true classes among the model's; -1 for a class that it does not know. Such a row is
            wrong whatever was predicted, and with it two classes are three: averages are weighted.
        prediction: (n,) places of the predicted classes.
        probability: (n, k).

    Raises:
        UsageError: the shapes do not fit, there is no row, or a probability is not finite.
    """
    given = _classified(truth, prediction, probability)
    return {name: one(*given) for name, one in _CLASSIFICATION.items()}


def metric(name: str, y: ArrayLike, pred: ArrayLike) -> float | None:
    """One metric by its key: of regression, or of classification for `y` places (n,) and `pred` probabilities (n, k).

    Raises:
        UsageError: the key is unknown; else as `regression_metrics` and `classification_metrics`.
    """
    if name in _REGRESSION:
        return _REGRESSION[name](*_pair(y, pred))
    if name in _CLASSIFICATION:
        probability = np.asarray(pred, dtype=np.float64)
        if probability.ndim != 2:
            raise UsageError(f"metric '{name}' is of probabilities (n, k), not of {probability.shape}")
        return _CLASSIFICATION[name](*_classified(y, probability.argmax(axis=1), probability))
    raise UsageError(
        f"unknown metric '{name}'", hint=f"one of: {', '.join([*_REGRESSION, *_CLASSIFICATION])}"
    )


def loss_function(name: str) -> Loss:
    """A metric as a loss (lower is better); infinite where the metric is undefined.

    It takes what `metric` takes: numbers, or places of classes and their probabilities.
    """

    def loss(y: NDArray[Any], pred: Floats) -> float:
        value = loss_of(name, metric(name, y, pred))
        return math.inf if value is None else value

    return loss


def confusion(truth: Places, prediction: Places, classes: Sequence[str]) -> dict[str, Any]:
    """`{"classes", "matrix", "unknown"}`: rows of each true class (outer) by predicted class (inner), in class order.

    `unknown` counts, by predicted class, the rows of classes that the model does not know.
    """
    k = len(classes)
    counts = np.bincount((truth % (k + 1)) * k + prediction, minlength=(k + 1) * k).reshape(k + 1, k)
    return {"classes": list(classes), "matrix": counts[:k].tolist(), "unknown": counts[k].tolist()}


def _two(truth: Places, probability: Floats) -> bool:
    return probability.shape[1] == 2 and bool((truth >= 0).all())


def _area(mine: NDArray[np.bool_], score: Floats) -> float | None:
    """The share of pairs of one of `mine` and one other that `score` orders rightly, ties counting half."""
    ones = int(mine.sum())
    others = len(mine) - ones
    if not ones or not others:
        return None
    from scipy.stats import rankdata

    return float((rankdata(score)[mine].sum() - ones * (ones + 1) / 2) / (ones * others))


def _counts(truth: Places, prediction: Places, probability: Floats) -> tuple[Floats, Floats, Floats]:
    """Rows rightly predicted, predicted, and there are: of the positive class (1,) or of each, unknown last (k + 1,)."""
    k = probability.shape[1] + 1  # -1 % k is k - 1: the place of the unknown
    right, predicted, of_class = (
        np.bincount(v % k, minlength=k).astype(np.float64)
        for v in (truth[truth == prediction], prediction, truth)
    )
    if _two(truth, probability):
        return right[1:2], predicted[1:2], of_class[1:2]
    return right, predicted, of_class


def _share(part: Floats, whole: Floats, rows: Floats) -> float | None:
    """part / whole averaged by `rows`, a whole of 0 counting 0; of one class alone it is None then."""
    if len(part) == 1:
        return None if whole[0] == 0 else float(part[0] / whole[0])
    shares = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return float(shares @ rows / rows.sum())


def _classified(
    truth: ArrayLike, prediction: ArrayLike, probability: ArrayLike
) -> tuple[Places, Places, Floats]:
    t, p = np.asarray(truth, dtype=np.int64), np.asarray(prediction, dtype=np.int64)
    given = np.asarray(probability, dtype=np.float64)
    if t.ndim != 1 or t.shape != p.shape or given.ndim != 2 or len(given) != len(t):
        raise UsageError(
            f"label, prediction and probability differ in shape: {t.shape}, {p.shape}, {given.shape}"
        )
    if t.size == 0:
        raise UsageError("there is no row to score")
    if not np.isfinite(given).all():
        raise UsageError("a probability is not finite")
    return t, p, given


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
