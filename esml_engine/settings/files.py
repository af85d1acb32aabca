"""The settings files of an estate's repository, read once; unchanged ones are remembered."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from esml_engine import refs
from esml_engine.errors import NotFoundError, SettingsError, UsageError
from esml_engine.platforms import places
from esml_engine.refs import ModelRef, check_name
from esml_engine.remembered import Remembered
from esml_engine.settings import keys, validation, values
from esml_engine.settings.keys import EstateSettings
from esml_engine.settings.validation import KINDS, kind_of, load, shown


@dataclass(frozen=True)
class Files:
    """The settings files of an estate, read once."""

    root: Path
    estate: dict[str, Any]
    projects: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[ModelRef, dict[str, Any]] = field(default_factory=dict)
    broken: dict[str, SettingsError] = field(default_factory=dict)  # scopes whose own file can't be used
    _typed: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def typed(self, scope: str) -> Any:
        """A scope's settings as its file alone says; valid, since the file was when it was read."""
        if scope not in self._typed:
            self._typed[scope] = KINDS[kind_of(scope)].model_validate(self.raw(scope))
        return self._typed[scope]

    def wrong(self, scope: str) -> SettingsError | None:
        """Why a scope can't be used: its own file, or its project's; None where both can."""
        return self.broken.get(scope) or self.broken.get(scope.partition("/")[0])

    def raw(self, scope: str) -> dict[str, Any]:
        """Raw tables of a scope (`estate`, `project`, `project/model`)."""
        if scope == "estate":
            return self.estate
        if error := self.wrong(scope):
            raise error
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


def read_files(root: Path, *, lenient: bool = False) -> Files:
    """Read and validate all settings files of an estate; unchanged ones are remembered in its cache.

    Args:
        lenient: a project or model whose file is wrong stands in `broken`, and only what is asked about it fails: a
            worker serves the other models of the estate.

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
    broken: dict[str, SettingsError] = {}

    def read(path: Path, scope: str, kind: str) -> dict[str, Any] | None:
        """A scope's tables; None after keeping why they can't be used."""
        try:
            _check_folder(path, kind)
            return memory.get(path, lambda p: load(p, KINDS[kind])[1])
        except SettingsError as e:
            if not lenient:
                raise
            broken[scope] = e
            return None

    for folder in sorted((root / "projects").glob("*/")):
        p, name = folder / "project.toml", folder.name
        if not p.is_file():
            if any(folder.glob("*/model.toml")):
                gone = SettingsError(
                    f"{shown(p)} is missing, and models lie beside it",
                    hint="restore it: its models can't be used without it",
                )
                if not lenient:
                    raise gone
                broken[name] = gone
            continue
        if (raw := read(p, name, "project")) is None:
            continue
        projects[name] = raw
        for m in sorted(p.parent.glob("*/model.toml")):
            ref = ModelRef(name, m.parent.name)
            if (raw := read(m, str(ref), "model")) is not None:
                models[ref] = raw
    memory.save()
    return Files(root, estate, projects, models, broken)


def _check_folder(path: Path, what: str) -> None:
    try:
        check_name(path.parent.name, what)
    except UsageError as e:
        raise SettingsError(f"{shown(path)}: its folder: {e.message}", hint=e.hint) from e


def _rules() -> str:
    """What decides whether a settings file is valid: this code, and the validator."""
    of_places = (inspect.getfile(kind) for kind in places.kinds().values())
    own = (__file__, keys.__file__, values.__file__, validation.__file__, refs.__file__, places.__file__)
    code = b"".join(Path(f).read_bytes() for f in (*own, *of_places))
    return f"{hashlib.sha256(code).hexdigest()} {pydantic.VERSION}"
