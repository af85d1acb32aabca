"""A run whose turn has come: it does what was planned, or approved while it was held; asks for what else holds it, or ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from esml_engine.door import audit, requests
from esml_engine.door.facts import Act, Actor, Call, Draft, Plan, draft_of
from esml_engine.door.policy import MONEY
from esml_engine.door.site import Site
from esml_engine.door.start import ask_exception, make_plan
from esml_engine.errors import EsmlError, StalePlanError
from esml_engine.runs import records
from esml_engine.store import schema as t

_BY_LAYER = frozenset({"refine", "pipeline"})
_OF_A_RUN = frozenset({"nodes", "max_train_seconds", "max_cost_run"})


def holds_again(site: Site, act: Act, row: dict[str, Any]) -> bool:
    """Look at a run's facts again before its first step: True where it now waits for the next limit's exception.

    A run that has begun passes, and one that is tried again, as what made it fail was to be changed. Any other waited behind
    runs that may have moved its facts: it ends where it is not what was planned. For a run that was held, each request
    covers this plan at this price, so both are made anew: a prediction above an approved amount or other rights end it
    as well, and its newest request is stale.

    Raises:
        StalePlanError: with what changed.
    """
    if any(s["state"] == "done" or s["attempt"] for s in records.steps(site.store, row["run"])):
        return False
    asked = [r for r in requests.listing(site.store, run=row["run"]) if r["kind"] == requests.EXCEPTION]
    if not asked:
        if row["attempt"] == 1:
            _require_as_planned(site, act, row)
        return False
    plan, changed = _now(site, act, row, asked)
    if not changed and plan is not None and plan.policy["verdict"] == "ask":
        _hold(site, row, plan)
        return True
    if not changed:
        return False
    newest = asked[0]
    with site.store.write() as c:
        requests.outdated(c, newest["request"])
    lifted = t.exceptions.select().where(t.exceptions.c.request == newest["request"])
    stands = site.store.first(lifted) is not None
    hint = "start it again: what is there now is planned anew"
    if stands:
        hint += f", and exception {newest['request']} covers up to {float(newest['detail']['amount']):g} {newest['detail']['currency']}"
    raise StalePlanError(
        f"request {newest['request']} is stale: {changed}",
        hint=hint,
        request=newest["request"],
        state="stale",
    )


def _require_as_planned(site: Site, act: Act, row: dict[str, Any]) -> None:
    """What makes tables layer by layer reads the planned files that still wait, of the newest tables; any other act keeps to its very facts.

    Raises:
        StalePlanError: with what changed. EsmlError: it can't be planned any more, such as by settings that became wrong.
    """
    call = Call(row["act"], row["object"], row["env"], row["params"])
    plan = make_plan(site, act, Actor(row["actor"], row["as_actor"]), call)
    if plan.draft.nothing_to_do:  # a run before it did it: each step finds that and tells it
        return
    if plan.hash == row["plan_hash"]:
        return
    if row["act"] not in _BY_LAYER:
        changed = _what_changed(row["plan"], plan.draft)
    elif not (changed := _rules_changed(row["plan"], plan)):
        return
    raise StalePlanError(
        f"the facts under this {row['act']} changed while it waited for its turn: {changed}",
        hint="nothing was done; start it again: what is there now is planned anew",
    )


def granted_to(site: Site, run: str) -> tuple[tuple[str, str, str], ...]:
    """`(environment, limit, whose word)`: what a run alone was approved for while it was held; money is an exception's."""
    return tuple(
        (r["env"], r["detail"]["key"], f"request {r['request']}")
        for r in requests.listing(site.store, run=run)
        if r["kind"] == requests.EXCEPTION and r["state"] == "approved" and r["detail"]["key"] not in MONEY
    )


