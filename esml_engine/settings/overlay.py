"""One overlay of settings: a scope's file and its overrides as leaves, each value together with whose word it is.

What a person sets counts leaf by leaf: a table is the same as each of its leaves, and each remembers its own value of the
file. Lists and empty tables are leaves; an empty table clears what was said in it before. Whoever asks what is in force (the
typed settings, a policy, the rows that people read) asks here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from esml_engine.errors import SettingsError
from esml_engine.settings.validation import KINDS, KeyPath, kind_of, leaves, path_of, validate


@dataclass(frozen=True)
class Override:
    """A value set in the cockpit or by `esml set`; wins over the files until the file's own value changes."""

    scope: str  # estate | project | project/model
    key: str
    value: Any
    replaced: Any  # what the file said then (None: nothing)
    by: str
    at: str


@dataclass(frozen=True)
class Leaf:
    """What a scope says of one key, and the override that says it (None: the file)."""

    value: Any
    over: Override | None


@dataclass(frozen=True)
class Overlay:
    """A scope's file with its overrides laid over it; overrides are of one leaf each, the oldest first."""

    tables: dict[str, Any]  # what is in force, as a file would say it
    live: Mapping[KeyPath, Override] = field(default_factory=dict)  # overrides that count
    gone: Mapping[KeyPath, Override] = field(default_factory=dict)  # superseded: the file changed after them

    def leaves(self, *table: str) -> dict[KeyPath, Leaf]:
        """All that is said in a table (nothing: everywhere), with whose word it is."""
        found = inside(self.tables, table)
        said = leaves(found, table) if isinstance(found, Mapping) else ()
        return {path: Leaf(value, self.live.get(path)) for path, value in said}

    def said(self) -> Iterator[tuple[KeyPath, Override]]:
        """Every override, whether it counts or not."""
        yield from self.gone.items()
        yield from self.live.items()


def overlay(scope: str, raw: dict[str, Any], overrides: Iterable[Override]) -> Overlay:
    """Lay the overrides of a scope over its file `raw`, which is valid by itself."""
    live: dict[KeyPath, Override] = {}
    gone: dict[KeyPath, Override] = {}
    for path, word in _last_words(overrides).items():
        (live if plain(inside(raw, path)) == word.replaced else gone)[path] = word
    for path in _torn(scope, raw, live, gone):
        gone[path] = live.pop(path)
    return Overlay(_laid(raw, live), live, gone)


def words(o: Override) -> Iterator[tuple[KeyPath, Override]]:
    """An override as one for each leaf of its value."""
    own = path_of(o.key, KINDS[kind_of(o.scope)])
    table = isinstance(o.value, Mapping) and o.value
    for path, value in leaves(o.value, own) if table else [(own, o.value)]:
        before = inside(o.replaced, path[len(own) :])
        yield path, replace(o, key=".".join(path), value=value, replaced=before)


def about(said: Mapping[KeyPath, Override], path: KeyPath) -> Override | None:
    """The override that speaks of a leaf: its own, or the one that emptied a table around it."""
    return next((said[path[:n]] for n in range(len(path), 0, -1) if path[:n] in said), None)


def inside(raw: Any, path: KeyPath) -> Any:
    """The value at a path, or None."""
    for part in path:
        raw = raw.get(part) if isinstance(raw, Mapping) else None
    return raw


def put(raw: Mapping[str, Any], path: KeyPath, value: Any) -> dict[str, Any]:
    """A copy with `value` at a path; what was there keeps its place in the order."""
    head, *rest = path
    if rest:
        within = raw.get(head)
        value = put(within if isinstance(within, Mapping) else {}, tuple(rest), value)
    return {**raw, head: value}


def plain(value: Any) -> Any:
    """A value as the store keeps it: TOML's dates as the text that they stand for."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value


def _last_words(overrides: Iterable[Override]) -> dict[KeyPath, Override]:
    """The last override of each leaf; what a later one replaced is gone for good, whatever becomes of the later one."""
    last: dict[KeyPath, Override] = {}
    for o in sorted(overrides, key=lambda o: o.at):
        for path, word in words(o):
            last = {p: w for p, w in last.items() if p[: len(path)] != path}
            last[path] = word
    return last


def _laid(raw: dict[str, Any], said: Mapping[KeyPath, Override]) -> dict[str, Any]:
    for path, word in said.items():
        raw = put(raw, path, word.value)
    return raw


def _torn(
    scope: str, raw: dict[str, Any], live: Mapping[KeyPath, Override], gone: Mapping[KeyPath, Override]
) -> list[KeyPath]:
    """Overrides that fall with superseded ones of their table, since what is left of them does not fit the changed file.

    Two fractions of a split changed in the file, and the third as it was set, add up to nothing. First what was not set after
    those that fell, then all that is set in the table; where neither mends it, the settings say what is wrong.
    """

    def fits(said: Mapping[KeyPath, Override]) -> bool:
        try:
            validate(_laid(raw, said), KINDS[kind_of(scope)], scope)
        except SettingsError:
            return False
        return True

    tables = {path[0] for path in live} & {path[0] for path in gone}
    if not tables or fits(live):
        return []
    for table in sorted(tables):
        newest = max(o.at for path, o in gone.items() if path[0] == table)
        mine = [path for path in live if path[0] == table]
        for fall in ([p for p in mine if live[p].at <= newest], mine):
            if fits({p: o for p, o in live.items() if p not in fall}):
                return fall
    return []
