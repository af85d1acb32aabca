"""An exception that is asked for before a run needs it: about one model, an amount and some days, decided by another."""

from __future__ import annotations

import pytest

from esml_engine.door import requests
from esml_engine.errors import NotAllowedError, PolicyError, StalePlanError, UsageError
from esml_engine.estate import Estate, open_estate
from esml_engine.store import schema as t
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


@pytest.mark.parametrize("limit", ["max_cost_month", "budget.month"])
def test_a_limit_of_the_month_is_lifted_for_so_much_in_all(
    held: Estate, numbers: Numbers, limit: str
) -> None:
    """The refusal names the way; the amount is for what comes, together, and what was spent on it counts."""
    held.set(NAME, "policy.over", "refuse")
    held.set(NAME, "policy.max_cost_run", "5")
    scope, key = (NAME, "policy.max_cost_month") if limit == "max_cost_month" else ("p1", "budget.month")
    held.set(scope, key, "0.0000001")
    with pytest.raises(PolicyError, match="spent this month") as e:
        mine(held).refine()
    assert f"esml exception {NAME} --env dev --limit {limit} --amount" in e.value.hint
    each = mine(held).ask_exception(9.0, "dear runs")
    as_(held, APPROVER).approve(each["request"], "another limit than the one in the way")
    assert mine(held).plan_refine().policy["verdict"] == "refuse"
    asked = mine(held).ask_exception(0.08, "the year's end", limit=limit)
    (line,) = requests.get(held.site.store, asked["request"])["detail"]["will"]
    assert "0.08 EUR (p90) in all from now on, also beyond" in line
    as_(held, APPROVER).approve(asked["request"], "once a year")
    plan = mine(held).plan_refine()
    assert plan.policy["verdict"] == "ok" and asked["request"] in plan.policy["origin"]
    mine(held).refine()
    with held.site.store.write() as c:
        c.execute(t.meter.update().values(cost=0.0801))
    deliver(held, numbers("b.csv", 40, 50), "2026-01-02")
    assert mine(held).plan_refine().policy["verdict"] == "refuse", "it is used up"


def test_what_would_lift_nothing_is_not_asked(held: Estate) -> None:
    held.set(NAME, "policy.max_cost_run", "5")
    with pytest.raises(UsageError, match="5 EUR as it is: 5 would lift nothing"):
        mine(held).ask_exception(5.0, "why")
    for limit, name in (
        ("max_cost_month", "max_cost_month = "),
        ("budget.month", "the project's budget of 100"),
    ):
        with pytest.raises(UsageError, match=f"{name}.* still holds .* 0.5 would lift nothing"):
            mine(held).ask_exception(0.5, "why", limit=limit)
    with pytest.raises(UsageError, match="no exception lifts max_nodes") as e:
        mine(held).ask_exception(9.0, "why", limit="max_nodes")
    assert "budget.month" in e.value.hint and held.requests() == []


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
