"""One pipeline from IN to prod: through three environments, an approval in between, refusals, kills, and nothing twice."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.store import schema as t
from tests.conftest import built_once, cli, esml
from tests.invariants import violations
from tests.working import living, until, worker

NAME = "p1/m1"
SCIENTIST, APPROVER = "scientist@p1", "approver@p1"
ENVS = ("dev", "test", "prod")
Numbers = Callable[[str, int, int], Path]


def rows_file(path: Path, first: int, last: int) -> Path:
    """`id,x,y` rows of a line with a bend."""
    lines = [f"{i},{i % 17},{3 * (i % 17) + (i % 5)}" for i in range(first, last)]
    path.write_text("\n".join(["id,x,y", *lines]) + "\n", encoding="utf-8")
    return path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def delivered(tmp_path: Path) -> Estate:
    """Three environments with files in IN and nothing else; prod asks for one approval."""
    return build(tmp_path / "estate", tmp_path)


def build(root: Path, work: Path) -> Estate:
    init_estate(root)
    change(root / "estate.toml", "[serving]\n", "[policy.prod]\napprovals = 1\n\n[serving]\n")
    open_estate(root).new_project("p1", "team")
    open_estate(root).new_model(NAME, "regression", ["d1"], label="y", key="id")
    change(
        root / "projects" / NAME / "model.toml",
        "seconds = 15\ntrials = 20\nfolds = 5",
        'seconds = 60\ntrials = 1\nfolds = 2\nestimators = ["linear"]',
    )
    estate = open_estate(root)
    for actor, role in ((SCIENTIST, "data_scientist"), (SCIENTIST, "data_engineer"), (APPROVER, "approver")):
        estate.member_add("p1", actor, role)
    for env in ENVS:
        estate.model(NAME, env).ingest("d1", [rows_file(work / f"{env}.csv", 0, 240)], "2026-01-01")
    return open_estate(root)


def pipeline(estate: Estate, *more: str, check: int = 0, env: dict[str, str] | None = None) -> Any:
    return said(estate, env, "--as", SCIENTIST, "pipeline", NAME, "--until", "prod", *more, check=check)


def approve(estate: Estate, request: str, check: int = 0, env: dict[str, str] | None = None) -> Any:
    return said(estate, env, "--as", APPROVER, "approve", request, "--reason", "looked at it", check=check)


def said(estate: Estate, env: dict[str, str] | None, *args: str, check: int) -> Any:
    """What a command says; one that will be killed is a process of its own."""
    if env:
        return esml(estate.site.root, *args, check=check, env=env)
    return cli(estate.site.root, *args, check=check)


def killed_at(root: Path, point: str) -> dict[str, str]:
    return {"ESML_KILL_AT": point, "ESML_KILL_ONCE": str(root / f".killed-{point.replace(':', '-')}")}


@pytest.fixture(scope="session")
def parked_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline to prod that waits for its approval; built once."""
    return built_once(tmp_path_factory, "parked", lambda root: pipeline(build(root, root.parent), check=4))


@pytest.fixture
def parked(parked_source: Path, tmp_path: Path) -> Estate:
    shutil.copytree(parked_source, tmp_path / "parked", symlinks=True)
    return open_estate(tmp_path / "parked")


def the_run(estate: Estate) -> dict[str, Any]:
    (found,) = [r for r in estate.runs() if r["act"] == "pipeline"]
    return found


def waiting(estate: Estate) -> str:
    (found,) = estate.requests("waiting")
    return str(found["request"])


def champions(estate: Estate) -> dict[str, int | None]:
    return {e: v["champion"] for e, v in estate.status(NAME)[0]["environments"].items()}


STEPS = [
    *("refine/bronze:d1", "refine/silver:d1", "refine/gold", "split/split", "train/train", "train/register"),
    *("train/alias",),
]
ELSEWHERE = [
    *("refine/bronze:d1", "refine/silver:d1", "refine/gold", "split/split"),
    *("promote/compare", "promote/decide", "promote/copy", "promote/crown", "promote/alias"),
]


