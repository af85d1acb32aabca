"""Which processes belong to an estate: pid and start time, so that a reused pid is never mistaken for ours."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

TOKENS = ("MLFLOW_TRACKING_TOKEN",)  # set in this process while it works with another environment


def started(pid: int) -> float:
    """When a process started (seconds since the epoch), 0.0 when it is gone."""
    import psutil  # a command that starts nothing and waits for nobody does without

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def alive(pid: int, since: float) -> bool:
    """Whether that very process still runs (zombies are dead)."""
    import psutil

    try:
        p = psutil.Process(pid)
        return abs(p.create_time() - since) < 1.0 and p.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def given() -> dict[str, str]:
    """The environment variables of a child that works for this machine alone: this process's, without its token for a service."""
    mine = {k: v for k, v in os.environ.items() if k not in TOKENS}
    return {**mine, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


class ProcessTable:
    """`.esml/processes.json`: `[{"kind", "name", "pid", "started"}]`."""

    def __init__(self, state: Path) -> None:
        from filelock import FileLock  # not for those who only ask who lives

        self.path = state / "processes.json"
        self._lock = FileLock(str(self.path) + ".lock")

    def add(self, kind: str, name: str, pid: int) -> None:
        """Note a process of ours."""
        with self._lock:
            rows = [r for r in self._read() if r["pid"] != pid and alive(r["pid"], r["started"])]
            self._write([*rows, {"kind": kind, "name": name, "pid": pid, "started": started(pid)}])

    def remove(self, pid: int) -> None:
        """Forget a process."""
        with self._lock:
            self._write([r for r in self._read() if r["pid"] != pid])

    def live(self) -> list[dict[str, Any]]:
        """Those that still run."""
        return [r for r in self._read() if alive(r["pid"], r["started"])]

    def end(self, kinds: tuple[str, ...], *, but: int = 0) -> None:
        """Kill what a dead holder left behind, by pid and start time."""
        for r in self.live():
            if r["kind"] in kinds and r["pid"] != but and r["pid"] != os.getpid():
                kill(r["pid"])
                self.remove(r["pid"])

    def _read(self) -> list[dict[str, Any]]:
        try:
            return list(json.loads(self.path.read_text(encoding="utf-8")))
        except (FileNotFoundError, json.JSONDecodeError):
            return []

    def _write(self, rows: list[dict[str, Any]]) -> None:
        new = self.path.with_suffix(".tmp")
        new.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        new.replace(self.path)


def kill(pid: int) -> None:
    """Kill a process and its group, where it leads one."""
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def port_free(port: int) -> bool:
    """Whether nobody listens there now (another estate's endpoint may)."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
