"""Project: how far, whose turn? Its models as tracks, money, people, the next runs."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import streamlit as st

from cockpit.acts.at_once import at_once
from cockpit.acts.peopling import roles_form
from cockpit.acts.starting import new_model
from cockpit.facts.costing import spent_by
from cockpit.facts.reads import days
from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.choosing import choose_project, open_tabs
from cockpit.frame.components import as_of, away, locked, page
from cockpit.frame.saying import nothing_yet, said_done
from cockpit.overview import Overview, overview
from cockpit.views import project as view
from cockpit.words import money, plural
from esml_engine.costs.records import month_start
from esml_engine.estate import Estate

_SHOWN = 8  # tracks drawn before the rest is said in words


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    project = choose_project(estate, "Project")
    if project is None:
        return
    estate.require("read_status", project)
    seen, settings, site = overview(estate), estate.site.settings.project(project), estate.site
    statuses = [s for s in seen.statuses if s["model"].split("/")[0] == project]
    tracks = view.tracks(statuses, seen.rows, estate.environments)
    env = estate.environments[0]
    runs = view.next_runs(statuses, seen.costs, seen.facts, env)
    st.title(project)
    st.caption(f"team {settings.team} · owner {settings.owner or 'nobody named'} · risk {settings.risk} · {plural(len(statuses), 'model')} · {as_of()}")  # fmt: skip
    away(estate)
    said_done("new_model")  # the first one changes the tabs, so its form is not where it was
    if not tracks:
        nothing_yet("No model yet.", "Make the first one below: name, task, datasets.")
        _tabs(estate, project, seen, runs, ["New model", "People", "Budget"])
        return
    first = next((t for t in tracks if t.blocked), None)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(view.headline(tracks), width="stretch" if first else "content")
        if first:
            st.page_link(**to(first.page, **first.query), label="**Open the blocked step**",
                icon=":material/arrow_forward:")  # fmt: skip
    today = dt.datetime.now(dt.UTC).date()
    by_day = spent_by(site, "day", since=month_start(), project=project)
    series = [by_day.get(d, 0.0) for d in days(today.replace(day=1), today)]
    with st.grid(4, min_column_width=170, gap="small"):
        for f in view.figures(tracks, seen.budgets[project], runs, seen.currency, series):  # fmt: skip
            st.metric(f.label, f.text, f.note, delta_color=f.tone, delta_arrow=f.arrow, border=True,
                help=f.help or None)  # fmt: skip
    for t in tracks[:_SHOWN]:
        _track(t)
    if len(tracks) > _SHOWN:
        st.page_link(**to("estate", q=project), label=f"{plural(len(tracks) - _SHOWN, 'more model')} in the list",
            icon=":material/list:")  # fmt: skip
    _tabs(estate, project, seen, runs, ["Next runs", "People", "Budget", "New model"])


def _track(t: view.Track) -> None:
    with st.container(border=True, gap="xxsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.page_link(**to("model", **{k: t.query[k] for k in ("project", "model")}), label=f"**{t.model}**",
                width="content")  # fmt: skip
            st.markdown(view.line(t), width="content")
        st.caption(t.said)


def _tabs(
    estate: Estate, project: str, seen: Overview, runs: list[dict[str, object]], names: list[str]
) -> None:
    for tab, name in open_tabs(names):
        with tab:
            if name == "Next runs":
                st.table(pd.DataFrame(view.runs_table(runs)), border="horizontal", hide_index=True)
            elif name == "People":
                _people(estate, project)
            elif name == "Budget":
                _budget(estate, project, seen)
            else:
                new_model(estate, project)


def _people(estate: Estate, project: str) -> None:
    members = estate.members(project)
    table = view.people(members, project)
    left, right = st.columns([3, 2], gap="large")
    with left:
        if table:
            st.table(pd.DataFrame(table), border="horizontal", hide_index=True)
        else:
            nothing_yet("Nobody has a role here yet.", "Give the first one beside this.")
    with right:
        if locked(estate, "member_add", project):
            return
        roles_form(estate, project, members)


def _budget(estate: Estate, project: str, seen: Overview) -> None:
    now = float(seen.budgets[project]["budget"])
    if locked(estate, "budget", project):
        st.markdown(f"Budget a month: **{money(now, seen.currency)}**")
        return
    with st.container(width=260):
        new = st.number_input(f"Budget a month, {seen.currency}", 0.0, value=now, step=10.0, key=f"budget:{project}")  # fmt: skip
    at_once(
        estate, lambda **how: estate.set(project, "budget.month", f"{new:g}", **how), "Set the budget", key="set_budget",
        icon="payments",
        done=f"The budget of {project} is {new:g} {seen.currency} a month.", ready=new != now,
        missing=f"It is {now:g} {seen.currency} a month now; write another amount to see the plan.",
    )  # fmt: skip


show()
