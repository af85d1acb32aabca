"""Endpoints as child processes of the worker: each a real scoring server on a loopback port of its own."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from esml_engine import replacing
from esml_engine.platforms.base import EndpointState
from esml_engine.processes import ProcessTable, given, kill, port_free

_MOVE = "end it, or esml undeploy and deploy again, which takes another port"
_LOOK_AGAIN = 2.0  # seconds until a port that another program has is tried again


class Endpoints:
    """Starts, updates and ends endpoint processes; a crash is restarted with back-off by the next `apply`."""

    def __init__(self, state: Path, env: str, table: ProcessTable) -> None:
        self.folder = state / "endpoints"
        self.env = env
        self.table = table
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}  # where each process listens
        self._failed: dict[str, tuple[int, float]] = {}
        self._taken: dict[str, int] = {}  # how often in a row another program had the port

    def _paths(self, name: str) -> tuple[Path, Path]:
        here = self.folder / name
        here.mkdir(parents=True, exist_ok=True)
        return here / "config.json", here / "control.json"

    def apply(self, name: str, config: dict[str, Any]) -> None:
        """Write the control file (atomically) and make sure that the process runs."""
        config_path, control_path = self._paths(name)
        port = int(config["server"]["port"])
        if (
            self._ports.get(name, port) != port
        ):  # moved: before the old process could say that it is as wanted
            self.stop(name)
        _write(control_path, config["control"])
        process = self._running.get(name)
        if process is not None:
            if process.poll() is None:
                return
            self.table.remove(process.pid)
            del self._running[name]
            tries, _ = self._failed.get(name, (0, 0.0))
            self._failed[name] = (tries + 1, time.monotonic() + min(30.0, 0.25 * 2**tries))
        if time.monotonic() < self._failed.get(name, (0, 0.0))[1]:
            return
        if not port_free(port):  # no process: it could only end again
            self._taken[name] = self._taken.get(name, 0) + 1
            if self._taken[name] > 1:  # not only by a process of ours that was ending
                _write(self._taken_path(name), {"port": port, "revision": int(config["control"]["revision"])})
            self._failed[name] = (self._failed.get(name, (0, 0.0))[0], time.monotonic() + _LOOK_AGAIN)
            return
        self._port_is_ours(name)
        server = {
            **config["server"],
            "control": str(control_path),
            "parent": os.getpid(),
            "instance": _instance(control_path),
        }
        _write(config_path, server)
        with (config_path.parent / "log.txt").open("ab") as log:
            started = subprocess.Popen(
                [sys.executable, "-m", "esml_engine.serving.server", str(config_path)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=given(),
            )  # fmt: skip
        self._running[name], self._ports[name] = started, port
        self.table.add("endpoint", name, started.pid)

    def state(self, name: str) -> EndpointState:
        """Ask the process itself."""
        config_path, control_path = self._paths(name)
        log = f".esml/endpoints/{config_path.parent.name}/log.txt"
        if (taken := self._taken_by_another(name)) is not None:
            error = f"another program has port {taken['port']}"
            at = int(taken["revision"])
            return EndpointState(
                False,
                error=f"{error}: {_MOVE}",
                stuck=error,
                stuck_at=at,
                port_taken=int(taken["port"]),
                hint=_MOVE,
                log=log,
            )
        if not config_path.exists():
            return EndpointState(False)
        port = json.loads(config_path.read_text(encoding="utf-8"))["port"]
        try:
            said = _health(port)
        except OSError as e:
            return EndpointState(False, error=str(e), log=log)
        if said.get("instance") != _instance(control_path):
            return EndpointState(
                False,
                error=f"another program answers on port {port}: {_MOVE}",
                log=log,
            )
        self._failed.pop(name, None)
        return EndpointState(
            True, int(said.get("revision", -1)), said.get("slots"), said.get("live", ""), log=log
        )

    def stop(self, name: str) -> None:
        """End the process by the pid that started it."""
        self._port_is_ours(name)
        self._ports.pop(name, None)
        process = self._running.pop(name, None)
        if process is not None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                kill(process.pid)
                process.wait(5)
            self.table.remove(process.pid)

    def _taken_path(self, name: str) -> Path:
        """Where every process of the estate sees what only the worker tries."""
        return self.folder / name / "taken.json"

    def _taken_by_another(self, name: str) -> dict[str, Any] | None:
        """Port and revision that could not be had, as long as it is so."""
        try:
            said = json.loads(self._taken_path(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return None if port_free(said["port"]) else dict(said)

    def _port_is_ours(self, name: str) -> None:
        """Another program has it no more, or it is not wanted any more."""
        self._taken.pop(name, None)
        self._taken_path(name).unlink(missing_ok=True)

    def close(self) -> None:
        """End all."""
        for name in list(self._running):
            self.stop(name)


def _instance(control: Path) -> str:
    return hashlib.sha256(str(control).encode()).hexdigest()[:16]


def _health(port: int) -> dict[str, Any]:
    """What answers on a port says of itself; nothing where it is no endpoint of ours, whatever it answers.

    Raises:
        OSError: nothing answers.
    """
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as r:
            text = r.read()
    except urllib.error.HTTPError as e:
        text = e.read()
    except http.client.HTTPException:
        return {}
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _write(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, sort_keys=True)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    replacing.put(path, text, mode=0o600)
