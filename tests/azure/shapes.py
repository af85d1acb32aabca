"""Holds what went over the wire against Microsoft's published examples: keys, types, statuses, routes.

Placeholders of the examples are no values to compare: `{"string": …}` is a map with free keys, null any type. A null of
ours passes (the service writes explicit nulls, recording R3). What differs and why stands in `differences`.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.azure.cloud.faults import Exchange
from tests.azure.differences import ABSENT, EXAMPLES, KNOWN, LIKE, LISTS, NO_EXAMPLE

PAGE = {"value", "nextLink"}
PLACEHOLDER = re.compile(r"string|some_string|tag\d*|properties\d+|property\d+")


def folder() -> Path | None:
    """Where the published examples lie: ESML_AZURE_EXAMPLES, or beside the repository; None when nowhere."""
    named = os.environ.get("ESML_AZURE_EXAMPLES")
    places = [Path(named)] if named else [Path(__file__).parents[3] / "shared/data/azure-rest"]
    return next((p for p in places if (p / "SOURCES.txt").is_file()), None)


@functools.cache
def examples(operation: str) -> tuple[dict[str, Any], ...]:
    """The published examples of an operation, or of the one that it is like; () when it has none."""
    here = folder()
    assert here is not None
    return tuple(
        json.loads(next(here.glob(f"*/{n}.json")).read_text(encoding="utf-8"))
        for n in EXAMPLES.get(LIKE.get(operation, operation), ())
    )


def problems(exchange: Exchange) -> list[str]:
    """What in an exchange no example knows; [] when all is well."""
    op = exchange.operation
    if op == "unknown":
        return [f"unknown route: {exchange.method} {exchange.path}"]
    if op in NO_EXAMPLE or any(fnmatch.fnmatch(op, n) for n in NO_EXAMPLE):
        return []
    if op in LISTS:
        return _list(op, exchange)
    found = examples(op)
    if not found:
        return [f"{op}: no example and no reason why"]
    out = [
        f"{op} query: unknown {k}"
        for k in exchange.query
        if not _knows_query(found, k) and not _known(op, f"?{k}")
    ]
    bodies = [v for e in found for k, v in e["parameters"].items() if k in ("body", "parameters")]
    if exchange.request is not None:
        out += (
            [f"{op} request {p}" for p in _compare(exchange.request, bodies, "", op)]
            if bodies
            else [f"{op} request: the example has no body"]
        )
    if exchange.status == 0:
        return out
    if exchange.status >= 400:
        return out + _error(op, exchange)
    answers = {s: r for e in found for s, r in e["responses"].items()}
    if str(exchange.status) not in answers and not _known(op, f"!{exchange.status}"):
        out.append(f"{op}: status {exchange.status} is in no example")
    shapes = [r["body"] for r in answers.values() if "body" in r]
    if exchange.response is not None and shapes:
        out += [f"{op} answer {p}" for p in _compare(exchange.response, shapes, "", op)]
        own = [answers[str(exchange.status)]["body"]] if "body" in answers.get(str(exchange.status), {}) else shapes  # fmt: skip
        out += [f"{op} answer {p}" for p in missing(exchange.response, own, "", op)]
    elif exchange.response is not None:
        out.append(f"{op}: an answer with a body where the example has none")
    return out


def _list(op: str, exchange: Exchange) -> list[str]:
    """A list without an example: each item as the example of its resource, in a page of `value` and `nextLink`."""
    if exchange.status >= 400:
        return _error(op, exchange)
    said = exchange.response
    if not isinstance(said, dict) or not isinstance(said.get("value"), list) or not set(said) <= PAGE:
        return [f"{op}: an answer that is no page of a list"]
    of = LISTS[op]
    shapes = [r["body"] for e in examples(of) for r in e["responses"].values() if "body" in r]
    return [
        f"{op} item {p}"
        for i in said["value"]
        for p in (*_compare(i, shapes, "", of), *missing(i, shapes, "", of))
    ]


def _knows_query(found: tuple[dict[str, Any], ...], key: str) -> bool:
    return key == "api-version" or any(key in e["parameters"] for e in found)


def _error(op: str, exchange: Exchange) -> list[str]:
    said = exchange.response
    if (
        isinstance(said, dict)
        and isinstance(said.get("error"), dict)
        and {"code", "message"} <= set(said["error"])
    ):
        return []
    return [f"{op}: an error {exchange.status} that is not in ARM's form"]


def _known(op: str, path: str, listed: dict[str, dict[str, str]] = KNOWN) -> bool:
    path = path.removeprefix(".value[]")  # an item of a list is as the resource itself
    return any(
        fnmatch.fnmatch(op, o) and fnmatch.fnmatch(path, p) for o, paths in listed.items() for p in paths
    )


def _compare(said: Any, shapes: list[Any], path: str, op: str) -> Iterator[str]:
    """Unknown keys and other types, as text."""
    shapes = [s for s in shapes if s is not None]
    if said is None or not shapes or _known(op, path):
        return
    kind = _kind(said)
    if kind not in {_kind(s) for s in shapes}:
        yield f"{path or '.'}: {kind}, in the example {sorted({_kind(s) for s in shapes})}"
        return
    fitting = [s for s in shapes if _kind(s) == kind]
    if kind == "list":
        items = [i for s in fitting for i in s]
        for i in said:
            yield from _compare(i, items, f"{path}[]", op)
    if kind == "object":
        free = [v for s in fitting for k, v in s.items() if PLACEHOLDER.fullmatch(k)]
        a_map = bool(free) or all(s == {} for s in fitting)
        for key, value in said.items():
            named = [s[key] for s in fitting if key in s]
            here = f"{path}.{key}"
            if not named and not a_map:
                if not _known(op, here):
                    yield f"{here}: unknown key"
                continue
            yield from _compare(value, named or free, f"{path}.*" if a_map and not named else here, op)


def missing(said: Any, shapes: list[Any], path: str, op: str) -> Iterator[str]:
    """Keys that every example has at a place and the answer has not, as text. A null of ours has no keys to miss."""
    fitting = [s for s in shapes if _kind(s) == _kind(said)]
    if not fitting or _known(op, path):
        return
    if isinstance(said, list):
        items = [i for s in fitting for i in s]
        for i in said:
            yield from missing(i, items, f"{path}[]", op)
    if isinstance(said, dict):
        for key in sorted(set.intersection(*(set(s) for s in fitting))):
            here = f"{path}.{key}"
            if PLACEHOLDER.fullmatch(key) or _known(op, here):
                continue
            if key not in said and not _known(op, here, ABSENT):
                yield f"{here}: missing"
            elif key in said:
                yield from missing(said[key], [s[key] for s in fitting], here, op)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "number"
    return {str: "text", list: "list", dict: "object"}.get(type(value), "null")
