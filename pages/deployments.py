"""Deployments: what serves, how well, what it costs; a test console, and the way back."""

from __future__ import annotations

import datetime as dt
from typing import Any

import streamlit as st

from cockpit.acts.acting import act_card, follow, plan_card, planned
from cockpit.acts.console import console
from cockpit.acts.modelling import deploy_card, score_file_card
from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.choosing import open_tabs
from cockpit.frame.components import Choice, as_of, choose, gone, page
from cockpit.frame.saying import nothing_yet
from cockpit.views import deployments as view
from esml_engine.portfolio.money import predicted
from esml_engine.serving import reads
from esml_engine.training import records as training


@page
def show() -> None:
    """The page."""
    choice = choose(opening.estate(), "Deployments")
    if choice is None:
        return
    st.title("Deployments")
    choice.estate.require("read_status", choice.ref.project)
    site = choice.estate.site
    if site.settings.model(choice.ref).task == "analytics":
        nothing_yet("An analytics model ends at gold.", "There is nothing to deploy.")
        return
    st.caption(f"{choice.ref} · all environments · {as_of()}")
    served = reads.of_model(site, choice.ref)
    asked = st.query_params.get("endpoint", "")
    if asked:
        served = [s for s in served if s.endpoint == asked]
        if not served:
            gone("Endpoint", asked)
            return
    if not served:
        nothing_yet("Nothing was deployed yet.", f"Deploy a version to {choice.env}: its plan is below.")
    for s in served:
        champion = training.champion(site.store, choice.ref, s.env)
        month = predicted(site, choice.ref, s.env)["endpoint_month"]
        _card(choice, view.card(s, month, champion["version"] if champion else None, dt.datetime.now(dt.UTC)))
    here = next((s for s in served if s.env == choice.env and s.version is not None), None)
    names = ["Test call", "Score a file", "Deploy", "Take back"]
    if here is None:  # first what there is to do
        names = ["Deploy", "Score a file", "Test call", "Take back"]
    for tab, name in open_tabs(names):
        with tab:
            if name == "Deploy":
                deploy_card(choice)
            elif name == "Score a file":
                _score(choice)
            elif here is None:
                nothing_yet(f"Nothing is deployed in {choice.env}.", "Deploy a version first.")
            elif name == "Test call":
                console(choice, here)
            else:
                _back(choice, here)
    follow(choice, ("deploy", "rollback", "score_batch"), key="deployments-run", recent=300.0)


def _card(choice: Choice, c: view.Card) -> None:
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{c.env}** · {c.title}", width="content")
            st.badge(c.state, icon=f":material/{c.icon}:", color=c.color)
        with st.grid(4, min_column_width=150):
            for name, value, note in c.figures:
                st.metric(name, value, note or None, delta_color="off", delta_arrow="off")
        if c.trouble:
            st.error(f"**It does not answer as it should.** {c.trouble}. Traffic is unchanged; the worker tries again.",
                icon=":material/error:")  # fmt: skip
        st.caption(c.note)


def _score(choice: Choice) -> None:
    if training.champion(choice.estate.site.store, choice.ref, choice.env) is None:
        nothing_yet(f"No champion in {choice.env} yet.", "A version becomes champion when it passes the gates.")  # fmt: skip
        return
    score_file_card(choice)
    st.page_link(**to("scored"), label="What was scored", icon=":material/table_view:")


def _back(choice: Choice, here: reads.Served) -> None:
    """The version beside it, the champion before it, and the endpoint's end: each with its plan."""
    model = choice.model
    if here.previous is not None:
        st.markdown(f"**Traffic back to v{here.previous}** · the champion stays")
        _planned(choice, lambda: model.plan_deploy(version=here.previous), f"Shift traffic to v{here.previous}", "deploy", "undo",
            version=here.previous)  # fmt: skip
    st.markdown(
        "**Champion back to the one before it** · the endpoint follows where it still holds that version, as the plan says"
    )
    _planned(choice, lambda: model.rollback(dry_run=True), f"Roll back {choice.env}", "rollback", "history")
    st.markdown("**End the endpoint** · its answers stay")
    plan = planned(lambda: model.undeploy(dry_run=True))
    if plan is None:
        return
    plan_card(choice.estate, plan, "End the endpoint", lambda h: model.undeploy(plan=h), key="undeploy", icon="stop_circle",
        durable=False, primary=False)  # fmt: skip


def _planned(choice: Choice, plan: Any, label: str, act: str, icon: str, **params: Any) -> None:
    made = planned(plan)
    if made is None:
        return
    act_card(choice, made, label, act, icon=icon, place="back:", primary=False, **params)


show()
