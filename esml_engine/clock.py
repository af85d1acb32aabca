"""Time as the stores keep it (UTC, ISO, microseconds) and ids that sort by time."""

from __future__ import annotations

import datetime as dt
import secrets
import time

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def now() -> str:
    """UTC now, e.g. `2026-11-24T16:12:26.123456+00:00`."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")


def in_words(text: str) -> str:
    """A stored time for a sentence: `2026-11-24 16:12 UTC`."""
    return f"{text[:16].replace('T', ' ')} UTC"


def seconds_since(text: str) -> float:
    """Seconds from an ISO time until now."""
    return (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(text)).total_seconds()


def new_id(prefix: str) -> str:
    """A time-sortable id: milliseconds in base 32, then randomness."""
    ms, out = int(time.time() * 1000), ""
    for _ in range(9):
        ms, d = divmod(ms, 32)
        out = _DIGITS[d] + out
    return f"{prefix}{out}{secrets.token_hex(4)}"
