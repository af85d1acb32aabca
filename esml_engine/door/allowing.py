"""What policies and the budget say of a plan's money: in each environment on its way, with the exceptions in force there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esml_engine.costs import records as costs
from esml_engine.costs.pricing import endpoint_month, endpoint_node, endpoint_nodes
from esml_engine.door import requests
from esml_engine.door.facts import Call, Draft
from esml_engine.door.policy import LIFTED, Breach, broken, verdict
from esml_engine.door.site import Site
from esml_engine.refs import ModelRef
from esml_engine.settings import PolicySettings, Settings

Granted = Mapping[tuple[str, str], str]
"""`(environment, limit)` that a run was approved for when it was held -> whose word that is."""


def allowed_money(
    site: Site, call: Call, draft: Draft, predicted: dict[str, Any], search: float, granted: Granted
) -> tuple[dict[str, Any], float, Any]:
    """The verdict on a run, what it leaves of the project's budget at p90, and the policies that it rests on.

    A chain is held against the policy of each environment that it does something in, and all of it against the budget.
    `predicted` gains `endpoint_month` where the act leaves an endpoint up.
    """
    settings, ref = site.settings, ModelRef.parse(call.object)
    month = costs.month_start()
    home, whose = settings.policy(ref, call.env)
    in_force: dict[str, Any] = {}
    breaches: list[Breach] = []
    ok = whose["max_cost_run"]
    for env, its in (predicted.get("environments") or {call.env: predicted}).items():
        policy, origin = settings.policy(ref, env)
        in_force[env] = policy.model_dump(mode="json")
        cost = its["cost"]["p90"]
        spent = costs.spent(site.store, project=ref.project, env=env, since=month)
        lifted = _lifted(site, call.object, env, cost)
        if spent + cost > policy.max_cost_month:
            ok = lifted.get("max_cost_month", ok)
        if cost > policy.max_cost_run:
            ok = lifted.get("max_cost_run", ok)
        breaches += broken(
            policy,
            origin,
            its,
            env=env,
            spent_month=spent,
            train_seconds=search if env == call.env else 0.0,
            lifted=lifted | {key: by for (where, key), by in granted.items() if where == env},
        )
    in_force.setdefault(call.env, home.model_dump(mode="json"))
    cost, budget = predicted["cost"]["p90"], settings.project(ref.project).budget.month
    spent = costs.spent(site.store, project=ref.project, since=month)
    if cost > 0 and spent + cost > budget:
        lifted = _lifted(site, call.object, call.env, cost)
        ok = lifted.get("budget.month", ok)
        if "budget.month" not in lifted:
            breaches.append(_over_budget(settings, call, predicted["cost"], home.over, budget, spent))
    if draft.stands:
        breaches += _standing(site, call, draft, predicted, home)
    only = in_force[call.env] if list(in_force) == [call.env] else in_force
    return verdict(breaches, home, home=call.env, ok=ok), round(budget - spent - cost, 6), only


def _over_budget(
    settings: Settings, call: Call, cost: dict[str, Any], over: str, budget: float, spent: float
) -> Breach:
    currency = settings.estate.currency
    said = f"{spent:.6g} spent this month + predicted {cost['p90']:.6g} {currency} is over the project's budget of {budget:g} {currency}"
    return Breach("budget.month", over, budget_origin(settings, call.project), said, call.env, cost["p90"])


def _standing(
    site: Site, call: Call, draft: Draft, predicted: dict[str, Any], policy: PolicySettings
) -> list[Breach]:
    """The month of the endpoint that the act leaves up goes into `predicted`; a node without a price is refused."""
    settings, platform = site.settings, site.platform(call.env)
    serving = endpoint_node(settings, policy, platform.prices, platform.capabilities)
    nodes = endpoint_nodes(platform.capabilities, draft.stands)
    predicted["endpoint_month"] = endpoint_month(serving, nodes, settings.estate.currency)
    if not serving.unpriced:
        return []
    return [Breach("nodes", "refuse", "prices", serving.unpriced, call.env, predicted["cost"]["p90"])]


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
            said = f"{LIFTED} {e['request']} of {e['amount']:g} until {e['until'][:10]}, approved by {e['approved_by']}"
            out.setdefault(e["key"], said)
    return out


def budget_origin(settings: Settings, project: str) -> str:
    """Whose word the project's budget of the month is."""
    row = next(e for e in settings.rows(project) if e.key == "budget.month")
    return f"override on {project} by {row.by}" if row.by else f"{project} ({row.origin})"
