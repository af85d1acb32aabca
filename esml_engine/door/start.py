"""The one mechanism: plan, authorise, check policy, audit (also refusals), start."""

from __future__ import annotations

import functools
import getpass
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

import sqlalchemy as sa

from esml_engine.clock import new_id, now
from esml_engine.door import access, audit, requests, skeleton
from esml_engine.door.allowing import Granted, allowed_money
from esml_engine.door.facts import Act, Actor, Call, Draft, Plan, draft_json, fingerprint
from esml_engine.door.keys import asked_of, run_of, same_act
from esml_engine.door.policy import MONEY
from esml_engine.door.predicting import nothing_spent, run_ahead
from esml_engine.door.site import Site
from esml_engine.errors import (
    EsmlError,
    NotAllowedError,
    PolicyError,
    StalePlanError,
    disk_full,
)
from esml_engine.faults import point
from esml_engine.platforms import design
from esml_engine.refs import ModelRef
from esml_engine.runs import records
from esml_engine.runs.facts import JobSpec

# people may talk, refuse and stop a run also while the environment's lake can't be reached
_WITHOUT_LAKE = frozenset({"ask", "answer", "delegate", "refuse", "ask_exception", "cancel"})


@functools.cache
def local_admin() -> str:
    """The operating system's user: administrator of an estate without sign-in."""
    return getpass.getuser()


@dataclass(frozen=True)
class Started:
    """What starting an act gave: a run to follow, or the answer at once."""

    run: str | None
    joined: bool
    plan: Plan | None  # None: a key's answer was given again
    answer: dict[str, Any] | None = None


def make_plan(
    site: Site, act: Act, actor: Actor, call: Call, granted: Granted = MappingProxyType({})
) -> Plan:
    """Plan one act: the act's own draft, with prediction, budget, policy and permission around it.

    `granted`: limits that this very run was approved for while it was held.
    """
    draft = act.plan(call, site)
    settings = site.settings
    currency = settings.estate.currency
    judged: dict[str, Any] = {"verdict": "ok", "origin": "spends nothing", "reason": None}
    budget_left: float | None = None
    in_force: Any = None
    predicted = nothing_spent(draft.size, currency)
    if draft.bound_seconds > 0 and not draft.nothing_to_do and "/" in call.object:
        search = float(draft.params.get("train_seconds", 0))
        predicted = run_ahead(site, call, draft, search)
        approved = {**granted, **{(env, key): by for env, key, by in draft.granted}}
        judged, budget_left, in_force = allowed_money(site, call, draft, predicted, search, approved)
    may = may_all(site, actor, call, draft.contains)
    return Plan(
        call,
        draft,
        predicted,
        budget_left,
        judged,
        may.allowed,
        may.reason,
        fingerprint(call, draft, in_force),
    )


def may_all(site: Site, actor: Actor, call: Call, contains: Sequence[str]) -> access.Verdict:
    """May this actor do an act and each act inside it; if not, the first one that stops it and who can."""
    for rule in (access.rule_name(call), *contains):
        found = access.may(site.store, actor, rule, call.project, local_admin=local_admin())
        if not found.allowed:
            inside = "" if rule == access.rule_name(call) else f"{call.act} would {rule.replace('_', ' ')}: "
            return access.Verdict(False, f"{inside}{found.reason}")
    return access.Verdict(True)


