"""A full disk under the store and the jobs' folders: nothing hangs, is lost or lies; with room again the same run ends well.

Each is tried on a small file system of its own where this user may mount one, and everywhere with a limit on the size
of files, put on the estate's running processes and taken from them again.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import sqlalchemy as sa

from esml_engine.estate import Estate, open_estate
from esml_engine.runs import records
from tests.conftest import esml
from tests.invariants import processes, violations
from tests.working import GATED, until, worker

Numbers = Callable[[str, int, int], Path]
REF = "p1/m1"


class Disk(Protocol):
    """What lies under `.esml`."""

    def fill(self) -> None: ...

    def free(self) -> None: ...


class Mounted:
    """A file system of 6 MB."""

    def __init__(self, folder: Path) -> None:
        self.filler = folder / ".filler"

    def fill(self) -> None:
        with self.filler.open("wb", buffering=0) as f, pytest.raises(OSError, match="No space"):
            while True:
                f.write(b"x" * 4096)

    def free(self) -> None:
        self.filler.unlink()


class Limited:
    """No process of the estate may make a file longer than 4 kB."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fill(self) -> None:
        for p in processes(self.root):
            resource.prlimit(p.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    def free(self) -> None:
        for p in processes(self.root):
            resource.prlimit(p.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.fixture(params=["mounted", "limited"])
def disk(request: pytest.FixtureRequest, empty: Estate, numbers: Numbers) -> Iterator[Disk]:
    """Under the state folder of an estate with one file to refine and a step that waits at a gate."""
    root, state = empty.site.root, empty.site.state
    empty.model(REF).ingest("d1", [numbers("a.csv", 0, 60)], "2026-01-01")
    began, gate = root / "began", root / "gate"
    step = root / "projects" / REF / "steps/d1.py"
    step.write_text(GATED.format(began=str(began), gate=str(gate)), encoding="utf-8")
    empty.site.store.close()
    if request.param == "limited":
        if not hasattr(resource, "prlimit"):
            pytest.skip("this system can't limit another process's files")
        yield Limited(root)
        return
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root to mount a small file system; the other half of this test does without")
    kept = root.with_name("kept")
    shutil.copytree(state, kept)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(state)], check=False).returncode:
        pytest.skip("this machine lets nobody mount; the other half of this test does without")
    try:
        shutil.copytree(kept, state, dirs_exist_ok=True)
        yield Mounted(state)
    finally:
        open_estate(root).site.store.close()
        subprocess.run(["umount", "-l", str(state)], check=True)


def begun(root: Path) -> subprocess.Popen:
    """A refinement whose silver step waits at its gate."""
    command = [sys.executable, "-m", "esml_engine.cli", "--estate", str(root), "--json", "refine", REF]
    asked = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until((root / "began").exists, "the step")
    return asked


def told(asked: subprocess.Popen, seconds: float = 90) -> tuple[int, str, str]:
    try:
        out, err = asked.communicate(timeout=seconds)
    finally:
        asked.kill()
    return asked.returncode, out, err


def test_a_command_says_what_is_full_and_the_next_one_finishes_its_run(empty: Estate, disk: Disk) -> None:
    root = empty.site.root
    asked = begun(root)
    disk.fill()
    (root / "gate").touch()
    began = time.monotonic()
    code, out, err = told(asked)
    assert code == 1 and '"code": "disk"' in out and out.count("\n") == 1, (code, out, err)
    assert f"the disk under {empty.site.state} is full" in out and "free space there" in out
    assert "waits: the disk under" in err and "Traceback" not in err, err
    assert time.monotonic() - began < 60
    disk.free()
    store = open_estate(root).site.store
    (run,) = [r["run"] for r in records.open_runs(store)]
    assert run in out
    esml(root, "refine", REF)
    assert records.get(store, run)["state"] == "done"
    assert len(open_estate(root).model(REF).gold.read()) == 60
    assert {r["state"] for r in esml(root, "runs")} == {"done"} and violations(root) == []


def test_a_worker_goes_on_by_itself_when_there_is_room(empty: Estate, disk: Disk) -> None:
    root = empty.site.root
    with worker(root) as process:
        asked = begun(root)
        (run,) = [r["run"] for r in records.open_runs(empty.site.store)]
        disk.fill()
        (root / "gate").touch()
        # its job's process has ended, and nothing could be recorded of it
        until(lambda: "job" not in kinds(root), "the end of the job")
        assert process.poll() is None and records.get(empty.site.store, run)["state"] == "running"
        disk.free()
        until(lambda: records.get(empty.site.store, run)["state"] == "done", "the end of the run")
        told(asked)
        assert process.poll() is None
    assert len(open_estate(root).model(REF).gold.read()) == 60
    assert violations(root) == []


def test_a_run_goes_on_after_the_store_failed_for_a_moment(
    empty: Estate, numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room whenever one looks, so only the store's own word says that nothing was wrong with the step."""
    first, real = [1], records.set_step

    def once_ill(c: sa.Connection, run: str, step: str, **values: Any) -> None:
        if step == "silver:d1" and values.get("state") == "running" and first:
            first.pop()
            raise sa.exc.OperationalError("UPDATE", None, sqlite3.OperationalError("disk I/O error"))
        real(c, run, step, **values)

    monkeypatch.setattr(records, "set_step", once_ill)
    empty.model(REF).ingest("d1", [numbers("a.csv", 0, 60)], "2026-01-01")
    empty.model(REF).refine()
    assert not first and len(empty.model(REF).gold.read()) == 60
    assert violations(empty.site.root) == []


def kinds(root: Path) -> set[str]:
    """Which of the estate's processes live, by what they are."""
    lines = [" ".join(p.info["cmdline"]) for p in processes(root)]
    return {"job" if "/runs/" in line else "other" for line in lines}


@pytest.mark.parametrize("command", [("refine", REF), ("set", "estate", "worker.jobs", "1")])
def test_a_full_disk_is_named_at_once(empty: Estate, disk: Disk, command: tuple[str, ...]) -> None:
    """Nobody is up: a command can't note what was asked."""
    root = empty.site.root
    line = [sys.executable, "-m", "esml_engine.cli", "--estate", str(root), "--json", *command]
    if isinstance(disk, Mounted):
        disk.fill()
    else:
        limit = (
            f"resource.setrlimit(resource.RLIMIT_FSIZE, (4096, -1)); os.execv({sys.executable!r}, {line!r})"
        )
        line = [sys.executable, "-c", f"import os, resource; {limit}"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr, (done.stdout, done.stderr)
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "disk" and str(empty.site.state) in error["message"], error
    assert "free space there" in error["hint"]
    if isinstance(disk, Mounted):
        disk.free()
    (root / "gate").touch()
    esml(root, *command)
    assert violations(root) == []
