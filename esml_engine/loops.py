"""What the loops of a worker outlive, and how they say it: each trouble in a line, not each second again."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from esml_engine.errors import EsmlError, disk_full

log = logging.getLogger("esml.worker")
_AGAIN = 60.0
_said: dict[tuple[str, str], float] = {}


def say(what: str, message: str) -> None:
    """One line into the log; the same again at most once a minute."""
    if time.monotonic() >= _said.get((what, message), 0.0):
        _said[what, message] = time.monotonic() + _AGAIN
        log.error("%s: %s", what, message)


@contextmanager
def outlives(loop: str, disks: Iterable[Path] = ()) -> Iterator[None]:
    """A loop goes on after any one turn's trouble (one of its disks full, a busy store); the log has it."""
    try:
        yield
    except Exception as e:  # noqa: BLE001 - the boundary of one turn
        known = disk_full(e, folders=disks)
        say(loop, known.message if known else _words(e))


def _words(error: Exception) -> str:
    """The engine's own errors say what happened and what to do; of another, where it came from is all there is."""
    if not isinstance(error, EsmlError):
        return traceback.format_exc()
    return f"{error.message} ({error.hint})" if error.hint else error.message
