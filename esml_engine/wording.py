"""Answers as words for a person at a terminal."""

from __future__ import annotations

import re
from typing import Any

_NESTED = 60
_MOMENT = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?\+00:00$")
_LEAST_FIRST = (
    "plan_hash", "cancel", "result", "predicted", "steps", "environments", "message", "created", "started", "as", "actor",
    "ended", "cost", "progress",
    "seconds", "fresh", "since", "error", "turn", "blocked_by", "next", "task", "detail", "intervals", "hash", "raw",
)  # fmt: skip
"""Columns that a narrow terminal can do without, the first ones first. Ids and names are never among them."""


def words(value: Any, indent: int = 0, room: int = 0) -> str:
    """Tables for lists of rows, key and value for the rest. `room`: columns of the terminal; 0: as wide as it is."""
    pad = " " * indent
    if isinstance(value, list):
        if not value:
            return f"{pad}nothing"
        if all(isinstance(v, dict) for v in value):
            return _table(value, pad, room)
        return "\n".join(f"{pad}- {cell(v)}" for v in value)
    if isinstance(value, dict):
        lines = []
        for k, v in value.items():
            if isinstance(v, dict | list) and v:
                lines += [f"{pad}{k}:", words(v, indent + 2, room)]
            else:
                lines.append(f"{pad}{k}: {cell(v)}")
        return "\n".join(lines)
    return pad + cell(value)


def cell(value: Any) -> str:
    """One value, short."""
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value + 0.0:.6g}"  # -0.0 is nothing
    if isinstance(value, dict):
        return ", ".join(f"{k} {cell(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(cell(v) for v in value)
    return str(value)


def _table(rows: list[dict[str, Any]], pad: str, room: int) -> str:
    """A column for each key; on a terminal too narrow for all, whole columns are left out and named, never an id cut.

    What to do is never cut either: a row's hint stands below it whole, and its message is the last column.
    """
    names = [n for n in dict.fromkeys(k for r in rows for k in r) if n != "hint"]
    hinted = any(r.get("hint") for r in rows)
    whole = "message" if hinted and names[-1:] == ["message"] else ""
    cells = {n: [cell(r.get(n)) if n == whole else _short(r.get(n)) for r in rows] for n in names}
    width = {n: max(len(n), *map(len, cells[n])) for n in names}
    left_out: list[str] = []
    for n in _LEAST_FIRST:
        wide = len(pad) + sum(width[x] + 2 for x in names if x != whole) - 2
        if room and wide > room and n in names and n != whole and len(names) > 1:
            names.remove(n)
            left_out.append(n)
    lines = [names, *([cells[n][i] for n in names] for i in range(len(rows)))]
    text = ["  ".join(x.ljust(width[n]) for x, n in zip(line, names, strict=True)).rstrip() for line in lines]
    for i, r in reversed(list(enumerate(rows, 1))):
        if r.get("hint"):
            text.insert(i + 1, f"    {r['hint']}")
    if left_out:
        text.append(f"(no room for {', '.join(sorted(left_out))}: --json has them)")
    return "\n".join(pad + x for x in text)


def _short(value: Any) -> str:
    """A cell of a table: what is nested and sentences are shortened, names and ids never, and times say whole seconds."""
    text = cell(value)
    if isinstance(value, dict | list) or " " in text:
        return text if len(text) <= _NESTED else text[: _NESTED - 1] + "…"
    return _MOMENT.sub(r"\1Z", text)
