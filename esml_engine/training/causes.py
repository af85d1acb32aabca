"""Why a library's call failed, in one line: no stack trace, and no place on the machine that built it."""

from __future__ import annotations

import re

_PLACE = re.compile(r"^\[[\d:]+\]\s+\S+:\d+:\s+")
_LONGEST = 300


def cause(e: BaseException) -> str:
    """`ValueError: Input contains NaN.`"""
    lines = str(e).split("Stack trace:")[0].strip().splitlines()
    said = _PLACE.sub("", lines[0].strip())[:_LONGEST] if lines else ""
    return f"{type(e).__name__}: {said}" if said else type(e).__name__
