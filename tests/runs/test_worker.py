"""The worker: side by side and never twice, cancel, give up, take over, one at a time, stopped and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from esml_engine.estate import Estate, open_estate
from esml_engine.model import Model
from esml_engine.processes import ProcessTable
from esml_engine.refs import ModelRef
from esml_engine.runs import leases, records
from esml_engine.store import schema as t
from esml_engine.training import records as training_records
from tests.conftest import esml
from tests.invariants import violations
from tests.working import living, until, worker

Numbers = Callable[[str, int, int], Path]
MEET = """import time
from pathlib import Path


def step(df, ctx):
    Path({mine!r}).touch()
    end = time.monotonic() + 60
    while not Path({other!r}).exists():
        assert time.monotonic() < end, "the other one never ran beside this one"
        time.sleep(0.02)
    return df
"""
NEVER_ENDS = """import subprocess
import sys
import time
from pathlib import Path


def step(df, ctx):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path({mine!r}).write_text(str(child.pid))
    time.sleep(600)
"""


def step(root: Path, model: str, code: str, name: str = "d1.py") -> Path:
    path = root / "projects" / model / "steps" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    return path


@pytest.fixture
def two(empty: Estate, numbers: Numbers) -> Estate:
    """Two models with a file each."""
    empty.new_model("p1/m2", "regression", ["d1"], label="y", key="id")
    estate = open_estate(empty.site.root)
    for name in ("p1/m1", "p1/m2"):
        estate.model(name).ingest("d1", [numbers(f"{name[-2:]}.csv", 0, 60)], "2026-01-01")
    return estate


def state(estate: Estate, run: str) -> str:
    return str(records.get(estate.site.store, run)["state"])


def spans(estate: Estate, run: str) -> list[tuple[str, str]]:
    return [(s["started"], s["ended"]) for s in records.steps(estate.site.store, run)]


def ended(estate: Estate, *runs: str) -> list[str]:
    until(lambda: all(state(estate, r) in records.ENDED for r in runs), f"the end of {runs}", 180)
    return [state(estate, r) for r in runs]


def errors(estate: Estate, *runs: str) -> list[object]:
    """What a failed assertion is to show."""
    return [records.get(estate.site.store, r)["error"] for r in runs]


def model(estate: Estate, name: str = "p1/m1") -> Model:
    return open_estate(estate.site.root).model(name)


def test_two_models_side_by_side_and_one_model_in_a_row(two: Estate, tmp_path: Path) -> None:
    root = two.site.root
    step(root, "p1/m1", MEET.format(mine=str(tmp_path / "one"), other=str(tmp_path / "two")))
    step(root, "p1/m2", MEET.format(mine=str(tmp_path / "two"), other=str(tmp_path / "one")))
    with worker(root):
        # three acts on m1 (their plans differ), one on m2
        runs = [
            model(two).refine(layer="bronze", detach=True)["run"],
            model(two).refine(detach=True)["run"],
            model(two).pipeline(until="gold", detach=True)["run"],
        ]
        other = model(two, "p1/m2").refine(detach=True)["run"]
        assert ended(two, *runs, other) == ["done"] * 4, errors(two, *runs, other)
    first, last = spans(two, other)[0][0], spans(two, other)[-1][1]
    assert any(a < last and b > first for r in runs for a, b in spans(two, r)), (
        "the models ran one after the other"
    )
    whole = sorted((min(a for a, _ in spans(two, r)), max(b for _, b in spans(two, r))) for r in runs)
    assert all(whole[n][1] <= whole[n + 1][0] for n in range(2)), whole
    assert violations(root) == []


def test_cancel_ends_a_step_and_its_children(two: Estate, tmp_path: Path) -> None:
    root, mark = two.site.root, tmp_path / "child"
    path = step(root, "p1/m1", NEVER_ENDS.format(mine=str(mark)))
    with worker(root):
        run = model(two).refine(detach=True)["run"]
        child = int(until(lambda: mark.exists() and mark.read_text(), "the step's child"))
        jobs = [r["pid"] for r in ProcessTable(two.site.state).live() if r["kind"] == "job"]
        two.cancel(run)
        assert ended(two, run) == ["cancelled"]
        gone = [child, *jobs]
        until(lambda: not any(living(p) for p in gone), "the end of the job's processes")
        path.unlink()
        assert model(two).refine()["layers"][-1]["rows"] == 60
        assert two.retry(run)["run"] == run  # nothing is left to do, and a worker that is up takes it
    assert violations(root) == []


def test_cancel_ends_a_training(two: Estate) -> None:
    root = two.site.root
    path = root / "projects/p1/m1/model.toml"
    path.write_text(path.read_text().replace("seconds = 15\ntrials = 20", "seconds = 300\ntrials = 5000"))
    with worker(root):
        model(two).refine()
        model(two).split()
        run = model(two).train(detach=True)["run"]
        until(lambda: records.get(two.site.store, run)["progress"] > 0.02, "a trial")
        job = next(r for r in ProcessTable(two.site.state).live() if r["kind"] == "job")
        two.cancel(run)
        # of 300 seconds and 5,000 trials: had it gone on to its end, it would be done, not cancelled
        assert ended(two, run) == ["cancelled"]
        until(lambda: not living(job["pid"]), "the end of the job's process")
        assert not [r for r in ProcessTable(two.site.state).live() if r["kind"] == "job"]
        assert training_records.versions(two.site.store, ModelRef.parse("p1/m1")) == []
    assert violations(root) == []


def test_a_step_that_kills_its_process_is_given_up_after_three_attempts(two: Estate, tmp_path: Path) -> None:
    mark = tmp_path / "tries"
    path = step(
        two.site.root,
        "p1/m1",
        f"import os\n\n\ndef step(df, ctx):\n    with open({str(mark)!r}, 'a') as f:\n        f.write('x')\n"
        "    os.kill(os.getpid(), 9)\n",
    )
    error = esml(two.site.root, "refine", "p1/m1", check=1)["error"]
    assert "silver:d1: given up after 3 attempts" in error["message"] and "log" in error["hint"]
    assert mark.read_text() == "xxx"
    path.unlink()
    run = esml(two.site.root, "runs")[0]["run"]
    assert esml(two.site.root, "retry", run)[0]["result"]["layers"][-1]["rows"] == 60
    assert violations(two.site.root) == []


def test_a_command_finishes_what_a_dead_worker_left(two: Estate, tmp_path: Path) -> None:
    """Also runs of other models: whoever executes next first finishes open runs."""
    root, mark = two.site.root, tmp_path / "child"
    with worker(root) as process:
        step(root, "p1/m1", NEVER_ENDS.format(mine=str(mark)))
        left = model(two).refine(detach=True)["run"]
        until(mark.exists, "the step")
        process.send_signal(signal.SIGKILL)
        process.wait()
    # the step is slow rather than endless now; the code of the open run is what the file says when it starts
    step(root, "p1/m1", "import time\n\n\ndef step(df, ctx):\n    time.sleep(8)\n    return df\n")
    done = esml(root, "refine", "p1/m2")
    assert done["layers"][-1]["rows"] == 60
    assert state(two, left) == "done"
    assert violations(root) == []


def test_a_worker_told_to_end_leaves_its_run_to_the_next(two: Estate, tmp_path: Path) -> None:
    root, mark = two.site.root, tmp_path / "child"
    path = step(root, "p1/m1", NEVER_ENDS.format(mine=str(mark)))
    for _ in range(4):  # more often than a step may die of itself
        mark.unlink(missing_ok=True)
        with worker(root):
            if not records.open_runs(two.site.store):
                run = model(two).refine(detach=True)["run"]
            until(mark.exists, "the step")
    assert state(two, run) == "running"
    assert not [r for r in ProcessTable(two.site.state).live() if r["kind"] == "job"]
    path.unlink()
    with worker(root):
        assert ended(two, run) == ["done"]
    assert violations(root) == []


def test_settings_that_break_while_a_worker_is_up(two: Estate) -> None:
    root = two.site.root
    path = root / "projects/p1/m2/model.toml"
    good = path.read_text()
    with worker(root) as process:
        path.write_text(good + "\n[[[ this is no TOML")
        error = esml(root, "refine", "p1/m2", check=2)["error"]
        assert error["code"] == "settings" and "model.toml" in error["message"]
        # an intent from before the file broke: it ends, with the reason, and the worker lives
        two.site.watched = True  # nobody reads the file for this act
        run = two.model("p1/m2").refine(detach=True)["run"]
        assert ended(two, run) == ["failed"]
        said = records.get(two.site.store, run)["error"]
        assert said["code"] == "settings" and "model.toml" in said["message"] and process.poll() is None
        path.write_text(good.replace('task = "regression"', 'task = "magic"'))
        assert "task" in esml(root, "refine", "p1/m2", check=2)["error"]["message"]
        path.write_text(good)
        assert esml(root, "retry", run)[0]["result"]["layers"][-1]["rows"] == 60
    assert violations(root) == []


def test_a_killed_up_leaves_nothing(two: Estate) -> None:
    """Though its children are still starting and follow nobody yet."""
    up = subprocess.Popen(
        [sys.executable, "-m", "esml_engine.cli", "--estate", str(two.site.root), "up", "--port", str(free_port())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    table = ProcessTable(two.site.state)

    def children() -> set[int]:
        return {r["pid"] for r in table.live() if r["kind"] in ("worker", "cockpit")}

    try:
        until(lambda: len(children()) == 2, "worker and cockpit")
    finally:
        up.kill()
        up.wait()
    until(lambda: not children(), "their end")


def test_up_on_a_port_that_another_program_has_is_refused(two: Estate) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        said = esml(two.site.root, "up", "--port", str(other.getsockname()[1]), check=1)["error"]
    assert said["code"] == "conflict" and "port" in said["message"]
    assert not ProcessTable(two.site.state).live()


def test_a_second_up_is_refused_with_what_to_do(two: Estate) -> None:
    root = two.site.root
    first = subprocess.Popen(
        [sys.executable, "-m", "esml_engine.cli", "--estate", str(root), "up", "--port", str(free_port())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    table = ProcessTable(two.site.state)
    try:
        # refused from the first moment on, not only when the first one's worker has its lease
        until(
            lambda: [r for r in table.live() if r["kind"] == "up" and r["pid"] == first.pid], "the first up"
        )
        error = esml(root, "up", "--port", str(free_port()), check=1)["error"]
        assert (
            error["code"] == "conflict" and str(first.pid) in error["message"] and "end it" in error["hint"]
        )
        until(lambda: (h := leases.holder(two.site.store)) and h.alive, "the first one's worker")
        children = {r["pid"] for r in table.live() if r["kind"] == "worker"}
        assert esml(root, "up", "--port", str(free_port()), check=1)["error"]["code"] == "conflict"
        assert children and children <= {r["pid"] for r in table.live()}, (
            "the second one touched the first's children"
        )
    finally:
        first.send_signal(signal.SIGINT)
        first.wait(40)
    until(lambda: not table.live(), "the end of all", 10)
    assert violations(root) == []


def test_a_command_that_waits_leaves_the_lease_to_the_worker_that_up_starts_again(
    two: Estate, tmp_path: Path
) -> None:
    """Else the endpoints, which only that worker keeps, would be down until the command's own run ends."""
    root, mark = two.site.root, tmp_path / "child"
    path = step(root, "p1/m1", NEVER_ENDS.format(mine=str(mark)))
    up = subprocess.Popen(
        [sys.executable, "-m", "esml_engine.cli", "--estate", str(root), "up", "--port", str(free_port())],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    store = two.site.store
    try:
        first = until(lambda: (h := leases.holder(store)) and h.alive and h, "the worker of up")
        command = subprocess.Popen(
            [sys.executable, "-m", "esml_engine.cli", "--estate", str(root), "--json", "refine", "p1/m1"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        until(mark.exists, "the step")
        path.unlink()  # done again, it ends
        os.kill(first.pid, signal.SIGKILL)
        second = until(
            lambda: (h := leases.holder(store)) and h.alive and h.pid != first.pid and h, "another worker"
        )
        assert second.kind == "up" and second.pid != command.pid
        assert command.wait(90) == 0, command.stdout and command.stdout.read()
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(40)
    assert violations(root) == []


def free_port() -> int:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_a_lock_of_a_dead_holder_is_void(two: Estate) -> None:
    store = two.site.store
    with store.write() as c:
        c.execute(
            t.leases.insert().values(
                name="worker", owner="x:1", host=os.uname().nodename, pid=2**22 - 1, pid_started=1.0,
                heartbeat=time.time(), kind="up",
            )
        )  # fmt: skip
        c.execute(t.locks.insert().values(name="dev:p1/m1", run="r-gone", owner="x:1", heartbeat=time.time()))
    assert model(two).refine()["layers"][-1]["rows"] == 60


def test_a_run_cancelled_after_its_job_was_killed_leaves_nothing_open_in_mlflow(empty: Estate) -> None:
    from esml_engine.training import tracking

    site, run = empty.site, "r-killed"
    uri = site.platform("dev").tracking_uri()
    experiment = tracking.experiment(uri, "p1-m1")
    client = tracking.client(uri)
    mine, other = (
        client.create_run(
            experiment, tags={tracking.RUN_TAG: r, tracking.STEP_TAG: "train/train"}
        ).info.run_id
        for r in (run, "r-other")
    )
    row = {"run": run, "act": "pipeline", "object": "p1/m1", "env": "dev", "state": "queued", "actor": "a", "plan_hash": "h",
        "plan": {}, "params": {}, "created": "2026-01-01", "cancel": True}  # fmt: skip
    with site.store.write() as c:
        records.insert(c, row, ("refine/gold", "train/train", "train/register"))
        records.set_step(c, run, "train/train", state="running", attempt=2)
    with empty.hand.holding():
        assert ended(empty, run) == ["cancelled"]
    assert [client.get_run(i).info.status for i in (mine, other)] == ["KILLED", "RUNNING"]


def test_runs_in_a_state_that_there_is_not_name_the_states(empty: Estate) -> None:
    said = esml(empty.site.root, "runs", "--state", "nonsense", check=2)["error"]
    assert "nonsense" in said["message"]
    assert all(s in said["hint"] for s in (*records.OPEN, *records.ENDED))
    assert esml(empty.site.root, "runs", "--state", "failed") == []
