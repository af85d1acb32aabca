"""`esml up`: worker, endpoints and cockpit together; a dead child is restarted, ending this ends all."""

from __future__ import annotations

import ctypes
import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from esml_engine.door.site import Site
from esml_engine.errors import ConflictError, UsageError
from esml_engine.processes import ProcessTable, port_free
from esml_engine.runs import leases

log = logging.getLogger("esml.up")
_LETS_GO = 3.0  # seconds for a cockpit that was ended to leave its port
_FIRST = 10.0  # seconds that the worker lets the cockpit start alone


def up(site: Site, port: int, *, host: str = "127.0.0.1", demo: bool = False) -> None:
    """Run until SIGINT or SIGTERM. `host`: the address that the cockpit listens on; endpoints stay on loopback.

    Raises:
        ConflictError: another worker holds this estate's lease.
    """
    if not 1 <= port <= 65535:
        raise UsageError(f"{port} is no port")
    try:
        socket.getaddrinfo(host, port)
    except OSError as e:
        raise UsageError(f"{host} is no address of this machine", hint="--host 127.0.0.1, or 0.0.0.0") from e
    table = ProcessTable(site.state)
    alone = FileLock(str(site.state / "up.lock"))  # held while this process lives
    try:
        alone.acquire(timeout=0)
    except Timeout as e:
        pid = next((r["pid"] for r in table.live() if r["kind"] == "up"), "not known yet")
        raise _up_already(f"pid {pid}") from e
    holder = leases.holder(site.store)
    if holder is not None and holder.alive and holder.kind == "up":
        alone.release()
        raise _up_already(f"pid {holder.pid} on {holder.host}")
    table.end(("worker", "cockpit", "job", "endpoint"), but=os.getpid())
    if not _comes_free(port):
        alone.release()
        raise ConflictError(f"another program listens on port {port}", hint="name another one: --port")
    table.add("up", "up", os.getpid())
    stopping = threading.Event()
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, lambda *_: stopping.set())
    wanted = {
        "cockpit": [sys.executable, "-m", "cockpit.server", str(site.root), str(port), host],
        "worker": [sys.executable, "-m", "esml_engine.work", str(site.root)],
    }
    begun = time.monotonic()
    children: dict[str, subprocess.Popen[bytes]] = {}
    again: dict[str, float] = {}
    logs = site.state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    near = host in ("127.0.0.1", "localhost", "0.0.0.0", "::", "::1")
    sys.stderr.write(f"cockpit on http://{'localhost' if near else host}:{port} (Ctrl-C ends everything)\n")
    if host not in ("127.0.0.1", "localhost", "::1"):
        sys.stderr.write(f"it listens on {host}: whoever reaches it acts as its administrator\n")
    for broken in site.files.broken.values():
        sys.stderr.write(f"left out until it is mended: {broken.message}\n")
    try:
        while not stopping.is_set():
            for name, command in wanted.items():
                child = children.get(name)
                if child is not None and child.poll() is None:
                    continue
                if child is not None:
                    table.remove(child.pid)
                    sys.stderr.write(
                        f"{name} ended with {child.returncode}; starting it again (log: {logs / name}.log)\n"
                    )
                if time.monotonic() < again.get(name, 0.0):
                    continue
                if name == "worker" and name not in again and not _first(port, begun):
                    continue
                again[name] = time.monotonic() + 1.0
                children[name] = _child(command, logs / f"{name}.log", demo=demo and name == "worker")
                table.add(name, name, children[name].pid)
            stopping.wait(0.2)
    finally:
        for child in children.values():
            child.terminate()
        for name, child in children.items():
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(5)
            table.remove(child.pid)
            log.info("%s ended", name)
        table.end(("job", "endpoint"))
        table.remove(os.getpid())
        alone.release()


def _comes_free(port: int) -> bool:
    """Whether the cockpit can listen there; one of a killed `up`, ended just now, has a moment to let go."""
    until = time.monotonic() + _LETS_GO
    while not port_free(port):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _first(port: int, begun: float) -> bool:
    """Whether the cockpit can draw its first page, or had its time to: until then it has the cores, as somebody waits for it."""
    if time.monotonic() - begun > _FIRST:
        return True
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=0.2)
    try:
        asked.request("GET", "/healthz")
        asked.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()
    return True


def _up_already(who: str) -> ConflictError:
    return ConflictError(f"this estate is up already ({who})", hint="use that one, or end it first")


def _child(command: list[str], path: Path, *, demo: bool) -> subprocess.Popen[bytes]:
    env: dict[str, Any] = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "ESML_PARENT": str(os.getpid())}
    if demo:
        env["ESML_DEMO"] = "1"
    with path.open("ab") as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            preexec_fn=_ends_with_parent if sys.platform.startswith("linux") else None,
        )


_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None
_PR_SET_PDEATHSIG = 1


def _ends_with_parent() -> None:
    """In the child, before its program begins: the kernel tells it to end when its parent is gone, however that ended.

    `ESML_PARENT` does so too, everywhere, but only when the program is under way.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
