"""Programs of the stand-in: each ends with the test process, and by the process id that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Protocol

from tests.azure.cloud import child


class Program(Protocol):
    """A started program: what of `subprocess.Popen` is used."""

    pid: int
    returncode: int | None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises subprocess.TimeoutExpired."""
        ...

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        ...

    def terminate(self) -> None:
        """End it with all that it started."""
        ...

    def kill(self) -> None:
        """The same without asking."""
        ...


class Processes:
    """Starts programs under `child.py` and ends them all at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[subprocess.Popen[bytes]] = []

    def start(self, argv: list[str], *, env: dict[str, str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start a program; its output goes to `log`, its exit code is the returned process's."""
        with log.open("ab") as out:
            made = subprocess.Popen(
                [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), "--", *argv],
                env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        with self._lock:
            self._all = [p for p in self._all if p.poll() is None] + [made]
        return made

    def end(self, process: Program) -> None:
        """End a program and what it started."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End all."""
        with self._lock:
            running = list(self._all)
        for p in running:
            if p.poll() is None:
                p.terminate()
        for p in running:
            self.end(p)
