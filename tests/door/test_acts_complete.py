"""Every act has a plan, a permission rule and an audit event; CLI, SDK and buttons name only acts that exist."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from esml_engine import bindings
from esml_engine.door import access
from esml_engine.door.facts import Actor, Call
from esml_engine.door.start import local_admin
from esml_engine.errors import NotAllowedError
from esml_engine.estate import Estate, open_estate
from esml_engine.model import Model
from esml_engine.store import schema as t

ROOT = Path(__file__).parents[2]
# the admin's alone: no row in the role table, by the domain's own words
ADMIN_ONLY = {"set", "new_project", "catalogue_rebuild"}
# judged by the rule of the act that the run carries out; what is said about a request, by the rule of deciding or of asking for it
AS_THE_ACT_ITSELF = {"cancel", "retry", "refuse", "ask", "answer", "delegate"}


def called_acts(path: Path) -> set[str]:
    """Act names in `Call("…")`, `_call("…")`, `_do("…")` and `on_run("…")` of a source file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
        ):
            name = (
                node.func.id
                if isinstance(node.func, ast.Name)
                else node.func.attr
                if isinstance(node.func, ast.Attribute)
                else ""
            )
            if name in ("Call", "_call", "_do", "on_run"):
                found.add(node.args[0].value)
    return found


def test_every_act_that_a_face_names_is_bound_and_every_bound_act_has_a_face() -> None:
    faces = [
        ROOT / "esml_engine/estate.py",
        ROOT / "esml_engine/by_id.py",
        ROOT / "esml_engine/model.py",
        *sorted((ROOT / "esml_engine/cli").glob("*.py")),
        *sorted((ROOT / "pages").glob("*.py")),
        *sorted((ROOT / "cockpit").rglob("*.py")),
    ]
    named = set().union(*(called_acts(f) for f in faces))
    assert named == set(bindings.ACTS)


def test_no_act_and_no_rule_is_left_out_of_the_walks_below() -> None:
    assert {c.act for c in calls()} == set(bindings.ACTS)
    reads = {r for r in access.RULES if r.startswith("read_")}
    assert set(TABLE) - {"estate_people"} - ADMIN_ONLY == set(access.RULES) - reads
    assert {access.rule_name(c) for c in calls()} <= set(TABLE)


def test_every_act_of_the_demo_stands_in_the_audit(demo: Path) -> None:
    estate = open_estate(demo)
    ended = {(r["run"], r["act"], r["state"]) for r in estate.runs(limit=10_000) if r["ended"]}
    events = estate.audit(limit=100_000)
    said = {(e["run"], e["act"], "cancelled" if e["result"] == "refused" else e["result"]) for e in events}
    assert ended and ended <= said
    at_once = {name for name in bindings.ACTS if not bindings.act(name).durable}
    done = {e["act"] for e in events if e["result"] == "done" and not e["run"]}
    assert {"ingest", "member_add", "new_model", "new_project", "approve", "refuse", "score"} <= done
    assert done <= at_once | {"init"}


@pytest.mark.parametrize("name", sorted(bindings.ACTS))
def test_each_act_has_plan_jobs_record_and_a_rule(name: str) -> None:
    act = bindings.act(name)
    assert act.name == name
    assert isinstance(act.durable, bool)
    for part, wanted in (
        ("plan", ["call", "site"]),
        ("jobs", ["call", "draft", "desk"]),
        ("record", ["call", "draft", "result", "desk"]),
    ):
        assert list(inspect.signature(getattr(act, part)).parameters) == wanted
    assert name in access.RULES or name in ADMIN_ONLY | AS_THE_ACT_ITSELF


