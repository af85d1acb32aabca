"""What policies and the budget say of a plan's money: in each environment on its way, with the exceptions in force there."""

from __future__ import annotations

from typing import Any

from esml_engine.costs import records as costs
from esml_engine.costs.pricing import endpoint_month, endpoint_node, endpoint_nodes
from esml_engine.door import requests
from esml_engine.door.facts import Call, Draft
from esml_engine.door.policy import verdict, within_budget
from esml_engine.door.site import Site
from esml_engine.refs import ModelRef
from esml_engine.settings import Settings

_RANK = {"ok": 0, "ask": 1, "refuse": 2}


def allowed_money(
    site: Site, call: Call, draft: Draft, predicted: dict[str, Any], search: float
) -> tuple[dict[str, Any], float, Any]:
    """The verdict on a run, what it leaves of the project's budget at p90, and the policies that it rests on.

    A chain is held against the policy of each environment that it does something in; the strictest answer counts, and
    names its `env`. `predicted` gains `endpoint_month` where the act leaves an endpoint up.
    """
    settings, ref, currency = site.settings, ModelRef.parse(call.object), site.settings.estate.currency
    month = costs.month_start()
    judged: dict[str, Any] = {}
    in_force: dict[str, Any] = {}
    for env, its in (predicted.get("environments") or {call.env: predicted}).items():
        policy, origin = settings.policy(ref, env)
        in_force[env] = policy.model_dump(mode="json")
        found = verdict(
            policy,
            origin,
            its,
            spent_month=costs.spent(site.store, project=ref.project, env=env, since=month),
            train_seconds=search if env == call.env else 0.0,
            lifted=_lifted(site, call.object, env, its["cost"]["p90"]),
        )
        if env != call.env:
            found |= {"env": env, "reason": found["reason"] and f"in {env}: {found['reason']}"}
        if not judged or _RANK[found["verdict"]] > _RANK[judged["verdict"]]:
            judged = found
    policy, _ = settings.policy(ref, call.env)
    in_force.setdefault(call.env, policy.model_dump(mode="json"))
    budget = settings.project(ref.project).budget.month
    spent = costs.spent(site.store, project=ref.project, since=month)
    lifted = _lifted(site, call.object, call.env, predicted["cost"]["p90"])
    judged = within_budget(
        judged, policy.over, budget, _budget_origin(settings, ref.project), spent, predicted, lifted
    )
    if draft.stands:
        platform = site.platform(call.env)
        serving = endpoint_node(settings, policy, platform.prices, platform.capabilities)
        nodes = endpoint_nodes(platform.capabilities, draft.stands)
        predicted["endpoint_month"] = endpoint_month(serving, nodes, currency)
        if serving.unpriced and judged["verdict"] == "ok":
            judged |= {"verdict": "refuse", "origin": "prices", "key": "nodes", "reason": serving.unpriced}
    only = in_force[call.env] if list(in_force) == [call.env] else in_force
    return judged, round(budget - spent - predicted["cost"]["p90"], 6), only


def _lifted(site: Site, object_: str, env: str, cost: float) -> dict[str, str]:
    """The limits on money that exceptions lift for a run of this predicted cost -> whose word that is.

    One from `max_cost_run` covers each run up to its amount; one from a limit of the month covers so much in all, with
    what was spent on the model there since it was asked for.
    """
    out: dict[str, str] = {}
    for e in requests.exceptions_in_force(site.store, object_, env):
        since = "" if e["key"] == "max_cost_run" else e["since"]
        used = costs.spent(site.store, object_=object_, env=env, since=since) if since else 0.0
        if used + cost <= e["amount"]:
            said = f"exception {e['request']} of {e['amount']:g} until {e['until'][:10]}, approved by {e['approved_by']}"
            out.setdefault(e["key"], said)
    return out


def _budget_origin(settings: Settings, project: str) -> str:
    """Whose word the project's budget of the month is."""
    row = next(e for e in settings.rows(project) if e.key == "budget.month")
    return f"override on {project} by {row.by}" if row.by else f"{project} ({row.origin})"
