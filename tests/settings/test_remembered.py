"""Remembered settings: never a value that the file no longer holds, never one judged by other rules."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from esml_engine.remembered import Remembered


class Reader:
    """Reads a file and counts how often."""

    def __init__(self, path: Path) -> None:
        self.path, self.reads = path, 0

    def __call__(self, path: Path) -> dict[str, Any]:
        self.reads += 1
        return {"text": path.read_text()}

    def turn(self, rules: str = "1") -> str:
        """What a new process would get."""
        memory = Remembered(self.path.with_name("cache.json"), rules)
        said = memory.get(self.path, self)
        memory.save()
        return str(said["text"])


def settled(tmp_path: Path, monkeypatch: Any) -> Reader:
    """A file old enough to be remembered, read once."""
    file = tmp_path / "a.toml"
    file.write_text("one")
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr("esml_engine.remembered.time.time_ns", lambda: later)
    reader = Reader(file)
    assert reader.turn() == "one" and reader.reads == 1
    return reader


def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: Any) -> None:
    reader = settled(tmp_path, monkeypatch)
    assert reader.turn() == "one" and reader.reads == 1


def test_a_change_of_the_same_size_with_its_old_time_is_seen(tmp_path: Path, monkeypatch: Any) -> None:
    reader = settled(tmp_path, monkeypatch)
    before = reader.path.stat()
    time.sleep(0.02)
    reader.path.write_text("two")
    os.utime(reader.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reader.turn() == "two"


def test_a_file_changed_just_now_is_not_remembered(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("one")
    reader = Reader(file)
    assert reader.turn() == reader.turn() == "one"
    assert reader.reads == 2


def test_other_rules_or_a_broken_cache_start_anew(tmp_path: Path, monkeypatch: Any) -> None:
    reader = settled(tmp_path, monkeypatch)
    assert reader.turn("2") == "one" and reader.reads == 2
    cache = reader.path.with_name("cache.json")
    for broken in ("", "{", "[]", "{}", json.dumps({"rules": "2", "files": 3})):
        cache.write_text(broken)
        before = reader.reads
        assert reader.turn("2") == "one" and reader.reads == before + 1
