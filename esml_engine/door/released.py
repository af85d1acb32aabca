"""A run that waited for an exception and was let go: it does what was approved, or nothing."""

from __future__ import annotations

from typing import Any

from esml_engine.door import requests
from esml_engine.door.facts import Act, Actor, Call
from esml_engine.door.site import Site
from esml_engine.door.start import make_plan
from esml_engine.errors import EsmlError, StalePlanError
from esml_engine.runs import records
from esml_engine.store import schema as t


def exception_of(site: Site, run: str) -> dict[str, Any] | None:
    """The newest request for an exception that a run was held by."""
    found = requests.listing(site.store, run=run)
    return next((r for r in found if r["kind"] == requests.EXCEPTION), None)


def require_as_approved(site: Site, act: Act, row: dict[str, Any]) -> None:
    """Look at a held run's facts again before its first step; a run that was never held, or has begun, passes.

    Its request covers this plan at this price, so both are made anew: an IN file that came while it waited, other
    code, settings or rights, or a prediction above the approved amount end the run, and its request is stale.

    Raises:
        StalePlanError: with what changed.
    """
    asked = exception_of(site, row["run"])
    if asked is None or any(
        s["state"] == "done" or s["attempt"] for s in records.steps(site.store, row["run"])
    ):
        return
    changed = _changed(site, act, row, asked)
    if not changed:
        return
    with site.store.write() as c:
        requests.outdated(c, asked["request"])
    lifted = t.exceptions.select().where(t.exceptions.c.request == asked["request"])
    stands = site.store.first(lifted) is not None
    hint = "start it again: what is there now is planned anew"
    if stands:
        hint += f", and exception {asked['request']} covers up to {float(asked['detail']['amount']):g} {asked['detail']['currency']}"
    raise StalePlanError(
        f"request {asked['request']} is stale: {changed}", hint=hint, request=asked["request"], state="stale"
    )


def _changed(site: Site, act: Act, row: dict[str, Any], asked: dict[str, Any]) -> str:
    if asked["state"] != "approved":
        return f"it is {asked['state']}"
    call = Call(row["act"], row["object"], row["env"], row["params"])
    try:
        plan = make_plan(site, act, Actor(row["actor"], row["as_actor"]), call)
    except EsmlError as e:
        return e.message
    if plan.hash != row["plan_hash"]:
        return f"the facts under {row['act']} changed while it waited"
    if not plan.allowed:
        return plan.reason
    held = (plan.policy.get("env") or row["env"], plan.policy["key"])
    if plan.policy["verdict"] != "ok" and held != (asked["env"], asked["detail"]["key"]):
        return str(plan.policy["reason"])  # another limit than the one that was lifted
    cost, amount = plan.predicted["cost"], float(asked["detail"]["amount"])
    if cost["p90"] > amount:
        return f"{cost['p90']:.6g} {cost['currency']} is predicted now, {amount:g} {cost['currency']} was approved"
    return ""
