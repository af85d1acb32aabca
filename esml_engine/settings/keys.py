"""The keys of estate.toml, project.toml and model.toml: types, limits, defaults."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from esml_engine.errors import UsageError
from esml_engine.platforms.places import Place, place_of
from esml_engine.refs import check_name
from esml_engine.settings.values import Arrives, ColumnType, Delimiter, Encoding, Pattern

Env = Literal["dev", "test", "prod"]
Task = Literal["regression", "classification", "forecasting", "analytics"]


OF_NAME = "name"  # in an error's context: names below the key that it is about
# what a training may try, and what a forecast's may
ESTIMATORS = ("lightgbm", "xgboost", "extra_trees", "linear", "perpetual")
FORECASTERS = ("theta", "ets", "linear", "lightgbm", "mstl")
# what a training profile that names no metric is judged by
PRIMARY_METRIC: dict[str, str] = {"regression": "rmse", "classification": "auc", "forecasting": "mase"}
# what each task's models are measured by
TASK_METRICS: dict[str, tuple[str, ...]] = {
    "regression": ("rmse", "nrmse", "mae", "mape", "r2", "spearman"),
    "classification": ("auc", "accuracy", "precision", "recall", "f1", "log_loss", "mcc"),
    "forecasting": ("mae", "rmse", "mase", "smape"),
}
# of those the ones where less is better
ERRORS = frozenset({"rmse", "nrmse", "mae", "mape", "mase", "smape", "log_loss"})


def _one_of(name: str, known: Sequence[str], none: str) -> str:
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, 1, 0.0)[0]
        raise ValueError(f"{none} {name!r}, did you mean {near!r}? There are {', '.join(known)}")
    return name


def _metric_key(name: str) -> str:
    """A metric that some task has; whether it is this model's task, the model's settings say."""
    return _one_of(
        name, sorted({m for metrics in TASK_METRICS.values() for m in metrics}), "no task has a metric"
    )


MetricKey = Annotated[str, AfterValidator(_metric_key)]


def _estimator(name: str) -> str:
    """An estimator of some task, as `_metric_key`."""
    return _one_of(name, list(dict.fromkeys((*ESTIMATORS, *FORECASTERS))), "there is no estimator")


Estimator = Annotated[str, AfterValidator(_estimator)]


def _dataset_name(name: str) -> str:
    try:
        return check_name(name, "dataset")
    except UsageError as e:
        raise ValueError(f"{e.message}: {e.hint}") from e


def _written(value: Any) -> Any:
    """A date of TOML as the text that it stands for."""
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value


DatasetName = Annotated[str, AfterValidator(_dataset_name)]
Environment = Annotated[
    SerializeAsAny[Place], BeforeValidator(place_of)
]  # where it lies: its platform's own keys
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what every library takes


class _Strict(BaseModel):
    # no answer and no hash can hold what is not a finite number
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)


class PolicySettings(_Strict):
    """What an environment allows."""

    nodes: list[str] = Field(default_factory=lambda: ["local.small"])
    max_nodes: int = Field(default=1, ge=1)
    max_cost_run: float = Field(default=5.0, ge=0)
    max_cost_month: float = Field(default=200.0, ge=0)
    max_train_seconds: float = Field(default=600, ge=0)
    over: Literal["refuse", "ask"] = "refuse"
    approvals: int = Field(default=0, ge=0)
    evidence: Literal["target", "source"] = "target"


class ServingSettings(_Strict):
    """How a model is served in one environment."""

    instances: int = Field(default=1, ge=1)
    save: bool = True


class Expectation(_Strict):
    """A condition on gold."""

    on: Literal["bronze", "silver", "gold"] = "gold"
    check: Literal["not_null", "unique", "in_range", "in_set", "regex", "row_count", "fresh", "custom"]
    column: str = ""
    level: Literal["error", "warn"] = "error"
    min: float | None = None
    max: float | None = None
    values: list[Annotated[Any, BeforeValidator(_written)]] = Field(default_factory=list)
    pattern: Pattern = ""
    within: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Expectation:
        """A check says what it needs."""
        if self.check not in ("row_count", "custom") and not self.column:
            raise ValueError(f"{self.check} needs a column")
        if self.check in ("in_range", "row_count") and self.min is None and self.max is None:
            raise ValueError(f"{self.check} needs min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} lies above max {self.max:g}")
        if self.check == "in_set" and not self.values:
            raise ValueError("in_set needs values")
        if self.check == "regex" and not self.pattern:
            raise ValueError("regex needs a pattern")
        return self

    @field_validator("on")
    @classmethod
    def _where(cls, on: str) -> str:
        if on != "gold":
            raise ValueError(f"[[expect]] is gold's; one on {on} stands under [[datasets.<name>.expect]]")
        return on


class DatasetExpectation(Expectation):
    """A condition on a dataset's bronze or silver."""

    on: Literal["bronze", "silver", "gold"] = "silver"

    @field_validator("on")
    @classmethod
    def _where(cls, on: str) -> str:
        if on == "gold":
            raise ValueError("a dataset's expectation is on bronze or silver; gold's stand under [[expect]]")
        return on