def test_each_command_that_changes_takes_the_four_options() -> None:
    import typer

    from esml_engine.cli import app

    group = typer.main.get_command(app)
    changing = {
        "ingest",
        "refine",
        "pipeline",
        "split",
        "train",
        "register",
        "rollback",
        "deploy",
        "undeploy",
        "keys",
        "score",
        "set",
        "compare",
        "promote",
        "approve",
        "refuse",
        "ask",
        "answer",
        "delegate",
        "cancel",
        "retry",
        "exception",
        "new project",
        "new model",
        "member add",
        "member remove",
        "catalogue rebuild",
        "view save",
        "view drop",
    }
    for name in changing:
        first, _, second = name.partition(" ")
        command = group.commands[first]
        command = command.commands[second] if second else command
        options = {o for p in command.params for o in p.opts}
        assert {"--dry-run", "--plan", "--idempotency-key", "--detach"} <= options, name


def calls() -> list[Call]:
    o = "p1/m1"
    return [
        Call("save_view", o, "dev", {"name": "v"}),
        Call("drop_view", o, "dev", {"name": "v"}),
        Call("set", "estate", "", {"key": "policy.max_cost_run", "value": "1"}),
        Call("set", "p1", "", {"key": "budget.month", "value": "1"}),
        Call("member_add", "p1", "", {"actor": "x", "role": "reader"}),
        Call("member_add", "estate", "", {"actor": "x", "role": "admin"}),
        Call("member_remove", "p1", "", {"actor": "x"}),
        Call("new_project", "estate", "", {"name": "p9", "team": "t"}),
        *(
            Call("set", o, "", {"key": k, "value": "[]"})
            for k in ("expect", "datasets.d1.expect", "datasets.d1.expected", "datasets.d1")
        ),
        Call("new_model", "p1/m9", "", {"task": "regression", "datasets": ["a"]}),
        Call("ingest", o, "dev", {"dataset": "d1", "files": [], "date": "2026-01-01", "purpose": "train"}),
        Call("catalogue_rebuild", "estate", "", {"forget": []}),
        Call("refine", o, "dev", {}),
        Call("refine", o, "dev", {"layer": "gold"}),
        *(
            Call(a, o, "dev", {})
            for a in (
                "split",
                "train",
                "rollback",
                "deploy",
                "undeploy",
                "keys",
                "score",
                "score_batch",
                "pipeline",
                "register",
            )
        ),
        *(Call(a, o, "prod", {}) for a in ("deploy", "undeploy", "keys", "rollback")),
        *(Call(a, o, "dev", {"source": "test"}) for a in ("compare", "promote")),
        *(
            Call(a, o, "dev", {"request": "q", "reason": "r"})
            for a in ("approve", "refuse", "ask", "delegate")
        ),
        *(
            Call(a, o, "dev", {"request": "q", "reason": "r", "kind": "exception"})
            for a in ("approve", "refuse", "ask", "delegate")
        ),
        *(
            Call("answer", o, "dev", {"request": "q", "text": "t", "rule": r})
            for r in ("promote", "ask_exception", "refine")
        ),
        Call("ask_exception", o, "dev", {"amount": 1.0, "days": 7, "reason": "r"}),
        Call("cancel", o, "dev", {"run": "r", "rule": "refine"}),
        Call("retry", o, "dev", {"run": "r", "rule": "train"}),
    ]


# the domain's role table, written out a second time: rule -> roles besides admin
TABLE = {
    "set": set(), "edit_expectations": {"data_engineer"}, "budget": {"project_manager"}, "member_add": {"project_manager"}, "estate_people": set(),
    "member_remove": {"project_manager"}, "new_project": set(),
    "new_model": {"data_engineer", "data_scientist", "project_manager"}, "ingest": {"data_engineer", "steward"},
    "catalogue_rebuild": set(), "refine": {"data_engineer", "steward"},
    "refine_gold": {"data_engineer", "data_scientist", "steward"}, "split": {"data_engineer", "data_scientist", "steward"},
    "train": {"data_scientist"}, "register": {"data_scientist"},
    "rollback": {"data_scientist", "approver"}, "rollback_prod": {"data_scientist", "approver"}, "deploy": {"data_scientist"},
    "deploy_prod": {"data_scientist", "approver"}, "keys": {"data_scientist"}, "undeploy": {"data_scientist"},
    "undeploy_prod": {"data_scientist", "approver"},
    "keys_prod": {"data_scientist", "approver"}, "score": {"analyst", "data_scientist"},
    "score_batch": {"analyst", "data_scientist"}, "save_view": {"analyst", "data_scientist"},
    "drop_view": {"analyst", "data_scientist"}, "pipeline": {"data_scientist"},
    "compare": {"data_scientist"}, "promote": {"data_scientist"}, "approve": {"approver"},
    "ask_exception": {"data_engineer", "data_scientist", "project_manager"}, "approve_exception": {"approver", "project_manager"},
}  # fmt: skip


