"""What training is about, as plain facts: metric directions, profiles, trials. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from esml_engine.errors import SettingsError

# +1: higher is better, -1: lower is better; every metric key of the product
DIRECTION: dict[str, int] = {
    "rmse": -1,
    "nrmse": -1,
    "mae": -1,
    "mape": -1,
    "r2": +1,
    "spearman": +1,
    "auc": +1,
    "accuracy": +1,
    "precision": +1,
    "recall": +1,
    "f1": +1,
    "log_loss": -1,
    "mcc": +1,
    "mase": -1,
    "smape": -1,
}

TASK_METRICS: dict[str, tuple[str, ...]] = {
    "regression": ("rmse", "nrmse", "mae", "mape", "r2", "spearman"),
    "classification": ("auc", "accuracy", "precision", "recall", "f1", "log_loss", "mcc"),
    "forecasting": ("mae", "rmse", "mase", "smape"),
}

PRIMARY_METRIC: dict[str, str] = {"regression": "rmse", "classification": "auc", "forecasting": "mase"}

ESTIMATORS: tuple[str, ...] = ("lightgbm", "xgboost", "extra_trees", "linear", "perpetual")
SEARCHES: tuple[str, ...] = ("portfolio", "flaml")


@dataclass(frozen=True)
class Profile:
    """How much training may try (one `[train.<env>]` table).

    `seconds` is a wall-clock budget, `trials` a cap on estimator × setting pairs (each with all its folds).
    When `trials` ends the search before `seconds` does, the result depends on `seed` and the rows alone.
    `learn_from_validate`: fold over gold_train *and* gold_validate (more rows, each still predicted only by
    members that did not see it) instead of keeping gold_validate for choosing alone.
    """

    seconds: float = 15.0
    trials: int = 20
    folds: int = 5
    search: str = "portfolio"
    estimators: tuple[str, ...] = ESTIMATORS
    metric: str = "rmse"
    seed: int = 1
    learn_from_validate: bool = False

    @classmethod
    def parse(cls, raw: Mapping[str, Any], task: str = "regression") -> Profile:
        """A profile from its settings table; missing keys take the defaults.

        Raises:
            SettingsError: a key, an estimator, the search or the metric is unknown, or a number is out of range.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise SettingsError(
                f"unknown training setting '{unknown[0]}'", hint=f"known: {', '.join(sorted(known))}"
            )
        values = {"metric": PRIMARY_METRIC.get(task, "rmse"), **raw}
        if "estimators" in values:
            values["estimators"] = tuple(values["estimators"])
        profile = cls(**values)
        profile._check(task)
        return profile

    def _check(self, task: str) -> None:
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise SettingsError(f"train seconds must be positive, not {self.seconds}")
        if self.trials < 1:
            raise SettingsError(f"train trials must be at least 1, not {self.trials}")
        if not 2 <= self.folds <= 50:
            raise SettingsError(f"train folds must be 2 to 50, not {self.folds}")
        if self.search not in SEARCHES:
            raise SettingsError(f"unknown search '{self.search}'", hint=f"one of: {', '.join(SEARCHES)}")
        wrong = [e for e in self.estimators if e not in ESTIMATORS]
        if wrong or not self.estimators:
            said = f"unknown estimator '{wrong[0]}'" if wrong else "no estimator is allowed"
            raise SettingsError(said, hint=f"known: {', '.join(ESTIMATORS)}")
        if self.metric not in TASK_METRICS.get(task, ()):
            raise SettingsError(
                f"metric '{self.metric}' does not belong to task '{task}'",
                hint=f"one of: {', '.join(TASK_METRICS.get(task, ()))}",
            )


@dataclass(frozen=True)
class Trial:
    """One estimator with one setting and all the folds that were fitted of it.

    `loss` is on gold_validate: the primary metric turned so that lower is better; None where undefined.
    """

    estimator: str
    params: dict[str, Any]
    loss: float | None
    seconds: float
    folds: int


def loss_of(metric: str, value: float | None) -> float | None:
    """A metric's value as a loss (lower is better); None stays None."""
    return None if value is None else -DIRECTION[metric] * value
