"""Settings: TOML files of the team's repository, validated, with the origin of every effective value.

Effective value: built-in < estate < project < model < override. An override remembers the file's value
that it replaced; when the file changes afterwards, the file wins and the override is shown as superseded.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pydantic
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from esml_engine import refs
from esml_engine.errors import NotFoundError, SettingsError
from esml_engine.refs import ENVIRONMENTS, ModelRef, check_name
from esml_engine.remembered import Remembered

Env = Literal["dev", "test", "prod"]
Task = Literal["regression", "classification", "forecasting", "analytics"]


ESTIMATORS = ("lightgbm", "xgboost", "extra_trees", "linear", "perpetual")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class EnvironmentSettings(_Strict):
    """Where an environment lives."""

    platform: Literal["local", "azure"] = "local"
    subscription: str = ""
    resource_group: str = ""
    workspace: str = ""
    storage_account: str = ""
    file_system: str = ""
    key_vault: str = ""
    region: str = ""
    compute: str = ""


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
    """A condition on a layer."""

    on: Literal["bronze", "silver", "gold"] = "gold"
    check: Literal["not_null", "unique", "in_range", "in_set", "regex", "row_count", "fresh", "custom"]
    column: str = ""
    level: Literal["error", "warn"] = "error"
    min: float | None = None
    max: float | None = None
    values: list[Any] = Field(default_factory=list)
    pattern: str = ""
    within: str = ""


class DatasetSettings(_Strict):
    """One input of a model."""

    format: Literal["csv", "parquet"] = "csv"
    delimiter: str = ","
    encoding: str = "utf-8"
    null: str = ""
    types: dict[str, str] = Field(default_factory=dict)
    arrives: str = ""
    drift: Literal["evolve", "warn", "fail"] = "warn"
    rows: bool = False
    expect: list[Expectation] = Field(default_factory=list)


class SplitSettings(_Strict):
    """How gold is split; fractions add up to 1."""

    train: float = Field(default=0.6, ge=0, le=1)
    validate_: float = Field(default=0.2, ge=0, le=1, alias="validate")
    test: float = Field(default=0.2, ge=0, le=1)
    seed: int = 1
    by: Literal["key", "group", "time"] = "key"
    stratify: bool = False
    group: str = ""

    @model_validator(mode="after")
    def _sum(self) -> SplitSettings:
        if abs(self.train + self.validate_ + self.test - 1) > 1e-9:
            raise ValueError("train, validate and test must add up to 1")
        return self


class TrainSettings(_Strict):
    """A training profile."""

    seconds: float = Field(default=60, gt=0)
    trials: int = Field(default=40, ge=1)
    folds: int = Field(default=5, ge=2)
    search: Literal["portfolio", "flaml"] = "portfolio"
    estimators: list[str] = Field(default_factory=lambda: list(ESTIMATORS))
    metric: str = "rmse"
    seed: int = 1
    mode: Literal["automl", "custom"] = "automl"


class GateSettings(_Strict):
    """When a challenger takes the champion's place."""

    min_gain: dict[str, float] = Field(default_factory=dict)
    floor: dict[str, float] = Field(default_factory=dict)
    ceiling: dict[str, float] = Field(default_factory=dict)
    interval: list[str] = Field(default_factory=list)
    weights: dict[str, float] = Field(default_factory=dict)
    max_cost_1000_rows: float = 0.5


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


class _WithPolicy(_Strict):
    """`[policy]` with `[policy.prod]` inside it, kept as raw tables: layering happens key by key."""

    policy: dict[str, Any] = Field(default_factory=dict)


class EstateSettings(_WithPolicy):
    """estate.toml."""

    name: str
    currency: str = "EUR"
    environments: dict[Env, EnvironmentSettings]
    prices: dict[str, float | str] = Field(default_factory=dict)
    serving: EndpointSettings = Field(default_factory=EndpointSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)


class BudgetSettings(_Strict):
    """Money a month, in the estate's currency."""

    month: float = Field(default=100.0, ge=0)


class ProjectSettings(_WithPolicy):
    """project.toml."""

    team: str
    owner: str = ""
    contact: str = ""
    risk: Literal["low", "medium", "high"] = "medium"
    budget: BudgetSettings = Field(default_factory=BudgetSettings)


