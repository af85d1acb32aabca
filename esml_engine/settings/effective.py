"""Effective settings with the origin of every value.

Effective value: built-in < estate < project < model < override, and in one scope an environment's own policy before the
general one. An override remembers the file's value that it replaced; when the file changes afterwards, the file wins and
the override is shown as superseded, leaf by leaf (`overlay`).
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
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
from esml_engine.settings.overlay import Leaf, Overlay, Override, about, inside, overlay, plain, put, words
from esml_engine.settings.validation import KINDS, KeyPath, kind_of, leaves, path_of, validate

_BY_ENV = {"model": ("train", "serving", "rnd")}
"""Tables of a settings file that have one entry an environment, beside `policy`."""
_LAST = "9999"  # a time after every other


@dataclass(frozen=True)
class Asked:
    """What `set` asks for, checked."""

    value: Any
    replaced: Any  # what the file says there (None: nothing)
    before: tuple[Override, ...]  # overrides that speak of the same leaves, also superseded ones


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


class Settings:
    """All effective settings of an estate: files with overrides laid over them."""

    def __init__(self, files: Files, overrides: tuple[Override, ...] = ()) -> None:
        self.files = files
        self.overrides = overrides
        self._of: dict[str, list[Override]] = {}
        for o in overrides:
            self._of.setdefault(o.scope, []).append(o)
        self._overlays: dict[str, Overlay] = {}
        self._policies: dict[str, dict[KeyPath, Leaf]] = {}
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
        origin = dict.fromkeys(PolicySettings.model_fields, "built-in")
        files: dict[str, Any] = {}
        overrides: dict[str, Any] = {}
        for scope in scopes:  # a scope's own value for this environment, else its general one
            if (said := self._policies.get(scope)) is None:
                said = self._policies[scope] = self.overlay(scope).leaves("policy")
            for k in origin if said else ():
                own = said.get(("policy", env, k))
                if (leaf := own or said.get(("policy", k))) is None:
                    continue
                if leaf.over:
                    overrides[k] = (leaf.value, f"override on {scope} by {leaf.over.by}")
                else:
                    files[k] = (leaf.value, f"{scope} [{env}]" if own else scope)
        value: dict[str, Any] = {}
        for k, (said_, whose) in {**files, **overrides}.items():
            value[k], origin[k] = said_, whose
        return validate(value, PolicySettings, "policy"), origin

    def around(self, ref: ModelRef) -> str:
        """The model's scope, or the nearest around it that can be used: its endpoint stays up and is paid for in any case."""
        if ref in self.files.models:
            return str(ref)
        return ref.project if ref.project in self.files.projects else "estate"

    def profile(self, ref: ModelRef, env: str) -> TrainSettings:
        """The training profile of an environment, with the task's primary metric where it names none."""
        model = self.model(ref)
        found: TrainSettings = model.train.get(env) or TrainSettings()  # type: ignore[call-overload]
        return found.model_copy(update={"metric": found.metric or PRIMARY_METRIC.get(model.task, "")})

    def task(self, ref: ModelRef) -> str:
        """A model's task, read from its checked tables alone: a status asks for it of all models."""
        return str(self.overlay(str(ref)).tables["task"])

    def metric(self, ref: ModelRef, env: str) -> str:
        """The metric of `profile`, as `task` reads."""
        profile = self.overlay(str(ref)).tables.get("train", {}).get(env, {})
        return str(profile.get("metric") or PRIMARY_METRIC.get(self.task(ref), ""))

    def in_rnd(self, refs: Iterable[ModelRef]) -> set[tuple[str, str]]:
        """(model, environment) of these models in R&D mode, as `task` reads."""
        on = ((str(r), self.overlay(str(r)).tables.get("rnd", {})) for r in refs)
        return {(name, env) for name, said in on for env, so in said.items() if so}

    def prices(self) -> dict[str, float | str]:
        """Price list: built-in, then the estate's."""
        return {**BUILT_IN_PRICES, **self.estate.prices}

    def rows(self, scope: str) -> list[Effective]:
        """Every effective value of a scope with its origin, superseded overrides shown."""
        raw, kind, over = self.files.raw(scope), kind_of(scope), self.overlay(scope)
        typed = dict(leaves(self._typed(scope).model_dump(by_alias=True, mode="json")))
        out = []
        for path, value in typed.items():
            key, counts, gone = ".".join(path), about(over.live, path), about(over.gone, path)
            if counts:
                out.append(Effective(key, value, "override", counts.by, counts.at))
            else:
                origin = "built-in" if inside(raw, path) is None else f"{kind}.toml"
                out.append(Effective(key, value, origin, superseded=_shown(gone)))
        for path, o in over.gone.items():
            if not any(p[: len(path)] == path for p in typed):  # the file names it no more
                out.append(Effective(o.key, None, f"{kind}.toml", superseded=_shown(o)))
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

    def check_override(self, scope: str, key: str, text: str) -> Asked:
        """Parse `text` for `key` of a scope and validate the whole as it would then be in force.

        Raises:
            SettingsError: unknown key (with the nearest), an environment that the estate lacks, or a value that the key
                does not take.
        """
        raw, kind, stands = self.files.raw(scope), KINDS[kind_of(scope)], self.overlay(scope)
        try:
            value = plain(tomllib.loads(f"v = {text}")["v"])
        except tomllib.TOMLDecodeError:
            value = text
        replaced = plain(inside(raw, path_of(key, kind)))
        asked = Override(scope, key, value, replaced, "", _LAST)
        tables, before = stands.tables, []
        for path, word in words(asked):
            self._check_env_of(scope, word.key)
            _check_dataset_of(scope, word.key, raw)
            tables = put(tables, path, word.value)
            before += [o for p, o in stands.said() if p[: len(path)] == path or path[: len(p)] == p]
        validate(tables, kind, scope)
        then = overlay(scope, raw, [*self._of.get(scope, ()), asked])
        validate(then.tables, kind, scope)  # an override that had fallen may count again beside it
        if any(path not in then.live for path, _ in words(asked)):
            raise SettingsError(
                f"{scope} {key}: it does not fit what else was set there, before the file changed",
                hint="set what belongs together as one table",
            )
        return Asked(value, replaced, tuple(before))

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
        """Overrides of a scope that no longer count, leaf by leaf: its file changed after they were set."""
        return list(self.overlay(scope).gone.values())

    def live(self, scope: str) -> list[Override]:
        """Overrides of a scope that count, leaf by leaf."""
        return list(self.overlay(scope).live.values())

    def overlay(self, scope: str) -> Overlay:
        """A scope's file with its overrides laid over it: what all others here read."""
        if scope not in self._overlays:
            raw, mine = self.files.raw(scope), self._of.get(scope)
            self._overlays[scope] = overlay(scope, raw, mine) if mine else Overlay(raw)
        return self._overlays[scope]

    def _typed(self, scope: str) -> Any:
        if scope not in self._of:
            return self.files.typed(scope)
        if scope not in self._overridden:
            over, kind = self.overlay(scope), kind_of(scope)
            self._overridden[scope] = (
                validate(over.tables, KINDS[kind], f"{kind}.toml") if over.live else self.files.typed(scope)
            )
        return self._overridden[scope]


def _shown(gone: Override | None) -> dict[str, Any] | None:
    return {"value": gone.value, "by": gone.by, "at": gone.at} if gone else None


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
