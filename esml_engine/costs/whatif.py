"""What a run would cost if: another node type, more nodes, more rows, another training profile. The prediction is the plans' own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from esml_engine.costs.prediction import Past, Seconds, money, predict_seconds


@dataclass(frozen=True)
class Scenario:
    """One question. `size` is in the history's own unit (bytes for refine, rows for train), `limit` what a run can't pass."""

    node: str
    nodes: int
    price: float  # per node hour
    size: float
    limit: float  # seconds
    search: float = 0.0  # seconds that a training is allowed


@dataclass(frozen=True)
class Answer:
    """Time and money, and what each figure rests on, in words."""

    seconds: Seconds
    cost: dict[str, Any]
    basis: tuple[str, ...]


def what_if(
    history: list[Past], asked: Scenario, currency: str, *, measured_on: str, usual_size: float
) -> Answer:
    """Predict a run under a scenario.

    Args:
        history: ended runs, oldest first, as `costs.records.history` gives them.
        measured_on: the node type that they ran on.
        usual_size: the size that the next run would have as things are.
    """
    found = predict_seconds(history, asked.size, asked.limit, asked.search)
    basis = [
        f"time: {found.basis}" + (f", {found.runs[0]} … {found.runs[-1]}" if len(found.runs) > 1 else "")
    ]
    if history and usual_size > 0 and asked.size != usual_size:
        biggest = max(h.size for h in history)
        far = " (beyond what any of them had: extrapolated)" if asked.size > biggest else ""
        flat = ""
        if _flat(history, asked, found, usual_size):
            flat = "; these runs show no growth with size"
            if asked.size > biggest > 0:  # what they do not show may be there all the same
                most = found.p50 * asked.size / biggest
                most = min(most, asked.limit) if asked.limit else most
                found = replace(found, p90=max(found.p90, most))
                flat += ", p90 is as if time grew with it"
        basis.append(f"size: {asked.size / usual_size:.3g} × the next run's{far}{flat}")
    if history and asked.node != measured_on:
        basis.append(f"node: measured on {measured_on}; the same time is assumed on {asked.node}")
    if asked.nodes > 1:
        basis.append(
            f"nodes: no run on {asked.nodes} nodes was measured; the same time is assumed on each of them"
        )
    basis.append(f"price: {asked.price:g} {currency} an hour of {asked.node} × {asked.nodes}")
    return Answer(found, money(found, asked.nodes, asked.price, currency), tuple(basis))


def _flat(history: list[Past], asked: Scenario, found: Seconds, usual_size: float) -> bool:
    """Whether the history says the same time for the usual size: too few or too similar runs, mostly."""
    usual = predict_seconds(history, usual_size, asked.limit, asked.search)
    return len(history) > 1 and usual.p50 == found.p50
