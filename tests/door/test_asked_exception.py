"""An exception that is asked for before a run needs it: about one model, an amount and some days, decided by another."""

from __future__ import annotations

import pytest

from esml_engine.door import requests
from esml_engine.errors import NotAllowedError, PolicyError, StalePlanError, UsageError
from esml_engine.estate import Estate, open_estate
from tests.conftest import cli
from tests.door.test_policies import APPROVER, ENGINEER, NAME, Numbers, as_, deliver, held, mine

__all__ = ["held"]


def test_approved_by_another_it_lifts_the_limit_until_its_day(held: Estate) -> None:
    held.set(NAME, "policy.over", "refuse")
    with pytest.raises(PolicyError):
        mine(held).refine()
    asked = mine(held).ask_exception(1.0, "the yearly load", days=3)
    assert asked["state"] == "waiting" and asked["run"] is None
    row = requests.get(held.site.store, asked["request"])
    assert (row["by"], row["needed"], row["detail"]["until"][:10]) == (ENGINEER, 1, asked["until"][:10])
    with pytest.raises(PolicyError):
        mine(held).refine()
    with pytest.raises(NotAllowedError):
        as_(held, ENGINEER).approve(asked["request"], "mine")
    assert as_(held, APPROVER).approve(asked["request"], "once a year")["state"] == "approved"
    plan = mine(held).plan_refine()
    assert plan.policy["verdict"] == "ok" and asked["request"] in plan.policy["origin"]
    assert mine(held).refine()["layers"]
    acts = [(e["act"], e["result"]) for e in held.audit(object_=NAME)]
    assert ("ask_exception", "done") in acts and ("approve", "done") in acts


def test_a_smaller_amount_than_the_prediction_lifts_nothing(held: Estate) -> None:
    held.set(NAME, "policy.over", "refuse")
    asked = mine(held).ask_exception(0.00001, "a little", days=1)
    as_(held, APPROVER).approve(asked["request"], "a little")
    assert mine(held).plan_refine().policy["verdict"] == "refuse"


def test_asked_twice_it_is_one_request(held: Estate) -> None:
    first = mine(held).ask_exception(2.0, "why", days=2)
    again = mine(held).ask_exception(2.0, "why", days=2)
    assert again["request"] == first["request"] and len(held.requests()) == 1
    assert first.keys() <= again.keys()
    assert all(again[k] == first[k] for k in ("run", "amount", "until", "state"))


def test_it_starts_under_its_plan_alone(held: Estate) -> None:
    plan = mine(held).ask_exception(2.0, "why", dry_run=True)
    assert "2 EUR" in plan.draft.will[0] and plan.allowed and plan.policy["verdict"] == "ok"
    with pytest.raises(StalePlanError):
        mine(held).ask_exception(3.0, "why", plan=plan)
    assert mine(held).ask_exception(2.0, "why", plan=plan)["state"] == "waiting"


@pytest.mark.parametrize("amount,days,reason", [(0.0, 7, "r"), (-1.0, 7, "r"), (float("nan"), 7, "r"), (1.0, 0, "r"),
    (1.0, 91, "r"), (1.0, 7, "  ")])  # fmt: skip
def test_what_cannot_be_asked(held: Estate, amount: float, days: int, reason: str) -> None:
    with pytest.raises(UsageError):
        mine(held).ask_exception(amount, reason, days)
    assert held.requests() == []


def test_refused_it_ends_and_the_command_says_who_asked(held: Estate, numbers: Numbers) -> None:
    said = cli(
        held.site.root, "--as", ENGINEER, "exception", NAME, "--amount", "1", "--reason", "why", check=4
    )
    assert said["state"] == "waiting"
    answer = open_estate(held.site.root, act_as=APPROVER).refuse(said["request"], "no")
    assert answer["state"] == "refused"
    deliver(held, numbers("b.csv", 40, 50), "2026-01-02")
    assert mine(held).plan_refine().policy["verdict"] == "ask", "the limit stands"


def test_audit_is_filtered_by_object_result_and_days(held: Estate) -> None:
    with pytest.raises(NotAllowedError):
        as_(held, APPROVER).set("estate", "policy.max_nodes", "2")
    assert {e["result"] for e in held.audit(result="refused")} == {"refused"}
    assert all(e["object"] in ("p1", NAME) for e in held.audit(object_="p1"))
    assert held.audit(until="2026-01-01") == []
    today = held.audit()[0]["at"][:10]
    assert len(held.audit(since=today, until=today)) == len(held.audit(limit=1000))
    with pytest.raises(UsageError):
        held.audit(until="yesterday")
    mine_ = as_(held, APPROVER).audit(limit=3)
    assert len(mine_) == 3 and all(e["object"].split("/")[0] == "p1" for e in mine_), (
        "the limit counts what is seen"
    )
