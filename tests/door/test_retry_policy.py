"""Going on with a run that ended badly spends again: it is held to the policy of now, with what the run was approved for."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.errors import PolicyError
from esml_engine.estate import Estate, open_estate
from esml_engine.handing import RunFailedError
from esml_engine.store import schema as t
from tests.conftest import cli
from tests.door.test_policies import APPROVER, ENGINEER, as_, held, mine  # noqa: F401 - a fixture

NAME = "p1/m1"


def broken(estate: Estate) -> Path:
    """A step of its own that raises."""
    path = estate.site.root / "projects" / NAME / "steps" / "d1.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text("def step(df, ctx):\n    raise ValueError('no')\n")
    return path


def test_over_the_limit_of_now_a_retry_is_refused_and_within_it_goes_on(held: Estate) -> None:  # noqa: F811
    held.set(NAME, "policy.over", "refuse")
    held.set(NAME, "policy.max_cost_run", "5")
    step = broken(held)
    with pytest.raises(RunFailedError) as e:
        mine(held).refine()
    run = e.value.details["run"]
    step.unlink()
    held.set(NAME, "policy.max_cost_run", "0.0000001")
    plan = open_estate(held.site.root).retry(run, dry_run=True)
    assert plan.policy["verdict"] == "refuse" and plan.predicted["cost"]["p90"] > 0
    with pytest.raises(PolicyError, match="max_cost_run"):
        as_(held, ENGINEER).retry(run)
    assert held.runs(run)[0]["state"] == "failed"
    held.set(NAME, "policy.over", "ask")
    with pytest.raises(PolicyError, match="a retry can't wait for an approval") as refused:
        as_(held, ENGINEER).retry(run)
    assert "anew" in refused.value.hint
    held.set(NAME, "policy.max_cost_run", "5")
    assert cli(held.site.root, "retry", run)[0]["result"]["layers"][-1]["rows"] == 40


def test_a_retry_keeps_what_its_run_was_approved_for(held: Estate) -> None:  # noqa: F811
    """An approval of the training time is for that run alone: also when it is tried again."""
    for key in ("policy.max_cost_run", "policy.max_train_seconds"):
        held.set(NAME, key, "5")
    mine(held).refine()
    mine(held).split()
    said = mine(held).train()
    as_(held, APPROVER).approve(said["request"], "this once", detach=True)
    with held.site.store.write() as c:  # it ended badly on the way
        c.execute(t.runs.update().where(t.runs.c.run == said["run"]).values(state="failed"))
    assert as_(held, ENGINEER).retry(said["run"], dry_run=True).policy["verdict"] == "ok"
    assert mine(held).plan_train().policy["key"] == "max_train_seconds", "a run of its own asks"
    held.set(NAME, "policy.nodes", "[]")
    refused = as_(held, ENGINEER).retry(said["run"], dry_run=True).policy
    assert (refused["verdict"], refused["key"]) == ("ask", "nodes"), "nobody approved that"
