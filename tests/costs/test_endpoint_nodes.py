"""Endpoints on nodes of their own: counted by node and instance, also while no worker looked, and said in the plan."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from esml_engine.costs import records as costs
from esml_engine.costs.pricing import Node, endpoint_month, endpoint_nodes
from esml_engine.door.facts import Call, Draft
from esml_engine.door.start import make_plan
from esml_engine.estate import Estate
from esml_engine.platforms.base import Capabilities, EndpointState
from esml_engine.refs import ModelRef
from esml_engine.serving import acts, records
from esml_engine.serving.keeper import Keeper
from esml_engine.settings import ServingSettings

OWN = Capabilities(endpoints_outlive=True, far_secrets=True, serving_node="big")
HOUR = dt.timedelta(hours=1)


class Away:
    """A platform whose endpoints run on nodes of their own; only what the meter asks is answered."""

    def __init__(self) -> None:
        self.capabilities = OWN
        self.state = EndpointState(True)
        self.stopped: list[str] = []

    def prices(self, nodes: Any = ()) -> dict[str, float]:
        return {"big": 2.0}

    def endpoint_state(self, name: str, *, fresh: bool = False) -> EndpointState:
        return self.state

    def get_secret(self, name: str, *, fresh: bool = False) -> str:
        return "key"

    def stop_endpoint(self, name: str, revision: int = 0) -> None:
        self.stopped.append(name)


def row_of(estate: Estate, ago: dt.timedelta, **slots: int) -> dict[str, Any]:
    at = (dt.datetime.now(dt.UTC) - ago).isoformat(timespec="microseconds")
    row: dict[str, Any] = {
        "object": "p1/m1", "env": "dev", "endpoint": "p1-m1-dev", "port": 8600, "live": "blue" if slots else "",
        "slots": {k: {"instances": n} for k, n in slots.items()}, "save": True, "at": at, "by": "x", "run": "r",
    }  # fmt: skip
    with estate.site.store.write() as c:
        records.put(c, row)
    return records.listing(estate.site.store)[0]


def spent(estate: Estate) -> float:
    return costs.spent(estate.site.store, act=costs.ENDPOINT)


def test_every_instance_of_every_slot_is_counted_from_the_deployment_on(empty: Estate) -> None:
    platform = Away()
    keeper = Keeper(empty.site, lambda env: platform)
    row = row_of(empty, 3 * HOUR, blue=2, green=1)
    keeper._count_from(row)
    keeper.meter([row])
    assert spent(empty) == pytest.approx(3 * 3 * 2.0, rel=1e-3)
    another = Keeper(empty.site, lambda env: platform)  # the next worker takes up where the meter stands
    another._count_from(row)
    another.meter([row])
    assert spent(empty) == pytest.approx(3 * 3 * 2.0, rel=1e-3)


def test_what_ran_while_no_worker_looked_is_counted_once(empty: Estate) -> None:
    platform = Away()
    now = dt.datetime.now(dt.UTC)
    row = row_of(empty, 9 * HOUR, blue=1)
    with empty.site.store.write() as c:
        costs.meter_endpoint(
            c, endpoint="p1-m1-dev", object_="p1/m1", env="dev", node="big", price=2.0, since=now - 9 * HOUR, until=now - 4 * HOUR
        )  # fmt: skip
    assert spent(empty) == pytest.approx(5 * 2.0, rel=1e-3)
    keeper = Keeper(empty.site, lambda env: platform)
    keeper._count_from(row)
    platform.state = EndpointState(False, error="Azure does not answer")
    keeper.meter([row])
    assert spent(empty) == pytest.approx(5 * 2.0, rel=1e-3), "it can't be asked: nothing is claimed yet"
    platform.state = EndpointState(True)
    keeper.meter([row])
    assert spent(empty) == pytest.approx(9 * 2.0, rel=1e-3), "and it ran meanwhile"


def test_an_endpoint_that_was_away_is_counted_from_its_new_deployment(empty: Estate) -> None:
    platform, now = Away(), dt.datetime.now(dt.UTC)
    with empty.site.store.write() as c:
        costs.meter_endpoint(
            c, endpoint="p1-m1-dev", object_="p1/m1", env="dev", node="big", price=2.0, since=now - 9 * HOUR, until=now - 8 * HOUR
        )  # fmt: skip
    keeper = Keeper(empty.site, lambda env: platform)
    row = row_of(empty, HOUR, blue=1)
    keeper._count_from(row)
    keeper.meter([row])
    assert spent(empty) == pytest.approx((1 + 1) * 2.0, rel=1e-3)


def test_one_that_was_ended_while_no_worker_looked_is_counted_until_it_is_gone(empty: Estate) -> None:
    platform, now = Away(), dt.datetime.now(dt.UTC)
    with empty.site.store.write() as c:
        costs.meter_endpoint(
            c, endpoint="p1-m1-dev", object_="p1/m1", env="dev", node="big", price=2.0, since=now - 5 * HOUR,
            until=now - 2 * HOUR, nodes=2
        )  # fmt: skip
    row = row_of(empty, HOUR)
    keeper = Keeper(empty.site, lambda env: platform)
    keeper._look_after(row, None)
    assert platform.stopped == ["p1-m1-dev"] and spent(empty) == pytest.approx(5 * 2 * 2.0, rel=1e-3)
    platform.state = EndpointState(False)
    keeper._look_after(row, None)
    platform.state = EndpointState(True)  # somebody else's of the same name
    keeper._look_after(row, None)
    assert spent(empty) == pytest.approx(5 * 2 * 2.0, rel=1e-3)


def test_a_first_deployment_is_counted_though_its_worker_was_killed_before_it_metered(
    empty: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, ref = Away(), ModelRef("p1", "m1")
    site = SimpleNamespace(
        store=empty.site.store, state=empty.site.state, settings=Serving(), platform=lambda env: platform
    )
    desk = SimpleNamespace(site=site, run="r", actor=SimpleNamespace(rights="x"), commit=committed(empty))
    version = {"version": 1, "folder": "f", "sha256": "s"}
    monkeypatch.setattr(acts.models, "get_version", lambda *_: version)
    ago = (dt.datetime.now(dt.UTC) - 3 * HOUR).isoformat(timespec="microseconds")
    monkeypatch.setattr(acts, "now", lambda: ago)
    call, draft = Call("deploy", "p1/m1", "dev", {}), Draft(will=(), params={"version": 1})
    acts.Deploy()._slot(call, ref, draft, cast(Any, desk))
    row_of(empty, 2 * HOUR)  # ended without a worker: the next one finds it running
    Keeper(empty.site, lambda env: platform)._look_after(records.listing(empty.site.store)[0], None)
    assert platform.stopped == ["p1-m1-dev"]
    assert spent(empty) == pytest.approx(3 * 2 * 2.0, rel=1e-3)


class Serving:
    """The settings that a deployment asks for: two instances."""

    estate = SimpleNamespace(serving=SimpleNamespace(ports="8600-8699"))

    def model(self, ref: ModelRef) -> Any:
        return SimpleNamespace(serving={"dev": ServingSettings(instances=2)}, rnd={})


def committed(estate: Estate) -> Any:
    def commit(change: Any) -> Any:
        with estate.site.store.write() as c:
            return change(c)

    return commit


def test_a_month_of_an_endpoint_is_its_nodes_and_instances() -> None:
    assert endpoint_month(Node("big", 2.0), endpoint_nodes(OWN, 3), "EUR") == {
        "p50": 4380.0, "p90": 4380.0, "currency": "EUR", "basis": "3 nodes big × 730 h",
    }  # fmt: skip
    assert endpoint_nodes(Capabilities(), 3) == 1, "one process, however many instances are asked for"
    assert "prices" in endpoint_month(Node("big", None), 1, "EUR")["basis"]


class Standing:
    """An act whose run leaves two instances of an endpoint up."""

    name = "deploy"

    def plan(self, call: Call, site: Any) -> Draft:
        return Draft(will=("stand",), stands=2, bound_seconds=10.0)


def test_the_plan_says_what_stays_up_and_refuses_what_has_no_price(
    empty: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, call = empty.site, Call("deploy", "p1/m1", "dev", {})
    platform = site.platform("dev")

    def planned() -> Any:
        return make_plan(site, cast(Any, Standing()), empty.actor, call)

    assert planned().predicted["endpoint_month"]["basis"] == "1 node local.small × 730 h"
    monkeypatch.setattr(platform, "capabilities", replace(platform.capabilities, serving_node="big"))
    said = planned().policy
    assert said["verdict"] == "refuse" and 'prices."big"' in said["reason"]
    monkeypatch.setattr(platform, "prices", lambda nodes=(): {"big": 2.0})
    assert planned().policy["verdict"] == "ok"
    assert planned().predicted["endpoint_month"]["p90"] == 2920.0
    assert empty.model("p1/m1").cost()["predicted"]["endpoint_month"]["p90"] == 1460.0