def test_it_waits_for_prod_and_the_same_run_goes_on(delivered: Estate) -> None:
    root = delivered.site.root
    plan = pipeline(delivered, "--dry-run")["plan"]
    assert plan["steps"] == [*STEPS, *(f"test@{s}" for s in ELSEWHERE), *(f"prod@{s}" for s in ELSEWHERE)]
    assert any("with the approval of one other person" in w for w in plan["will"])
    said = pipeline(delivered, "--plan", plan["hash"], check=4)
    assert (said["state"], said["kind"], said["object"], said["env"]) == (
        "waiting",
        "promotion",
        NAME,
        "prod",
    )
    assert (
        said["verdict"] == "promote" and all(g["passed"] for g in said["gates"]) and said["challenger"] == 1
    )
    run = the_run(delivered)
    assert run["run"] == said["run"] and run["state"] == "waiting"
    states = {s["name"]: s["state"] for s in run["steps"]}
    assert states["prod@promote/compare"] == "done" and states["prod@promote/decide"] == "waiting"
    assert said["stage"] == "test" and said["steps"] == [s for s, state in states.items() if state == "done"]
    assert states["prod@promote/copy"] == "queued"
    assert champions(delivered) == {"dev": 1, "test": 1, "prod": None}
    metered = t.meter.select().where(t.meter.c.run == said["run"])
    before = {m["step"] for m in delivered.site.store.rows(metered)}
    done = approve(delivered, said["request"])
    assert done["state"] == "approved" and done["released"]["run"] == said["run"]
    assert done["released"]["stage"] == "prod" and done["released"]["champion"] == 1
    assert done["released"]["decided_by"] == APPROVER
    after = the_run(delivered)
    assert after["state"] == "done" and all(s["state"] == "done" for s in after["steps"])
    assert {m["step"] for m in delivered.site.store.rows(metered)} - before == {
        f"prod@promote/{s}" for s in ("decide", "copy", "crown", "alias")
    }, "what was done before the approval is not done again"
    assert champions(delivered) == {"dev": 1, "test": 1, "prod": 1}
    # nothing to do the second time
    again = pipeline(delivered)
    assert again["run"] is None and again["stage"] == "prod"
    assert pipeline(delivered, "--dry-run")["plan"]["nothing_to_do"]
    assert the_run(delivered)["run"] == said["run"], "no second run"
    assert violations(root) == []


def test_asked_again_while_it_waits_it_is_the_same_run(parked: Estate) -> None:
    again = pipeline(parked, check=4)
    assert (again["run"], again["request"], again["joined"]) == (
        the_run(parked)["run"],
        waiting(parked),
        True,
    )
    # what is more than that run has left is another plan, and another run
    parked.model(NAME, "prod").ingest("d1", [rows_file(parked.site.root / "b.csv", 240, 300)], "2026-02-01")
    other = pipeline(parked, check=4)
    assert other["run"] != again["run"] and "joined" not in other
    assert len(parked.requests("waiting")) == 2
    # the first request rests on a gold_test that is not prod's any more
    stale = approve(parked, again["request"], check=3)
    assert "stale" in stale["error"]["message"] and champions(parked)["prod"] is None
    assert approve(parked, other["request"])["released"]["stage"] == "prod"
    assert champions(parked)["prod"] == 1
    assert violations(parked.site.root) == []


def test_refused_by_a_person_it_ends_and_prod_stays_as_it_was(parked: Estate) -> None:
    request = waiting(parked)
    args = ("--as", APPROVER, "refuse", request, "--reason", "not this month")
    assert esml(parked.site.root, *args)["state"] == "refused"
    run = the_run(parked)
    assert run["state"] == "cancelled" and "not this month" in run["error"]["message"]
    assert champions(parked) == {"dev": 1, "test": 1, "prod": None}
    assert parked.model(NAME, "prod").evidence()["sections"]["decision"]["state"] == "refused"
    assert violations(parked.site.root) == []


