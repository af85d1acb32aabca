"""Policy before a run starts: node types, money a run and a month, training time; over it, refuse or hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from esml_engine.costs.pricing import no_price
from esml_engine.settings import PolicySettings

MONEY = ("max_cost_run", "max_cost_month", "budget.month")
"""Limits that an approved exception may lift for later runs, too."""

_LIMITS = ("nodes", "max_nodes", "max_cost_run", "max_cost_month", "max_train_seconds", "over")

LIFTED = "exception"
"""How whose word it is begins where an exception lifts a limit."""

Lifted = Mapping[str, str]
"""Limits that an exception in force, or the approval of this very run, lifts -> whose word that is."""


@dataclass(frozen=True, slots=True)
class Breach:
    """One limit that a run would break in `env`, what follows (`refuse` or `ask`), and what it costs there at p90."""

    key: str
    verdict: str
    origin: str
    reason: str
    env: str
    amount: float


def broken(
    policy: PolicySettings,
    origin: Mapping[str, str],
    predicted: Mapping[str, Any],
    *,
    env: str,
    spent_month: float,
    train_seconds: float = 0.0,
    lifted: Lifted = MappingProxyType({}),
) -> list[Breach]:
    """The limits of one environment's policy that a run breaks; held against p90, or the upper bound without history.

    Limits that no exception lifts for good come first: a broken one is named before money is.
    """
    cost, currency = predicted["cost"]["p90"], predicted["cost"]["currency"]
    node = predicted.get("node", "")
    found: list[Breach] = []

    def over(key: str, reason: str) -> None:
        if key not in lifted:
            found.append(Breach(key, policy.over, origin[key], reason, env, cost))

    if "node" in predicted and node not in policy.nodes:
        allowed = ", ".join(policy.nodes) or "none, since nodes = []"
        over("nodes", f"node type {node or 'of any kind'} is not among those allowed: {allowed}")
    elif "price" in predicted and predicted["price"] is None:
        # no amount that anybody could allow
        found.append(Breach("nodes", "refuse", origin["nodes"], no_price(node), env, cost))
    if train_seconds > policy.max_train_seconds:
        over(
            "max_train_seconds",
            f"a training of {train_seconds:g} s is over max_train_seconds = {policy.max_train_seconds:g}",
        )
    if cost > policy.max_cost_run:
        basis = predicted["cost"]["basis"]
        over(
            "max_cost_run",
            f"predicted {cost:.6g} {currency} (p90, {basis}) is over max_cost_run = {policy.max_cost_run:g} {currency}",
        )
    if spent_month + cost > policy.max_cost_month and cost > 0:
        over(
            "max_cost_month",
            f"{spent_month:.6g} spent this month + predicted {cost:.6g} {currency} is over max_cost_month = {policy.max_cost_month:g} {currency}",
        )
    return found


def limits_of(policy: PolicySettings) -> dict[str, Any]:
    """The limits that a policy sets on a run."""
    return {k: getattr(policy, k) for k in _LIMITS}


def verdict(breaches: Sequence[Breach], policy: PolicySettings, *, home: str, ok: str) -> dict[str, Any]:
    """`{"verdict": "ok|refuse|ask", "origin", "key", "reason", "limits", "env"?, "amount"?, "also"?}` over all that is broken.

    The strictest answer counts, then the first; `also` names the others, each of which is asked for after it. `home` is
    the run's own environment, which goes without saying; `ok` is whose word it is that nothing is broken.
    """
    limits = limits_of(policy)
    if not breaches:
        return {"verdict": "ok", "origin": ok, "key": None, "reason": None, "limits": limits}

    def said(b: Breach) -> str:
        return b.reason if b.env == home else f"in {b.env}: {b.reason}"

    first = next((b for b in breaches if b.verdict == "refuse"), breaches[0])
    found = {
        "verdict": first.verdict,
        "origin": first.origin,
        "key": first.key,
        "reason": said(first),
        "limits": limits,
        "amount": first.amount,
    }
    if first.env != home:
        found["env"] = first.env
    if others := [said(b) for b in breaches if b is not first]:
        found["also"] = others
    return found


def others(n: int) -> str:
    """How many people beside the requester must approve, in words."""
    return "one other person" if n == 1 else f"{n} other people"
