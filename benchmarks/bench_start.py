"""From asking for a run to its first step running in its child, against a bare warm child's start.

The reference forks from a server that has imported the same. Target: at most 0.3 s more than the reference.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.harness import ROOT, interleaved, report
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.platforms.local.jobs import PRELOAD

ROUNDS = 9


def touch(path: str) -> None:
    """The bare child: shows that it runs."""
    Path(path).touch()


def _until(found: Callable[[], object], what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not found():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} did not come")
        time.sleep(0.002)


class Rounds:
    """One warm worker, one bare server of children, and a new file for each run."""

    def __init__(self, estate: Estate, folder: Path) -> None:
        self.estate, self.folder, self.n = estate, folder, 0
        self.model = estate.model("project1/model1")
        self.context = mp.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOAD)

    def ours(self) -> float:
        """Deliver a file (not timed), hand over its refinement, wait for the child's log, then for the end."""
        self.n += 1
        file = self.folder / f"f{self.n}.csv"
        file.write_text(f"id,y\n{self.n},1\n", encoding="utf-8")
        self.model.ingest("ds01", [file], "2026-01-01")
        began = time.perf_counter()
        run = self.model.refine("bronze", detach=True)["run"]
        log = self.estate.site.state / "runs" / run / "bronze-ds01" / "1" / "log.txt"
        _until(log.exists, "the child's log")
        seconds = time.perf_counter() - began
        self.estate.hand.follow(run)
        return seconds

    def reference(self) -> float:
        """Fork one child."""
        self.n += 1
        path = self.folder / f"touched{self.n}"
        began = time.perf_counter()
        child = self.context.Process(target=touch, args=(str(path),))
        child.start()
        _until(path.exists, "the bare child")
        seconds = time.perf_counter() - began
        child.join()
        return seconds


def main() -> None:
    """Run both in turns and print the result."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "estate"
        init_estate(root, ["dev"])
        open_estate(root).new_project("project1", "team")
        open_estate(root).new_model("project1/model1", "regression", ["ds01"], label="y", key="id")
        estate = open_estate(root)
        with (Path(name) / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "esml_engine.work", str(root)],
                stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        try:
            rounds = Rounds(estate, Path(name))
            from esml_engine.runs import leases

            _until(lambda: leases.holder(estate.site.store), "the worker")
            for _ in range(4):  # the worker's children are warm when its server has imported everything
                rounds.ours(), rounds.reference()
            a, b = interleaved(rounds.ours, rounds.reference, ROUNDS)
            report("start", a, b, psutil.Process(worker.pid).memory_info().rss / 1e6)
        finally:
            worker.terminate()
            worker.wait()


if __name__ == "__main__":
    main()
