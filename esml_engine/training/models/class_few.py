"""Class probabilities of single rows, quickly: the trees of all folds walked at once, as `forest` does for regression.

The leaves are the libraries' own; XGBoost's last step (32 bits) may differ from the library's in the seventh digit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.training.models.class_learners import doubted
from esml_engine.training.models.forest import XgboostForest, extra_trees_forest, lightgbm_forest

if TYPE_CHECKING:
    from esml_engine.training.models.model import Matrices

Floats = NDArray[np.float64]
Few = Callable[["Matrices"], Floats]


def few_rows(kind: str, parts: Sequence[Any], classes: int) -> Few | None:
    """A function from matrices to the parts' mean probabilities (n, classes); None where there is no quicker way."""
    scores = 1 if classes == 2 else classes
    if kind == "lightgbm":
        return _lightgbm(parts, scores)
    if kind == "xgboost":
        return _xgboost(parts, scores)
    if kind == "extra_trees" and all(len(p.classes_) == classes for p in parts):
        return _extra_trees(parts)
    if kind == "linear" and all(len(p.classes_) == classes for p in parts):
        return _linear(parts)
    return None


def _probabilities(scores: NDArray[Any]) -> NDArray[Any]:
    """(…, 1) through the logistic function, (…, k) through softmax: (…, 2) or (…, k)."""
    if scores.shape[-1] == 1:
        with np.errstate(over="ignore"):  # exp of a large number is infinite and its inverse rightly 0
            one = 1 / (1 + np.exp(-scores))
        return np.concatenate([1 - one, one], axis=-1)
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares: NDArray[Any] = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def _lightgbm(parts: Sequence[Any], scores: int) -> Few:
    forest = lightgbm_forest(parts, scores)

    def few(matrices: Matrices) -> Floats:
        sums = np.array([forest.sums(r).reshape(-1, scores) for r in matrices.codes])
        return np.asarray(_probabilities(sums).mean(axis=1))

    return few


def _xgboost(parts: Sequence[Any], scores: int) -> Few:
    forest = XgboostForest(parts, scores, logistic=scores == 1)

    def few(matrices: Matrices) -> Floats:
        rows = matrices.codes.astype(np.float32)
        sums = np.array([forest.sums(r).reshape(-1, scores) for r in rows])
        given = _probabilities(sums).astype(np.float64)
        return np.asarray((given / given.sum(axis=-1, keepdims=True)).mean(axis=1))

    return few


def _extra_trees(parts: Sequence[Any]) -> Few:
    forest = extra_trees_forest(parts)

    def few(matrices: Matrices) -> Floats:
        rows = matrices.filled.astype(np.float32)
        means = np.array([forest.sums(r) / forest.groups[:, None] for r in rows])
        return np.asarray(doubted(means).mean(axis=1))

    return few


def _linear(parts: Sequence[Any]) -> Few:
    weights = np.array([p.coef_ for p in parts])
    constants = np.array([p.intercept_ for p in parts])

    def few(matrices: Matrices) -> Floats:
        # (parts, scores, g) · (n, g) -> (n, parts, scores)
        sums = np.einsum("psg,ng->nps", weights, matrices.scaled) + constants
        return np.asarray(_probabilities(sums).mean(axis=1))

    return few
