"""Model: everything about one model. Its track, what blocks it, its champions, and the next step with its plan."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from cockpit import charts, opening
from cockpit.components import Choice, act_card, as_of, choose, follow, nothing_yet, page, when
from cockpit.places import page as page_file
from cockpit.reads import runs_of
from cockpit.views import model as view
from cockpit.words import metric, money
from esml_engine.estate import Model
from esml_engine.runs.records import OPEN
from esml_engine.serving import records as serving
from esml_engine.training import records as training

_ACTS = ("refine", "split", "train", "register", "deploy", "rollback", "pipeline", "score_batch")


@page
def show() -> None:
    """The page."""
    choice = choose(opening.estate())
    if choice is None:
        return
    estate, ref, site = choice.estate, choice.ref, choice.estate.site
    status, project, now = estate.status(str(ref))[0], site.settings.project(ref.project), dt.datetime.now(dt.UTC)
    runs = runs_of(estate, ref)
    st.title(ref.model)
    st.caption(" · ".join(x for x in (status["task"], f"team {project.team}", f"owner {project.owner}" if project.owner else "", f"risk {project.risk}", as_of()) if x))
    with st.grid(7, min_column_width=105, gap="xsmall"):
        for name, cell in view.track(site, ref, choice.env, now):
            with st.container(border=True, height="stretch", gap="xxsmall"):
                st.badge(name, icon=f":material/{cell.icon}:", color=cell.color)
                st.caption(cell.note)
    icon, line = view.blocked(status, sum(r["state"] in OPEN for r in runs))
    (st.warning if icon == "block" else st.info)(line, icon=f":material/{icon}:")
    if status["task"] != "analytics":
        _champions(view.champions(site, ref, estate.environments, now))
    _next(choice)
    _tabs(choice, runs)


def _champions(cards: list[view.Champion]) -> None:
    with st.grid(3, min_column_width=220):
        for c in cards:
            with st.container(border=True, height="stretch", gap="small"):
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.markdown(f"**{c.env}**", width="content")
                    st.badge(c.state, icon=":material/lock:" if c.version else ":material/remove:", color="gray")
                if c.version is None:
                    st.caption({"not set up": "This estate has no such environment.", "no champion yet": "No version was trained here that passed the gates."}.get(c.state, ""))
                    continue
                st.metric(c.metric, c.value, c.note, delta_color="off" if c.better is None else "green" if c.better else "red", delta_arrow="off")
                st.caption(c.data)


def _next(choice: Choice) -> None:
    step = view.next_step(choice.model)
    st.subheader(f"Next step in {choice.env}" + (f": {step.act}" if step.act else ""))
    if step.plan is None:
        st.info(step.said, icon=f":material/{step.icon}:")
    else:
        act_card(choice, step.plan, step.label, step.act, icon=step.icon)
    follow(choice, _ACTS, key="model-run", recent=120.0)


def _tabs(choice: Choice, runs: list[dict[str, Any]]) -> None:
    draw: dict[str, Callable[[Choice, list[dict[str, Any]]], None]] = {"Activity": _activity, "Runs": _leaderboard, "Versions": _versions, "Cost": _cost, "Serving": _serving}
    for tab, (_, body) in zip(st.tabs(list(draw), key="tab", on_change="rerun", bind="query-params"), draw.items(), strict=True):
        if tab.open:
            with tab:
                body(choice, runs)


def _currency(choice: Choice) -> str:
    return choice.estate.site.settings.estate.currency


def _activity(choice: Choice, runs: list[dict[str, Any]]) -> None:
    crowns = [k for env in choice.estate.environments for k in training.history(choice.estate.site.store, choice.ref, env)]
    lines = view.activity(runs, crowns, _currency(choice))
    if not lines:
        nothing_yet("Nothing happened yet.", "Deliver a file and refine it.")
    for at, text in lines:
        st.markdown(f":gray[{when(at)}] · {text}")


def _leaderboard(choice: Choice, _: list[dict[str, Any]]) -> None:
    main = choice.estate.site.settings.profile(choice.ref, choice.env).metric
    rows = view.leaderboard(choice.model.leaderboard("all"), main, _currency(choice))
    if not rows:
        nothing_yet("No candidate yet.", "Train the model: its plan is above, once gold is split.")
        return
    if len({r["Data"] for r in rows}) > 1:
        st.caption(":material/info: These runs stand on different versions of gold: compare values within one version of the data.")
    frame = pd.DataFrame(rows)
    frame["at"] = frame["at"].map(when)
    bar = st.column_config.ProgressColumn(metric(main), min_value=0.0, max_value=float(max(frame["baseline"].max(), frame["metric"].max())), format="%.4g", help="On gold_test; the full bar is the trivial baseline.")
    config = {"metric": bar, "baseline": st.column_config.NumberColumn("Baseline", format="%.4g"), "at": "When", "Alias": st.column_config.TextColumn(width=95), "Gates": st.column_config.TextColumn(width=110)}
    event = st.dataframe(frame, hide_index=True, height="content" if len(rows) <= 15 else 560, placeholder="", column_config=config, on_select="rerun", selection_mode="single-row", key="leaderboard")
    if event["selection"]["rows"]:
        st.switch_page(page_file("run"), query_params={"run": rows[event["selection"]["rows"][0]]["Run"]})


def _versions(choice: Choice, _: list[dict[str, Any]]) -> None:
    site = choice.estate.site
    main = site.settings.profile(choice.ref, choice.env).metric
    points = view.over_versions(training.versions(site.store, choice.ref), main)
    if not points:
        nothing_yet("No version yet.", "A training run registers one.")
        return
    left, right = st.columns(2)
    with left, st.container(border=True, height="stretch"):
        st.markdown("**Metric over versions** · dashed: the trivial baseline")
        st.altair_chart(charts.over_versions(points, metric(main)))
    with right, st.container(border=True, height="stretch"):
        st.markdown("**Who was champion when**")
        rows = [{"Env": k["env"], "Version": f"v{k['version']}", "Since": when(k["at"]), "Why": k["why"] or "", "By": k["by"]} for env in choice.estate.environments for k in training.history(site.store, choice.ref, env)]
        if rows:
            st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
        else:
            st.caption("No version passed the gates yet.")


def _cost(choice: Choice, _: list[dict[str, Any]]) -> None:
    said = choice.model.cost()
    c, limits = said["currency"], said["policy"]["limits"]
    with st.grid(4, min_column_width=170):
        st.metric("Spent by this model", money(said["spent"], c), f"metered, {said['period']}", delta_color="off", delta_arrow="off", border=True)
        st.metric("Month end, forecast", money(said["month_end"], c), "straight line", delta_color="off", delta_arrow="off", border=True)
        st.metric("Budget of the project", money(said["budget"], c), "a month", delta_color="off", delta_arrow="off", border=True)
        st.metric("Most a run may cost", money(limits["max_cost_run"], c), f"over: {limits['over']}", delta_color="off", delta_arrow="off", border=True)
    st.table(pd.DataFrame(view.costs(said)), border="horizontal", hide_index=True)


def _serving(choice: Choice, _: list[dict[str, Any]]) -> None:
    site = choice.estate.site
    for env in choice.estate.environments:
        row = serving.get(site.store, choice.ref, env)
        if row and row["live"]:
            slot = row["slots"][row["live"]]
            with st.container(border=True, gap="xsmall"):
                st.markdown(f"**{env}** · serves **v{slot['model_version']}** with 100 % of traffic · since {when(row['at'])} by {row['by']}")
                st.code(site.platform(env).endpoint_url(row["endpoint"], row["port"]), language=None)
                st.caption(f"endpoint {row['endpoint']} · answered requests are {'kept as scored data' if row['save'] else 'not kept'}")
    _deploy(choice.model, choice)


def _deploy(model: Model, choice: Choice) -> None:
    if training.champion(choice.estate.site.store, choice.ref, choice.env) is None:
        nothing_yet(f"Nothing to deploy in {choice.env}.", "A version becomes champion when it passes the gates.")
        return
    plan = model.plan_deploy()
    if plan.draft.nothing_to_do:
        st.caption(f":material/check: {plan.draft.nothing_to_do}.")
        return
    act_card(choice, plan, f"Deploy v{plan.draft.params['version']}", "deploy", icon="rocket_launch", place="serving")


show()