class ModelSettings(_WithPolicy):
    """model.toml."""

    task: Task
    label: str = ""
    key: str = ""
    datasets: Annotated[dict[str, DatasetSettings], Field(min_length=1)]
    expect: list[Expectation] = Field(default_factory=list)
    split: SplitSettings = Field(default_factory=lambda: SplitSettings.model_validate({}))
    train: dict[Env, TrainSettings] = Field(default_factory=dict)
    gates: GateSettings = Field(default_factory=GateSettings)
    serving: dict[Env, ServingSettings] = Field(default_factory=dict)
    rnd: dict[Env, bool] = Field(default_factory=dict)
    forecast: ForecastSettings = Field(default_factory=ForecastSettings)

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


@dataclass(frozen=True)
class Override:
    """A value set in the cockpit or by `esml set`; wins over the files until the file changes."""

    scope: str  # estate | project | project/model
    key: str
    value: Any
    replaced: Any  # what the file said then (None: nothing)
    by: str
    at: str


@dataclass(frozen=True)
class Effective:
    """One effective value and where it comes from."""

    key: str
    value: Any
    origin: str
    by: str = ""
    at: str = ""
    superseded: dict[str, Any] | None = None

    def row(self) -> dict[str, Any]:
        """As the contract's row."""
        return {
            "key": self.key,
            "value": self.value,
            "origin": self.origin,
            "by": self.by or None,
            "at": self.at or None,
            "superseded": self.superseded,
        }


def load(path: Path, kind: type[BaseModel]) -> tuple[Any, dict[str, Any]]:
    """Read and validate one settings file; returns (typed, raw).

    Raises:
        SettingsError: names the file, the key and, for an unknown key, the nearest valid one.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as e:
        raise SettingsError(f"{path.name}: not valid TOML: {e}", hint=f"correct {path}") from e
    return validate(raw, kind, path.name), raw


def validate(raw: Mapping[str, Any], kind: type[BaseModel], where: str) -> Any:
    """Validate raw settings; errors name key, file and the nearest valid key.

    Raises:
        SettingsError: unknown key, or a value that the key does not take.
    """
    typed = _checked(raw, kind, where, "")
    if isinstance(typed, _WithPolicy):
        flat = {k: v for k, v in typed.policy.items() if k not in ENVIRONMENTS}
        _checked(flat, PolicySettings, where, "policy.")
        for env in ENVIRONMENTS:
            _checked(typed.policy.get(env, {}), PolicySettings, where, f"policy.{env}.")
    return typed


def _checked(raw: Mapping[str, Any], kind: type[BaseModel], where: str, prefix: str) -> Any:
    try:
        return kind.model_validate(raw)
    except ValidationError as e:
        first = e.errors()[0]
        key = prefix + ".".join(str(p) for p in first["loc"])
        if first["type"] == "extra_forbidden":
            near = _nearest(kind, first["loc"])
            hint = f"did you mean {prefix + near!r}?" if near else f"remove it from {where}"
            raise SettingsError(f"{where}: unknown key {key!r}", hint=hint) from e
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{where}: {key or 'file'}: {message}", hint=f"correct {key!r} in {where}") from e


def _nearest(kind: Any, loc: tuple[int | str, ...]) -> str:
    here: Any = kind
    for part in loc[:-1]:
        here = _child(here, part)
        if here is None:
            return ""
    if not (isinstance(here, type) and issubclass(here, BaseModel)):
        return ""
    names = [f.alias or n for n, f in here.model_fields.items()]
    found = difflib.get_close_matches(str(loc[-1]), names, 1, 0.0)
    return ".".join([*[str(p) for p in loc[:-1]], found[0]]) if found else ""


def _child(kind: Any, part: int | str) -> Any:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, f in kind.model_fields.items():
            if part in (name, f.alias):
                return f.annotation
        return None
    args = get_args(kind)
    return args[-1] if get_origin(kind) in (dict, list) and args else None


def flatten(raw: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and leaf values of nested tables."""
    for k, v in raw.items():
        key = f"{prefix}.{k}" if prefix else str(k)
        if isinstance(v, Mapping) and v:
            yield from flatten(v, key)
        else:
            yield key, v