class DatasetSettings(_Strict):
    """One input of a model."""

    format: Literal["csv", "parquet"] = "csv"
    delimiter: Delimiter = ","
    encoding: Encoding = "utf-8"
    null: str = ""
    types: dict[str, ColumnType] = Field(default_factory=dict)
    arrives: Arrives = ""
    drift: Literal["evolve", "warn", "fail"] = "warn"
    rows: bool = False
    expect: list[DatasetExpectation] = Field(default_factory=list)


class SplitSettings(_Strict):
    """How gold is split; fractions add up to 1."""

    train: float = Field(default=0.6, ge=0, le=1)
    validate_: float = Field(default=0.2, ge=0, le=1, alias="validate")
    test: float = Field(default=0.2, ge=0, le=1)
    seed: Seed = 1
    by: Literal["key", "group", "time"] = "key"
    stratify: bool = False
    group: str = ""

    @model_validator(mode="before")
    @classmethod
    def _by_its_group(cls, raw: Any) -> Any:
        """Who names a group splits by it, said or not; no other way keeps a group on one side."""
        if not isinstance(raw, Mapping) or not raw.get("group"):
            return raw
        if raw.get("by", "group") != "group":
            raise ValueError(
                f'group is for by = "group" alone: by = "{raw["by"]}" would put it on several sides'
            )
        return {**raw, "by": "group"}

    @model_validator(mode="after")
    def _sum(self) -> SplitSettings:
        if abs(self.train + self.validate_ + self.test - 1) > 1e-9:
            raise ValueError(
                "train, validate and test must add up to 1: set the three together, as one table"
            )
        if self.by == "group" and not self.group:
            raise ValueError('by = "group" needs group, the column whose equal values stay together')
        return self


class TrainSettings(_Strict):
    """A training profile."""

    seconds: float = Field(default=60, gt=0)
    trials: int = Field(default=40, ge=1)
    folds: int = Field(default=5, ge=2)
    search: Literal["portfolio", "flaml"] = "portfolio"
    estimators: Annotated[list[Estimator], Field(min_length=1)] = Field(
        default_factory=lambda: list(ESTIMATORS)
    )
    metric: Annotated[str, AfterValidator(lambda m: m and _metric_key(m))] = (
        ""  # empty: the task's primary metric
    )
    seed: Seed = 1
    mode: Literal["auto", "automl", "custom"] = "auto"


