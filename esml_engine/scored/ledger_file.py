"""A ledger's SQLite file: its tables, how it is opened, and the lock of the one process that may write."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esml_engine.errors import ConflictError

SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shape (model_version INTEGER PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS request (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    body_hash BLOB NOT NULL,
    answer BLOB NOT NULL,
    caller TEXT NOT NULL,
    model_version INTEGER NOT NULL,
    scored_at INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    frame TEXT
);
"""
VERSION = "1"
_BUSY_SECONDS = 30.0


def connect(path: Path) -> sqlite3.Connection:
    """A connection that waits for the writer; what it commits is on disk."""
    con = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    con.execute("PRAGMA journal_mode=WAL")
    con.execute("PRAGMA synchronous=FULL")
    return con


def locked(path: Path, wait_seconds: float) -> Any:
    """An exclusive lock beside the ledger, held until the file is closed or the process is dead."""
    handle = path.with_name(path.name + ".lock").open("a+b")
    deadline = time.monotonic() + wait_seconds
    while not _try_lock(handle):
        if time.monotonic() > deadline:
            handle.close()
            raise ConflictError(f"another process writes to the ledger {path.name}", hint="end it first")
        time.sleep(0.05)
    return handle


def _try_lock(handle: Any) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        lock: Callable[[], None] = lambda: msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # noqa: E731
    else:
        lock = lambda: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # noqa: E731
    try:
        lock()
    except OSError:
        return False
    return True