def test_refused_by_gates_on_the_way_it_ends_with_them(delivered: Estate) -> None:
    """Exit code 3, every gate in the document; what was made before stays, nothing goes on to prod."""
    root = delivered.site.root
    change(
        root / "projects" / NAME / "model.toml", "[gates]\n", "[gates]\nmax_cost_1000_rows = 0.000000001\n"
    )
    said = pipeline(delivered, check=3)
    assert said["error"]["code"] == "refused" and said["error"]["hint"] and said["state"] == "refused"
    gates = {g["gate"]: g for g in said["gates"]}
    assert not gates["cost"]["passed"] and gates["cost"]["reason"] in said["error"]["message"]
    assert gates["baseline"]["passed"] and said["decided_by"] == "gates"
    run = the_run(delivered)
    assert run["run"] == said["run"] and run["state"] == "done"
    states = {s["name"]: s["state"] for s in run["steps"]}
    assert states["test@promote/decide"] == "done"
    assert {v for k, v in states.items() if k.startswith("prod@") or k.endswith(("copy", "crown"))} == {
        "skipped"
    }
    assert champions(delivered) == {"dev": 1, "test": None, "prod": None}
    assert not delivered.model(NAME, "prod").table("d1/bronze").versions()
    assert violations(root) == []


def test_the_inference_pipeline_refines_and_scores_once(parked: Estate, tmp_path: Path) -> None:
    root = parked.site.root
    args = ("--as", SCIENTIST, "pipeline", NAME, "--purpose", "inference", "--env")
    assert esml(root, *args, "prod", check=2)["error"]["code"] == "not_found", "no model stands there yet"
    new = rows_file(tmp_path / "new.csv", 500, 512)
    parked.model(NAME, "test").ingest("d1", [new], "2026-02-01", "inference")
    done = esml(root, *args, "test")
    assert done["steps"] == [f"refine/{s}" for s in ("bronze:d1", "silver:d1", "gold")] + ["score/score"]
    assert done["rows"] == 12 and parked.model(NAME, "test").scored(count_only=True).document()["total"] == 12
    assert esml(root, *args, "test")["run"] is None
    assert parked.model(NAME, "test").scored(count_only=True).document()["total"] == 12
    assert violations(root) == []


def test_a_worker_killed_while_it_is_parked_and_the_next_goes_on(parked: Estate) -> None:
    root = parked.site.root
    for _ in range(2):
        with worker(root) as process:
            esml(root, "--as", SCIENTIST, "split", NAME, "--seed", "1")  # it is at work beside what waits
            assert the_run(parked)["state"] == "waiting"
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert the_run(parked)["state"] == "waiting" and champions(parked)["prod"] is None
    with worker(root):
        args = ("--as", APPROVER, "approve", waiting(parked), "--reason", "go", "--detach")
        esml(root, *args)
        until(lambda: the_run(parked)["state"] == "done", "the run's end")
    assert champions(parked)["prod"] == 1
    assert violations(root) == []


@pytest.mark.parametrize(
    "point", ["promote:decided", "promote:copied", "promote:registered", "promote:alias"]
)
def test_killed_between_its_approval_and_its_end(parked: Estate, point: str) -> None:
    root = parked.site.root
    assert approve(parked, waiting(parked), check=-signal.SIGKILL, env=killed_at(root, point)) is None
    assert the_run(parked)["state"] == "running"
    esml(root, "--as", SCIENTIST, "split", NAME, "--seed", "3")  # whoever executes next finishes open runs
    assert the_run(parked)["state"] == "done" and champions(parked)["prod"] == 1
    assert [x["version"] for x in parked.model(NAME, "prod").timeline()] == [1]
    assert violations(root) == []


def test_killed_between_two_environments(delivered: Estate) -> None:
    """After test's champion is made and before prod's lock: dev and test are not done again."""
    root = delivered.site.root
    assert pipeline(delivered, check=-signal.SIGKILL, env=killed_at(root, "promote:alias")) is None
    assert champions(delivered) == {"dev": 1, "test": 1, "prod": None}
    run = the_run(delivered)
    assert run["state"] == "running"
    done = {s["name"] for s in run["steps"] if s["state"] == "done"}
    assert "test@promote/crown" in done and not any(n.startswith("prod@") for n in done)
    again = pipeline(delivered, check=4)
    runs = [r for r in delivered.runs() if r["act"] == "pipeline"]
    first = next(r for r in runs if r["run"] == run["run"])
    assert first["state"] == "waiting" and {r["state"] for r in runs} == {"waiting"}
    made = {s["name"]: s["attempt"] for s in first["steps"] if s["name"] in done}
    assert set(made.values()) == {1}, "done once, before the kill"
    assert len(delivered.model(NAME, "test").table("gold").versions()) == 1
    assert approve(delivered, again["request"])["state"] == "approved"
    assert champions(delivered)["prod"] == 1
    for left in delivered.requests("waiting"):  # asked twice: what the second one asked about is done
        assert esml(root, "--as", APPROVER, "approve", left["request"], "--reason", "x", check=3)
    assert violations(root) == []


