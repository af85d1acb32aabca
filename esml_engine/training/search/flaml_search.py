"""FLAML as the search, when it is installed: it proposes settings, we refit the bare estimators and store those.

FLAML's own AutoML object and transformer can't be stored without pickle; they are dropped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from esml_engine.errors import FailedError, NotYetError, UsageError
from esml_engine.training.facts import Profile, Trial
from esml_engine.training.measuring.metrics import loss_function
from esml_engine.training.models import learners
from esml_engine.training.models.classes import Classes, classes_of
from esml_engine.training.models.labels import known_rows
from esml_engine.training.models.model import Matrices, Member
from esml_engine.training.models.preparing import Encoder, fit_preparing
from esml_engine.training.models.signature import example_of_columns
from esml_engine.training.search.portfolio import (
    OnTrial,
    Progress,
    Search,
    ordering,
)

_NAMES = {"lightgbm": "lgbm", "xgboost": "xgboost", "extra_trees": "extra_tree"}
_METRICS = {"rmse": "rmse", "nrmse": "rmse", "mae": "mae", "mape": "mape", "r2": "r2", "spearman": "rmse"}
_CLASS_METRICS = {
    "auc": "roc_auc", "accuracy": "accuracy", "precision": "log_loss", "recall": "log_loss", "f1": "f1", "log_loss": "log_loss",
    "mcc": "log_loss",
}  # fmt: skip
_SEARCH_SHARE = 0.8


def search_flaml(
    train: pa.Table,
    validate: pa.Table,
    *,
    label: str,
    leave_out: Iterable[str] = (),
    profile: Profile,
    task: str = "regression",
    progress: Progress = lambda fraction, message: None,
    on_trial: OnTrial = lambda trial: None,
) -> Search:
    """As `portfolio.search`, by FLAML within 80 % of the seconds; the rest is for refitting each family's best.

    The model is the family with the lowest loss on gold_validate, alone: FLAML does not blend.

    Raises:
        UsageError: FLAML is not installed, no allowed estimator is one of its own, or gold_validate is empty.
        NotYetError: another task than regression and classification.
        FailedError: FLAML found nothing in the time given.
    """
    if task not in ("regression", "classification"):
        raise NotYetError(f"automl for task '{task}' is not built yet")
    try:
        from flaml import AutoML
    except ImportError as e:
        raise UsageError(
            "the search 'flaml' needs the package flaml, which is not installed",
            hint='pip install "esml-cockpit[flaml]", or set search = "portfolio"',
        ) from e
    allowed = [k for k in profile.estimators if k in _NAMES]
    if not allowed:
        raise UsageError(
            f"FLAML has none of: {', '.join(profile.estimators)}", hint=f"it has: {', '.join(_NAMES)}"
        )
    if not validate.num_rows:
        raise UsageError("the search 'flaml' needs rows in gold_validate")
    begun = time.monotonic()
    classes = classes_of([train], label) if task == "classification" else Classes()
    train, y = known_rows(train, label, classes)
    validate, y_validate = known_rows(validate, label, classes)
    if (y_validate < 0).any() and classes:
        # FLAML takes no row of a class that it did not learn
        validate, y_validate = validate.filter(pa.array(y_validate >= 0)), y_validate[y_validate >= 0]
    metric = profile.metric_for(task)
    preparing = fit_preparing(train, ordering(y, classes), leave_out={label, *leave_out})
    encoder = Encoder(preparing)
    rows, held = Matrices(encoder, encoder.codes(train)), Matrices(encoder, encoder.codes(validate))
    threads = learners.threads_for(len(y))
    automl: Any = AutoML()
    progress(0.05, "FLAML searches")
    automl.fit(
        X_train=rows.filled,
        y_train=y,
        X_val=held.filled,
        y_val=y_validate,
        task=task,
        metric=_flaml_metric(metric, len(classes)),
        time_budget=profile.seconds * _SEARCH_SHARE,
        max_iter=profile.trials,
        estimator_list=[_NAMES[k] for k in allowed],
        retrain_full=False,
        seed=profile.seed,
        n_jobs=threads,
        verbose=0,
    )
    loss = loss_function(metric)
    trials: list[Trial] = []
    members: list[Member] = []
    for kind in allowed:
        if not automl.best_config_per_estimator.get(_NAMES[kind]):
            continue
        at = time.monotonic()
        member = _refit(kind, automl.best_model_for_estimator(_NAMES[kind]), rows.filled, y, len(classes))
        value = loss(y_validate, member.predict(held, threads))
        trials.append(Trial(kind, member.params, value, time.monotonic() - at, 1))
        members.append(member)
        on_trial(trials[-1])
    if not members:
        raise FailedError("FLAML found no setting in the time given", hint="give it more seconds")
    best = int(np.argmin([np.inf if t.loss is None else t.loss for t in trials]))
    weighted = tuple(replace(m, weight=float(i == best)) for i, m in enumerate(members))
    progress(1.0, f"{len(trials)} families")
    example = example_of_columns(train, [c.name for c in preparing.columns])
    spent = time.monotonic() - begun
    return Search(tuple(trials), weighted, preparing, label, example, spent, classes=classes)


def _flaml_metric(metric: str, classes: int) -> str:
    """FLAML's name of a metric, or of what stands in for one that it has not."""
    if not classes:
        return _METRICS[metric]
    many = {"auc": "roc_auc_ovr_weighted", "f1": "macro_f1"}
    return many.get(metric, _CLASS_METRICS[metric]) if classes > 2 else _CLASS_METRICS[metric]


def _refit(kind: str, wrapper: Any, x: Any, y: Any, classes: int) -> Member:
    """The bare estimator of FLAML's best setting of a family, fitted anew on all training rows.

    FLAML searched on matrices without gaps, and so it is fitted; a booster then never meets NaN but by its default.
    """
    params = {k: v.item() if isinstance(v, np.generic) else v for k, v in wrapper.params.items()}
    estimator = wrapper.estimator_class(**params)
    estimator.fit(x, y)
    if kind == "lightgbm":
        import lightgbm as lgb

        part: Any = lgb.Booster(model_str=estimator.booster_.model_to_string())
    elif kind == "xgboost":
        part = estimator.get_booster()
    else:
        part = estimator.set_params(n_jobs=1)
    plain = {k: v for k, v in params.items() if isinstance(v, bool | int | float | str)}
    return Member(kind, plain, (part,), classes=classes)