def start(
    site: Site,
    act: Act,
    actor: Actor,
    call: Call,
    *,
    plan_hash: str = "",
    key: str = "",
    at_once: Callable[[Plan], dict[str, Any]],
    again: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer,
) -> Started:
    """Start an act: everything is checked again, the audit event and the run are one transaction.

    `at_once` executes an act that is not durable, here; its answer comes back in `Started.answer`. `again` makes the
    answer to its repeated key, from what was kept of the first.

    Raises:
        NotAllowedError, PolicyError, StalePlanError: each leaves an audit event.
    """
    try:
        may = access.may(site.store, actor, access.rule_name(call), call.project, local_admin=local_admin())
        if not may.allowed:  # before planning: a plan would show what the actor may not see
            raise NotAllowedError(may.reason, hint="ask an owner of the project, or an admin of the estate")
        if act.name not in _WITHOUT_LAKE and call.env in site.settings.environments and "/" in call.object:
            skeleton.ready(site, ModelRef.parse(call.object), call.env)
        known = run_of(site, call, key) if key else None
        if key:
            with site.store.read() as c:
                before = audit.answered(c, key)
            if before is not None and act.durable:
                same_act(call, before, "", key)  # an act at once had it
            elif before is not None:
                return _answered(site, actor, call, key, before, again)
        plan = make_plan(site, act, actor, call)
        if known is not None:
            with site.store.write() as c:
                audit.append(c, actor, call.act, call.object, call.env, "joined", run=known)
            audit.anchor(site.store, site.state)
            return Started(known, True, plan)
        if not plan.allowed:
            raise NotAllowedError(
                plan.reason,
                hint="have somebody who may do that part first, or ask an owner of the project",
                plan=plan.document(),
            )
        if plan_hash and plan.hash != plan_hash:
            if run := _executing(site, actor, call, plan_hash):
                return Started(run, True, plan)
            raise StalePlanError(
                "the facts under this plan changed since it was shown",
                hint="look at the new plan and start again",
                plan=plan.document(),
            )
        for env in {p.env for p in plan.draft.parts} - {call.env}:
            design.require_known(site.platform(env))
        if plan.policy["verdict"] == "refuse":
            raise PolicyError(
                f"{plan.policy['reason']} ({plan.policy['origin']})",
                hint=_way_out(plan),
                plan=plan.document(),
            )
        if plan.policy["verdict"] == "ask" and not act.durable:
            raise PolicyError(
                f"{plan.policy['reason']} ({plan.policy['origin']}), and a {call.act} can't wait for an approval",
                hint="start the act itself anew: it asks for one",
                plan=plan.document(),
            )
    except EsmlError as e:
        if e.exit_code >= 3:
            _audit_alone(site, actor, call, e)
        raise
    if plan.draft.nothing_to_do:
        with site.store.write() as c:
            run = records.still_open(c, plan.draft.joins)
            audit.append(
                c, actor, call.act, call.object, call.env, "joined" if run else "nothing to do", run=run
            )
        audit.anchor(site.store, site.state)
        return (
            Started(run, True, plan)
            if run
            else Started(None, False, plan, {"run": None, **plan.draft.answer})
        )
    if not act.durable:
        try:
            return Started(None, False, plan, at_once(plan))
        except _AnsweredError as e:
            return _answered(site, actor, call, key, e.event, again)
        except EsmlError as e:
            _audit_alone(site, actor, call, e)
            raise
        except Exception as e:
            full = disk_full(e, folders=site.disks())
            if full is None:
                raise
            _audit_alone(site, actor, call, full)
            raise full from e
    return _intent(site, actor, call, plan, key)


def _executing(site: Site, actor: Actor, call: Call, plan_hash: str) -> str | None:
    """The open run of the very plan that was shown: it changes the facts under it itself, and is joined."""
    with site.store.write() as c:
        run = records.same_open(c, plan_hash)
        if run is not None:
            audit.append(c, actor, call.act, call.object, call.env, "joined", run=run)
    if run is not None:
        audit.anchor(site.store, site.state)
    return run


class _AnsweredError(Exception):
    """An act at once met its own key: the same was done between the look and the commit."""

    def __init__(self, event: dict[str, Any]) -> None:
        super().__init__(event["n"])
        self.event = event


def _answered(
    site: Site,
    actor: Actor,
    call: Call,
    key: str,
    before: dict[str, Any],
    again: Callable[[dict[str, Any]], dict[str, Any]],
) -> Started:
    """The answer of the act at once that this key named before, with an audit event of its own.

    Raises:
        UsageError: the key named another act.
    """
    same_act(call, before, before["detail"]["once"].get("asked", ""), key)
    answer = again(dict(before["detail"]["once"]["answer"]))
    with site.store.write() as c:
        audit.append(c, actor, call.act, call.object, call.env, "joined", detail={"of": before["n"]})
    audit.anchor(site.store, site.state)
    return Started(None, True, None, answer)


def _intent(site: Site, actor: Actor, call: Call, plan: Plan, key: str) -> Started:
    row = {
        "run": new_id("r-"), "act": call.act, "object": call.object, "env": call.env, "state": "queued", "actor": actor.name,
        "as_actor": actor.acting_as,
        "plan_hash": plan.hash, "plan": draft_json(plan.draft), "params": call.params, "idempotency_key": key or None,
        "created": now(), "predicted": plan.predicted,
        "node": plan.predicted.get("node", ""),
    }  # fmt: skip
    held = plan.policy["verdict"] == "ask"
    if held:
        row["state"] = "waiting"
    with site.store.write() as c:
        open_run = records.same_open(c, plan.hash) or records.still_open(c, plan.draft.joins)
        if open_run is not None:
            audit.append(c, actor, call.act, call.object, call.env, "joined", run=open_run)
        else:
            try:
                records.insert(c, row, plan.draft.steps)
            except sa.exc.IntegrityError as e:  # the same idempotency key, a moment ago
                found = c.execute(
                    sa.text("SELECT run FROM runs WHERE idempotency_key = :k"), {"k": key}
                ).scalar()
                if found is None:
                    raise
                raise StalePlanError(
                    f"key {key} names run {found} already", hint="ask again with the same key"
                ) from e
            audit.append(
                c,
                actor,
                call.act,
                call.object,
                call.env,
                "waiting" if held else "started",
                run=row["run"],
                detail={"plan": plan.hash, "predicted": plan.predicted["cost"]},
            )
            if held:
                ask_exception(c, row, actor, plan)
    point("start:intent")
    audit.anchor(site.store, site.state)
    return Started(open_run or row["run"], open_run is not None, plan)


