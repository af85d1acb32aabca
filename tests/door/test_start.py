"""Plan and start: joined runs, idempotency keys, stale plans, policy before any process, the audit chain."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from esml_engine.clock import now
from esml_engine.door import audit
from esml_engine.door.facts import Actor
from esml_engine.errors import PolicyError, StalePlanError, UsageError
from esml_engine.estate import Estate, open_estate
from esml_engine.runs import records
from esml_engine.store import schema as t
from tests.conftest import cli


def deliver(estate: Estate, numbers, a: int = 0, b: int = 50, name: str = "a.csv") -> None:
    estate.model("p1/m1").ingest("d1", [numbers(name, a, b)], "2026-01-01")


def test_planning_has_no_side_effect(empty: Estate, numbers) -> None:
    deliver(empty, numbers)
    before = len(empty.audit())
    plan = empty.model("p1/m1").plan_refine()
    assert plan.draft.steps == ("bronze:d1", "silver:d1", "gold")
    assert empty.model("p1/m1").plan_refine().hash == plan.hash
    assert len(empty.audit()) == before and not empty.runs()


def test_the_same_act_asked_for_twice_at_once_is_one_run(empty: Estate, numbers) -> None:
    deliver(empty, numbers)
    answers: list[dict] = []

    def ask() -> None:
        answers.append(open_estate(empty.site.root).model("p1/m1").refine())

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for x in threads:
        x.start()
    for x in threads:
        x.join(120)
    ran = [r for r in empty.runs() if r["act"] == "refine"]
    assert len(ran) == 1 and ran[0]["state"] == "done"
    assert len(answers) == 3, "each of them was answered"
    assert {a.get("run") for a in answers} <= {ran[0]["run"], None}
    assert [v["version"] for v in empty.model("p1/m1").gold.versions()] == [1]


def test_an_idempotency_key_names_one_run_also_after_its_end(empty: Estate, numbers) -> None:
    deliver(empty, numbers)
    first = empty.model("p1/m1").refine(idempotency_key="k1")
    deliver(empty, numbers, 50, 60, "b.csv")
    again = empty.model("p1/m1").refine(idempotency_key="k1")
    assert again["run"] == first["run"] and again["joined"]
    assert empty.model("p1/m1").refine()["run"] != first["run"]


def test_a_key_that_comes_again_for_something_else_is_refused(empty: Estate, numbers) -> None:
    deliver(empty, numbers)
    model = empty.model("p1/m1")
    model.refine(layer="bronze", idempotency_key="k1")
    with pytest.raises(UsageError, match="with other parameters already"):
        model.refine(idempotency_key="k1")
    assert len(model.table("d1/bronze").versions()) == 1 and not empty.runs(act="split")
    empty.set("p1/m1", "split.seed", "7", idempotency_key="k2")
    with pytest.raises(UsageError, match="with other parameters already"):
        empty.set("p1/m1", "split.seed", "8", idempotency_key="k2")
    with pytest.raises(
        UsageError, match="another act"
    ):  # also of one that happens at once, and the other way round
        model.refine(idempotency_key="k2")
    with pytest.raises(UsageError, match="another act"):
        empty.set("p1/m1", "split.seed", "7", idempotency_key="k1")
    assert model.refine(layer="bronze", idempotency_key="k1")["joined"]


def test_a_file_brought_again_by_another_path_is_the_same_delivery(
    empty: Estate, numbers, tmp_path: Path
) -> None:
    first = numbers("a.csv", 0, 5)
    again = tmp_path / "elsewhere" / "a.csv"
    again.parent.mkdir()
    again.write_bytes(Path(first).read_bytes())
    dataset = empty.model("p1/m1").dataset("d1")
    said = dataset.ingest(first, date="2026-01-01", idempotency_key="k1")
    assert dataset.ingest(again, date="2026-01-01", idempotency_key="k1") == said
    again.write_text(again.read_text() + "99,9,9\n")
    with pytest.raises(UsageError, match="with other parameters already"):
        dataset.ingest(again, date="2026-01-01", idempotency_key="k1")


def test_an_unknown_word_of_how_names_the_act_and_the_words_there_are(empty: Estate) -> None:
    with pytest.raises(
        TypeError, match="refine takes no key; every act takes dry_run, plan, idempotency_key"
    ):
        empty.model("p1/m1").refine(key="k1")


def test_an_idempotency_key_lets_one_of_many_direct_acts_at_once_happen(empty: Estate) -> None:
    answers: list[dict] = []

    def ask() -> None:
        estate = open_estate(empty.site.root)
        answers.append(estate.set("p1/m1", "split.seed", "7", idempotency_key="k-set"))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for x in threads:
        x.start()
    for x in threads:
        x.join(60)
    events = [e["result"] for e in empty.audit(act="set")]
    assert sorted(events) == ["done", *["joined"] * 5]
    assert len(answers) == 6 and len({a["value"] for a in answers}) == 1


def test_a_plan_whose_facts_changed_is_refused_and_audited(empty: Estate, numbers) -> None:
    deliver(empty, numbers)
    plan = empty.model("p1/m1").plan_refine()
    deliver(empty, numbers, 50, 60, "b.csv")
    with pytest.raises(StalePlanError) as e:
        empty.model("p1/m1").refine(plan=plan)
    assert e.value.document()["plan"]["hash"] != plan.hash
    assert empty.audit()[0]["result"] == "refused"


def test_a_policy_below_the_prediction_refuses_before_any_process(empty: Estate, numbers) -> None:
    deliver(empty, numbers)
    empty.set("p1/m1", "policy.max_cost_run", "0.0000001")
    with pytest.raises(PolicyError) as e:
        empty.model("p1/m1").refine()
    assert "max_cost_run" in e.value.message and "override on p1/m1" in e.value.message
    assert not empty.runs() and not (empty.site.state / "runs").exists()
    assert empty.audit()[0]["result"] == "refused"
    empty.set("p1/m1", "policy.over", "ask")
    held = empty.model("p1/m1").refine()
    assert held["state"] == "waiting" and held["kind"] == "exception" and held["request"]
    assert not (empty.site.state / "runs").exists()
    assert empty.cancel(held["run"])["state"] == "cancelled"
    empty.set("p1/m1", "policy.max_cost_run", "5")
    assert empty.model("p1/m1").refine()["run"]


def test_the_second_prediction_rests_on_the_first_run(empty: Estate, numbers) -> None:
    deliver(empty, numbers)
    first = empty.model("p1/m1").refine()
    deliver(empty, numbers, 50, 100, "b.csv")
    plan = empty.model("p1/m1").plan_refine()
    assert plan.predicted["cost"]["runs"] == [first["run"]]
    assert 0 < plan.predicted["cost"]["p50"] <= plan.predicted["cost"]["p90"]


def test_what_runs_on_a_node_without_a_price_is_refused(empty: Estate, numbers) -> None:
    deliver(empty, numbers)
    empty.set("p1/m1", "policy.nodes", '["local.huge"]')
    empty.set("p1/m1", "policy.over", "ask")
    model = open_estate(empty.site.root).model("p1/m1")
    said = model.plan_refine().policy
    assert said["verdict"] == "refuse" and said["reason"].startswith(
        'local.huge has no price: set prices."local.huge"'
    )
    with pytest.raises(PolicyError, match="huge has no price"):
        model.refine()
    told = model.cost()["predicted"]["refine"]
    assert told["p90"] == 0 and "has no price" in told["basis"]
    for price in ("2.5", "0"):  # a price of nothing is a price
        empty.set("estate", "prices.local.huge", price)
        plan = open_estate(empty.site.root).model("p1/m1").plan_refine()
        assert plan.policy["verdict"] == "ok" and plan.predicted["price"] == float(price)


def test_a_longer_training_than_any_before_is_held_against_the_policy(empty: Estate, numbers) -> None:
    deliver(empty, numbers)
    model = empty.model("p1/m1")
    model.refine()
    model.split()
    asked = {"plan": {"params": {"train_seconds": 60.0}}, "predicted": {"size": 30}, "seconds": 12.0}
    row = {
        "run": "r-past", "act": "train", "object": "p1/m1", "env": "dev", "state": "done", "actor": "a", "params": {},
        "plan_hash": "h", "created": now(), **asked,
    }  # fmt: skip
    with empty.site.store.write() as c:
        c.execute(t.runs.insert().values(**row))
    near, far = model.plan_train(budget=60.0), model.plan_train(budget=500.0)
    assert far.predicted["cost"]["p90"] > 5 * near.predicted["cost"]["p90"]
    assert "to 500 s" in far.predicted["cost"]["basis"]
    empty.set("p1/m1", "policy.max_cost_run", str(2 * near.predicted["cost"]["p90"]))
    model = open_estate(empty.site.root).model("p1/m1")
    assert model.plan_train(budget=60.0).policy["verdict"] == "ok"
    with pytest.raises(PolicyError, match="max_cost_run"):
        model.train(budget=500.0)
    for none in (0, -1, float("nan")):
        with pytest.raises(UsageError, match="above 0"):
            model.train(budget=none)


def test_a_queued_run_can_be_cancelled_and_retried(empty: Estate, numbers) -> None:
    from esml_engine import bindings
    from esml_engine.door.facts import Call
    from esml_engine.door.start import start

    deliver(empty, numbers)
    call = Call("refine", "p1/m1", "dev", {"purpose": "train", "layer": "", "dataset": ""})
    run = start(empty.site, bindings.act("refine"), empty.actor, call, at_once=lambda p: {}).run
    assert run is not None
    empty.cancel(run)
    with pytest.raises(Exception, match="cancelled"):
        empty.hand.follow(run)
    assert records.get(empty.site.store, run)["state"] == "cancelled"
    done = empty.retry(run)
    assert done["run"] == run and records.get(empty.site.store, run)["state"] == "done"


def test_the_chain_finds_a_changed_event_a_missing_one_and_a_cut_tail(empty: Estate) -> None:
    store, folder = empty.site.store, empty.site.state
    for n in range(5):
        empty.member_add("p1", f"a{n}@x", "reader")
    assert audit.verify(store, folder)["ok"]
    with store.write() as c:
        row = c.execute(sa.select(t.audit.c.detail).where(t.audit.c.n == 3)).scalar()
        c.execute(t.audit.update().where(t.audit.c.n == 3).values(detail={"changed": True}))
    assert audit.verify(store, folder)["first_bad"] == 3
    with store.write() as c:
        c.execute(t.audit.update().where(t.audit.c.n == 3).values(detail=row))
        top = c.execute(sa.select(sa.func.max(t.audit.c.n))).scalar()
        c.execute(t.audit.delete().where(t.audit.c.n == top))
    said = audit.verify(store, folder)
    assert not said["ok"] and "tail" in said["reason"]
    for n in range(3):  # what happens next does not hide it
        empty.member_add("p1", f"b{n}@x", "reader")
        assert not audit.verify(store, folder)["ok"]
    path = folder / "audit-head.json"
    head = json.loads(path.read_text())
    for text in (
        json.dumps({**head, "n": head["n"] - 1}),
        "",
        "{}",
        "[1]",
        '{"n": "x", "hash": 1, "mac": 2}',
    ):
        path.write_text(text)
        assert "anchor" in audit.verify(store, folder)["reason"]
        empty.member_add("p1", f"c{len(text)}@x", "reader")
        assert path.read_text() == text, "it stays as somebody left it"


@pytest.mark.parametrize("what", ["audit-head.json", "audit.key", "deep"])
def test_an_anchor_that_can_not_be_read_fails_no_act_and_is_said(empty: Estate, what: str) -> None:
    store, folder = empty.site.store, empty.site.state
    empty.member_add("p1", "a@x", "reader")
    path = folder / ("audit-head.json" if what == "deep" else what)
    path.unlink()
    if what == "deep":
        path.write_text("[" * 100_000)
    else:
        path.mkdir()
    before = len(empty.audit())
    assert empty.set("p1/m1", "split.seed", "8")["value"] == 8
    estate = open_estate(empty.site.root)
    estate.member_add("p1", "b@x", "reader")
    assert len(estate.audit()) == before + 2, "each said once"
    said = audit.verify(store, folder)
    assert not said["ok"] and ("can't be read" in said["reason"] or "was changed" in said["reason"])
    if what != "audit-head.json":
        return
    path.rmdir()
    estate.member_add("p1", "c@x", "reader")
    assert audit.verify(store, folder)["ok"] and any(e["result"] == "anchored anew" for e in estate.audit())


def test_another_chain_than_the_anchored_one_is_seen(empty: Estate) -> None:
    """The store was lost and begun anew, or an older copy came back: the anchor stays as it was until somebody takes it away."""
    store, folder = empty.site.store, empty.site.state
    for n in range(3):
        empty.member_add("p1", f"a{n}@x", "reader")
    with store.write() as c:
        c.execute(t.audit.delete())
    for n in range(9):  # longer than before
        empty.member_add("p1", f"b{n}@x", "reader")
        assert not audit.verify(store, folder)["ok"]
    (folder / "audit-head.json").unlink()
    empty.member_add("p1", "c@x", "reader")
    assert audit.verify(store, folder)["ok"]


def test_what_a_killed_process_left_of_an_anchor_goes(empty: Estate) -> None:
    left = empty.site.state / "audit-head.4194000-1.tmp"
    left.write_text("{")
    audit.tidy(empty.site.state)
    assert not left.exists()


def test_a_broken_chain_fails_the_command_that_verifies_it_for_whoever_may_read_some_of_it(
    empty: Estate,
) -> None:
    empty.member_add("p1", "pat@x", "project_manager")
    empty.member_add("p1", "rea@x", "reader")
    root = empty.site.root
    assert cli(root, "--as", "pat@x", "audit", "--verify")["ok"]
    assert cli(root, "--as", "rea@x", "audit", "--verify", check=3)["error"]["code"] == "not_allowed"
    with empty.site.store.write() as c:
        c.execute(t.audit.update().where(t.audit.c.n == 2).values(act="other"))
    said = cli(root, "--as", "pat@x", "audit", "--verify", check=1)
    assert (said["ok"], said["first_bad"], said["error"]["code"]) == (False, 2, "failed")


def test_many_writers_keep_the_chain_whole(empty: Estate) -> None:
    def write(k: int) -> None:
        store = open_estate(empty.site.root).site.store
        for _ in range(10):
            with store.write() as c:
                audit.append(c, Actor(f"a{k}"), "test", "estate", "", "done")

    threads = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for x in threads:
        x.start()
    for x in threads:
        x.join(60)
    said = audit.verify(empty.site.store, empty.site.state)
    assert said["ok"] and said["events"] >= 40
