"""Model: everything about one model. Its track, what blocks it, its champions, and the next step with its plan."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable
from typing import Any

import streamlit as st

from cockpit.acts import model_tabs as tabs
from cockpit.acts.acting import act_card, follow
from cockpit.acts.deciding import became, promotions
from cockpit.facts.model import ModelFacts, champion_facts, first_plan, model_facts
from cockpit.facts.reads import runs_of
from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.choosing import open_tabs
from cockpit.frame.components import Choice, as_of, choose, page
from cockpit.frame.reaching import away
from cockpit.frame.screens import deciding_first
from cockpit.overview import overview
from cockpit.views import model as view
from cockpit.views.lake import Cell
from cockpit.words import tidy
from esml_engine.runs.records import GOING

_ACTS = ("refine", "split", "train", "register", "deploy", "rollback", "pipeline", "score_batch", "compare", "promote")  # fmt: skip


@page
def show() -> None:
    """The page."""
    choice = choose(opening.estate(), "Model")
    if choice is None:
        return
    estate, ref, site = choice.estate, choice.ref, choice.estate.site
    status, project = estate.status(str(ref))[0], site.settings.project(ref.project)
    runs, now = runs_of(estate, ref), dt.datetime.now(dt.UTC)
    st.title(ref.model)
    owner = f"owner {project.owner}" if project.owner else ""
    about = (status["task"], f"team {project.team}", owner, f"risk {project.risk}", as_of())
    st.caption(" · ".join(x for x in about if x))
    gone = away(site, choice.env) is not None
    # read once, by the first part that needs it: a phone draws them in another order
    facts = functools.cache(lambda: model_facts(site, ref, choice.env, away=gone))
    parts: dict[str, Callable[[], None]] = {
        "track": lambda: _track(view.track(facts(), now)),
        "blocked": lambda: _blocked(choice, status, runs),
        "champions": lambda: _champions(view.champions(champion_facts(site, ref, facts().champions), now)),
        "next": lambda: _next(choice, view.not_reached(choice.env) if gone else _step(choice, facts())),
    }
    if status["task"] == "analytics":
        del parts["champions"]
    for part in deciding_first(parts, ("blocked", "next")):
        parts[part]()
    _tabs(choice, runs)


def _track(cells: list[tuple[str, Cell]]) -> None:
    with st.grid(7, min_column_width=105, gap="xsmall"):
        for name, cell in cells:
            with st.container(border=True, height="stretch", gap="xxsmall"):
                st.badge(name, icon=f":material/{cell.icon}:", color=cell.color)
                st.caption(cell.note)


def _blocked(choice: Choice, status: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    row = next((r for r in overview(choice.estate).rows if r.model == str(choice.ref)), None)
    waits = f"{row.attention}. Whose turn: **{row.turn or 'nobody named'}**." if row and row.needs else ""
    going = sum(r["state"] in GOING for r in runs)
    icon, line = view.blocked(status, going, waits)
    (st.warning if icon in ("block", "priority_high") else st.info)(
        tidy(line, opening.root()), icon=f":material/{icon}:"
    )


def _champions(cards: list[view.Champion]) -> None:
    with st.grid(3, min_column_width=220):
        for c in cards:
            with st.container(border=True, height="stretch", gap="small"):
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.markdown(f"**{c.env}**", width="content")
                    st.badge(
                        c.state, icon=":material/lock:" if c.version else ":material/remove:", color="gray"
                    )
                if c.version is None:
                    st.caption(
                        {
                            "not set up": "This estate has no such environment.",
                            "no champion yet": "No version was trained here that passed the gates.",
                        }.get(c.state, "")
                    )
                    continue
                st.metric(
                    c.metric,
                    c.value,
                    c.note,
                    delta_color="off" if c.better is None else "green" if c.better else "red",
                    delta_arrow="off",
                )
                st.caption(c.data)


def _step(choice: Choice, facts: ModelFacts) -> view.Step:
    asked = promotions(choice.estate, str(choice.ref))
    promotion = view.goes_up(facts, asked, became(asked))
    found = first_plan(choice.model, view.to_plan(facts, promotion))
    return view.next_step(facts, found, promotion)


def _next(choice: Choice, step: view.Step) -> None:
    st.subheader(f"Next step in {choice.env}" + (f": {step.act}" if step.act else ""))
    if step.plan is None:
        st.info(step.said, icon=f":material/{step.icon}:")
        if step.act == "promote":
            what = "Compare and promote to" if step.icon == "upgrade" else "Promotion to"
            st.page_link(
                **to("promotion", project=choice.ref.project, model=choice.ref.model, env=step.label),
                label=f"{what} {step.label}",
                icon=":material/upgrade:",
            )
    else:
        act_card(choice, step.plan, step.label, step.act, icon=step.icon)
    follow(choice, _ACTS, key="model-run", recent=120.0)


def _tabs(choice: Choice, runs: list[dict[str, Any]]) -> None:
    draw: dict[str, Callable[[Choice, list[dict[str, Any]]], None]] = {
        "Activity": tabs.activity,
        "Runs": tabs.leaderboard,
        "Versions": tabs.versions,
        "Cost": tabs.cost,
        "Serving": tabs.serving,
    }
    for tab, name in open_tabs(list(draw)):
        with tab:
            draw[name](choice, runs)


show()