def _way_out(plan: Plan) -> str:
    """What somebody can do whom a policy refuses."""
    key, env = plan.policy["key"], plan.policy.get("env") or plan.call.env
    if key not in MONEY:
        return "make the run smaller, or ask the policy's owner"
    asks = f"esml exception {plan.call.object} --env {env} --limit {key} --amount … --reason …"
    return f"make the run smaller, or ask another person for an exception: {asks}"


def ask_exception(c: sa.Connection, row: dict[str, Any], actor: Actor, plan: Plan) -> str:
    """Ask for what holds this run: the first limit that nobody has lifted, at what the run costs there."""
    held = plan.policy
    return requests.ask(
        c, kind=requests.EXCEPTION, object_=row["object"], env=held.get("env") or row["env"], run=row["run"], actor=actor,
        needed=1, facts=plan.hash,
        detail={"act": row["act"], "key": held["key"], "amount": held["amount"], "currency": plan.predicted["cost"]["currency"],
            "reason": held["reason"], "origin": held["origin"], "will": list(plan.draft.will), **({"also": held["also"]} if held.get("also") else {})},
    )  # fmt: skip


def _audit_alone(site: Site, actor: Actor, call: Call, error: EsmlError) -> None:
    result = "refused" if error.exit_code == 3 else "waiting" if error.exit_code == 4 else "failed"
    with site.store.write() as c:
        audit.append(
            c,
            actor,
            call.act,
            call.object,
            call.env,
            result,
            detail={"code": error.code, "message": error.message, "id": error.id},
        )
    audit.anchor(site.store, site.state)


class AtOnceDesk:
    """Where a direct act records: its change and its audit event are one transaction."""

    step = ""
    attempt = retry = 1
    run = ""
    spec: JobSpec | None = None

    def park(self, **request: Any) -> NoReturn:
        """Direct acts don't wait."""
        raise EsmlError(f"{self.call.act} happens at once and can't wait for an approval")

    def __init__(
        self, site: Site, actor: Actor, call: Call, *, key: str = "", unkept: Sequence[str] = ()
    ) -> None:
        self.site, self.actor, self.call = site, actor, call
        self.key, self.unkept = key, unkept

    def commit(self, change: Callable[[sa.Connection], dict[str, Any]]) -> dict[str, Any]:
        """The change and its audit event, once a key."""
        point("atonce:done")
        with self.site.store.write() as c:
            before = audit.answered(c, self.key) if self.key else None
            if before is not None:
                raise _AnsweredError(before)
            answer = change(c)
            detail = answer.pop("_audit", None)
            if self.key:  # what a repeated key is answered
                kept = {k: v for k, v in answer.items() if k not in self.unkept}
                plain = json.loads(json.dumps(kept, default=str))
                once = {"key": self.key, "asked": asked_of(self.call.params), "answer": plain}
                detail = {**(detail or {}), "once": once}
            audit.append(
                c,
                self.actor,
                self.call.act,
                self.call.object,
                self.call.env,
                "done",
                detail=detail,
            )
        audit.anchor(self.site.store, self.site.state)
        return answer

    def began(self, draft: Draft) -> None:
        """What is changed outside the store from here on is in the audit, also when nothing after it is."""
        with self.site.store.write() as c:
            detail = {"will": list(draft.will)}
            audit.append(
                c, self.actor, self.call.act, self.call.object, self.call.env, "started", detail=detail
            )
        point("atonce:began")
        audit.anchor(self.site.store, self.site.state)

    def want_endpoint(self, name: str) -> None:
        """Direct acts run no endpoint: the worker does."""
        raise EsmlError(f"endpoint {name} needs a worker", hint="start it: esml up")

    def wait(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Direct acts wait for nothing."""
        if not ready():
            raise EsmlError(f"{what}: not ready", hint="start the worker: esml up")
