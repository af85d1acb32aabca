"""What was read from a file and found valid, remembered between processes: as JSON, by the file's identity and the rules.

A file is taken for unchanged while its times (also the one that nobody can set), size and inode are; one changed within
the last seconds is read again, since it may change once more within one tick of its times.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_YOUNG = 2_000_000_000  # nanoseconds


class Remembered:
    """One cache file; `rules` names what decided that a value is valid, so that other rules start anew."""

    def __init__(self, path: Path, rules: str) -> None:
        self._path, self._rules = path, rules
        self._old: dict[str, list[Any]] = {}
        self._new: dict[str, list[Any]] = {}
        self._changed = False
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            raw = json.loads(path.read_bytes())
            if raw["rules"] == rules:
                self._old = dict(raw["files"])

    def get(self, file: Path, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """The file's value: remembered, or read now. What `read` raises is raised, and nothing remembered."""
        s = file.stat()  # before reading: a change meanwhile makes the next one read again
        identity = [s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_ino]
        key = str(file)
        found = self._old.get(key)
        if found is not None and found[0] == identity:
            self._new[key] = found
            return dict(found[1])
        value = read(file)
        if time.time_ns() - max(s.st_mtime_ns, s.st_ctime_ns) > _YOUNG and _survives(value):
            self._new[key] = [identity, value]
            self._changed = True
        return value

    def save(self) -> None:
        """Keep what was read in this turn, and nothing else; a cache that can't be written is only slow."""
        if not self._changed and len(self._new) == len(self._old):
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(f".{os.getpid()}.tmp")
            new.write_text(json.dumps({"rules": self._rules, "files": self._new}), encoding="utf-8")
            new.replace(self._path)


def _survives(value: dict[str, Any]) -> bool:
    """Whether JSON gives back the very same (a TOML date does not survive)."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False