class GateSettings(_Strict):
    """When a challenger takes the champion's place."""

    min_gain: dict[MetricKey, float] = Field(default_factory=dict)
    floor: dict[MetricKey, float] = Field(default_factory=dict)
    ceiling: dict[MetricKey, float] = Field(default_factory=dict)
    interval: list[MetricKey] = Field(default_factory=list)
    weights: dict[MetricKey, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    max_cost_1000_rows: float = 0.5

    @field_validator("floor", "ceiling")
    @classmethod
    def _bounds_what_is_bad(cls, table: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        """The other bound would let every model pass that is worse."""
        wrong = next((m for m in table if (m in ERRORS) == (info.field_name == "floor")), None)
        if wrong is not None:
            what, bound = ("less", "ceiling") if wrong in ERRORS else ("more", "floor")
            raise ValueError(
                f"{what} {wrong} is better: bound it by {bound} = {{ {wrong} = {table[wrong]:g} }}"
            )
        return table


class ForecastSettings(_Strict):
    """What a time series is."""

    time_column: str = ""
    series: list[str] = Field(default_factory=list)
    horizon: int = Field(default=1, ge=1)
    frequency: str = ""
    known: list[str] = Field(default_factory=list)


class EndpointSettings(_Strict):
    """Where local endpoints listen."""

    ports: str = "8600-8699"

    @model_validator(mode="after")
    def _range(self) -> EndpointSettings:
        low, _, high = self.ports.partition("-")
        if not (low.isdigit() and high.isdigit() and 1024 <= int(low) <= int(high) <= 65535):
            raise ValueError("ports is a range such as 8600-8699")
        return self


class WorkerSettings(_Strict):
    """How much the worker does side by side, and how long one step may take."""

    jobs: int = Field(default=2, ge=1)
    max_step_seconds: float = Field(default=900, gt=0)


class WithPolicy(_Strict):
    """`[policy]` with `[policy.prod]` inside it, kept as raw tables: layering happens key by key."""

    policy: dict[str, Any] = Field(default_factory=dict)


class EstateSettings(WithPolicy):
    """estate.toml."""

    name: str
    currency: str = "EUR"
    environments: dict[Env, Environment]
    prices: dict[str, float | str] = Field(default_factory=dict)
    serving: EndpointSettings = Field(default_factory=EndpointSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)

    @field_validator("prices")
    @classmethod
    def _prices(cls, prices: dict[str, float | str]) -> dict[str, float | str]:
        for name, price in prices.items():
            said = {OF_NAME: (name,), "said": repr(price)}
            if name == "as_of":
                try:
                    dt.date.fromisoformat(str(price))
                except ValueError as e:
                    raise PydanticCustomError("price", "it is a date YYYY-MM-DD, not {said}", said) from e
            elif isinstance(price, str) or not 0 <= price < float("inf"):
                raise PydanticCustomError("price", "it is a price per node hour from 0, not {said}", said)
        return prices


class BudgetSettings(_Strict):
    """Money a month, in the estate's currency."""

    month: float = Field(default=100.0, ge=0)


class ProjectSettings(WithPolicy):
    """project.toml."""

    team: str
    owner: str = ""
    contact: str = ""
    risk: Literal["low", "medium", "high"] = "medium"
    budget: BudgetSettings = Field(default_factory=BudgetSettings)


class ModelSettings(WithPolicy):
    """model.toml."""

    task: Task
    label: str = ""
    key: str = ""
    datasets: Annotated[dict[DatasetName, DatasetSettings], Field(min_length=1)]
    expect: list[Expectation] = Field(default_factory=list)
    split: SplitSettings = Field(default_factory=lambda: SplitSettings.model_validate({}))
    train: dict[Env, TrainSettings] = Field(default_factory=dict)
    gates: GateSettings = Field(default_factory=GateSettings)
    serving: dict[Env, ServingSettings] = Field(default_factory=dict)
    rnd: dict[Env, bool] = Field(default_factory=dict)
    forecast: ForecastSettings = Field(default_factory=ForecastSettings)

    @model_validator(mode="after")
    def _of_this_task(self) -> ModelSettings:
        """A gate on a metric that the task has not would refuse every version, and no training could be judged by it."""
        known = TASK_METRICS.get(self.task, ())
        for env, profile in self.train.items():
            if profile.metric and profile.metric not in known:
                raise ValueError(
                    f"train.{env}.metric: {self.task} has no metric {profile.metric!r}; it has {', '.join(known) or 'none'}"
                )
            able = FORECASTERS if self.task == "forecasting" else ESTIMATORS
            wrong = [e for e in profile.estimators if e not in able]
            if self.task == "forecasting" and len(wrong) < len(profile.estimators):
                wrong = []  # a profile for all tasks may name what forecasts do not use
            if wrong:
                raise ValueError(
                    f"train.{env}.estimators: {wrong[0]!r} is not for {self.task}; there are {', '.join(able)}"
                )
        for name in ("min_gain", "floor", "ceiling", "interval", "weights"):
            for m in getattr(self.gates, name):
                if m not in known:
                    raise ValueError(
                        f"gates.{name}: {self.task} has no metric {m!r}; it has {', '.join(known) or 'none'}"
                    )
        return self

    @model_validator(mode="before")
    @classmethod
    def _forecasts_by_time(cls, raw: Any) -> Any:
        """A forecast is judged on later rows: its split goes by time, said or not."""
        if not isinstance(raw, Mapping) or raw.get("task") != "forecasting":
            return raw
        split = raw.get("split") or {}
        if not isinstance(split, Mapping):
            return raw
        if split.get("by", "time") != "time":
            raise ValueError('split.by must be "time" for forecasting')
        return {**raw, "split": {**split, "by": "time"}}


BUILT_IN_PRICES: dict[str, float | str] = {
    "local.small": 0.10,
    "local.large": 0.40,
    "storage_gb_month": 0.02,
    "as_of": "2026-11-01",
}
