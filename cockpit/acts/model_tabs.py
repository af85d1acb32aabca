"""The tabs of the model's page."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from cockpit.acts.acting import act_card
from cockpit.acts.deciding import became, promotions
from cockpit.frame.carrying import to
from cockpit.frame.components import Choice, ways_on, when
from cockpit.frame.saying import nothing_yet
from cockpit.parts import charts
from cockpit.views import candidates, intervals
from cockpit.views import model as view
from cockpit.views.costs import next_acts
from cockpit.views.leaderboard import with_costs
from cockpit.words import metric, money
from esml_engine.model import Model
from esml_engine.serving import records as serving_records
from esml_engine.training import records as training


def _currency(choice: Choice) -> str:
    return choice.estate.site.settings.estate.currency


def activity(choice: Choice, runs: list[dict[str, Any]]) -> None:
    """What happened, newest first."""
    crowns = [
        k
        for env in choice.estate.environments
        for k in training.history(choice.estate.site.store, choice.ref, env)
    ]
    lines = view.activity(runs, crowns, _currency(choice))
    if not lines:
        nothing_yet("Nothing happened yet.", "Deliver a file and refine it.",
            ("Deliver files", "upload", to("lake", act="Deliver files")))  # fmt: skip
    for at, text in lines:
        st.markdown(f":gray[{when(at)}] · {text}")


def leaderboard(choice: Choice, _: list[dict[str, Any]]) -> None:
    """Candidates, best first; a row opens its run."""
    main = choice.estate.site.settings.profile(choice.ref, choice.env).metric
    rows = candidates.table(
        with_costs(choice.model.leaderboard("all")),
        main,
        _currency(choice),
        became(promotions(choice.estate, str(choice.ref))),
    )
    if not rows:
        nothing_yet("No candidate yet.", "Train the model: its plan is above, once gold is split.")
        return
    if len({r["Data"] for r in rows}) > 1:
        st.caption(
            ":material/info: These runs stand on different versions of gold: compare values within one version of the data."
        )
    frame = pd.DataFrame(rows)
    frame["at"] = frame["at"].map(when)
    bar = st.column_config.ProgressColumn(
        metric(main),
        min_value=0.0,
        max_value=float(max(frame["baseline"].max(), frame["metric"].max())),
        format="%.4g",
        help="On gold_test; the full bar is the trivial baseline.",
    )
    config = {
        "metric": bar,
        "baseline": st.column_config.NumberColumn("Baseline", format="%.4g"),
        "at": "When",
        "Ready?": st.column_config.TextColumn(width=110),
    }
    above = st.empty()
    event = st.dataframe(
        frame,
        hide_index=True,
        height="content" if len(rows) <= 15 else 560,
        placeholder="",
        column_config=config,
        on_select="rerun",
        selection_mode="single-row",
        key="leaderboard",
    )
    if event["selection"]["rows"]:
        r = rows[event["selection"]["rows"][0]]
        ways_on(above, f"{r['Estimator']} in {r['Env']}",
            [(f"Run {r['Run']}: steps, log, importance", "list", to("run", run=r["Run"]))])  # fmt: skip


def versions(choice: Choice, _: list[dict[str, Any]]) -> None:
    """Metric over registered versions, and who was champion when."""
    site = choice.estate.site
    main = site.settings.profile(choice.ref, choice.env).metric
    found = training.versions(site.store, choice.ref)
    points = candidates.over_versions(found, main)
    if not points:
        nothing_yet("No version yet.", "A training run registers one.")
        return
    left, right = st.columns(2)
    with left, st.container(border=True, height="stretch"):
        st.markdown("**Metric over versions** · dashed: the trivial baseline")
        st.altair_chart(charts.over_versions(points, metric(main)))
        if covered := intervals.lines(found):
            st.markdown("**Intervals of the forecasts** · how often the truth of gold_test lay within")
            st.markdown("\n".join(f"- {line}" for line in covered))
    with right, st.container(border=True, height="stretch"):
        st.markdown("**Who was champion when**")
        rows = [
            {
                "Env": k["env"],
                "Version": f"v{k['version']}",
                "Since": when(k["at"]),
                "Why": k["why"] or "",
                "By": k["by"],
            }
            for env in choice.estate.environments
            for k in training.history(site.store, choice.ref, env)
        ]
        if rows:
            st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
        else:
            st.caption("No version passed the gates yet.")


def cost(choice: Choice, _: list[dict[str, Any]]) -> None:
    """Spent, forecast, budget, the policy's limit, and what the next runs will cost."""
    said = choice.model.cost()
    c, limits = said["currency"], said["policy"]["limits"]
    with st.grid(4, min_column_width=170):
        for name, amount, note in (
            ("Spent by this model", said["spent"], f"metered, {said['period']}"),
            ("Month end, forecast", said["month_end"], "runs as so far, endpoints to the end"),
            ("Budget of the project", said["budget"], "a month"),
            ("Most a run may cost", limits["max_cost_run"], f"over: {limits['over']}"),
        ):
            st.metric(name, money(amount, c), note, delta_color="off", delta_arrow="off", border=True)
    st.table(pd.DataFrame(next_acts(said)), border="horizontal", hide_index=True)


def serving(choice: Choice, _: list[dict[str, Any]]) -> None:
    """What serves in each environment, and the plan to deploy the champion."""
    site = choice.estate.site
    for env in choice.estate.environments:
        row = serving_records.get(site.store, choice.ref, env)
        if row and row["live"]:
            slot = row["slots"][row["live"]]
            with st.container(border=True, gap="xsmall"):
                st.markdown(
                    f"**{env}** · serves **v{slot['model_version']}** with 100 % of traffic · since {when(row['at'])} by {row['by']}"
                )
                st.code(site.platform(env).endpoint_url(row["endpoint"], row["port"]), language=None)
                st.caption(
                    f"endpoint {row['endpoint']} · answered requests are {'kept as scored data' if row['save'] else 'not kept'}"
                )
    _deploy(choice.model, choice)


def _deploy(model: Model, choice: Choice) -> None:
    if training.champion(choice.estate.site.store, choice.ref, choice.env) is None:
        nothing_yet(
            f"Nothing to deploy in {choice.env}.", "A version becomes champion when it passes the gates."
        )
        return
    plan = model.plan_deploy()
    if plan.draft.nothing_to_do:
        st.caption(f":material/check: {plan.draft.nothing_to_do}.")
        return
    act_card(
        choice,
        plan,
        f"Deploy v{plan.draft.params['version']}",
        "deploy",
        icon="rocket_launch",
        place="serving",
    )
