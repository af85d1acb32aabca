"""Policy before a run starts: node types, money a run and a month, training time; over it, refuse or hold."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from esml_engine.costs.pricing import no_price
from esml_engine.settings import PolicySettings

MONEY = ("max_cost_run", "max_cost_month", "budget.month")
"""Limits that an approved exception may lift."""


Lifted = Mapping[str, str]
"""Limits that an exception in force lifts for this run -> whose word that is."""


def within_budget(
    judged: dict[str, Any],
    over: str,
    budget: float,
    origin: str,
    spent: float,
    predicted: dict[str, Any],
    lifted: Lifted,
) -> dict[str, Any]:
    """The verdict, with the project's budget of the month held against what was spent and the predicted p90."""
    cost, currency = predicted["cost"]["p90"], predicted["cost"]["currency"]
    if judged["verdict"] != "ok" or cost <= 0 or spent + cost <= budget:
        return judged
    if "budget.month" in lifted:
        return {**judged, "origin": lifted["budget.month"]}
    said = f"{spent:.2f} spent this month + predicted {cost:.6g} {currency} is over the project's budget of {budget:g} {currency}"
    return {
        **judged,
        "verdict": over,
        "origin": origin,
        "key": "budget.month",
        "reason": said,
    }


def verdict(
    policy: PolicySettings,
    origin: dict[str, str],
    predicted: dict[str, Any],
    *,
    spent_month: float,
    train_seconds: float = 0.0,
    lifted: Lifted = MappingProxyType({}),
) -> dict[str, Any]:
    """`{"verdict": "ok|refuse|ask", "origin", "reason", "limits"}`; held against p90, or the upper bound without history.

    Limits that no exception lifts come first: a broken one is named before money is.
    """
    cost = predicted["cost"]["p90"]
    currency = predicted["cost"]["currency"]
    node = predicted.get("node", "")
    broken = ""
    key = ""
    over = policy.over
    whose = origin["max_cost_run"]
    dear = cost > policy.max_cost_run
    full = spent_month + cost > policy.max_cost_month and cost > 0
    for limit, passed in (("max_cost_run", dear), ("max_cost_month", full)):
        if passed and limit in lifted:
            whose = lifted[limit]
    if "node" in predicted and node not in policy.nodes:
        allowed = ", ".join(policy.nodes) or "none, since nodes = []"
        key, broken = "nodes", f"node type {node or 'of any kind'} is not among those allowed: {allowed}"
    elif "price" in predicted and predicted["price"] is None:
        key, broken, over = "nodes", no_price(node), "refuse"  # no amount that anybody could allow
    elif train_seconds > policy.max_train_seconds:
        key, broken = (
            "max_train_seconds",
            f"a training of {train_seconds:g} s is over max_train_seconds = {policy.max_train_seconds:g}",
        )
    elif dear and "max_cost_run" not in lifted:
        key, broken = (
            "max_cost_run",
            f"predicted {cost:.6g} {currency} (p90, {predicted['cost']['basis']}) is over max_cost_run = {policy.max_cost_run:g} {currency}",
        )
    elif full and "max_cost_month" not in lifted:
        key, broken = (
            "max_cost_month",
            f"{spent_month:.2f} spent this month + predicted {cost:.6g} {currency} is over max_cost_month = {policy.max_cost_month:g} {currency}",
        )
    limits = {
        k: getattr(policy, k)
        for k in ("nodes", "max_nodes", "max_cost_run", "max_cost_month", "max_train_seconds", "over")
    }
    if broken:
        return {"verdict": over, "origin": origin[key], "key": key, "reason": broken, "limits": limits}
    return {"verdict": "ok", "origin": whose, "key": None, "reason": None, "limits": limits}
