"""Which endpoints are up, and what an hour of each costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from esml_engine.costs.pricing import PricesOf, endpoint_node, endpoint_nodes
from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.platforms.base import Capabilities
from esml_engine.refs import ModelRef
from esml_engine.runs import leases
from esml_engine.serving import records


@dataclass(frozen=True)
class Up:
    """An endpoint that costs money now."""

    object: str
    env: str
    price: float  # an hour of all its nodes

    @property
    def project(self) -> str:
        """Whose money it is."""
        return self.object.split("/")[0]


def up_now(site: Site) -> list[Up]:
    """Every endpoint that is wanted and can be up: where endpoints do not outlive the worker, only while there is one.

    Prices are the platform's, else the estate's list; so they are where an environment can't be reached, and its
    endpoints count: nobody ended them.
    """
    rows = [r for r in records.listing(site.store) if r["slots"]]
    if not rows:
        return []
    holder = leases.holder(site.store)
    alive = bool(
        holder and holder.alive and holder.kind != "command"
    )  # a command keeps none up longer than it runs
    known = {env: _platform(site, env) for env in {r["env"] for r in rows}}
    out = []
    for r in rows:
        can, prices = known[r["env"]]
        if alive or can.endpoints_outlive:
            policy, _ = site.settings.policy(site.settings.around(ModelRef.parse(r["object"])), r["env"])
            node = endpoint_node(site.settings, policy, prices, can)
            instances = sum(int(s.get("instances", 1)) for s in r["slots"].values())
            out.append(Up(r["object"], r["env"], node.counted * endpoint_nodes(can, instances)))
    return out


def hourly(up: Collection[Up], *, project: str = "", object_: str = "", env: str = "") -> float:
    """What an hour of these endpoints costs together, filtered as `costs.records.spent` is."""
    return sum(
        u.price for u in up if project in ("", u.project) and object_ in ("", u.object) and env in ("", u.env)
    )


def _platform(site: Site, env: str) -> tuple[Capabilities, PricesOf]:
    """What an environment's platform can, and its own prices, where it can be asked; else its endpoints count as up."""

    def prices(nodes: Sequence[str]) -> Mapping[str, float]:
        try:
            return site.platform(env).prices(nodes)
        except EsmlError:
            return {}

    try:
        return site.platform(env).capabilities, prices
    except EsmlError:
        return Capabilities(endpoints_outlive=True), prices
