"""dev → test → prod through the door: compared, decided, copied, crowned, and what is refused on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esml_engine.door import access, audit, requests
from esml_engine.door.facts import Call
from esml_engine.errors import NotAllowedError, RefusedError, UsageError
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.handing import RunFailedError
from esml_engine.promotion import evidence, reads, records
from esml_engine.promotion.comparing import outdated
from esml_engine.promotion.records import evidence_id
from esml_engine.refs import ModelRef
from esml_engine.runs import records as runs
from esml_engine.store import schema as t
from esml_engine.training import records as models
from tests.invariants import violations
from tests.promotion.conftest import MODEL, POLICY, as_, bent, decide, do, promote, setting

REF = ModelRef.parse(MODEL)


def gates(said: dict) -> dict[str, dict]:
    return {g["gate"]: g for g in said["gates"]}


def test_the_whole_way(three: Estate) -> None:
    from mlflow.tracking import MlflowClient

    setting(three, POLICY)
    root, store = three.site.root, three.site.store
    with three.hand.holding(warm=True):
        assert reads.readiness(three.site, REF, 1, "dev")["ready"] is None
        said = do(three, "compare", "test", source="dev")
        assert said["verdict"] == "promote" and said["rows"] > 30 and said["champion"] is None
        assert all(g["passed"] for g in said["gates"])
        assert {"baseline", "expectations", "rnd", "signature", "cost", "rows", "models"} <= set(gates(said))
        assert reads.readiness(three.site, REF, 1, "dev") | {"reason": ""} == {
            "ready": True, "to": "test", "reason": "", "comparison": said["comparison"],
        }  # fmt: skip
        board = reads.leaderboard(three.site, REF)
        assert [(r["env"], r["ready"], r["ready_to"]) for r in board if r["model_version"]] == [("dev", True,
            "test")]  # fmt: skip

        done = promote(three, "dev", "test")
        assert (done["state"], done["decided_by"], done["champion"], done["request"]) == ("promoted", "gates", 1,
            None)  # fmt: skip
        assert models.champion(store, REF, "test")["version"] == 1
        again = promote(three, "dev", "test")
        assert again["run"] is None and again["state"] == "promoted" and again["evidence"] == done["evidence"]

        with pytest.raises(RefusedError, match="after dev comes test"):
            promote(three, "dev", "prod")
        with pytest.raises(RefusedError, match="after test comes prod") as back:
            promote(three, "test", "dev")
        assert "esml rollback" in back.value.hint
        asked = promote(as_(three, "scientist@p1"), "test", "prod")
        assert asked["state"] == "waiting" and asked["champion"] is None and asked["verdict"] == "promote"
        assert models.champion(store, REF, "prod") is None
        waiting = evidence.pack(three.site, asked["evidence"])
        assert waiting["sections"]["decision"]["state"] == "waiting" and evidence.verify(waiting)["ok"]
        shown = as_(three, "approver@p1").model(str(REF), "prod").evidence(asked["evidence"])
        assert (
            shown["evidence"] == asked["evidence"]
            and shown["sections"]["gates"] == waiting["sections"]["gates"]
        )
        said = decide(as_(three, "approver@p1"), "approve", asked)
        assert said["state"] == "approved"
        after = said["after"]
        assert (after["state"], after["decided_by"], after["request"]) == (
            "promoted",
            "approver@p1",
            asked["request"],
        )

    pack = evidence.pack(three.site, after["evidence"])["sections"]
    assert pack["approvals"]["note"] == evidence.ONE_PERSON
    assert pack["approvals"]["decisions"][0]["reason"] == "looked at it"
    assert pack["models"]["challenger"]["trained_in"] == "dev"
    row = models.get_version(store, REF, "prod")
    assert row["detail"]["trained_in"] == "dev" and row["sha256"] == models.get_version(store, REF, "dev")["sha256"]  # fmt: skip
    # the data behind it stay pinned where they are
    pins = store.rows(t.pins.select().where(t.pins.c.model_version == 1))
    assert {(p["env"], p["name"]) for p in pins} >= {("dev", "gold_train"), ("dev", "gold_validate")}
    assert {p["env"] for p in pins} == {"dev"}
    line = reads.timeline(three.site, REF, "prod")
    assert [(x["version"], x["until"], x["request"]) for x in line] == [(1, None, asked["request"])]
    assert line[0]["evidence"] == after["evidence"]

    # the audit log keeps the evidence's hash
    said = [e for e in audit.events(store, act="promote") if e["result"] == "promoted"]
    kept = evidence.pack(three.site, after["evidence"])["sha256"]
    assert kept in {e["detail"]["sha256"] for e in said}

    for env in ("test", "prod"):
        client = MlflowClient(f"sqlite:///{root}/tracking/{env}/mlflow.db")
        found = client.search_model_versions("name='p1-m1'")
        assert [v.tags["esml.version"] for v in found] == ["1"]
        assert client.get_model_version_by_alias("p1-m1", "champion").version == found[0].version
    _same_answers(three)
    from esml_engine.portfolio import lineage, status

    graph = lineage._Graph(three.site, REF, "prod")
    graph.model(1)
    assert any(n.startswith("dev/gold_train@") for n in graph.nodes)
    assert status.status(three.site, [REF])[0]["stage"] == "prod"
    assert violations(root) == []


def _same_answers(three: Estate) -> None:
    from esml_engine.training import storage

    said = []
    frame = three.model(MODEL).table("gold_test").arrow()
    for env in ("dev", "prod"):
        row = models.get_version(three.site.store, REF, env)
        said.append(storage.load(three.site.outside(row["folder"]), row["sha256"]).predict(frame).tolist())
    assert said[0] == said[1]


def test_a_second_champion_a_rollback_and_a_promotion_of_an_earlier_version(three: Estate) -> None:
    three.set(MODEL, "gates.min_gain", "{ rmse = -1000.0 }")
    with three.hand.holding(warm=True):
        before = do(three, "compare", "test", source="dev")["comparison"]
        promote(three, "dev", "test")
        was = outdated(three.site, records.comparison(three.site.store, before))
        assert was == "the champion of test changed since the comparison: none then, v1 now"
        three.model(MODEL).ingest("d1", [bent(three.site.root / "more.csv", 240, 400)], "2026-01-02")
        three.model(MODEL).refine()
        three.model(MODEL).split()
        assert three.model(MODEL).train()["model_version"] == 2
        done = promote(three, "dev", "test", version=2)
        assert (done["champion"], done["previous"]) == (2, 1)
        compared = gates(done)["min_gain:rmse"]
        assert compared["interval"] is not None and compared["champion"] is not None
        back = three.hand.do(Call("rollback", MODEL, "test"))
        assert back["champion"] == 1
        stands = promote(three, "dev", "test", version=1)
        assert (stands["state"], stands["champion"], stands["decided_by"]) == ("promoted", 1, "gates")
        assert stands["gates"] and all(g["passed"] for g in stands["gates"]) and stands["evidence"]
        done = promote(three, "dev", "test", version=2)
        assert (done["state"], done["champion"]) == ("promoted", 2)
    line = reads.timeline(three.site, REF, "test")
    assert [x["version"] for x in line] == [2, 1, 2, 1]
    assert [x["why"].split()[0] for x in line] == ["promoted", "rollback", "promoted", "promoted"]
    assert violations(three.site.root) == []


def test_refuse_ends_the_run_and_leaves_evidence(three: Estate) -> None:
    setting(three, "[policy.test]\napprovals = 1\n")
    with three.hand.holding(warm=True):
        asked = promote(as_(three, "scientist@p1"), "dev", "test")
        with pytest.raises(UsageError, match="why refuse"):
            decide(as_(three, "approver@p1"), "refuse", asked, reason=" ")
        said = decide(as_(three, "approver@p1"), "refuse", asked, reason="too early")
    assert said["state"] == "refused"
    row = runs.get(three.site.store, asked["run"])
    assert row["state"] == "cancelled" and row["error"]["code"] == "refused" and "too early" in row["error"]["message"]  # fmt: skip
    pack = evidence.pack(three.site, asked["evidence"])
    assert pack["sections"]["decision"]["state"] == "refused"
    assert pack["sections"]["approvals"]["decisions"][0]["reason"] == "too early"
    assert models.champion(three.site.store, REF, "test") is None
    with pytest.raises(RefusedError, match="is refused already"):
        decide(as_(three, "second@p1"), "approve", asked)
    assert violations(three.site.root) == []


def test_who_may_decide(three: Estate) -> None:
    setting(three, "[policy.test]\napprovals = 2\n")
    three.member_add("p1", "scientist@p1", "approver")
    with three.hand.holding(warm=True):
        asked = promote(as_(three, "scientist@p1"), "dev", "test")
        with pytest.raises(NotAllowedError, match="nobody decides on a request of their own"):
            decide(as_(three, "scientist@p1"), "approve", asked)
        with pytest.raises(NotAllowedError, match="approve needs approver"):
            decide(three, "approve", asked)  # the estate's admin, without the role
        with pytest.raises(NotAllowedError):
            decide(as_(three, "manager@p1"), "approve", asked)
        with pytest.raises(UsageError, match="is about a promotion"):
            decide(as_(three, "manager@p1"), "approve", {**asked, "kind": "exception"})
        assert decide(as_(three, "approver@p1"), "approve", asked)["state"] == "waiting"
        with pytest.raises(NotAllowedError, match="decided on"):
            decide(as_(three, "approver@p1"), "approve", asked)
        assert runs.get(three.site.store, asked["run"])["state"] == "waiting"
        said = decide(as_(three, "second@p1"), "approve", asked)
    assert said["after"]["state"] == "promoted" and said["after"]["decided_by"] == "approver@p1, second@p1"
    refusals = [e for e in audit.events(three.site.store, act="approve") if e["result"] == "refused"]
    assert len(refusals) == 4
    assert violations(three.site.root) == []


@pytest.mark.parametrize("change", ["gates", "policy", "gold_test"])
def test_facts_that_change_under_a_request_make_it_stale(three: Estate, change: str) -> None:
    setting(three, "[policy.test]\napprovals = 1\n")
    with three.hand.holding(warm=True):
        asked = promote(as_(three, "scientist@p1"), "dev", "test")
        if change == "gates":
            three.set(MODEL, "gates.min_gain", "{ rmse = 5.0 }")
        elif change == "policy":
            three.set("estate", "policy.test.max_cost_run", "4.0")
        else:
            three.model(MODEL, "test").split(train=0.5, validate=0.25, test=0.25)
        said = decide(as_(three, "approver@p1"), "approve", asked)
    assert said["state"] == "stale" and change in said["reason"]
    assert runs.get(three.site.store, asked["run"])["error"]["code"] == "stale"
    assert evidence.pack(three.site, asked["evidence"])["sections"]["decision"]["state"] == "stale"
    assert models.champion(three.site.store, REF, "test") is None
    assert violations(three.site.root) == []


def test_a_plan_says_that_gold_is_newer_than_the_rows_it_compares_on(three: Estate, tmp_path: Path) -> None:
    test = three.model(MODEL, "test")
    test.ingest("d1", [bent(tmp_path / "more.csv", 240, 300)], "2026-01-02")
    test.refine()
    (line, *_) = three.model(MODEL).plan_promote("test").draft.will
    assert "split from gold v1 while gold is v2 (esml split p1/m1 --env test)" in line
    test.split()
    (line, *_) = three.model(MODEL).plan_promote("test").draft.will
    assert "split from" not in line


def test_expiry_and_cancel(three: Estate) -> None:
    setting(three, "[policy.test]\napprovals = 1\n")
    store = three.site.store
    with three.hand.holding(warm=True):
        asked = promote(as_(three, "scientist@p1"), "dev", "test")
        with store.write() as c:
            c.execute(t.requests.update().values(expires="2026-01-01T00:00:00.000000+00:00"))
        with pytest.raises(RefusedError, match="expired at 2026-01-01"):
            decide(as_(three, "approver@p1"), "approve", asked)
        requests.expire(store)
        row = runs.get(store, asked["run"])
        assert row["state"] == "cancelled" and row["error"]["code"] == "expired"
        assert evidence.pack(three.site, asked["evidence"])["sections"]["decision"]["state"] == "expired"
        with pytest.raises(RunFailedError) as e:
            three.hand.follow(asked["run"])
        assert e.value.code == "expired" and e.value.exit_code == 3
        asked = promote(as_(three, "scientist@p1"), "dev", "test")
        three.cancel(asked["run"])
        with pytest.raises(RefusedError, match="is withdrawn"):
            three.retry(asked["run"])  # nobody decided: it is asked for anew
    assert runs.get(store, asked["run"])["state"] == "cancelled"
    kept = evidence.pack(three.site, asked["evidence"])
    assert kept["sections"]["decision"]["state"] == "withdrawn" and kept == evidence.pack(
        three.site, asked["evidence"]
    )
    assert models.champion(store, REF, "test") is None
    assert violations(three.site.root) == []


def test_an_expired_request_is_not_joined_when_no_worker_lives(three: Estate) -> None:
    setting(three, "[policy.test]\napprovals = 1\n")
    with three.hand.holding(warm=True):
        asked = promote(as_(three, "scientist@p1"), "dev", "test")
    with three.site.store.write() as c:
        c.execute(t.requests.update().values(expires="2026-01-01T00:00:00.000000+00:00"))
    again = promote(as_(three, "scientist@p1"), "dev", "test")
    assert again["state"] == "waiting" and again["request"] != asked["request"]
    assert runs.get(three.site.store, asked["run"])["error"]["code"] == "expired"
    assert violations(three.site.root) == []


def test_an_estate_of_dev_alone_has_nowhere_to_promote_to(tmp_path: Path) -> None:
    init_estate(tmp_path / "one", ["dev"])
    open_estate(tmp_path / "one").new_project("p1", "team")
    open_estate(tmp_path / "one").new_model(MODEL, "regression", ["d1"], label="y", key="id")
    estate = open_estate(tmp_path / "one")
    with pytest.raises(RefusedError, match="dev alone: there is no next environment"):
        promote(estate, "dev", "test")


def test_an_exception_is_approved_by_a_manager_within_the_budget_only(three: Estate) -> None:
    setting(three, "[policy.test]\nmax_cost_run = 0.0000001\nover = 'ask'\n")
    with three.hand.holding(warm=True):
        asked = do(as_(three, "scientist@p1"), "compare", "test", source="dev")
        assert (asked["state"], asked["kind"]) == ("waiting", "exception")
        manager = as_(three, "manager@p1")
        three.set("p1", "budget.month", "0.0001")
        with pytest.raises(NotAllowedError, match="budget of p1"):
            decide(manager, "approve", asked)
        three.set("p1", "budget.month", "50")
        said = decide(manager, "approve", asked)
    assert said["state"] == "approved" and said["after"]["verdict"] == "promote"


def test_a_refusal_says_what_would_pass_and_following_it_passes(three: Estate) -> None:
    with three.hand.holding(warm=True):
        promote(three, "dev", "test")
        three.model(MODEL).ingest("d1", [bent(three.site.root / "more.csv", 240, 260)], "2026-01-02")
        three.model(MODEL).refine()
        three.model(MODEL).split()
        three.model(MODEL).train()
        three.set(MODEL, "gates.min_gain", "{ rmse = 3.0 }")
        three.set(MODEL, "gates.interval", '["rmse"]')
        done = promote(three, "dev", "test", version=2)
        assert (done["state"], done["decided_by"], done["champion"]) == ("refused", "gates", 1)
        assert runs.get(three.site.store, done["run"])["state"] == "done"
        change = gates(done)["min_gain:rmse"]["would_pass_if"]
        three.set(MODEL, "gates.min_gain", f"{{ rmse = {change['value']!r} }}")
        three.set(MODEL, "gates.interval", "[]")
        done = promote(three, "dev", "test", version=2)
        assert done["state"] == "promoted", [g for g in done["gates"] if not g["passed"]]
    assert evidence.pack(three.site, evidence_id(done["run"], "test"))["sections"]["decision"]["state"] == "promoted"  # fmt: skip
    json.dumps(done, allow_nan=False)


def test_each_act_has_its_row_in_the_role_table() -> None:
    assert {"compare", "promote", "approve"} <= set(access.RULES)
