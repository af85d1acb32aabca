"""How the portfolio's estimators classify: each is fitted for log loss and gives probabilities.

No class is given more weight than its rows: probabilities then keep their meaning on imbalanced data, and who wants
another balance moves the threshold. Places of classes are 0 … k - 1; a fold may lack a rare class.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.training.models.learners import (
    PREDICT,
    Floats,
    Fold,
    Limits,
    by_rows,
    grow_trees,
    train_lightgbm,
    train_perpetual,
    train_xgboost,
)

# a forest's leaf may be sure of what it saw twice; that much of the probability goes to all classes alike
FOREST_DOUBT = 0.005
# scikit-learn's C: small is strongly regularised; beyond 10 a fold that a line divides makes it far too sure
_STRENGTHS = np.logspace(-3, 1, 9)


def predict(kind: str, model: Any, x: NDArray[Any], threads: int, classes: int) -> Floats:
    """Probabilities (n, classes); each row sums to 1."""
    if kind in ("lightgbm", "xgboost"):
        raw = np.asarray(PREDICT[kind](model, x, threads), dtype=np.float64)
        out = np.column_stack([1 - raw, raw]) if raw.ndim == 1 else raw
    elif kind == "perpetual":
        out = np.asarray(model.predict_proba(x), dtype=np.float64)
    else:
        said = by_rows(model.predict_proba, x, threads)
        out = spread(np.asarray(said, dtype=np.float64), model.classes_, classes)
        if kind == "extra_trees":
            out = doubted(out)
    return np.asarray(out / out.sum(axis=1, keepdims=True))


def spread(given: Floats, known: NDArray[Any], classes: int) -> Floats:
    """Columns of the classes that a fold knew (last axis), in their places among all; the others 0."""
    if given.shape[-1] == classes:
        return given
    out: Floats = np.zeros((*given.shape[:-1], classes))
    out[..., np.asarray(known, dtype=np.intp)] = given
    return out


def doubted(probability: Floats) -> Floats:
    """A forest's probabilities (…, k), none of them 0."""
    return np.asarray((1 - FOREST_DOUBT) * probability + FOREST_DOUBT / probability.shape[-1])


def _fit_lightgbm(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    if fold.classes == 2:
        aim: dict[str, Any] = {"objective": "binary", "metric": "binary_logloss"}
    else:
        aim = {"objective": "multiclass", "metric": "multi_logloss", "num_class": fold.classes}
    return train_lightgbm({**aim, **params}, fold, limits)


def _fit_xgboost(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    if fold.classes == 2:
        aim: dict[str, Any] = {"objective": "binary:logistic", "eval_metric": "logloss"}
    else:
        aim = {"objective": "multi:softprob", "eval_metric": "mlogloss", "num_class": fold.classes}
    return train_xgboost({**aim, **params}, fold, limits)


def _fit_perpetual(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    y = fold.y.astype(np.float64)
    return train_perpetual(
        {"objective": "LogLoss", **params}, Fold(fold.x, y, fold.x_out, fold.y_out), limits
    )


def _fit_extra_trees(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return grow_trees(ExtraTreesClassifier, params, fold, limits)


def _fit_linear(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    """Logistic regression, as strong as it is best on the held-out rows; from strong to weak, until it gets worse."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    best: tuple[float, Any] | None = None
    worse = 0
    for c in _STRENGTHS:
        model = LogisticRegression(C=float(c), max_iter=300, **params)
        # two BLAS threads on busy cores take twenty times as long as one
        with threadpool_limits(limits.threads):
            model.fit(fold.x, fold.y)
        loss = _loss(predict("linear", model, fold.x_out, 1, fold.classes), fold.y_out)
        if best is None or loss < best[0]:
            best, worse = (loss, model), 0
        else:
            worse += 1
        if worse == 2 or time.monotonic() > limits.until:
            break
    assert best is not None
    return best[1]


def _loss(probability: Floats, y: NDArray[Any]) -> float:
    given = probability[np.arange(len(y)), y]
    return float(-np.mean(np.log(np.maximum(given, 1e-15))))


FIT: dict[str, Callable[[dict[str, Any], Fold, Limits], Any]] = {
    "lightgbm": _fit_lightgbm,
    "xgboost": _fit_xgboost,
    "perpetual": _fit_perpetual,
    "extra_trees": _fit_extra_trees,
    "linear": _fit_linear,
}
