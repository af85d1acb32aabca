"""Promotion killed by SIGKILL between each two of its steps: the next worker finishes it, once, with one champion always."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from esml_engine.errors import RefusedError
from esml_engine.estate import Estate, open_estate
from esml_engine.refs import ModelRef
from esml_engine.runs import records as runs
from esml_engine.store import schema as t
from esml_engine.training import records as models
from tests.invariants import violations
from tests.promotion.conftest import MODEL, as_, bent, decide, promote, setting

REF = ModelRef.parse(MODEL)
ASK = """
import sys
from esml_engine.door.facts import Call
from esml_engine.estate import open_estate
open_estate(sys.argv[1]).hand.do(Call("promote", "p1/m1", "test", {"source": "dev"}))
"""
POINTS = [
    "promote:compared",
    "promote:decided",
    "promote:copied",
    "promote:rechecked",
    "promote:registered",
    "promote:alias",
    "record:after",
]


def killed(estate: Estate, code: str, point: str, nth: str = "") -> None:
    """Run code in a process that dies by SIGKILL at `point`."""
    root = estate.site.root
    env = {**os.environ, "ESML_KILL_AT": point,
        "ESML_KILL_ONCE": str(root / f".killed-{point.replace(':', '-')}{nth}")}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, env=env, timeout=180
    )
    assert done.returncode == -signal.SIGKILL, (point, done.returncode, done.stdout[-500:], done.stderr[-800:])  # fmt: skip


def finished(estate: Estate, run: str) -> dict:
    """Let the next worker finish a run; what must hold of it."""
    from mlflow.tracking import MlflowClient

    done = estate.hand.follow(run)
    store, root = estate.site.store, estate.site.root
    assert done["state"] == "promoted" and runs.get(store, run)["state"] == "done"
    assert len(store.rows(t.champions.select().where(t.champions.c.env == "test"))) == 1
    assert len(store.rows(t.evidence.select())) == 1
    assert len(store.rows(t.model_versions.select().where(t.model_versions.c.env == "test"))) == 1
    assert [h["revision"] for h in models.history(store, REF, "test")] == [1]
    client = MlflowClient(f"sqlite:///{root}/tracking/test/mlflow.db")
    found = client.search_model_versions("name='p1-m1'")
    assert len(found) == 1
    assert client.get_model_version_by_alias("p1-m1", "champion").version == found[0].version
    assert violations(root) == []
    return done


@pytest.mark.parametrize("point", POINTS)
def test_a_promotion_killed_between_two_steps(three: Estate, point: str) -> None:
    killed(three, ASK, point)
    before = models.champion(three.site.store, REF, "test")
    assert (before is not None) == (point == "promote:alias")
    finished(three, three.runs()[0]["run"])


def test_asking_again_finishes_what_was_left_though_nothing_is_new(three: Estate) -> None:
    """The champion stands already, so there is nothing to do but what the killed command left: MLflow's alias, the run's end."""
    killed(three, ASK, "promote:alias")
    run = three.runs()[0]["run"]
    again = promote(three, "dev", "test")
    assert again["champion"] == 1
    assert runs.get(three.site.store, run)["state"] == "done" and violations(three.site.root) == []


def test_a_waiting_promotion_survives_its_worker_and_an_approved_one_too(three: Estate) -> None:
    setting(three, "[policy.test]\napprovals = 1\n")
    asked = promote(as_(three, "scientist@p1"), "dev", "test")
    said = decide(as_(three, "approver@p1"), "approve", asked, follow=False)
    follow = f"import sys\nfrom esml_engine.estate import open_estate\nopen_estate(sys.argv[1]).hand.follow('{said['run']}')\n"
    killed(three, follow, "promote:registered")
    assert models.champion(three.site.store, REF, "test") is None
    done = finished(three, said["run"])
    assert done["decided_by"] == "approver@p1"


def test_asking_again_after_a_kill_inside_an_approved_promotion_asks_nobody_twice(three: Estate) -> None:
    setting(three, "[policy.test]\napprovals = 1\n")
    asked = promote(as_(three, "scientist@p1"), "dev", "test")
    said = decide(as_(three, "approver@p1"), "approve", asked, follow=False)
    follow = f"import sys\nfrom esml_engine.estate import open_estate\nopen_estate(sys.argv[1]).hand.follow('{said['run']}')\n"
    killed(three, follow, "promote:registered")
    again = promote(as_(three, "scientist@p1"), "dev", "test", version=1)
    assert (again["state"], again["champion"]) == ("promoted", 1)
    assert [r["state"] for r in three.requests("")] == ["approved"]


def test_an_approval_whose_command_was_killed_is_asked_for_again(three: Estate) -> None:
    setting(three, "[policy.test]\napprovals = 1\n")
    request = promote(as_(three, "scientist@p1"), "dev", "test")["request"]
    approve = f"import sys\nfrom esml_engine.estate import open_estate\nopen_estate(sys.argv[1], act_as='approver@p1').approve('{request}', 'looked at')\n"
    killed(three, approve, "promote:registered")
    with pytest.raises(RefusedError, match="is approved already") as said_to_another:
        as_(three, "second@p1").approve(request, "me too")
    assert (
        "goes on with a worker (esml up) or the next command that works on p1/m1"
        in said_to_another.value.hint
    )
    for _ in range(2):
        said = as_(three, "approver@p1").approve(request, "looked at")
        assert (said["state"], said["reason"]) == ("approved", "looked at")
        assert (said["released"]["state"], said["released"]["champion"]) == ("promoted", 1)
    assert len(said["decisions"]) == 1
    finished(three, said["run"])


def test_a_rollback_that_was_killed_is_finished_by_asking_again_and_not_undone(three: Estate) -> None:
    three.set(MODEL, "gates.min_gain", "{ rmse = -1000.0 }")
    three.model(MODEL).ingest("d1", [bent(three.site.root / "more.csv", 240, 400)], "2026-01-02")
    assert three.model(MODEL).pipeline()["model_version"] == 2
    back = "import sys\nfrom esml_engine.estate import open_estate\nopen_estate(sys.argv[1]).model('p1/m1').rollback()\n"
    killed(three, back, "record:after")
    assert three.model(MODEL).rollback()["champion"] == 1
    assert [h["version"] for h in models.history(three.site.store, REF, "dev")] == [1, 2, 1]
    assert violations(three.site.root) == []


def test_a_worker_killed_just_after_its_run_began_to_wait_leaves_it_waiting(three: Estate) -> None:
    """The queue hands the run out again, since its worker never said that it was done with it."""
    setting(three, "[policy.test]\napprovals = 1\n")
    killed(three, ASK, "park:waits")
    run = three.runs()[0]["run"]
    model = three.model(MODEL, "test")
    model.ingest("d1", [bent(three.site.root / "more.csv", 240, 300)], "2026-01-02")
    model.refine()  # one at a time in this environment: the run that was handed out again is through by then
    assert runs.get(three.site.store, run)["state"] == "waiting"
    asked = three.requests("waiting")
    assert [r["run"] for r in asked] == [run]
    assert violations(three.site.root) == []
    as_(three, "approver@p1").approve(asked[0]["request"], "looked at")
    assert finished(three, run)["decided_by"] == "approver@p1"


def test_there_is_a_champion_all_the_time_once_there_was_one(three: Estate) -> None:
    """A second promotion, killed on both sides of its one transaction: before it the old one stands, after it the new."""
    three.set(MODEL, "gates.min_gain", "{ rmse = -1000.0 }")
    with three.hand.holding(warm=True):
        promote(three, "dev", "test")
        three.model(MODEL).ingest("d1", [bent(three.site.root / "more.csv", 240, 300)], "2026-01-02")
        three.model(MODEL).refine()
        three.model(MODEL).split()
        three.model(MODEL).train()
    again = ASK.replace('"source": "dev"', '"source": "dev", "version": 2')
    killed(three, again, "promote:registered", "a")
    run = three.runs()[0]["run"]
    assert models.champion(three.site.store, REF, "test")["version"] == 1
    follow = f"import sys\nfrom esml_engine.estate import open_estate\nopen_estate(sys.argv[1]).hand.follow('{run}')\n"
    killed(three, follow, "promote:alias", "b")
    row = models.champion(three.site.store, REF, "test")
    assert (row["version"], row["previous"]) == (2, 1)
    assert open_estate(three.site.root).hand.follow(run)["state"] == "promoted"
    assert [h["version"] for h in models.history(three.site.store, REF, "test")] == [2, 1]
    assert violations(three.site.root) == []
