"""A long-lived worker for tests, and waiting for what must come."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from esml_engine.estate import open_estate
from esml_engine.runs import leases

GATED = """import time
from pathlib import Path


def step(df, ctx):
    Path({began!r}).touch()
    end = time.monotonic() + 120
    while not Path({gate!r}).exists():
        assert time.monotonic() < end, "nobody opened the gate"
        time.sleep(0.02)
    return df
"""


def until(ready: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """Poll until it is so."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.05)
    return found


def living(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def worker(root: Path) -> Iterator[subprocess.Popen]:
    """A long-lived worker of its own process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "esml_engine.work", str(root)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    store = open_estate(root).site.store
    try:
        until(lambda: (h := leases.holder(store)) and h.alive and h.pid == process.pid, "the worker's lease")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
