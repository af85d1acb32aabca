"""Settings checked against their keys: an error names the file, the key and the nearest valid key."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from esml_engine.errors import SettingsError
from esml_engine.platforms.places import Place
from esml_engine.platforms.places import kind_of as kind_of_place
from esml_engine.refs import ENVIRONMENTS
from esml_engine.settings.keys import (
    OF_NAME,
    EstateSettings,
    ModelSettings,
    PolicySettings,
    ProjectSettings,
    WithPolicy,
)

KINDS: dict[str, type[BaseModel]] = {
    "estate": EstateSettings,
    "project": ProjectSettings,
    "model": ModelSettings,
}


def kind_of(scope: str) -> str:
    """The settings file that a scope has: estate, project or model."""
    return "estate" if scope == "estate" else "model" if "/" in scope else "project"


def load(path: Path, kind: type[BaseModel]) -> tuple[Any, dict[str, Any]]:
    """Read and validate one settings file; returns (typed, raw).

    Raises:
        SettingsError: names the file, the key and, for an unknown key, the nearest valid one.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors write a byte-order mark
    except tomllib.TOMLDecodeError as e:
        raise SettingsError(f"{shown(path)}: not valid TOML: {e}", hint=f"correct {path}") from e
    except UnicodeDecodeError as e:
        raise SettingsError(f"{shown(path)}: not UTF-8 (byte {e.start})", hint=f"save {path} as UTF-8") from e
    return validate(raw, kind, shown(path)), raw


def shown(path: Path) -> str:
    """A settings file with as much of its path as tells it from the others: `project/model/model.toml`."""
    parts = {"model.toml": 3, "project.toml": 2}.get(path.name, 1)
    return "/".join(path.parts[-parts:])


def validate(raw: Mapping[str, Any], kind: type[BaseModel], where: str) -> Any:
    """Validate raw settings; errors name key, file and the nearest valid key.

    Raises:
        SettingsError: unknown key, or a value that the key does not take.
    """
    typed = _checked(raw, kind, where, "")
    if isinstance(typed, WithPolicy):
        flat = {k: v for k, v in typed.policy.items() if k not in ENVIRONMENTS}
        _checked(flat, PolicySettings, where, "policy.")
        for env in ENVIRONMENTS:
            _checked(typed.policy.get(env, {}), PolicySettings, where, f"policy.{env}.")
    return typed


_OF_KEY = "[key]"  # pydantic's mark for "the key itself is wrong"


def _checked(raw: Mapping[str, Any], kind: type[BaseModel], where: str, prefix: str) -> Any:
    try:
        return kind.model_validate(raw)
    except ValidationError as e:
        errors = (
            e.errors()
        )  # a key that nobody knows is often the misspelt one that is missing: it is named first
        first = next((x for x in errors if x["type"] == "extra_forbidden"), errors[0])
        named = [str(p) for p in first["loc"] if p != _OF_KEY]
        key = prefix + ".".join([*named, *first.get("ctx", {}).get(OF_NAME, ())])
        if first["type"] == "extra_forbidden":
            near = _nearest(kind, first["loc"], raw)
            hint = f"did you mean {prefix + near!r}?" if near else f"remove it from {where}"
            raise SettingsError(f"{where}: unknown key {key!r}", hint=hint) from e
        message = first["msg"].removeprefix("Value error, ")
        if _OF_KEY in first["loc"] and first["type"] == "literal_error":
            wanted = str(first.get("ctx", {}).get("expected", "")).replace("'", "")
            message = f"there is no environment {named[-1]!r}" + (f", only {wanted}" if wanted else "")
        hint = f"{'add' if first['type'] == 'missing' else 'correct'} {key!r} in {where}"
        if not key:  # about several keys, which the message names
            raise SettingsError(f"{where}: {message}", hint=f"correct it in {where}") from e
        raise SettingsError(f"{where}: {key}: {message}", hint=hint) from e


def _nearest(kind: Any, loc: tuple[int | str, ...], raw: Any) -> str:
    here: Any = kind
    for part in loc[:-1]:
        here, raw = _child(here, part), raw[part]
        if here is Place:
            here = kind_of_place(raw)
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
    found = args[-1] if get_origin(kind) in (dict, list) and args else None
    return get_args(found)[0] if get_origin(found) is Annotated else found


KeyPath = tuple[str, ...]
"""Where a value stands: the names of its tables, and its own (which may hold dots, as names of prices do)."""


def leaves(raw: Mapping[str, Any], path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """KeyPaths and values of nested tables; lists and empty tables are values."""
    for name, value in raw.items():
        own = (*path, str(name))
        if isinstance(value, Mapping) and value:
            yield from leaves(value, own)
        else:
            yield own, value


def flatten(raw: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`leaves` under dotted keys."""
    return ((".".join(path), value) for path, value in leaves(raw))


def path_of(key: str, kind: type[BaseModel]) -> KeyPath:
    """A dotted key as a path: in a table of plain values (prices, types, limits by metric) all that follows is one name."""
    path: list[str] = []
    here: Any = kind
    while not (path and _holds_values(here)):
        head, dot, key = key.partition(".")
        path.append(head)
        if not dot:
            return tuple(path)
        here = _child(here, head)
    return (*path, key)


def _holds_values(table: Any) -> bool:
    inner = _child(table, "") if get_origin(table) is dict else Any
    return inner is not Any and not (isinstance(inner, type) and issubclass(inner, BaseModel))


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