def _now(site: Site, act: Act, row: dict[str, Any], asked: list[dict[str, Any]]) -> tuple[Plan | None, str]:
    """The plan of what is there now, and what of it is not what was approved."""
    undecided = next((r for r in asked if r["state"] != "approved"), None)
    if undecided is not None:
        return None, f"it is {undecided['state']}"
    granted = {(r["env"], r["detail"]["key"]) for r in asked}
    single = {(env, key): by for env, key, by in granted_to(site, row["run"])}
    call = Call(row["act"], row["object"], row["env"], row["params"])
    try:
        plan = make_plan(site, act, Actor(row["actor"], row["as_actor"]), call, single)
    except EsmlError as e:
        return None, e.message
    if plan.hash != row["plan_hash"]:
        return (
            plan,
            f"the facts under {row['act']} changed while it waited: {_what_changed(row['plan'], plan.draft)}",
        )
    if not plan.allowed:
        return plan, plan.reason
    for r in asked:
        its = (plan.predicted.get("environments") or {}).get(r["env"], plan.predicted)
        of = plan.predicted if r["detail"]["key"] == "budget.month" else its
        cost, amount = of["cost"], float(r["detail"]["amount"])
        if cost["p90"] > amount:
            return (
                plan,
                f"{cost['p90']:.6g} {cost['currency']} is predicted now, {amount:g} {cost['currency']} was approved",
            )
    held = (plan.policy.get("env") or row["env"], plan.policy["key"])
    if plan.policy["verdict"] == "refuse" or held in granted:
        return plan, str(plan.policy["reason"])  # what was approved does not lift it any more
    return plan, ""


def _what_changed(before: dict[str, Any], now: Draft) -> str:
    """Which of a plan's facts are others than those that were asked about, in words."""
    old, new = draft_of(before).inputs, now.inputs
    said = [f"{_named(i)} is new" for i in new if i not in old]
    said += [
        f"{_named(i)} is gone" for i in old if i not in new and _named(i) not in {_named(n) for n in new}
    ]
    said += _parts_changed(before, now, "code", "settings", "steps")
    return ", ".join(said[:5]) or "its settings or policy"


def _rules_changed(before: dict[str, Any], plan: Plan) -> str:
    """What binds a run that makes tables layer by layer: code, settings, and a limit on a run that does not let it through any more."""
    said = _parts_changed(before, plan.draft, "code", "settings")
    if plan.policy["verdict"] != "ok" and plan.policy.get("key") in _OF_A_RUN:
        said.append(str(plan.policy["reason"]))
    return ", ".join(said)


def _parts_changed(before: dict[str, Any], now: Draft, *parts: str) -> list[str]:
    same = draft_of(before)
    return [f"its {p}" for p in parts if _plain(getattr(same, p)) != _plain(getattr(now, p))]


def _plain(value: Any) -> Any:
    """As the store keeps it."""
    return json.loads(json.dumps(value, sort_keys=True, default=str))


def _named(fact: Mapping[str, Any]) -> str:
    """`visits.csv`, `gold v4`, `model v2`: one input of a plan."""
    if "file" in fact:
        return str(fact["file"]).rsplit("/", 1)[-1]
    if "table" in fact:
        return f"{fact['table']} v{fact.get('version')}"
    if "model_version" in fact:
        return f"model v{fact['model_version']}"
    return ", ".join(f"{k} {v}" for k, v in fact.items() if v is not None)


def _hold(site: Site, row: dict[str, Any], plan: Plan) -> None:
    """The next request, the run that waits for it and its released lock: one transaction."""
    actor = Actor(row["actor"], row["as_actor"])
    with site.store.write() as c:
        asked = ask_exception(c, row, actor, plan)
        c.execute(
            t.runs.update()
            .where(t.runs.c.run == row["run"])
            .values(state="waiting", message=f"waits for a decision on {asked}")
        )
        c.execute(t.locks.delete().where(t.locks.c.run == row["run"]))
        audit.append(
            c,
            actor,
            row["act"],
            row["object"],
            row["env"],
            "waiting",
            run=row["run"],
            detail={"request": asked},
        )
    audit.anchor(site.store, site.state)
