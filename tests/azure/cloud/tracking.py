"""Tracking: a real `mlflow server` for each workspace, behind the workspace's path, reached with a token."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
import sqlite3
import sys
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.azure.cloud.azurite import cache_folder
from tests.azure.cloud.manage import space
from tests.azure.cloud.passing import passed_on
from tests.azure.cloud.resources import Workspace
from tests.azure.cloud.wire import WS, Answer, Call, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud


class Trackers:
    """Starts a workspace's server when it is first asked."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._ports: dict[str, int] = {}
        self._locks = {w: threading.Lock() for w in ("dev", "test", "prod")}

    def port(self, ws: Workspace) -> int:
        """The port of a workspace's server, which answers."""
        with self._locks.setdefault(ws.env, threading.Lock()):
            if ws.env not in self._ports:
                self._ports[ws.env] = self._start(ws)
            return self._ports[ws.env]

    def _start(self, ws: Workspace) -> int:
        folder = self._cloud.folder / "mlflow" / ws.env
        folder.mkdir(parents=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = int(s.getsockname()[1])
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PYTEST_"))},
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES": "abfss", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }  # fmt: skip
        log, database, empty = folder / "log.txt", folder / "mlflow.db", _empty_database()
        if empty.exists():
            shutil.copyfile(empty, database)
        process = self._cloud.processes.start(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(folder / "artifacts")],
            env=env, cwd=folder, log=log,
        )  # fmt: skip
        until = time.monotonic() + 300
        while time.monotonic() < until and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    _keep_empty(database, empty)
                    return port
            except OSError:
                time.sleep(0.1)  # until the server answers
        raise RuntimeError(f"mlflow server did not start: {_end_of(log)}")


def _empty_database() -> Path:
    """A server's database as its migrations leave it, kept between runs: they take seconds each time."""
    return cache_folder() / f"mlflow-server-{importlib.metadata.version('mlflow-skinny')}.db"


def _keep_empty(database: Path, empty: Path) -> None:
    """Keep a fresh server's database, whole or not at all."""
    if empty.exists():
        return
    empty.parent.mkdir(parents=True, exist_ok=True)
    new = empty.with_name(f".{empty.name}.{os.getpid()}-{threading.get_ident()}")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(new)) as sink:
        source.backup(sink)
    new.replace(empty)


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-1000:]


@operation("MLflow.Any", "*", "/mlflow/v1.0" + WS + "/{rest*}", versions=None, audience="data")
def proxy(cloud: Cloud, call: Call) -> Answer:
    """MLflow.Any: passed on to the workspace's own server."""
    ws = space(cloud, call)
    split = urlsplit(call.target)
    rest = split.path.split("/workspaces/", 1)[1].partition("/")[2]
    target = f"/{rest}" + (f"?{split.query}" if split.query else "")
    status, kept, body = passed_on(
        cloud.trackers.port(ws), call.method, target, call.headers, call.body, seconds=300
    )
    return Answer(status, body, kept)
