"""The estimators of the portfolio: how each is fitted within a deadline, predicts, and which matrix it reads.

Regression here; how the same kinds classify stands in `class_learners`.
"""

from __future__ import annotations

import os

# before the first OpenMP library is loaded: waiting threads that spin stall small fits
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import importlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# the matrix of `preparing.Encoder` that each kind reads
MATRIX = {
    "lightgbm": "codes",
    "xgboost": "codes",
    "perpetual": "codes",
    "extra_trees": "filled",
    "linear": "scaled",
}
SMALL_ROWS = 2_000
# its boosters predict side by side, but must not be set or stored meanwhile
XGBOOST = threading.Lock()
_MAX_ROUNDS = 3_000
_PATIENCE = 50
_MANY_ROWS = 20_000
_SHARED_ROWS = 2_000


@dataclass(frozen=True)
class Fold:
    """The rows of one fit: learned from, and held out (for early stopping and out-of-fold predictions).

    `classes`: how many there are, `y` being places among them; 0 for regression.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    x_out: NDArray[Any]
    y_out: NDArray[Any]
    classes: int = 0


@dataclass(frozen=True)
class Limits:
    """`until`: `time.monotonic()` at which the fit must stop and keep what it has."""

    until: float
    threads: int
    seed: int


def load_libraries() -> None:
    """Import the libraries, so that no fit's deadline pays for it (nothing to do in a warm process)."""
    for name in ("lightgbm", "perpetual", "sklearn.ensemble", "sklearn.linear_model", "xgboost"):
        importlib.import_module(name)


def threads_for(rows: int) -> int:
    """Threads for a fit: one below 2,000 rows, where a second one only costs."""
    return 1 if rows < SMALL_ROWS else max(1, os.cpu_count() or 1)


def fit(kind: str, params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    """Fit one estimator on one fold; the answer is the library's own model object, read by `predict`."""
    if fold.classes:
        from esml_engine.training.models import class_learners

        return class_learners.FIT[kind](params, fold, limits)
    return _FIT[kind](params, fold, limits)


def predict(kind: str, model: Any, x: NDArray[Any], threads: int = 1, classes: int = 0) -> Floats:
    """Predictions (n,) of a model from `fit` on the matrix of its kind; probabilities (n, k) of `classes` > 0."""
    if classes:
        from esml_engine.training.models import class_learners

        return class_learners.predict(kind, model, x, threads, classes)
    raw = PREDICT[kind](model, x, threads)
    return np.asarray(raw, dtype=np.float64)


def _fit_lightgbm(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    return train_lightgbm({"objective": "regression", "metric": "l2", **params}, fold, limits)


def train_lightgbm(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    """A booster of the rounds that were best on the held-out rows, whatever the objective in `params`."""
    import lightgbm as lgb

    def deadline(env: Any) -> None:
        if time.monotonic() > limits.until:
            raise lgb.callback.EarlyStopException(env.iteration, env.evaluation_result_list)

    settings = {
        "verbose": -1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": limits.threads,
        "seed": limits.seed,
        "feature_pre_filter": False,
        **params,
    }
    data = lgb.Dataset(fold.x, fold.y, params=settings)
    held = lgb.Dataset(fold.x_out, fold.y_out, reference=data, params=settings)
    stop = lgb.early_stopping(_PATIENCE, verbose=False)
    model = lgb.train(settings, data, _MAX_ROUNDS, valid_sets=[held], callbacks=[stop, deadline])
    return lgb.Booster(model_str=model.model_to_string(num_iteration=max(1, model.best_iteration)))


def _fit_xgboost(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    return train_xgboost({"objective": "reg:squarederror", **params}, fold, limits)


def train_xgboost(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    """As `train_lightgbm`."""
    import xgboost as xgb

    class Deadline(xgb.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            return time.monotonic() > limits.until

    settings = {
        "tree_method": "hist",
        "nthread": limits.threads,
        "seed": limits.seed,
        "verbosity": 0,
        **params,
    }
    data = xgb.DMatrix(fold.x, fold.y, nthread=limits.threads)
    held = xgb.DMatrix(fold.x_out, fold.y_out, nthread=limits.threads)
    model = xgb.train(
        settings,
        data,
        _MAX_ROUNDS,
        evals=[(held, "held")],
        early_stopping_rounds=_PATIENCE,
        verbose_eval=False,
        callbacks=[Deadline()],
    )
    return model[: model.best_iteration + 1]


def _fit_perpetual(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    return train_perpetual({"objective": "SquaredLoss", **params}, fold, limits)


def train_perpetual(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    """Perpetual sizes itself by `budget`; it takes no held-out rows."""
    from perpetual import PerpetualBooster

    left = max(0.1, limits.until - time.monotonic())
    model = PerpetualBooster(
        num_threads=limits.threads,
        seed=limits.seed,
        timeout=left,
        categorical_features=None,
        **params,
    )
    model.fit(fold.x, fold.y)
    return model


def _fit_extra_trees(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return grow_trees(ExtraTreesRegressor, params, fold, limits)


def grow_trees(forest: Callable[..., Any], params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    """A scikit-learn forest, grown in steps until it is complete or the time is up."""
    trees, step = (100, 25) if len(fold.y) <= _MANY_ROWS else (60, 10)
    cap = None if len(fold.y) <= _MANY_ROWS else 4_096
    model = forest(
        step, max_leaf_nodes=cap, n_jobs=limits.threads, random_state=limits.seed, warm_start=True, **params
    )
    model.fit(fold.x, fold.y)
    while len(model.estimators_) < trees and time.monotonic() < limits.until:
        model.set_params(n_estimators=len(model.estimators_) + step)
        model.fit(fold.x, fold.y)
    model.set_params(n_jobs=1)
    return model


def _fit_linear(params: dict[str, Any], fold: Fold, limits: Limits) -> Any:
    from sklearn.linear_model import RidgeCV

    return RidgeCV(alphas=np.logspace(-3, 4, 15), **params).fit(fold.x, fold.y)


def _predict_lightgbm(model: Any, x: NDArray[Any], threads: int) -> Any:
    return model.predict(x, num_threads=threads)


def _predict_xgboost(model: Any, x: NDArray[Any], threads: int) -> Any:
    with XGBOOST:
        model.set_param({"nthread": threads})
        return model.inplace_predict(x, validate_features=False)


def _predict_perpetual(model: Any, x: NDArray[Any], threads: int) -> Any:
    return model.predict(x)


def _predict_sklearn(model: Any, x: NDArray[Any], threads: int) -> Any:
    return by_rows(model.predict, x, threads)


def by_rows(said: Callable[[NDArray[Any]], Any], x: NDArray[Any], threads: int) -> Any:
    """`said(x)` with many rows shared among threads: row by row the same numbers, which a forest that shares its trees does not promise."""
    if threads < 2 or len(x) < _SHARED_ROWS:
        return said(x)
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(said, np.array_split(x, threads))))


_FIT: dict[str, Callable[[dict[str, Any], Fold, Limits], Any]] = {
    "lightgbm": _fit_lightgbm,
    "xgboost": _fit_xgboost,
    "perpetual": _fit_perpetual,
    "extra_trees": _fit_extra_trees,
    "linear": _fit_linear,
}
PREDICT: dict[str, Callable[[Any, NDArray[Any], int], Any]] = {
    "lightgbm": _predict_lightgbm,
    "xgboost": _predict_xgboost,
    "perpetual": _predict_perpetual,
    "extra_trees": _predict_sklearn,
    "linear": _predict_sklearn,
}