def dig(raw: Mapping[str, Any], key: str) -> Any:
    """The value under a dotted key, or None (price names themselves hold dots: the longest match wins)."""
    if key in raw:
        return raw[key]
    head, _, tail = key.partition(".")
    while tail:
        if isinstance(raw.get(head), Mapping):
            found = dig(raw[head], tail)
            if found is not None:
                return found
        more, _, tail = tail.partition(".")
        head = f"{head}.{more}"
    return None


def _put(raw: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    parts = key.split(".", 1)
    if parts[0] == "prices" and len(parts) == 2:
        return {**raw, "prices": {**raw.get("prices", {}), parts[1]: value}}
    if len(parts) == 1:
        return {**raw, key: value}
    inner = raw.get(parts[0])
    return {**raw, parts[0]: _put(dict(inner) if isinstance(inner, Mapping) else {}, parts[1], value)}


KINDS: dict[str, type[BaseModel]] = {
    "estate": EstateSettings,
    "project": ProjectSettings,
    "model": ModelSettings,
}


@dataclass(frozen=True)
class Files:
    """The settings files of an estate, read once."""

    root: Path
    estate: dict[str, Any]
    projects: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[ModelRef, dict[str, Any]] = field(default_factory=dict)
    _typed: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def typed(self, scope: str) -> Any:
        """A scope's settings as its file alone says; valid, since the file was when it was read."""
        if scope not in self._typed:
            self._typed[scope] = KINDS[_kind(scope)].model_validate(self.raw(scope))
        return self._typed[scope]

    def raw(self, scope: str) -> dict[str, Any]:
        """Raw tables of a scope (`estate`, `project`, `project/model`)."""
        if scope == "estate":
            return self.estate
        if "/" in scope:
            ref = ModelRef.parse(scope)
            if ref in self.models:
                return self.models[ref]
            known = ", ".join(sorted(str(m) for m in self.models)) or "none yet"
            raise NotFoundError(f"no model {scope}", hint=f"models: {known}")
        if scope in self.projects:
            return self.projects[scope]
        known = ", ".join(sorted(self.projects)) or "none yet"
        raise NotFoundError(f"no project {scope}", hint=f"projects: {known}")


def read_files(root: Path) -> Files:
    """Read and validate all settings files of an estate; unchanged ones are remembered in its cache.

    Raises:
        NotFoundError: no estate there. SettingsError: a file is wrong.
    """
    path = root / "estate.toml"
    if not path.is_file():
        raise NotFoundError(f"no estate at {root}", hint=f"make one: esml init {root}")
    memory = Remembered(root / ".esml" / "cache" / "settings.json", _rules())
    estate = memory.get(path, lambda p: load(p, EstateSettings)[1])
    projects: dict[str, dict[str, Any]] = {}
    models: dict[ModelRef, dict[str, Any]] = {}
    for p in sorted((root / "projects").glob("*/project.toml")):
        name = check_name(p.parent.name, "project")
        projects[name] = memory.get(p, lambda p: load(p, ProjectSettings)[1])
        for m in sorted(p.parent.glob("*/model.toml")):
            models[ModelRef(name, check_name(m.parent.name, "model"))] = memory.get(m, _load_model)
    memory.save()
    return Files(root, estate, projects, models)


def _load_model(path: Path) -> dict[str, Any]:
    typed, raw = load(path, ModelSettings)
    for ds in typed.datasets:
        check_name(ds, "dataset")
    return raw


def _rules() -> str:
    """What decides whether a settings file is valid: this code, and the validator."""
    code = b"".join(Path(f).read_bytes() for f in (__file__, refs.__file__))
    return f"{hashlib.sha256(code).hexdigest()} {pydantic.VERSION}"


class Settings:
    """All effective settings of an estate: files with overrides laid over them."""

    def __init__(self, files: Files, overrides: tuple[Override, ...] = ()) -> None:
        self.files = files
        self.overrides = overrides
        self._overridden: dict[str, Any] = {}

    @property
    def estate(self) -> EstateSettings:
        """The estate's own settings."""
        return self._typed("estate")  # type: ignore[no-any-return]

    @property
    def environments(self) -> tuple[str, ...]:
        """Environments that the estate has, in the order of promotion."""
        have = self.estate.environments
        return tuple(e for e in ENVIRONMENTS if e in have)

    def project(self, name: str) -> ProjectSettings:
        """A project's own settings."""
        return self._typed(name)  # type: ignore[no-any-return]

    def model(self, ref: ModelRef) -> ModelSettings:
        """A model's own settings."""
        return self._typed(str(ref))  # type: ignore[no-any-return]

    def models(self) -> list[ModelRef]:
        """All models."""
        return sorted(self.files.models)

    def check_env(self, env: str) -> str:
        """Return `env` when the estate has it, else raise with the ones it has."""
        if env not in self.environments:
            raise NotFoundError(
                f"the estate has no environment {env!r}", hint=f"it has {', '.join(self.environments)}"
            )
        return env

    def policy(self, ref: ModelRef, env: str) -> tuple[PolicySettings, dict[str, str]]:
        """The policy in force for a model in an environment, and the origin of each value."""
        value: dict[str, Any] = {}
        origin = dict.fromkeys(PolicySettings.model_fields, "built-in")
        for scope in ("estate", ref.project, str(ref)):
            tables = self.files.raw(scope).get("policy", {})
            for table, label in ((tables, scope), (tables.get(env, {}), f"{scope} [{env}]")):
                for k, v in table.items():
                    if k not in ENVIRONMENTS:
                        value[k], origin[k] = v, label
        for scope in ("estate", ref.project, str(ref)):
            for o in self._live(scope):
                for prefix in ("policy.", f"policy.{env}."):
                    k = o.key.removeprefix(prefix)
                    if o.key.startswith(prefix) and k in PolicySettings.model_fields:
                        value[k], origin[k] = o.value, f"override on {scope} by {o.by}"
        return validate(value, PolicySettings, "policy"), origin

    def profile(self, ref: ModelRef, env: str) -> TrainSettings:
        """The training profile of an environment."""
        return self.model(ref).train.get(env) or TrainSettings()  # type: ignore[call-overload]

    def prices(self) -> dict[str, float | str]:
        """Price list: built-in, then the estate's."""
        return {**BUILT_IN_PRICES, **self.estate.prices}

    def rows(self, scope: str) -> list[Effective]:
        """Every effective value of a scope with its origin, superseded overrides shown."""
        raw = self.files.raw(scope)
        kind = _kind(scope)
        typed = self._typed(scope).model_dump(by_alias=True, mode="json")
        live = {o.key: o for o in self._live(scope)}
        dead = {o.key: o for o in self.overrides if o.scope == scope and o.key not in live}
        out = []
        for key, value in flatten(typed):
            over = live.get(key)
            gone = dead.get(key)
            shown = {"value": gone.value, "by": gone.by, "at": gone.at} if gone else None
            if over:
                out.append(Effective(key, value, "override", over.by, over.at))
            else:
                origin = f"{kind}.toml" if dig(raw, key) is not None else "built-in"
                out.append(Effective(key, value, origin, superseded=shown))
        if kind == "model":
            ref = ModelRef.parse(scope)
            for env in self.environments:
                policy, origins = self.policy(ref, env)
                for k, v in policy.model_dump(mode="json").items():
                    out.append(Effective(f"policy.{env}.{k} (in force)", v, origins[k]))
        return out

    def check_override(self, scope: str, key: str, text: str) -> tuple[Any, Any]:
        """Parse `text` for `key` of a scope and validate the whole; returns (value, the file's value).

        Raises:
            SettingsError: unknown key (with the nearest) or a value that the key does not take.
        """
        raw = self.files.raw(scope)
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        validate(_put(raw, key, value), KINDS[_kind(scope)], f"{scope} {key}")
        return value, dig(raw, key)

    def _live(self, scope: str) -> list[Override]:
        mine = [o for o in self.overrides if o.scope == scope]
        raw = self.files.raw(scope) if mine else {}
        return [o for o in mine if dig(raw, o.key) == o.replaced]

    def _typed(self, scope: str) -> Any:
        if scope not in self._overridden:
            live = self._live(scope)
            if not live:
                return self.files.typed(scope)
            raw = self.files.raw(scope)
            for o in live:
                raw = _put(raw, o.key, o.value)
            self._overridden[scope] = validate(raw, KINDS[_kind(scope)], f"{_kind(scope)}.toml")
        return self._overridden[scope]


def _kind(scope: str) -> str:
    return "estate" if scope == "estate" else "model" if "/" in scope else "project"
