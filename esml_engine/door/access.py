"""Who may do what: the role table of the domain. Deny by default; an act without a row here is the admin's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from esml_engine.door.facts import Actor, Call
from esml_engine.errors import NotAllowedError
from esml_engine.store import schema as t
from esml_engine.store.database import Store

ROLES = (
    "reader",
    "analyst",
    "data_engineer",
    "data_scientist",
    "project_manager",
    "approver",
    "steward",
    "admin",
)
_DE, _DS, _PM, _AP, _ST, _AN = (
    "data_engineer",
    "data_scientist",
    "project_manager",
    "approver",
    "steward",
    "analyst",
)
_SIGHT = frozenset(ROLES)
_EXPECT = re.compile(r"(datasets\.[^.]+\.)?expect(\..+)?")  # keys of a model's expectations

RULES: dict[str, frozenset[str]] = {
    "read_status": _SIGHT,
    "read_tables": frozenset({_DE, _DS, _ST}),
    "read_gold": frozenset({_DE, _DS, _ST, _AN}),
    "read_scored": frozenset({_AN, _DS}),
    "read_audit": frozenset({_PM, _AP}),
    "ingest": frozenset({_DE, _ST}),
    "refine": frozenset({_DE, _ST}),
    "refine_gold": frozenset({_DE, _DS, _ST}),
    "split": frozenset({_DE, _DS, _ST}),
    "train": frozenset({_DS}),
    "register": frozenset({_DS}),
    "deploy": frozenset({_DS}),
    "deploy_prod": frozenset({_DS, _AP}),
    "undeploy": frozenset({_DS}),
    "undeploy_prod": frozenset({_DS, _AP}),
    "rollback": frozenset({_DS, _AP}),
    "rollback_prod": frozenset({_DS, _AP}),
    "keys": frozenset({_DS}),
    "keys_prod": frozenset({_DS, _AP}),
    "save_view": frozenset({_AN, _DS}),
    "drop_view": frozenset({_AN, _DS}),
    "score": frozenset({_AN, _DS}),
    "score_batch": frozenset({_AN, _DS}),
    "new_model": frozenset({_DE, _DS, _PM}),
    "pipeline": frozenset({_DS}),
    "compare": frozenset({_DS}),
    "promote": frozenset({_DS}),
    "approve": frozenset({_AP}),
    "approve_exception": frozenset({_AP, _PM}),
    "ask_exception": frozenset({_DE, _DS, _PM}),
    "read_evidence": frozenset({_AP, _DS, _PM}),
    "budget": frozenset({_PM}),
    "edit_expectations": frozenset({_DE}),
    "member_add": frozenset({_PM}),
    "member_remove": frozenset({_PM}),
}

# decisions on other people's requests: not even an admin takes them without the role
STRICT = frozenset({"approve", "approve_exception"})


@dataclass(frozen=True)
class Verdict:
    """May this actor, and if not, who can."""

    allowed: bool
    reason: str = ""


def rule_name(call: Call) -> str:
    """The row of the role table for a call: a few acts differ by environment or parameter."""
    if call.act in ("deploy", "undeploy", "rollback", "keys") and call.env == "prod":
        return f"{call.act}_prod"
    if call.act == "refine" and call.params.get("layer") == "gold":
        return "refine_gold"
    if call.act == "set" and f"{call.params.get('key', '')}.".startswith("budget."):
        return "budget"
    if call.act == "set" and _EXPECT.fullmatch(str(call.params.get("key", ""))):
        return "edit_expectations"
    if call.act in ("member_add", "member_remove") and call.object == "estate":
        return "estate_people"
    if call.act in ("approve", "refuse", "ask", "delegate"):
        return "approve_exception" if call.params.get("kind") == "exception" else "approve"
    if call.act in ("cancel", "retry", "answer"):
        return str(call.params.get("rule", call.act))
    return call.act


def roles_of(store: Store, actors: frozenset[str]) -> dict[tuple[str, str], frozenset[str]]:
    """Every role of these actors, by (actor, scope)."""
    m = t.members
    out: dict[tuple[str, str], frozenset[str]] = {}
    for r in store.rows(sa.select(m.c.actor, m.c.scope, m.c.role).where(m.c.actor.in_(actors))):
        who = (r["actor"], r["scope"])
        out[who] = out.get(who, frozenset()) | {r["role"]}
    return out


def may(store: Store, actor: Actor, rule: str, project: str, *, local_admin: str) -> Verdict:
    """Judge one act. On a laptop without sign-in the operating system's user (`local_admin`) is admin."""
    return may_each(store, actor, rule, [project], local_admin=local_admin)[project]


def may_each(
    store: Store, actor: Actor, rule: str, projects: Iterable[str], *, local_admin: str
) -> dict[str, Verdict]:
    """Judge one act on each of some projects, with at most one query."""
    who = actor.rights
    roles = (
        {}
        if {actor.name, who} == {local_admin} and rule not in STRICT
        else roles_of(store, frozenset({actor.name, who}))
    )
    nobody: frozenset[str] = frozenset()
    if (
        actor.acting_as
        and actor.acting_as != actor.name
        and actor.name != local_admin
        and "admin" not in roles.get((actor.name, "estate"), nobody)
    ):
        no = Verdict(
            False, f"{actor.name} may not act as {actor.acting_as}: the right to impersonate is the admin's"
        )
        return dict.fromkeys(projects, no)
    if who == local_admin and rule not in STRICT:
        return dict.fromkeys(projects, Verdict(True))
    allowed = RULES.get(rule, nobody) | (nobody if rule in STRICT else {"admin"})
    everywhere = roles.get((who, "estate"), nobody)
    return {p: _verdict(who, rule, p, everywhere | roles.get((who, p), nobody), allowed) for p in projects}


def _verdict(who: str, rule: str, project: str, have: frozenset[str], allowed: frozenset[str]) -> Verdict:
    if have & allowed:
        return Verdict(True)
    mine = ", ".join(sorted(have)) or "no role"
    return Verdict(
        False,
        f"{who} has {mine} on {project or 'the estate'}; {rule.replace('_', ' ')} needs {' or '.join(sorted(allowed))}",
    )


def require(store: Store, actor: Actor, rule: str, project: str, *, local_admin: str) -> None:
    """Raise unless the actor may.

    Raises:
        NotAllowedError: with who can.
    """
    verdict = may(store, actor, rule, project, local_admin=local_admin)
    if not verdict.allowed:
        raise NotAllowedError(verdict.reason, hint="ask an owner of the project, or an admin of the estate")
