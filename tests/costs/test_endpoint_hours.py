"""An endpoint's hours: counted once each, whatever is told twice; spent is runs and endpoints, by name."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esml_engine.costs import records as costs
from esml_engine.estate import Estate, open_estate
from esml_engine.portfolio.money import cost
from esml_engine.store import schema as t
from tests.working import until, worker

START = dt.datetime(2026, 10, 31, 22, 30, tzinfo=dt.UTC)
names = (f"p1-m1-dev-{n}" for n in itertools.count())


def tell(estate: Estate, name: str, since: dt.datetime, until_: dt.datetime, price: float = 0.1) -> None:
    with estate.site.store.write() as c:
        costs.meter_endpoint(
            c,
            endpoint=name,
            object_="p1/m1",
            env="dev",
            node="local.small",
            price=price,
            since=since,
            until=until_,
        )


def rows(estate: Estate, name: str) -> list[dict[str, Any]]:
    m = t.meter
    return estate.site.store.rows(m.select().where(m.c.run == f"endpoint:{name}").order_by(m.c.step))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=8), st.data())
def test_each_second_is_counted_once(empty: Estate, steps: list[int], data: st.DataObject) -> None:
    """Intervals one after the other, each perhaps told again, perhaps with an earlier start."""
    name = next(names)
    at = START
    for seconds in steps:
        new = at + dt.timedelta(seconds=seconds)
        since = at - dt.timedelta(seconds=data.draw(st.sampled_from([0, 0, 40]))) if at > START else at
        for _ in range(data.draw(st.integers(1, 2))):
            tell(empty, name, since, new)
        at = new
    found = rows(empty, name)
    assert sum(r["seconds"] for r in found) == pytest.approx((at - START).total_seconds(), abs=0.001)
    assert len(found) == len({r["step"] for r in found}) <= sum(steps) // 3600 + 2
    assert all(r["seconds"] <= 3600.001 and r["at"][:13] == r["step"] for r in found)
    assert sum(r["cost"] for r in found) == pytest.approx(sum(steps) / 3600 * 0.1, rel=1e-4)


def test_a_new_price_counts_for_what_is_new(empty: Estate) -> None:
    hour = START.replace(minute=0)
    ten = dt.timedelta(minutes=10)
    tell(empty, "priced", hour, hour + 3 * ten)
    tell(empty, "priced", hour, hour + 3 * ten, price=6.0)  # told again: nothing new
    (row,) = rows(empty, "priced")
    assert row["cost"] == pytest.approx(0.05)
    tell(empty, "priced", hour + 3 * ten, hour + 4 * ten, price=6.0)
    (row,) = rows(empty, "priced")
    assert row["cost"] == pytest.approx(0.05 + 1.0) and row["seconds"] == pytest.approx(2400)


def test_spent_is_runs_and_endpoints(empty: Estate, numbers: Any) -> None:
    empty.model("p1/m1").ingest("d1", [numbers("a.csv", 0, 60)], "2026-01-01")
    empty.model("p1/m1").refine()
    end = dt.datetime.now(dt.UTC)
    month = end.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    tell(empty, "p1-m1-dev", max(month, end - dt.timedelta(hours=3)), end)
    ran = min(3.0, (end - month).total_seconds() / 3600)
    for scope in ("p1/m1", "p1", "estate"):
        said = cost(empty.site, scope, "dev")
        assert said["spent_on"]["endpoints"] == pytest.approx(0.1 * ran, abs=1e-4)
        assert said["spent_on"]["runs"] == pytest.approx(sum(r["cost"] for r in empty.runs()), abs=1e-6)
        assert said["spent"] == pytest.approx(sum(said["spent_on"].values()), abs=1e-5)


def test_a_workers_endpoint_is_metered_while_it_runs(demo: Path) -> None:
    estate = open_estate(demo)
    m = t.meter
    before = costs.spent(estate.site.store, act=costs.ENDPOINT)
    began = dt.datetime.now(dt.UTC)
    with worker(demo):
        site = estate.site
        deployed = [d for d in site.store.rows(t.deployments.select()) if d["slots"]]
        until(
            lambda: all(site.platform(d["env"]).endpoint_state(d["endpoint"]).running for d in deployed),
            "the endpoints",
        )
    took = (dt.datetime.now(dt.UTC) - began).total_seconds()
    found = estate.site.store.rows(m.select().where(m.c.act == costs.ENDPOINT))
    assert {r["run"] for r in found} >= {f"endpoint:{d['endpoint']}" for d in deployed}
    more = costs.spent(estate.site.store, act=costs.ENDPOINT) - before
    assert 0 < more <= len(deployed) * took / 3600 * 0.4
