"""Rows of `doctor`: a part that works, one that does not, and one that was not asked since what it needs does not work.

One cause gives one row that is wrong: what follows from it is not checked, and says what to mend first.
"""

from __future__ import annotations

import re
from typing import Any

from esml_engine.errors import EsmlError

_POINTER = re.compile(r"(?:^|;)[^;]*\besml doctor\b[^;]*")
"""The clause of a hint that sends a reader to `doctor`: who reads a row is there."""

_BEFORE_A_LAKE = ("credential", "lake", "storage", "tables")
"""Parts without which nobody can look into an environment's lake, as platforms call them."""


def good(part: str, message: str) -> dict[str, Any]:
    """A part that works."""
    return {"part": part, "ok": True, "message": message, "hint": ""}


def bad(part: str, error: EsmlError, otherwise: str = "") -> dict[str, Any]:
    """A part that does not work. `otherwise`: what to do where the error says nothing but to look here."""
    hint = _POINTER.sub("", error.hint).lstrip("; ").strip()
    return {"part": part, "ok": False, "message": error.message, "hint": hint or otherwise}


def unasked(part: str, cause: str) -> dict[str, Any]:
    """A part that was not asked, `ok` None: the part `cause` stands before it."""
    return {"part": part, "ok": None, "message": f"not checked: {cause} has to work first", "hint": ""}


def before_lake(found: list[dict[str, Any]]) -> str:
    """The part for which an environment's lake can't be looked into; "" where it can."""
    return next(
        (r["part"] for r in found if r["ok"] is False and r["part"].endswith(_BEFORE_A_LAKE)),
        "",
    )
