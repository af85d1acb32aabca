"""A real endpoint process on loopback, ended by its pid."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from esml_engine.serving.facts import Config, Control, Slot

ROOT = Path(__file__).parents[2]
KEY = "a-key-for-tests"


def until(true: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """Poll until `true()` is; fails the test after the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := true():
            return answer
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


class Served:
    """One endpoint: its files, its process, and calls to it."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.config = Config(
            endpoint="project002-m11-dev",
            ledger=str(folder / "ledger.db"),
            control=str(folder / "control.json"),
            port=port,
            log=str(folder / "endpoint.log"),
            parent=os.getpid(),
            loader="tests.serving.models:load",
        )
        self.config = replace(self.config, **config)
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20)
        self.control = Control(0, "blue", {}, {}, True, (hashlib.sha256(KEY.encode()).hexdigest(),))

    def slot(self, version: int, **document: Any) -> Slot:
        folder = self.folder / f"model-{version}"
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text(json.dumps({"slope": version, **document}))
        return Slot(str(folder), "", version, f"d{version}")

    def steer(self, **change: Any) -> None:
        self.control = replace(self.control, revision=self.control.revision + 1, **change)
        self.control.write(self.config.control)

    def start(self, *, wait: bool = True) -> None:
        self.config.write(self.folder / "config.json")
        command = [sys.executable, "-m", "esml_engine.serving.server", str(self.folder / "config.json")]
        self.process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        if wait:
            until(lambda: self.health().get("status") == "ok", "the endpoint answers")

    def health(self) -> dict[str, Any]:
        assert self.process is None or self.process.poll() is None, (self.folder / "endpoint.log").read_text()
        try:
            document: dict[str, Any] = self.client.get("/health").json()
        except httpx.TransportError:
            return {}
        return document

    def score(self, rows: list[list[Any]], request_id: str = "", **headers: str) -> httpx.Response:
        sent = {
            **({"x-request-id": request_id} if request_id else {}),
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        body = {"input_data": {"columns": ["age", "bmi", "sex"], "data": rows}}
        return self.client.post("/score", json=body, headers=sent)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            self.kill()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """An endpoint with model version 1 live in blue, started."""
    endpoint = Served(tmp_path)
    endpoint.steer(slots={"blue": endpoint.slot(1)})
    endpoint.start()
    yield endpoint
    endpoint.client.close()
    endpoint.stop()
