"""Single-row calls of 16 clients: the endpoint with its ledger against a bare FastAPI app with the same model.

Target: at least 60 % of the bare app's requests a second (ratio at most 1.67). The bare app predicts each request by
itself; the endpoint predicts together what arrives together, which pays for its ledger. With one client there is
nothing to share: `python -m benchmarks.bench_online 1` measures that.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import interleaved, report
from benchmarks.http_load import COLUMNS
from esml_engine.serving.facts import Config, Control, Slot

KEY = "bench"
CALLS, ROUNDS = 2_000, 5
HERE = Path(__file__).parent


class Model:
    """A LightGBM regression of 100 trees on ten numbers."""

    task = "regression"
    signature = [{"name": name, "type": "double"} for name in COLUMNS]
    features = COLUMNS
    example = dict.fromkeys(COLUMNS, 1.0)

    def __init__(self, booster: Any) -> None:
        self.booster = booster

    def coerce(self, columns: Mapping[str, list[Any]]) -> dict[str, list[float]]:
        return {name: [float(v) for v in columns[name]] for name in COLUMNS}

    def predict_columns(self, columns: Mapping[str, list[float]]) -> Any:
        import numpy as np

        return self.booster.predict(np.column_stack([columns[name] for name in COLUMNS]), num_threads=1)


@lru_cache
def load(folder: str, _: str) -> Model:
    """The model of `folder`."""
    import lightgbm

    return Model(lightgbm.Booster(model_file=f"{folder}/model.txt"))


def bare() -> Any:
    """The reference: FastAPI as its tutorial has it, no key, no ledger."""
    from fastapi import FastAPI, Request

    app = FastAPI()
    model = load(os.environ["BENCH_FOLDER"], "")

    async def score(request: Request) -> dict[str, Any]:
        given = (await request.json())["input_data"]
        columns = dict(zip(given["columns"], map(list, zip(*given["data"], strict=True)), strict=True))
        return {"predictions": model.predict_columns(model.coerce(columns)).tolist(), "model_version": 1}

    score.__annotations__["request"] = Request
    score.__annotations__["return"] = dict
    app.post("/score")(score)

    async def health() -> dict[str, str]:
        return {"status": "ok"}

    app.get("/health")(health)
    return app


def _train(folder: Path) -> None:
    import lightgbm
    import numpy as np

    random = np.random.default_rng(1)
    x = random.normal(size=(5_000, len(COLUMNS)))
    y = x[:, 0] * 3 + np.sin(x[:, 1]) + random.normal(size=5_000)
    booster = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(x, y), 100)
    booster.save_model(folder / "model.txt")


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(command: list[str], port: int, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env={**os.environ, **env})
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as reply:
                    if reply.status == 200:
                        break
            except urllib.error.URLError as error:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError(f"{command} does not answer") from error
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait()


def _load(port: int, clients: int) -> float:
    command = [sys.executable, str(HERE / "http_load.py"), str(port), "/score", str(clients), str(CALLS)]
    done = subprocess.run(
        command, env={**os.environ, "BENCH_KEY": KEY}, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def main(clients: int) -> None:
    """Run both in turns and print the result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _train(folder)
        ours, theirs = _port(), _port()
        key = hashlib.sha256(KEY.encode()).hexdigest()
        Control(1, "blue", {"blue": Slot(name, "", 1)}, {}, True, (key,)).write(folder / "control.json")
        config = Config(
            "bench",
            f"{name}/ledger.db",
            f"{name}/control.json",
            ours,
            log=f"{name}/log",
            loader="benchmarks.bench_online:load",
        )
        config.write(folder / "config.json")
        env = {"BENCH_FOLDER": name, "PYTHONPATH": str(HERE.parent)}
        endpoint = [sys.executable, "-m", "esml_engine.serving.server", f"{name}/config.json"]
        reference = [
            sys.executable,
            "-m",
            "uvicorn",
            "--factory",
            "benchmarks.bench_online:bare",
            "--port",
            str(theirs),
        ]
        reference += ["--log-level", "warning", "--no-access-log"]
        with _running(endpoint, ours, env) as process, _running(reference, theirs, env):
            a, b = interleaved(partial(_load, ours, clients), partial(_load, theirs, clients), ROUNDS)
            report(f"online_{clients}_clients", a, b, psutil.Process(process.pid).memory_info().rss / 1e6)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16)
