"""A run that several limits hold: each is asked for in turn, in the same run, and each approval lifts its own alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.door.policy import broken, verdict
from esml_engine.errors import NotAllowedError
from esml_engine.estate import Estate, open_estate
from esml_engine.settings import PolicySettings
from tests.conftest import cli
from tests.e2e.test_pipeline_prod import APPROVER, SCIENTIST, approve, build, change, the_run, waiting
from tests.invariants import violations

ORIGIN = dict.fromkeys(PolicySettings.model_fields, "estate")
MONEY = {"p90": 5.0, "currency": "EUR", "basis": "upper bound"}


def test_what_cannot_be_lifted_comes_first_and_the_rest_is_named() -> None:
    policy = PolicySettings(nodes=[], max_cost_run=1, max_cost_month=2, max_train_seconds=1, over="ask")
    found = broken(
        policy,
        ORIGIN,
        {"cost": MONEY, "node": "big", "price": 1.0},
        env="test",
        spent_month=1.0,
        train_seconds=9,
    )
    assert [b.key for b in found] == ["nodes", "max_train_seconds", "max_cost_run", "max_cost_month"]
    said = verdict(found, policy, home="dev", ok="estate")
    assert (said["verdict"], said["key"], said["env"], said["amount"]) == ("ask", "nodes", "test", 5.0)
    assert len(said["also"]) == 3 and all(line.startswith("in test: ") for line in said["also"])


def test_a_refusal_anywhere_is_stricter_than_what_can_be_asked_for() -> None:
    ask = PolicySettings(max_cost_run=1, over="ask")
    refuse = PolicySettings(max_cost_run=1, over="refuse")
    found = [
        *broken(ask, ORIGIN, {"cost": MONEY}, env="dev", spent_month=0),
        *broken(refuse, ORIGIN, {"cost": MONEY}, env="prod", spent_month=0),
    ]
    said = verdict(found, ask, home="dev", ok="estate")
    assert (said["verdict"], said["env"]) == ("refuse", "prod") and len(said["also"]) == 1


def test_a_node_type_without_a_price_is_lifted_by_nobody() -> None:
    policy = PolicySettings(nodes=["big"], over="ask")
    lifted = {"nodes": "request q-1"}
    (found,) = broken(
        policy, ORIGIN, {"cost": MONEY, "node": "big", "price": None}, env="dev", spent_month=0, lifted=lifted
    )
    assert found.verdict == "refuse" and "price" in found.reason


@pytest.fixture
def held(tmp_path: Path) -> Estate:
    """A chain to prod whose policies in test and in prod each ask above next to nothing."""
    estate = build(tmp_path / "estate", tmp_path)
    for env in ("test", "prod"):
        estate.set("p1", f"policy.{env}.max_cost_run", "0.0000001")
        estate.set("p1", f"policy.{env}.over", "ask")
    return open_estate(estate.site.root)


def start(estate: Estate, check: int) -> dict[str, object]:
    found: dict[str, object] = cli(
        estate.site.root, "--as", SCIENTIST, "pipeline", "p1/m1", "--until", "prod", check=check
    )
    return found


def test_a_chain_that_two_environments_hold_asks_twice_and_goes_on_as_one_run(held: Estate) -> None:
    root = held.site.root
    plan = open_estate(root, act_as=SCIENTIST).model("p1/m1").plan_pipeline(until="prod")
    assert plan.policy["env"] == "test" and plan.policy["also"][0].startswith("in prod: ")
    its = plan.predicted["environments"]
    assert plan.policy["amount"] == its["test"]["cost"]["p90"] < plan.predicted["cost"]["p90"]
    said = start(held, check=4)
    (first,) = held.requests("waiting")
    assert (first["env"], first["detail"]["amount"]) == ("test", its["test"]["cost"]["p90"])
    assert first["detail"]["also"] == plan.policy["also"]
    approve(held, first["request"])
    (second,) = held.requests("waiting")
    assert (second["env"], second["run"]) == ("prod", said["run"])
    assert second["detail"]["amount"] == pytest.approx(its["prod"]["cost"]["p90"])
    run = the_run(held)
    assert run["state"] == "waiting" and not any(s["attempt"] for s in run["steps"]) and not run["cost"]
    assert start(held, check=4)["run"] == said["run"]  # asked for again it is the same run
    approve(held, second["request"])  # now the promotion to prod asks, as it always does
    (third,) = held.requests("waiting")
    assert third["kind"] == "promotion" and third["run"] == said["run"]
    assert approve(held, third["request"])["released"]["stage"] == "prod"
    assert the_run(held)["run"] == said["run"] and violations(root) == []


def test_the_second_refused_the_run_ends_and_nothing_ran(held: Estate) -> None:
    start(held, check=4)
    approve(held, waiting(held))
    cli(held.site.root, "--as", APPROVER, "refuse", waiting(held), "--reason", "not in prod")
    run = the_run(held)
    assert run["state"] == "cancelled" and not run["cost"] and not any(s["attempt"] for s in run["steps"])
    assert violations(held.site.root) == []


def test_one_environment_that_two_limits_hold_asks_for_each(held: Estate) -> None:
    """An approval of the training time is no approval of the money."""
    for env in ("test", "prod"):
        held.set("p1", f"policy.{env}.over", "refuse")
        held.set("p1", f"policy.{env}.max_cost_run", "100")
    root = held.site.root
    for key, value in (("over", "ask"), ("max_train_seconds", "1"), ("max_cost_run", "0.0000001")):
        held.set("p1", f"policy.dev.{key}", value)
    change(root / "projects" / "p1" / "m1" / "model.toml", "seconds = 60", "seconds = 5")
    start(held, check=4)
    keys = []
    for _ in range(2):
        (asked,) = open_estate(root).requests("waiting")
        keys.append(asked["detail"]["key"])
        with pytest.raises(NotAllowedError):
            open_estate(root, act_as=SCIENTIST).approve(asked["request"], "my own")
        approve(held, asked["request"])
    assert keys == ["max_train_seconds", "max_cost_run"]
    (last,) = open_estate(root).requests("waiting")
    assert last["kind"] == "promotion"
    # the time was for that run alone; the money is an exception for later runs, too
    policy = open_estate(root, act_as=SCIENTIST).model("p1/m1").plan_train().policy
    assert policy["key"] == "max_train_seconds" and "also" not in policy
