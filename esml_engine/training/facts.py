"""What training is about, as plain facts: metric directions, profiles, trials. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from esml_engine.errors import SettingsError
from esml_engine.settings import ERRORS, ESTIMATORS, FORECASTERS
from esml_engine.settings import PRIMARY_METRIC as PRIMARY_METRIC  # for the room's other files
from esml_engine.settings import TASK_METRICS as TASK_METRICS

# +1: higher is better, -1: lower is better; every metric key of the product
DIRECTION: dict[str, int] = {m: -1 if m in ERRORS else +1 for ms in TASK_METRICS.values() for m in ms}

# the least and the greatest value that each can have; of an error that has no greatest, infinity
RANGE: dict[str, tuple[float, float]] = {
    **{m: (0.0, math.inf) for m in ("rmse", "nrmse", "mae", "mape", "log_loss", "mase")},
    **{m: (0.0, 1.0) for m in ("auc", "accuracy", "precision", "recall", "f1")},
    "smape": (0.0, 2.0),
    "r2": (-math.inf, 1.0),
    "spearman": (-1.0, 1.0),
    "mcc": (-1.0, 1.0),
}

RESAMPLES = 10_000
"""Draws of the bootstrap when two models are compared."""
Value = float | None

SEARCHES: tuple[str, ...] = ("portfolio", "flaml")


@dataclass(frozen=True)
class Profile:
    """How much training may try (one `[train.<env>]` table).

    `seconds` is a wall-clock budget, `trials` a cap on estimator × setting pairs (each with all its folds).
    When `trials` ends the search before `seconds` does, the result depends on `seed` and the rows alone.
    `learn_from_validate`: fold over gold_train *and* gold_validate (more rows, each still predicted only by
    members that did not see it) instead of keeping gold_validate for choosing alone.
    `metric`: one of the task's; empty means its primary one (`metric_for`).
    """

    seconds: float = 15.0
    trials: int = 20
    folds: int = 5
    search: str = "portfolio"
    estimators: tuple[str, ...] = ESTIMATORS
    metric: str = ""
    seed: int = 1
    learn_from_validate: bool = False

    @classmethod
    def parse(cls, raw: Mapping[str, Any], task: str = "regression") -> Profile:
        """A profile from its settings table; missing keys take the defaults, the metric that of the task.

        Raises:
            SettingsError: a key, an estimator, the search or the metric is unknown, or a number is out of range.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise SettingsError(
                f"unknown training setting '{unknown[0]}'", hint=f"known: {', '.join(sorted(known))}"
            )
        values = {**raw, "metric": raw.get("metric") or PRIMARY_METRIC.get(task, "")}
        if "estimators" in values:
            values["estimators"] = tuple(values["estimators"])
        profile = cls(**values)
        profile._check(task)
        return profile

    def metric_for(self, task: str) -> str:
        """The profile's metric, or the task's primary one.

        Raises:
            SettingsError: it is a metric of another task; the hint names the valid ones.
        """
        metric, known = self.metric or PRIMARY_METRIC.get(task, ""), TASK_METRICS.get(task, ())
        if metric not in known:
            raise SettingsError(
                f"metric '{metric}' does not belong to task '{task}'", hint=f"one of: {', '.join(known)}"
            )
        return metric

    def _check(self, task: str) -> None:
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise SettingsError(f"train seconds must be positive, not {self.seconds}")
        if self.trials < 1:
            raise SettingsError(f"train trials must be at least 1, not {self.trials}")
        if not 2 <= self.folds <= 50:
            raise SettingsError(f"train folds must be 2 to 50, not {self.folds}")
        if self.search not in SEARCHES:
            raise SettingsError(f"unknown search '{self.search}'", hint=f"one of: {', '.join(SEARCHES)}")
        known = dict.fromkeys((*ESTIMATORS, *(FORECASTERS if task == "forecasting" else ())))
        wrong = [e for e in self.estimators if e not in known]
        if wrong or not self.estimators:
            said = f"unknown estimator '{wrong[0]}'" if wrong else "no estimator is allowed"
            raise SettingsError(said, hint=f"known: {', '.join(known)}")
        self.metric_for(task)


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


@dataclass(frozen=True)
class Gate:
    """One rule's verdict.

    `difference` is challenger against champion (or floor, or baseline) in the metric's unit, positive = better,
    whatever the metric's direction. `margin` is how far beyond the threshold it lies (negative: by how much it
    failed). `would_pass_if` is None for a passed gate and where nothing can be followed (`reason` then says why); else
    it names exact values: `setting` and `value` (the threshold that would pass), `metric` and `challenger` (the
    challenger's value that would, left out where no value of the metric can), and a `text`.
    """

    gate: str
    passed: bool
    champion: Value = None
    challenger: Value = None
    difference: Value = None
    interval: tuple[float, float] | None = None
    margin: Value = None
    reason: str = ""
    would_pass_if: dict[str, Any] | None = None


@dataclass(frozen=True)
class Verdict:
    """`promote` when every gate passed and there was at least one, else `refuse`."""

    verdict: str
    gates: tuple[Gate, ...]

    @property
    def refusals(self) -> tuple[Gate, ...]:
        """The gates that did not pass."""
        return tuple(g for g in self.gates if not g.passed)


@dataclass(frozen=True)
class Evidence:
    """What is judged. All metrics were computed on the same rows.

    `has_champion` says whether one stands; its metrics missing all the same means doubt, hence refusal.
    `expectations`: whether the data's expectations passed (None: unknown). `rnd`: trained in R&D mode.
    `intervals`: for a metric the paired bootstrap interval of the difference, positive = better; `rows`: how many rows it
    rests on (0: not known).
    `challenger_classes`, `champion_classes`: what a classifier tells apart.
    """

    task: str
    challenger: Mapping[str, Value] | None
    baseline: Mapping[str, Value] | None = None
    has_champion: bool = False
    champion: Mapping[str, Value] | None = None
    champion_task: str | None = None
    challenger_signature: Sequence[Mapping[str, str]] | None = None
    champion_signature: Sequence[Mapping[str, str]] | None = None
    challenger_classes: Sequence[str | int] | None = None
    champion_classes: Sequence[str | int] | None = None
    expectations: bool | None = None
    rnd: bool | None = None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    rows: int = 0
    cost_1000_rows: Value = None
    primary: str | None = None


def allowed_forecasters(estimators: Sequence[str]) -> tuple[str, ...]:
    """Members of a forecast that a profile allows; the built-in list (which knows no forecasters) allows all.

    Raises:
        SettingsError: none is left.
    """
    if set(estimators) == set(ESTIMATORS):
        return FORECASTERS
    kept = tuple(f for f in FORECASTERS if f in estimators)
    if not kept:
        raise SettingsError(
            f"none of {', '.join(estimators)} forecasts", hint=f"choose of {', '.join(FORECASTERS)}"
        )
    return kept


def loss_of(metric: str, value: float | None) -> float | None:
    """A metric's value as a loss (lower is better); None stays None."""
    return None if value is None else -DIRECTION[metric] * value