OWN = """import os
import time
from pathlib import Path

from sklearn.linear_model import LinearRegression


def train(train, validate, ctx):
    with Path({pids!r}).open("a") as f:
        f.write(f"{{os.getpid()}}\\n")
    while not Path({go!r}).exists():
        time.sleep(0.05)
    return LinearRegression().fit(train[["x"]], train[ctx.label])
"""


def test_killed_in_the_middle_of_its_own_train_py(delivered: Estate, tmp_path: Path) -> None:
    """The job's process, then the worker with it: the run goes on where it stood, and trains to its end once."""
    root, pids, go = delivered.site.root, tmp_path / "pids", tmp_path / "go"
    steps = root / "projects" / NAME / "steps"
    steps.mkdir(exist_ok=True)
    (steps / "train.py").write_text(OWN.format(pids=str(pids), go=str(go)), encoding="utf-8")

    def tried() -> list[int]:
        return [int(x) for x in pids.read_text().split()] if pids.exists() else []

    with worker(root) as process:
        run = pipeline(delivered, "--detach")["run"]
        until(lambda: len(tried()) == 1, "the training")
        os.kill(tried()[0], signal.SIGKILL)
        until(lambda: len(tried()) == 2, "its second attempt")
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: not living(tried()[1]), "the end of the job with its worker")
    assert the_run(delivered)["state"] == "running" and champions(delivered)["dev"] is None
    go.touch()
    with worker(root):
        until(lambda: the_run(delivered)["state"] == "waiting", "the approval's request")
    attempts = {s["name"]: s["attempt"] for s in the_run(delivered)["steps"] if s["state"] == "done"}
    assert attempts.pop("train/train") == len(tried()) == 3 and set(attempts.values()) == {1}
    assert the_run(delivered)["run"] == run and champions(delivered) == {"dev": 1, "test": 1, "prod": None}
    assert approve(delivered, waiting(delivered))["released"]["stage"] == "prod"
    assert champions(delivered)["prod"] == 1
    assert violations(root) == []


def test_a_promotion_by_hand_joins_the_pipeline_that_asked_for_it(parked: Estate) -> None:
    """While it waits, and where the command that approved it died: no second comparison, no second request."""
    root = parked.site.root
    by_hand = ("--as", SCIENTIST, "promote", NAME, "--from", "test", "--to", "prod")
    request, run = waiting(parked), the_run(parked)["run"]
    said = esml(root, *by_hand, check=4)
    assert (said["run"], said["request"], said["joined"]) == (run, request, True)
    approve(parked, request, check=-signal.SIGKILL, env=killed_at(root, "run:locked"))
    done = esml(root, *by_hand)
    assert done["run"] == run and done["champion"] == 1
    assert [r["request"] for r in parked.requests("")] == [request]
    assert champions(parked) == {"dev": 1, "test": 1, "prod": 1} and violations(root) == []
    again = approve(parked, request)
    assert (again["state"], again["released"]["champion"]) == ("approved", 1), (
        "asked once more: the same answer"
    )


def test_what_an_approval_released_is_finished_by_the_next_command(parked: Estate) -> None:
    """Also by one that has nothing to do itself."""
    approve(parked, waiting(parked), check=-signal.SIGKILL, env=killed_at(parked.site.root, "run:locked"))
    assert esml(parked.site.root, "--as", SCIENTIST, "refine", NAME)["nothing_to_do"]
    assert champions(parked)["prod"] == 1 and the_run(parked)["state"] == "done"
