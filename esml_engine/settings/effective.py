"""Effective settings with the origin of every value.

Effective value: built-in < estate < project < model < override. An override remembers the file's value
that it replaced; when the file changes afterwards, the file wins and the override is shown as superseded.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from typing import Any

from esml_engine.errors import NotFoundError, SettingsError, UsageError
from esml_engine.refs import ENVIRONMENTS, ModelRef
from esml_engine.settings.files import Files
from esml_engine.settings.keys import (
    BUILT_IN_PRICES,
    PRIMARY_METRIC,
    EstateSettings,
    ModelSettings,
    PolicySettings,
    ProjectSettings,
    TrainSettings,
)
from esml_engine.settings.validation import KINDS, dig, flatten, kind_of, put, validate

_BY_ENV = {"model": ("train", "serving", "rnd")}
"""Tables of a settings file that have one entry an environment, beside `policy`."""


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


def _last_on(overrides: list[Override], key: str) -> Override | None:
    """The override that has the last word on a leaf: its own, or one of a table that it is in."""
    return next((o for o in reversed(overrides) if f"{key}.".startswith(f"{o.key}.")), None)


def _said(o: Override, key: str) -> Any:
    """What an override says of a leaf; None: nothing."""
    inside = key[len(o.key) + 1 :]
    if not inside:
        return o.value
    return dig(o.value, inside) if isinstance(o.value, dict) else None


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

    def policy(self, of: ModelRef | str, env: str) -> tuple[PolicySettings, dict[str, str]]:
        """The policy in force for a model (or for the estate, or a project) in an environment, and each value's origin."""
        name = str(of)
        scopes = [
            "estate",
            *((name.split("/")[0],) if name != "estate" else ()),
            *((name,) if "/" in name else ()),
        ]
        value: dict[str, Any] = {}
        origin = dict.fromkeys(PolicySettings.model_fields, "built-in")
        for scope in scopes:
            tables = self.files.raw(scope).get("policy", {})
            for table, label in ((tables, scope), (tables.get(env, {}), f"{scope} [{env}]")):
                for k, v in table.items():
                    if k not in ENVIRONMENTS:
                        value[k], origin[k] = v, label
        for scope in scopes:
            for o in self._live(scope):
                for prefix in ("policy.", f"policy.{env}."):
                    k = o.key.removeprefix(prefix)
                    if o.key.startswith(prefix) and k in PolicySettings.model_fields:
                        value[k], origin[k] = o.value, f"override on {scope} by {o.by}"
        return validate(value, PolicySettings, "policy"), origin

    def profile(self, ref: ModelRef, env: str) -> TrainSettings:
        """The training profile of an environment, with the task's primary metric where it names none."""
        model = self.model(ref)
        found: TrainSettings = model.train.get(env) or TrainSettings()  # type: ignore[call-overload]
        return found.model_copy(update={"metric": found.metric or PRIMARY_METRIC.get(model.task, "")})

    def metric(self, ref: ModelRef, env: str) -> str:
        """The metric of `profile`, without the rest of it."""
        return self.metric_of(self.model(ref), env)

    @staticmethod
    def metric_of(model: ModelSettings, env: str) -> str:
        """The same, for settings at hand."""
        found = model.train.get(env)  # type: ignore[call-overload]
        return str((found.metric if found else "") or PRIMARY_METRIC.get(model.task, ""))

    def prices(self) -> dict[str, float | str]:
        """Price list: built-in, then the estate's."""
        return {**BUILT_IN_PRICES, **self.estate.prices}

    def rows(self, scope: str) -> list[Effective]:
        """Every effective value of a scope with its origin, superseded overrides shown."""
        raw = self.files.raw(scope)
        kind = kind_of(scope)
        typed = self._typed(scope).model_dump(by_alias=True, mode="json")
        live = self._live(scope)
        dead = [o for o in self.overrides if o.scope == scope and o.key not in {x.key for x in live}]
        out = []
        for key, value in flatten(typed):
            over, gone = _last_on(live, key), _last_on(dead, key)
            old = _said(gone, key) if gone else None
            shown = {"value": old, "by": gone.by, "at": gone.at} if gone and old is not None else None
            if over and _said(over, key) is not None:
                out.append(Effective(key, value, "override", over.by, over.at))
            else:  # a table that was set takes the place of the file's whole table
                origin = f"{kind}.toml" if not over and dig(raw, key) is not None else "built-in"
                out.append(Effective(key, value, origin, superseded=shown))
        if kind == "model":
            ref = ModelRef.parse(scope)
            for env in self.environments:
                policy, origins = self.policy(ref, env)
                for k, v in policy.model_dump(mode="json").items():
                    out.append(Effective(f"policy.{env}.{k} (in force)", v, origins[k]))
        return out

    def require_training(self, ref: ModelRef) -> ModelSettings:
        """The settings of a model that is trained; asked by every act beyond gold.

        Raises:
            UsageError: an analytics model.
        """
        found = self.model(ref)
        if found.task == "analytics":
            raise UsageError(f"{ref} is an analytics model: its way ends at gold", hint=f"esml refine {ref}")
        return found

    def check_override(self, scope: str, key: str, text: str) -> tuple[Any, Any]:
        """Parse `text` for `key` of a scope and validate the whole; returns (value, the file's value).

        Raises:
            SettingsError: unknown key (with the nearest), an environment that the estate lacks, or a value that the key
                does not take.
        """
        raw = self.files.raw(scope)
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        for leaf, _ in flatten({key: value}):
            self._check_env_of(scope, leaf)
            _check_dataset_of(scope, leaf, raw)
        whole = raw
        for o in self._live(scope):  # what is set already counts, too
            whole = put(whole, o.key, o.value)
            if o.key == key and isinstance(value, dict) and value and isinstance(o.value, dict):
                value = {**o.value, **value}  # a table says what it names; {} empties it
        validate(put(whole, key, value), KINDS[kind_of(scope)], scope)
        return value, dig(raw, key)

    def _check_env_of(self, scope: str, key: str) -> None:
        """An override is for an environment that there is: a file may name one that comes later, a person means now."""
        table, _, rest = key.partition(".")
        name = rest.partition(".")[0]
        by_env = table in _BY_ENV.get(kind_of(scope), ())
        if table == "policy":
            by_env = name in ENVIRONMENTS or (name not in PolicySettings.model_fields and "." in rest)
        if by_env and name and name not in self.environments:
            raise SettingsError(
                f"{scope} {key}: the estate has no environment {name!r}",
                hint=f"it has {', '.join(self.environments)}",
            )

    def superseded(self, scope: str) -> list[Override]:
        """Overrides of a scope that no longer count: its file changed after they were set."""
        live = self._live(scope)
        return [o for o in self.overrides if o.scope == scope and o not in live]

    def live(self, scope: str) -> list[Override]:
        """Overrides of a scope that count."""
        return self._live(scope)

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
                raw = put(raw, o.key, o.value)
            self._overridden[scope] = validate(raw, KINDS[kind_of(scope)], f"{kind_of(scope)}.toml")
        return self._overridden[scope]


def _check_dataset_of(scope: str, key: str, raw: dict[str, Any]) -> None:
    """An override is of a dataset that the model has: a new one is a line of model.toml."""
    table, _, rest = key.partition(".")
    name, known = rest.partition(".")[0], raw.get("datasets", {})
    if "/" in scope and table == "datasets" and name and name not in known:
        near = difflib.get_close_matches(name, list(known), 1, 0.0)
        raise SettingsError(
            f"{scope} {key}: the model has no dataset {name!r}"
            + (f", did you mean {near[0]!r}?" if near else ""),
            hint=f"it has {', '.join(known)}; a new one is added in model.toml",
        )
