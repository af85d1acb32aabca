"""Answers as words for a person at a terminal."""

from __future__ import annotations

from typing import Any


def words(value: Any, indent: int = 0) -> str:
    """Tables for lists of rows, key and value for the rest."""
    pad = " " * indent
    if isinstance(value, list):
        if not value:
            return f"{pad}nothing"
        if all(isinstance(v, dict) for v in value):
            return _table(value, pad)
        return "\n".join(f"{pad}- {cell(v)}" for v in value)
    if isinstance(value, dict):
        lines = []
        for k, v in value.items():
            if isinstance(v, dict | list) and v:
                lines += [f"{pad}{k}:", words(v, indent + 2)]
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
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {cell(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(cell(v) for v in value)
    return str(value)


def _table(rows: list[dict[str, Any]], pad: str) -> str:
    """Cells are cut, but what to do is not: a row's hint stands below it whole, and so does its message beside it."""
    names = [n for n in dict.fromkeys(k for r in rows for k in r) if n != "hint"]
    whole = "message" if any(r.get("hint") for r in rows) and names[-1:] == ["message"] else ""
    cells = [[cell(r.get(n))[: None if n == whole else 60] for n in names] for r in rows]
    width = [max(len(n), *(len(c[i]) for c in cells)) for i, n in enumerate(names)]
    line = "  ".join(n.ljust(w) for n, w in zip(names, width, strict=True))
    body = ["  ".join(c.ljust(w) for c, w in zip(row, width, strict=True)).rstrip() for row in cells]
    below = [f"\n{pad}    {r['hint']}" if r.get("hint") else "" for r in rows]
    return "\n".join([pad + line.rstrip(), *(pad + x + hint for x, hint in zip(body, below, strict=True))])
