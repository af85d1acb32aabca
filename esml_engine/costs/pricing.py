"""Which node type a run takes, and at what price an hour: one answer for plans, meters and pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from esml_engine.platforms.base import Capabilities
from esml_engine.settings import PolicySettings, Settings

PricesOf = Callable[[Sequence[str]], Mapping[str, float]]
"""What a platform knows of the prices of node types, as `Platform.prices` says it."""
HOURS_OF_MONTH = 730.0


@dataclass(frozen=True)
class Node:
    """A node type with its price an hour; None: nobody knows it, which is not nothing."""

    name: str
    price: float | None

    @property
    def counted(self) -> float:
        """The price that a meter counts with: what has no price is counted as nothing, and no policy lets it start."""
        return self.price or 0.0

    @property
    def unpriced(self) -> str:
        """Why nothing may be spent on it; empty when it has a price."""
        return "" if self.price is not None or not self.name else no_price(self.name)


def no_price(node: str) -> str:
    """In words that a node type has no price, and what gives it one."""
    return f'{node} has no price: set prices."{node}", or see with esml doctor whether the list of prices can be read'


def next_node(settings: Settings, policy: PolicySettings, prices: PricesOf) -> Node:
    """The node type that the next run under a policy takes."""
    return priced(settings, policy.nodes[0] if policy.nodes else "", prices)


def endpoint_node(
    settings: Settings, policy: PolicySettings, prices: PricesOf, capabilities: Capabilities
) -> Node:
    """The node type that an endpoint's instances run on: the platform's own for endpoints, else the runs'."""
    if capabilities.serving_node:
        return priced(settings, capabilities.serving_node, prices)
    return next_node(settings, policy, prices)


def endpoint_nodes(capabilities: Capabilities, instances: int) -> int:
    """How many nodes so many instances of an endpoint take: one each where they have nodes of their own, else one in all."""
    return instances if capabilities.serving_node else 1


def endpoint_month(node: Node, nodes: int, currency: str) -> dict[str, Any]:
    """What an endpoint costs that stays up for a month, in the form of `prediction.money`."""
    month = round(nodes * node.counted * HOURS_OF_MONTH, 6)
    many = f"{nodes} node{'' if nodes == 1 else 's'}"
    basis = node.unpriced or f"{many} {node.name} × {HOURS_OF_MONTH:g} h"
    return {"p50": month, "p90": month, "currency": currency, "basis": basis}


def priced(settings: Settings, node: str, prices: PricesOf) -> Node:
    """A node type with its price: the platform's, else the estate's list."""
    value = prices([node]).get(node, settings.prices().get(node)) if node else None
    return Node(node, None if value is None else float(value))
