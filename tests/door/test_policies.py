"""Policies and budgets: refuse, or hold for another person's exception, which is about these facts, up to an amount, for a time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esml_engine.door import requests
from esml_engine.errors import NotAllowedError, PolicyError, RefusedError
from esml_engine.estate import Estate, open_estate
from esml_engine.handing import RunFailedError
from esml_engine.model import Model
from esml_engine.processes import ProcessTable
from esml_engine.runs import records
from esml_engine.store import schema as t
from tests.conftest import cli, esml
from tests.invariants import violations
from tests.working import until, worker

NAME = "p1/m1"
ENGINEER, APPROVER, MANAGER = "engineer@p1", "approver@p1", "manager@p1"
Numbers = Callable[[str, int, int], Path]


@pytest.fixture
def held(empty: Estate, numbers: Numbers) -> Estate:
    """A model with a file to refine, which a policy holds for an exception, and people who may decide."""
    for actor, role in (
        (ENGINEER, "data_engineer"),
        (ENGINEER, "data_scientist"),
        (APPROVER, "approver"),
        (MANAGER, "project_manager"),
    ):
        empty.member_add("p1", actor, role)
    deliver(empty, numbers("a.csv", 0, 40))
    empty.set(NAME, "policy.max_cost_run", "0.0000001")
    empty.set(NAME, "policy.over", "ask")
    return open_estate(empty.site.root)


def deliver(estate: Estate, file: Path, date: str = "2026-01-01") -> None:
    estate.model(NAME).ingest("d1", [file], date)


def as_(estate: Estate, actor: str) -> Estate:
    return open_estate(estate.site.root, act_as=actor)


def mine(estate: Estate, actor: str = ENGINEER) -> Model:
    return as_(estate, actor).model(NAME)


def row(estate: Estate, run: str) -> dict[str, Any]:
    return estate.runs(run)[0]


def metered(estate: Estate, run: str) -> list[dict[str, Any]]:
    return estate.site.store.rows(t.meter.select().where(t.meter.c.run == run))


def asked_until(estate: Estate, request: str, when: str) -> None:
    with estate.site.store.write() as c:
        c.execute(t.requests.update().where(t.requests.c.request == request).values(expires=when))


def untouched(estate: Estate, run: str) -> bool:
    """No process, no work, no cost, no version."""
    return (
        not (estate.site.state / "runs").exists()
        and not [r for r in ProcessTable(estate.site.state).live() if r["kind"] == "job"]
        and not metered(estate, run)
        and not row(estate, run)["cost"]
        and all(s["state"] in ("queued", "skipped") and not s["attempt"] for s in row(estate, run)["steps"])
        and not estate.model(NAME).table("d1/bronze").versions()
    )


def test_over_refuse_ends_with_the_numbers_the_origin_and_the_plan(held: Estate) -> None:
    held.set("p1", "policy.over", "refuse")
    held.set(NAME, "policy.over", "refuse")
    said = cli(held.site.root, "--as", ENGINEER, "refine", NAME, check=3)
    error = said["error"]
    assert error["code"] == "policy" and error["hint"]
    assert "0.075" in error["message"] and "max_cost_run = 1e-07 EUR" in error["message"]
    assert f"override on {NAME} by" in error["message"]
    assert said["plan"]["policy"]["verdict"] == "refuse" and said["plan"]["policy"]["key"] == "max_cost_run"
    assert held.runs() == [] and held.requests("") == []
    last = held.audit()[0]
    assert (last["act"], last["result"], last["as"]) == ("refine", "refused", ENGINEER)


def test_over_ask_waits_with_exit_code_4_and_costs_nothing(held: Estate) -> None:
    root = held.site.root
    said = cli(root, "--as", ENGINEER, "refine", NAME, check=4)
    assert (said["state"], said["kind"], said["object"], said["env"]) == ("waiting", "exception", NAME, "dev")
    assert said["amount"] == pytest.approx(0.075) and said["currency"] == "EUR"
    assert "max_cost_run" in said["reason"] and said["will"]
    assert row(held, said["run"])["state"] == "waiting" and untouched(held, said["run"])
    (asked,) = cli(root, "requests")
    assert (asked["request"], asked["by"], asked["state"]) == (said["request"], ENGINEER, "waiting")
    # the same plan asked for again is the same run and the same request
    again = cli(root, "--as", ENGINEER, "refine", NAME, check=4)
    assert (again["run"], again["request"], again["joined"]) == (said["run"], said["request"], True)
    assert len(cli(root, "requests")) == 1
    assert held.audit(act="refine")[-1]["result"] == "waiting"


def test_approved_by_another_it_starts_by_itself_and_is_metered(held: Estate) -> None:
    root = held.site.root
    said = cli(root, "--as", ENGINEER, "refine", NAME, check=4)
    done = cli(root, "--as", APPROVER, "approve", said["request"], "--reason", "worth it")
    assert done["state"] == "approved" and done["released"]["layers"][-1]["rows"] == 40
    assert [(d["by"], d["verdict"], d["reason"]) for d in done["decisions"]] == [
        (APPROVER, "approve", "worth it")
    ]
    after = row(held, said["run"])
    assert after["state"] == "done" and after["cost"] > 0 and after["actor"] and after["as"] == ENGINEER
    assert {m["step"] for m in metered(held, said["run"])} == {"bronze:d1", "silver:d1", "gold"}
    assert violations(root) == []


def test_with_a_worker_up_an_approval_alone_sets_it_going(held: Estate) -> None:
    with worker(held.site.root):
        said = mine(held).refine(detach=True)
        assert said["state"] == "waiting" and said["request"], "a held run is not said to be queued"
        as_(held, APPROVER).approve(said["request"], "go", detach=True)
        until(lambda: row(held, said["run"])["state"] == "done", "the run's end")
    assert violations(held.site.root) == []


def test_a_project_manager_approves_within_the_budget_and_not_above(held: Estate) -> None:
    said = mine(held).refine()
    held.set("p1", "budget.month", "0.01")
    with pytest.raises(NotAllowedError, match="budget of p1 still holds"):
        as_(held, MANAGER).approve(said["request"], "within my means")
    held.set("p1", "budget.month", "100")
    assert as_(held, MANAGER).approve(said["request"], "within my means")["state"] == "approved"
    assert row(held, said["run"])["state"] == "done"


@pytest.mark.parametrize("actor", [ENGINEER, "local"])
def test_nobody_approves_without_the_role_or_a_request_of_their_own(held: Estate, actor: str) -> None:
    said = mine(held).refine()
    decider = held if actor == "local" else as_(held, actor)
    with pytest.raises(NotAllowedError):
        decider.approve(said["request"], "please")
    held.member_add("p1", ENGINEER, "approver")
    with pytest.raises(NotAllowedError, match="of their own"):
        as_(held, ENGINEER).approve(said["request"], "my own")
    assert cli(held.site.root, "--as", ENGINEER, "approve", said["request"], "--reason", "x", check=3)[
        "error"
    ]["hint"]
    assert row(held, said["run"])["state"] == "waiting" and untouched(held, said["run"])


def test_refused_it_ends_and_neither_retry_nor_the_same_key_runs_it(held: Estate) -> None:
    root = held.site.root
    said = cli(root, "--as", ENGINEER, "refine", NAME, "--idempotency-key", "k", check=4)
    no = cli(root, "--as", APPROVER, "refuse", said["request"], "--reason", "too dear")
    assert no["state"] == "refused"
    after = row(held, said["run"])
    assert after["state"] == "cancelled" and after["error"]["code"] == "refused"
    assert "too dear" in after["error"]["message"] and APPROVER in after["error"]["message"]
    key = cli(root, "--as", ENGINEER, "refine", NAME, "--idempotency-key", "k", check=3)
    assert key["error"]["code"] == "refused" and key["run"] == said["run"]
    retried = cli(root, "--as", ENGINEER, "retry", said["run"], check=3)
    assert said["request"] in retried["error"]["message"] and retried["error"]["hint"]
    with pytest.raises(RefusedError, match="is refused already"):
        as_(held, APPROVER).approve(said["request"], "after all")
    assert row(held, said["run"])["state"] == "cancelled" and untouched(held, said["run"])
    assert violations(root) == []


def test_past_its_time_it_ends_by_itself(held: Estate) -> None:
    said = mine(held).refine()
    asked_until(held, said["request"], "2026-01-01T00:00:00.000000+00:00")
    assert held.requests("")[0]["state"] == "expired", "shown at once, whoever sweeps"
    with pytest.raises(RefusedError, match="expired"):
        as_(held, APPROVER).approve(said["request"], "too late")
    with worker(held.site.root):
        until(lambda: row(held, said["run"])["state"] == "cancelled", "the run's end")
    error = row(held, said["run"])["error"]
    assert error["code"] == "expired" and said["request"] in error["message"]
    assert untouched(held, said["run"]) and violations(held.site.root) == []


def test_an_exception_covers_later_runs_under_its_amount_until_its_end(
    held: Estate, numbers: Numbers
) -> None:
    said = mine(held).refine()
    as_(held, APPROVER).approve(said["request"], "for this week")
    deliver(held, numbers("b.csv", 40, 60), "2026-01-02")
    plan = mine(held).plan_refine()
    assert 1e-7 < plan.predicted["cost"]["p90"] < said["amount"]
    assert plan.policy["verdict"] == "ok"
    for word in (said["request"], f"{said['amount']:g}", APPROVER):
        assert word in plan.policy["origin"]
    assert mine(held).refine()["layers"][-1]["rows"] == 60
    # above the amount
    deliver(held, numbers("c.csv", 60, 80), "2026-01-03")
    e = t.exceptions
    with held.site.store.write() as c:
        c.execute(e.update().values(amount=1e-6))
    assert mine(held).plan_refine().policy["verdict"] == "ask"
    # under the amount, after its end
    with held.site.store.write() as c:
        c.execute(e.update().values(amount=1.0, until="2026-01-01T00:00:00.000000+00:00"))
    assert mine(held).plan_refine().policy["verdict"] == "ask"
    with held.site.store.write() as c:
        c.execute(e.update().values(until="2999-01-01T00:00:00.000000+00:00"))
    assert mine(held).plan_refine().policy["verdict"] == "ok"
    # another model of the project is not covered
    held.new_model("p1/m2", "regression", ["d1"], label="y", key="id")
    held.set("p1/m2", "policy.max_cost_run", "0.0000001")
    held.set("p1/m2", "policy.over", "ask")
    other = open_estate(held.site.root).model("p1/m2")
    other.ingest("d1", [numbers("d.csv", 0, 10)], "2026-01-01")
    assert other.plan_refine().policy["verdict"] == "ask"


def test_an_exception_from_a_limit_on_money_lifts_no_other_limit(held: Estate) -> None:
    said = mine(held).refine()
    as_(held, APPROVER).approve(said["request"], "go")
    mine(held).split()
    with held.site.store.write() as c:
        c.execute(t.exceptions.update().values(amount=1000.0))
    assert mine(held).plan_train().policy["verdict"] == "ok"
    held.set("p1", "budget.month", "0.0000001")
    asked = mine(held).plan_train().policy
    assert (asked["verdict"], asked["key"]) == ("ask", "budget.month"), "it was asked for from max_cost_run"
    held.set("p1", "budget.month", "100")
    held.set(NAME, "policy.max_train_seconds", "1")
    asked = mine(held).plan_train().policy
    assert (asked["verdict"], asked["key"]) == ("ask", "max_train_seconds")
    held.set(NAME, "policy.nodes", "[]")
    assert mine(held).plan_train().policy["key"] == "nodes"


def test_an_exception_from_training_time_is_for_that_run_alone(held: Estate) -> None:
    for key in ("policy.max_cost_run", "policy.max_train_seconds"):
        held.set(NAME, key, "5")
    mine(held).refine()
    mine(held).split()
    said = mine(held).train()
    assert said["state"] == "waiting" and "max_train_seconds = 5" in said["reason"]
    quick = held.site.root / "projects" / NAME / "model.toml"
    assert "seconds = 15" in quick.read_text()
    as_(held, APPROVER).approve(said["request"], "this once", detach=False)
    assert row(held, said["run"])["state"] == "done"
    assert held.site.store.rows(t.exceptions.select()) == []
    assert mine(held).plan_train().policy["verdict"] == "ask"


def test_new_files_while_it_waits_make_it_stale_and_nothing_runs(held: Estate, numbers: Numbers) -> None:
    """Approved was a refinement of one file: it does not read a second one that nobody knew of."""
    root = held.site.root
    said = cli(root, "--as", ENGINEER, "refine", NAME, check=4)
    deliver(held, numbers("late.csv", 40, 60), "2026-01-02")
    stale = cli(root, "--as", APPROVER, "approve", said["request"], "--reason", "go", check=3)
    assert (
        stale["error"]["code"] == "stale_plan"
        and "changed while it waited: late-" in stale["error"]["message"]
    )
    assert said["request"] in stale["error"]["hint"] and "start it again" in stale["error"]["hint"]
    assert row(held, said["run"])["state"] == "cancelled" and untouched(held, said["run"])
    assert held.requests("")[0]["state"] == "stale"
    assert cli(root, "retry", said["run"], check=3)["error"]["code"] == "refused"
    # asked anew, on what is there now, under the exception that was made
    done = cli(root, "--as", ENGINEER, "refine", NAME)
    assert done["run"] != said["run"] and done["layers"][-1]["rows"] == 60
    assert violations(root) == []


@pytest.mark.parametrize(
    ("what", "word"),
    [
        ("code", "waited: its code"),
        ("setting", "its settings"),
        ("right", "has no role"),
        ("price", "was approved"),
    ],
)
def test_what_else_changes_while_it_waits(held: Estate, what: str, word: str) -> None:
    said = mine(held).refine()
    if what == "code":
        (held.site.root / "projects" / NAME / "steps" / "d1.py").write_text(
            "def step(df, ctx):\n    return df\n"
        )
    elif what == "setting":
        held.set(NAME, "key", '"x"')
    elif what == "right":
        held.member_remove("p1", ENGINEER)
    else:
        path = held.site.root / "estate.toml"
        path.write_text(path.read_text().replace('"local.small" = 0.10', '"local.small" = 10.0'))
    with pytest.raises(RunFailedError, match=word) as e:
        as_(held, APPROVER).approve(said["request"], "go")
    assert e.value.exit_code == 3 and e.value.code == "stale_plan"
    assert row(held, said["run"])["state"] == "cancelled" and untouched(held, said["run"])


def test_what_began_is_finished_after_a_kill_though_its_facts_moved_on(
    held: Estate, numbers: Numbers
) -> None:
    """The facts are looked at before the first step: its own bronze, made before the kill, does not stop it."""
    root = held.site.root
    said = cli(root, "--as", ENGINEER, "refine", NAME, check=4)
    env = {"ESML_KILL_AT": "commit:head", "ESML_KILL_ONCE": str(root / ".killed")}
    killed = esml(
        root, "--as", APPROVER, "approve", said["request"], "--reason", "go", env=env, check=-signal.SIGKILL
    )
    assert killed is None and row(held, said["run"])["state"] == "running"
    cli(root, "--as", ENGINEER, "ingest", NAME, "d1", str(numbers("b.csv", 40, 50)), "--date", "2026-01-02")
    cli(root, "--as", ENGINEER, "refine", NAME)  # whoever executes next finishes open runs
    assert row(held, said["run"])["state"] == "done"
    assert violations(root) == []


def test_cancelled_while_it_waits_it_ends_with_its_request(held: Estate) -> None:
    root = held.site.root
    said = mine(held).refine()
    assert cli(root, "--as", ENGINEER, "cancel", said["run"])[0]["state"] == "cancelled"
    assert held.requests("")[0]["state"] == "withdrawn" and held.requests("waiting") == []
    with pytest.raises(RefusedError, match="withdrawn"):
        as_(held, APPROVER).approve(said["request"], "go")
    assert cli(root, "--as", ENGINEER, "cancel", said["run"])[0]["state"] == "cancelled"
    assert untouched(held, said["run"]) and violations(root) == []


def test_a_worker_that_starts_again_leaves_waiting_runs_waiting(held: Estate, numbers: Numbers) -> None:
    said = mine(held).refine()
    held.new_model("p1/m2", "analytics", ["d1"])
    other = open_estate(held.site.root).model("p1/m2")
    for n in range(2):
        with worker(held.site.root) as process:
            # work of another model went through this worker: it has looked at what is open
            other.ingest("d1", [numbers(f"m2-{n}.csv", 10 * n, 10 * n + 10)], f"2026-02-0{n + 1}")
            other.refine()
            assert row(held, said["run"])["state"] == "waiting"
            if n:
                process.send_signal(signal.SIGKILL)
                process.wait()
    assert row(held, said["run"])["state"] == "waiting" and not metered(held, said["run"])
    assert row(held, said["run"])["steps"][0]["attempt"] == 0
    assert as_(held, APPROVER).approve(said["request"], "go")["released"]["layers"][-1]["rows"] == 40


@pytest.mark.parametrize("over", ["refuse", "ask"])
def test_the_projects_budget_of_the_month(held: Estate, over: str) -> None:
    held.set(NAME, "policy.max_cost_run", "5")
    held.set(NAME, "policy.over", over)
    held.set("p1", "budget.month", "0.05")
    plan = mine(held).plan_refine()
    assert plan.budget_left == pytest.approx(0.05 - 0.075)
    policy = plan.policy
    assert (policy["verdict"], policy["key"]) == (over, "budget.month")
    assert policy["origin"].startswith("override on p1 by ")
    for number in ("0 spent this month", "0.075 EUR", "budget of 0.05 EUR"):
        assert number in policy["reason"]
    if over == "refuse":
        with pytest.raises(PolicyError, match=r"budget of 0\.05 EUR \(override on p1 by "):
            mine(held).refine()
        assert held.runs() == []
        return
    said = mine(held).refine()
    assert "budget of 0.05 EUR" in said["reason"] and said["origin"] == policy["origin"]
    with pytest.raises(NotAllowedError, match="still holds this month"):
        as_(held, MANAGER).approve(said["request"], "within")
    assert as_(held, APPROVER).approve(said["request"], "from next month's")["state"] == "approved"
    assert row(held, said["run"])["state"] == "done"


def test_what_was_spent_counts_against_the_month(held: Estate, numbers: Numbers) -> None:
    held.set(NAME, "policy.max_cost_run", "5")
    held.set(NAME, "policy.over", "refuse")
    run = mine(held).refine()["run"]
    spent = sum(m["cost"] for m in metered(held, run))
    deliver(held, numbers("b.csv", 40, 60), "2026-01-02")
    need = mine(held).plan_refine().predicted["cost"]["p90"]
    held.set("p1", "budget.month", f"{spent + need * 0.9:.9f}")
    assert mine(held).plan_refine().policy["key"] == "budget.month"
    held.set("p1", "budget.month", f"{spent + need * 1.1:.9f}")
    assert mine(held).plan_refine().policy["verdict"] == "ok"
    held.set(NAME, "policy.max_cost_month", f"{spent + need * 0.9:.9f}")
    policy = mine(held).plan_refine().policy
    assert policy["key"] == "max_cost_month" and f"override on {NAME} by" in policy["origin"]


def test_cost_by_estate_project_and_model(held: Estate, numbers: Numbers) -> None:
    root = held.site.root
    held.set(NAME, "policy.max_cost_run", "5")
    held.new_project("p2", "other")
    estate = open_estate(root)
    estate.new_model("p1/m2", "analytics", ["d1"])
    estate.new_model("p2/m1", "analytics", ["d1"])
    estate.set("p2", "budget.month", "7")
    estate = open_estate(root)
    mine(held).refine()
    for name in ("p1/m2", "p2/m1"):
        estate.model(name).ingest("d1", [numbers(f"{name[:2]}.csv", 0, 9)], "2026-01-01")
        estate.model(name).refine()
    by_hand = {
        name: sum(m["cost"] for m in estate.site.store.rows(t.meter.select()) if m["object"] == name)
        for name in (NAME, "p1/m2", "p2/m1")
    }
    assert all(v > 0 for v in by_hand.values())
    wanted = {
        "estate": (sum(by_hand.values()), 107.0),
        "p1": (by_hand[NAME] + by_hand["p1/m2"], 100.0),
        "p2": (by_hand["p2/m1"], 7.0),
        NAME: (by_hand[NAME], 100.0),
    }
    for scope, (spent, budget) in wanted.items():
        said = cli(root, "cost", *([scope] if scope != "estate" else []))
        assert said["spent"] == pytest.approx(spent, abs=2e-6), scope
        assert said["budget"] == budget and said["month_end"] >= said["spent"]
        trains = {"train", "score_1000_rows", "endpoint_month"} if scope != "p2" else set()  # p2 ends at gold
        assert set(said["predicted"]) == {"refine", *trains}
        assert said["policy"]["limits"]["max_cost_month"] == 200.0 and said["policy"]["origin"]
    assert f"override on {NAME} by" in cli(root, "cost", NAME)["policy"]["origin"]["max_cost_run"]
    held.set("p1", "policy.dev.max_cost_run", "0.25")
    said = cli(root, "cost", "p1", "--env", "dev")["policy"]
    assert said["limits"]["max_cost_run"] == 0.25 and said["origin"]["max_cost_run"].startswith(
        "override on p1"
    )
    assert cli(root, "cost")["policy"]["limits"]["max_cost_run"] == 5.0


def test_an_approval_cannot_be_written_around_the_hold(held: Estate) -> None:
    """Whatever opens a held run again: without an approved request it does not begin."""
    said = mine(held).refine()
    records.set_run(held.site.store, said["run"], state="queued")
    with pytest.raises(RunFailedError, match="is waiting"):
        held.hand.follow(said["run"])
    assert untouched(held, said["run"])
    assert requests.of_run(held.site.store, said["run"])["state"] == "stale"
