"""A node whose Python has the product's imports in memory: `python -m module …` is forked from it instead of started anew.

What runs is the same (`runpy` of the module as `__main__`, its own environment, folder, session and log); only the imports
are there already. `warm.py SOCKET` is the server: one thread, imports and forks. `WarmNodes` speaks to it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import random
import re
import runpy
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, TextIO

from tests.azure.cloud.processes import Processes

ALSO = [
    "azure.identity",
    "azure.storage.blob",
    "azure.core.pipeline.policies",
    "deltalake",
    "esml_engine.serving.server",
]
PLAIN = re.compile(r"[\w@%+=:,./' -]+")  # no shell needed


def module_of(command: str) -> list[str] | None:
    """`[module, arguments…]` of a plain `python -m …` of the product, else None."""
    if not PLAIN.fullmatch(command):
        return None
    words = shlex.split(command)
    fits = (
        len(words) >= 3
        and words[0] in ("python", sys.executable)
        and words[1] == "-m"
        and words[2].startswith("esml_engine.")
    )
    return words[2:] if fits else None


class WarmProcess:
    """What of `subprocess.Popen` the stand-in uses, for a forked child; several threads may wait for it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        said = connection.makefile("r")
        self.pid = int(json.loads(said.readline())["pid"])
        self.returncode: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._listen, args=(said,), name=f"warm-{self.pid}", daemon=True).start()

    def _listen(self, said: TextIO) -> None:
        try:
            line = said.readline()  # empty: the server itself is gone, and its children with it
        except ConnectionResetError:
            line = ""
        self.returncode = int(json.loads(line)["code"]) if line else 137
        self._ended.set()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("warm node", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.returncode

    def terminate(self) -> None:
        """End it with all that it started."""
        try:
            self._connection.sendall(b"kill\n")
        except BrokenPipeError:  # it has ended, or the server has: `_listen` hears of it
            return

    kill = terminate


class WarmNodes:
    """The server, started when the first command asks for it; until it has imported everything commands start cold."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self._path, self._folder, self._processes = str(folder / "warm.sock"), folder, processes
        self._started, self._lock = False, threading.Lock()

    def begin(self) -> None:
        """Start the server, if it is not started; returns at once."""
        with self._lock:
            if self._started:
                return
            self._started = True
        own = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        self._processes.start(
            [sys.executable, "-m", "tests.azure.cloud.warm", self._path],
            env=own,
            cwd=self._folder,
            log=self._folder / "warm.log",
        )

    def start(self, argv: list[str], *, env: dict[str, str], cwd: Path, log: Path) -> WarmProcess | None:
        """Fork `module arguments…`; None when the server is not ready."""
        self.begin()
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._path)
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        connection.sendall(
            json.dumps({"argv": argv, "env": env, "cwd": str(cwd), "log": str(log)}).encode() + b"\n"
        )
        return WarmProcess(connection)


def serve(path: str) -> None:
    """Import, listen, fork; in a forked child this returns by SystemExit of the module that it runs."""
    from esml_engine.platforms.local.jobs import PRELOAD

    warnings.simplefilter("ignore")
    for name in [*PRELOAD, *ALSO]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path + ".new")
    listening.listen(64)
    Path(path + ".new").rename(path)  # it is there when it listens
    children: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as waiting:
        waiting.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select(0.02 if children else None):
                if key.fileobj is listening:
                    connection, _ = listening.accept()
                    job = json.loads(connection.makefile("r").readline())
                    pid = os.fork()
                    if pid == 0:
                        listening.close()
                        for other in (*children.values(), connection):
                            other.close()  # who waits for another child must see the end of its line
                        _become(job)
                    connection.sendall(json.dumps({"pid": pid}).encode() + b"\n")
                    children[pid] = connection
                    waiting.register(connection, selectors.EVENT_READ, pid)
                else:  # a wish to end it, or the asker is gone
                    _kill(key.data)
                    waiting.unregister(key.fileobj)
            for pid in list(children):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    _kill(pid)  # what it left behind in its session
                    _tell(waiting, children.pop(pid), os.waitstatus_to_exitcode(status))


def _tell(waiting: selectors.BaseSelector, connection: socket.socket, code: int) -> None:
    if connection.fileno() in waiting.get_map():
        waiting.unregister(connection)
    try:
        connection.sendall(json.dumps({"code": code if code >= 0 else 128 - code}).encode() + b"\n")
    except BrokenPipeError:  # nobody waits for it any more
        return
    finally:
        connection.close()


def _kill(pid: int) -> None:
    for end in (os.killpg, os.kill):  # before its setsid it leads no group yet
        try:
            end(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _become(job: dict[str, Any]) -> None:
    """The forked child turns into the asked program."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # ends with the server
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    log = os.open(job["log"], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
    module, *arguments = job["argv"]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    raise SystemExit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
