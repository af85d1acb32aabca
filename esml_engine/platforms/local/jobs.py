"""Jobs as child processes: warm (forked from a server that has only imported things) or one fresh interpreter each."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from esml_engine.platforms.base import JobState
from esml_engine.processes import ProcessTable, given, kill

PRELOAD = [
    "esml_engine.job", "numpy", "pyarrow.parquet", "pyarrow.dataset", "duckdb", "pandas", "sklearn.ensemble",
    "sklearn.linear_model", "sklearn.model_selection",
    "sklearn.inspection", "scipy.stats", "lightgbm", "xgboost", "perpetual", "skops.io", "mlflow", "mlflow.tracking.client",
    "mlflow.store.tracking.sqlalchemy_store",
    "esml_engine.lake.steps", "esml_engine.refining.steps", "esml_engine.training.steps", "esml_engine.serving.steps",
    "esml_engine.promotion.steps",
]  # fmt: skip


def _nothing() -> None:
    """A child that only shows that the server forks."""


_starting = threading.Lock()


@contextmanager
def _nothing_of_main() -> Iterator[None]:
    """Have a child import nothing of this process's main module, which may be a notebook or standard input.

    multiprocessing reads where it lies from `__file__` and `__spec__`; a job needs only its specification.
    """
    main = sys.modules["__main__"]
    kept = {k: vars(main)[k] for k in ("__file__", "__spec__") if k in vars(main)}
    for k in kept:
        setattr(main, k, None)
    try:
        yield
    finally:
        for k, v in kept.items():
            setattr(main, k, v)


class Jobs:
    """Starts, follows and ends job processes."""

    def __init__(self, table: ProcessTable, *, warm: bool) -> None:
        self.table = table
        self.warm = warm
        self._running: dict[str, Any] = {}
        self._context: Any = None
        self._ready = threading.Event()

    def warm_up(self) -> None:
        """Start the server of warm children (imports only; it never uses what it imports) without waiting for it."""
        if not self.warm:
            return
        from multiprocessing import forkserver

        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._context = mp.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        forkserver.ensure_running()
        threading.Thread(target=self._probe, name="esml-warm", daemon=True).start()

    def _probe(self) -> None:
        """The first fork answers when the server has imported everything; until then jobs start cold."""
        first = self._context.Process(target=_nothing)
        with _starting, _nothing_of_main():
            first.start()
        first.join()
        self._ready.set()

    def submit(self, spec_path: str) -> str:
        """Start the job of a specification; the handle is the specification's path."""
        folder = Path(spec_path).parent
        if self._ready.is_set():
            from esml_engine.platforms.local.child import main

            process = self._context.Process(target=main, args=(spec_path,), daemon=False)
            with _starting, _nothing_of_main():
                process.start()
        else:
            with (folder / "log.txt").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "esml_engine.platforms.local.child", spec_path, str(os.getpid())],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    env=given(),
                )  # fmt: skip
        self._running[spec_path] = process
        try:
            self.table.add("job", str(folder), process.pid)
        except OSError:  # a full disk: nobody would find it after a crash, so it may not run
            kill(process.pid)
            del self._running[spec_path]
            raise
        return spec_path

    def wait(self, handle: str, seconds: float) -> None:
        """Return when the process ended or after so many seconds."""
        process = self._running.get(handle)
        if process is None:
            return
        if isinstance(process, subprocess.Popen):
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                return
        else:
            process.join(seconds)

    def follow(self, handle: str) -> JobState:
        """Look at the job's files and process."""
        folder = Path(handle).parent
        process = self._running.get(handle)
        ended = (
            process is None
            or (process.poll() if isinstance(process, subprocess.Popen) else process.exitcode) is not None
        )
        result = folder / "result.json"
        if result.exists():
            self.wait(handle, 5.0)  # the result is the last thing that it writes
            self._forget(handle)
            return JobState("done", 1.0, "", result.read_text(encoding="utf-8"))
        if ended:
            self._forget(handle)
            return JobState("lost", 0.0, "the job's process ended without a result")
        fraction, message = 0.0, ""
        try:
            said = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
            fraction, message = float(said["fraction"]), str(said["message"])
        except FileNotFoundError:
            message = "starting"
        return JobState("running", fraction, message)

    def cancel(self, handle: str) -> None:
        """Kill the job's process group."""
        process = self._running.get(handle)
        if process is not None and process.pid:
            kill(process.pid)
            self.wait(handle, 5)
            self._forget(handle)

    def close(self) -> None:
        """End every job of this process."""
        for handle in list(self._running):
            self.cancel(handle)

    def _forget(self, handle: str) -> None:
        process = self._running.pop(handle, None)
        if process is not None:
            with suppress(OSError):  # a full disk: a dead process in the table is passed over
                self.table.remove(process.pid)
            if not isinstance(process, subprocess.Popen):
                process.join(1)
                process.close()
