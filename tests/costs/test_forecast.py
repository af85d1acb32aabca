"""The month's end: runs as a straight line, endpoints by the hours that are left."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esml_engine.costs.forecast import month_end
from esml_engine.estate import open_estate
from esml_engine.portfolio.money import cost
from esml_engine.runs import leases
from esml_engine.serving.hours import hourly, up_now
from esml_engine.store import schema as t

NOON = dt.datetime(2026, 11, 16, 0, tzinfo=dt.UTC)  # fifteen of thirty days are gone


def test_runs_go_on_and_endpoints_cost_what_is_left() -> None:
    assert month_end(6.0, 0.0, 0.0, NOON) == 12.0
    assert month_end(0.0, 6.0, 0.0, NOON) == 6.0, "what was taken down costs no more"
    assert month_end(6.0, 2.0, 0.1, NOON) == pytest.approx(12.0 + 2.0 + 0.1 * 15 * 24)


def test_the_first_day_counts_as_one_and_the_last_hour_adds_one_hour() -> None:
    first = dt.datetime(2026, 11, 1, 0, 30, tzinfo=dt.UTC)
    assert month_end(1.0, 0.0, 0.0, first) == 30.0
    last = dt.datetime(2026, 11, 30, 23, tzinfo=dt.UTC)
    assert month_end(0.0, 5.0, 0.4, last) == pytest.approx(5.4)


@given(
    st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 100),
    st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2027, 12, 31), timezones=st.just(dt.UTC)),
)  # fmt: skip
def test_never_less_than_was_spent(runs: float, endpoints: float, an_hour: float, at: dt.datetime) -> None:
    assert month_end(runs, endpoints, an_hour, at) >= (runs + endpoints) * (1 - 1e-12) - 1e-6


def test_an_endpoint_counts_while_a_worker_keeps_it_up(demo: Path) -> None:
    estate = open_estate(demo)
    rows = [r for r in estate.site.store.rows(t.deployments.select()) if r["slots"]]
    assert rows and up_now(estate.site) == [], "without a worker nothing of it runs on this machine"
    model = rows[0]["object"]
    without = cost(estate.site, model, "dev")
    assert leases.acquire(estate.site.store, "tester", "up")
    try:
        up = up_now(estate.site)
        assert {(u.object, u.env) for u in up} == {(r["object"], r["env"]) for r in rows}
        an_hour = hourly(up, object_=model)
        assert an_hour > 0 and hourly(up) >= an_hour and hourly(up, project="nobody") == 0
        said = cost(estate.site, model, "dev")
        runs, endpoints = said["spent_on"]["runs"], said["spent_on"]["endpoints"]
        assert said["month_end"] == pytest.approx(month_end(runs, endpoints, an_hour), rel=1e-3, abs=1e-3)
        assert said["month_end"] > without["month_end"]
    finally:
        leases.release(estate.site.store, "tester")
