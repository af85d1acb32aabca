"""What a plan's run will take and cost: each of its parts by the history of that act, in the environment where it runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from esml_engine.costs import records as costs
from esml_engine.costs.prediction import UNKNOWN, Seconds, money, predict_seconds
from esml_engine.costs.pricing import Node, next_node
from esml_engine.door.facts import Call, Draft, Part
from esml_engine.door.site import Site
from esml_engine.refs import ModelRef


def nothing_spent(size: float, currency: str) -> dict[str, Any]:
    """The prediction of an act that runs no job."""
    seconds = predict_seconds([], 0, 0)
    return {
        "seconds": {"p50": 0.0, "p90": 0.0, "basis": seconds.basis},
        "cost": money(seconds, 1, 0.0, currency),
        "size": size,
        "node": "",
    }


def run_ahead(site: Site, call: Call, draft: Draft, search: float) -> dict[str, Any]:
    """Seconds and money of the run that a draft describes, the node type and its price (None: it has none).

    A chain's p50 and p90 are the sums of its parts': the sum of p90s is never below the p90 of the sum, so a limit
    that is held against it is held.
    """
    settings, ref = site.settings, ModelRef.parse(call.object)
    whole = Part(call.act, call.env, draft.bound_seconds, draft.size, search)
    found = []
    for part in draft.parts or (whole,):
        history = costs.history(site.store, call.object, part.env, part.act)
        size = part.size
        if draft.parts and not size and (sizes := [h.size for h in history if h.size > 0]):
            size = statistics.median(
                sizes
            )  # what the parts before it make is not there yet: as large as usual
        seconds = predict_seconds(history, size, part.bound_seconds, part.search)
        policy, _ = settings.policy(ref, part.env)
        found.append((part, seconds, next_node(settings, policy, site.platform(part.env).prices)))
    seconds = found[0][1] if not draft.parts else _together(call.env, [(p, s) for p, s, _ in found])
    cost = money(seconds, 1, found[0][2].counted, settings.estate.currency)
    if draft.parts:
        for q in ("p50", "p90"):
            cost[q] = round(sum(getattr(s, q) / 3600 * node.counted for _, s, node in found), 6)
    node = _node([n for _, _, n in found])
    several = {p.env for p, _, _ in found} != {call.env}
    return {
        "seconds": {"p50": seconds.p50, "p90": seconds.p90, "basis": seconds.basis},
        "cost": cost,
        "size": draft.size,
        "node": node.name,
        "price": node.price,
        **({"environments": _by_environment(found, settings.estate.currency)} if several else {}),
    }


def _by_environment(found: Sequence[tuple[Part, Seconds, Node]], currency: str) -> dict[str, dict[str, Any]]:
    """What a chain takes in each environment on its way: `{"cost", "node", "price"}`, as its policy is asked."""
    out: dict[str, dict[str, Any]] = {}
    for env in dict.fromkeys(p.env for p, _, _ in found):
        its = [(p, s) for p, s, _ in found if p.env == env]
        node = next(n for p, _, n in found if p.env == env)
        out[env] = {
            "cost": money(_together(env, its), 1, node.counted, currency),
            "node": node.name,
            "price": node.price,
        }
    return out


def _node(nodes: Sequence[Node]) -> Node:
    """The first part's node type, or the first that has no price: nobody could allow an unknown amount."""
    return next((n for n in nodes if n.price is None), nodes[0])


def _together(home: str, parts: Sequence[tuple[Part, Seconds]]) -> Seconds:
    """The parts' seconds added, with the basis of each; parts without a history come first."""

    def named(part: Part) -> str:
        return part.act if part.env == home else f"{part.act} in {part.env}"

    unknown = [named(p) for p, s in parts if s.basis == UNKNOWN]
    known = [f"{named(p)} {s.basis}" for p, s in parts if s.basis != UNKNOWN]
    basis = UNKNOWN
    if known:
        first = [f"{UNKNOWN} of {', '.join(unknown)}"] if unknown else []
        basis = "; ".join([*first, *known])
    runs = tuple(dict.fromkeys(r for _, s in parts for r in s.runs))
    return Seconds(sum(s.p50 for _, s in parts), sum(s.p90 for _, s in parts), basis, runs)
