"""What a layer is held to, as rows that people edit, and edited rows as settings write them."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from esml_engine.lake.later import LATER
from esml_engine.refs import TableName
from esml_engine.settings import Expectation, Settings, dig
from esml_engine.settings.keys import DatasetExpectation

FIELDS = ("check", "column", "level", "min", "max", "values", "pattern", "within")
AT = "at"  # a row's place in the settings' list; None: it is new
LEVELS = get_args(Expectation.model_fields["level"].annotation)
_HIDDEN = "custom"  # what it takes is its step's own
_NUMBERS = re.compile(r"u?int\d+|half|float|double|decimal.*")  # Arrow's names
_VALUE = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*|([^,]*))(?:,|$)')

Said = Sequence[Mapping[str, Any]]


def where(table: str) -> tuple[str, str] | None:
    """The key of a table's expectations, and their layer; None: a part of gold, which has none of its own."""
    t = TableName.parse(table)
    if t.dataset:
        return f"datasets.{t.dataset}.expect", t.layer
    return ("expect", "gold") if t.layer in ("gold", "to_score") else None


def declared(settings: Settings, scope: str, key: str) -> list[dict[str, Any]]:
    """What is in force under a key, other layers too, as the file with its overrides writes it."""
    return list(dig(settings.overlay(scope).tables, key) or [])


def whose(settings: Settings, scope: str, key: str) -> str:
    """Whose word that is: the file's, or somebody's who set it."""
    over = next((o for o in settings.live(scope) if o.key == key), None)
    if over:
        return f"set by {over.by} on {over.at[:10]}"
    return "as model.toml says" if declared(settings, scope, key) else "model.toml declares nothing"


def rows(said: Said, layer: str) -> list[dict[str, Any]]:
    """A layer's expectations, one row each; what a row does not say is None."""
    return [_row(n, e) for n, e in enumerate(said) if _layer(e, layer) == layer and e["check"] != _HIDDEN]


def kept(said: Said, layer: str) -> list[str]:
    """A layer's expectations that no row shows."""
    hidden = [e for e in said if _layer(e, layer) == layer and e["check"] == _HIDDEN]
    return [in_words(e) for e in hidden]


def offered(shown: Sequence[Mapping[str, Any]]) -> list[str]:
    """Checks to choose from: those that are built, and what stands in a row already."""
    known = get_args(Expectation.model_fields["check"].annotation)
    have = {r["check"] for r in shown}
    return [c for c in known if c not in LATER or c in have]


def numbers(columns: Sequence[Mapping[str, str]]) -> set[str]:
    """Names of a table's columns that hold numbers."""
    return {c["name"] for c in columns if _NUMBERS.fullmatch(c["type"])}


def changed(said: Said, edited: Said, layer: str, numeric: Collection[str]) -> list[dict[str, Any]]:
    """The list to be set: each row as it is now, new ones last; other layers' and what no row shows stay in their places."""
    now = {r[AT]: r for r in edited if r[AT] is not None}
    gone = {r[AT] for r in rows(said, layer)} - set(now)
    old = [
        _written(said, now[n], layer, numeric) if n in now else dict(e)
        for n, e in enumerate(said)
        if n not in gone
    ]
    return old + [_written(said, r, layer, numeric) for r in edited if r[AT] is None]


def differences(said: Said, edited: Said, layer: str, numeric: Collection[str]) -> list[str]:
    """What a change is, a line each row: `remove unique on id · error`."""
    now = {r[AT]: r for r in edited if r[AT] is not None}
    out = []
    for r in rows(said, layer):
        was = in_words(said[r[AT]])
        if r[AT] not in now:
            out.append(f"remove {was}")
        elif (then := in_words(_written(said, now[r[AT]], layer, numeric))) != was:
            out.append(f"make {was} into {then}")
    return out + [f"add {in_words(_written(said, r, layer, numeric))}" for r in edited if r[AT] is None]


def in_words(e: Mapping[str, Any]) -> str:
    """An expectation in a line: `in_range on bmi · min 15 · max 40 · warn`."""
    r = _row(None, e)
    first = " on ".join(filter(None, (r["check"], r["column"])))
    more = [f"{f} {r[f]:.12g}" for f in ("min", "max") if r[f] is not None]
    more += [f"{f} {r[f]}" for f in ("values", "pattern", "within") if r[f]]
    return " · ".join([first, *more, r["level"]])


def refusal(said: Said, edited: Said, layer: str, numeric: Collection[str]) -> str:
    """What the engine would refuse, by the first such row; '' where it takes them all."""
    kind = Expectation if layer == "gold" else DatasetExpectation
    for n, r in enumerate(edited, 1):
        try:
            kind.model_validate(_written(said, r, layer, numeric))
        except ValidationError as e:
            first = e.errors()[0]
            why = "it needs a check" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")  # fmt: skip
            return f"Row {n}: {why}."
    return ""


def _layer(e: Mapping[str, Any], asked: str) -> str:
    return str(e.get("on", "gold" if asked == "gold" else "silver"))


def _row(at: int | None, e: Mapping[str, Any]) -> dict[str, Any]:
    said = {f: None if e.get(f) in ("", []) else e.get(f) for f in FIELDS}
    texts = ", ".join(map(_quoted, said["values"])) if said["values"] else None
    return {AT: at, **said, "level": said["level"] or "error", "values": texts}


def _written(said: Said, row: Mapping[str, Any], layer: str, numeric: Collection[str]) -> dict[str, Any]:
    """One row as settings write it: what nobody touched stays as it is written there."""
    new: dict[str, Any] = {} if layer == "gold" else {"on": layer}
    out = new if row[AT] is None else dict(said[int(row[AT])])
    was = _row(None, out)
    for f in FIELDS:
        value = row[f]
        if value == was[f]:
            continue
        if f == "values" and value:
            value = _values(value, row["column"] in numeric)
        if f in ("min", "max") and value is not None and float(value).is_integer():
            value = int(value)
        if value in (None, "", []):
            out.pop(f, None)
        else:
            out[f] = value
    return out


def _quoted(value: Any) -> str:
    """A value as it is typed: a text that commas or spaces would change stands in quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    plain = text and text == text.strip() and not set(text) & set(',"')
    return text if plain else '"' + text.replace('"', '""') + '"'


def _values(text: str, numeric: bool) -> list[Any]:
    found: list[Any] = []
    for m in _VALUE.finditer(text):
        if m[1] is not None:
            found.append(m[1].replace('""', '"'))
        elif bare := m[2].strip():
            found.append(_number(bare) if numeric else bare)
    return found


def _number(text: str) -> Any:
    for kind in (int, float):
        with contextlib.suppress(ValueError, OverflowError):
            if math.isfinite(value := kind(text)):
                return value
    return text  # the engine says that it can't be compared