@pytest.mark.parametrize("role", access.ROLES)
@pytest.mark.parametrize("own", [True, False])
def test_act_by_role_on_own_and_other_project(empty: Estate, role: str, own: bool) -> None:
    store = empty.site.store
    scope = "estate" if role == "admin" and own else "p1" if own else "p2"
    with store.write() as c:
        c.execute(
            t.members.insert().values(
                actor="a@x", scope=scope, role=role if own or role != "admin" else "reader", by="t", at="t"
            )
        )
    actor = Actor(local_admin(), "a@x")
    for call in calls():
        rule = access.rule_name(call)
        decides = rule.startswith("approve")  # an admin without the role does not decide for others
        wanted = own and ((role == "admin" and not decides) or role in TABLE[rule])
        found = access.may(store, actor, rule, call.project, local_admin=local_admin())
        assert found.allowed == wanted, (call.act, rule, role, own, found)
        if not found.allowed:
            assert "a@x has" in found.reason


def test_an_unknown_act_and_an_unknown_actor_have_no_rights(empty: Estate) -> None:
    assert not access.may(
        empty.site.store, Actor("stranger"), "read_status", "p1", local_admin=local_admin()
    ).allowed
    assert not access.may(
        empty.site.store, Actor("stranger"), "no_such_rule", "p1", local_admin=local_admin()
    ).allowed


def test_acting_as_needs_the_right_to_impersonate(empty: Estate) -> None:
    with empty.site.store.write() as c:
        c.execute(t.members.insert().values(actor="boss@x", scope="estate", role="admin", by="t", at="t"))
        c.execute(t.members.insert().values(actor="worker@x", scope="p1", role="reader", by="t", at="t"))
    said = access.may(
        empty.site.store, Actor("worker@x", "boss@x"), "set", "estate", local_admin=local_admin()
    )
    assert not said.allowed and "impersonate" in said.reason
    assert access.may(
        empty.site.store, Actor("boss@x", "worker@x"), "read_status", "p1", local_admin=local_admin()
    ).allowed


@pytest.mark.parametrize(
    "call", calls(), ids=lambda c: f"{c.act}-{access.rule_name(c)}-{c.object.replace('/', '.')}-{c.env}"
)
def test_each_refusal_is_audited_with_both_names(empty: Estate, call: Call) -> None:
    with empty.site.store.write() as c:
        c.execute(t.members.insert().values(actor="r@x", scope="p1", role="reader", by="t", at="t"))
    estate = open_estate(empty.site.root, act_as="r@x")
    with pytest.raises(NotAllowedError):
        estate.hand.do(call)
    last = empty.audit()[0]
    assert (last["act"], last["result"], last["as"], last["actor"]) == (
        call.act,
        "refused",
        "r@x",
        local_admin(),
    )


def test_no_role_no_sight(empty: Estate) -> None:
    stranger = open_estate(empty.site.root, act_as="nobody@x")
    assert stranger.status() == [] and stranger.projects() == []
    with pytest.raises(NotAllowedError):
        stranger.status("p1")
    with pytest.raises(NotAllowedError):
        stranger.model("p1/m1").gold.read()
    assert isinstance(stranger.model("p1/m1"), Model)
