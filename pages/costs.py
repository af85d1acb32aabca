"""Costs: what did it, what will it cost? Spend against budget, next runs, how good predictions were, idle endpoints, what-if."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from cockpit.acts import spending
from cockpit.facts.costing import hour_price, spent_by
from cockpit.facts.evidence import predictions
from cockpit.frame import opening
from cockpit.frame.choosing import open_tabs, scope, segment
from cockpit.frame.components import as_of, away, figures, page
from cockpit.frame.saying import nothing_yet
from cockpit.overview import overview
from cockpit.parts import charts
from cockpit.views import costs as view
from cockpit.views.lenses import IDLE_DAYS
from cockpit.views.project import next_runs
from cockpit.words import plural
from esml_engine.costs.forecast import month_end
from esml_engine.costs.records import ENDPOINT, month_start
from esml_engine.refs import ModelRef
from esml_engine.serving.hours import hourly, up_now


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    found = scope(estate, "Costs")
    if found is None:
        return
    where, env = found
    seen, site, now = overview(estate), estate.site, dt.datetime.now(dt.UTC)
    head, side = st.columns(2, vertical_alignment="bottom")
    with side, st.container(horizontal=True, horizontal_alignment="right"):
        p = view.period(segment("Period", view.PERIODS, "period", "month"), now.date())
    names = [s for s in seen.statuses if where in ("estate", s["model"], s["model"].split("/")[0])]
    with head:
        st.title("Costs")
        said = {"estate": f"all {plural(len(seen.projects), 'project')}"}.get(where, where)
        st.caption(f"{said} · {env or 'all environments'} · metered, in {seen.currency} · days are UTC days · {as_of()}")  # fmt: skip
    away(estate, *([env] if env else []))
    if not seen.projects:
        nothing_yet("No project yet.", "Costs begin with the first run of its first model.")
        return
    project, model = (where.split("/")[0] if where != "estate" else ""), (where if "/" in where else "")
    mine: dict[str, Any] = {"project": project, "model": model, "env": env, "projects": list(seen.projects)}
    between: dict[str, Any] = {"since": p.first.isoformat(), "until": p.end.isoformat()}
    earlier: dict[str, Any] = {"since": p.before[0].isoformat(), "until": p.before[1].isoformat()}
    by_day = spent_by(site, "day", **between, **mine)
    before = spent_by(site, "day", **earlier, **mine)
    spent = spent_by(site, "act", since=month_start(), **mine)
    month, serving_cost = sum(spent.values()), spent.get(ENDPOINT, 0.0)
    up = [u for u in up_now(site) if u.project in seen.projects]
    end = month_end(month - serving_cost, serving_cost, hourly(up, project=project, object_=model, env=env))
    budget = sum(b["budget"] for name, b in seen.budgets.items() if project in ("", name))
    first = env or estate.environments[0]
    refs = [ModelRef.parse(s["model"]) for s in names]
    runs = next_runs(
        names,
        seen.costs if first == estate.environments[0] else predictions(site, refs, first, seen.facts.to_read),
        seen.facts,
        first,
    )
    serving = {k: v for k, v in seen.facts.serving.items() if k[0] in {str(r) for r in refs} and env in ("", k[1])}  # fmt: skip
    prices = {k: hour_price(site, *k) for k in serving}
    idle = view.endpoints(serving, seen.facts.served, prices, now, IDLE_DAYS)
    cards = view.figures(sum(by_day.values()), sum(before.values()), budget, month, end, p, by_day, runs, idle,
        seen.currency)  # fmt: skip
    if not by_day and not before:
        nothing_yet("No run metered yet: showing upper bounds.", "Money is metered with the first run.")
    figures(cards)
    left, right = st.columns([3, 2], gap="large")
    with left:
        by = segment("By", view.BY, "by", "project" if where == "estate" else "model" if not model else "act")
        rows = view.table(spent_by(site, by, **between, **mine), spent_by(site, by, **earlier, **mine), by,
            seen.currency)  # fmt: skip
        if rows:
            st.caption("what was metered, most first, and the same length of time before")
            st.dataframe(pd.DataFrame(rows), hide_index=True, height="content" if len(rows) <= 6 else 250, placeholder="",
                row_height=34)  # fmt: skip
        else:
            nothing_yet("Nothing was spent in this period.", "Choose another period above.")
    with right:
        st.altair_chart(charts.money_by_day(by_day, p.first, p.end, seen.currency))
    ask = spending.Ask(estate, where, env, first, seen, runs, idle, names)
    tabs: dict[str, Callable[[spending.Ask], None]] = {
        "Next runs": spending.upcoming,
        "What if": spending.what_if,
        "Predictions so far": spending.predicted,
        "Endpoints": spending.endpoints,
        "Policy": spending.policy,
        "Change": spending.change,
    }
    for tab, name in open_tabs(list(tabs)):
        with tab:
            tabs[name](ask)


show()
