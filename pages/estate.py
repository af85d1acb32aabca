"""Estate: how is everything? Figures, then the models that need somebody first."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import streamlit as st

from cockpit import opening
from cockpit.components import as_of, chips, nothing_yet, page, when
from cockpit.places import page as page_file
from cockpit.reads import budgets, evidence, predictions
from cockpit.views import estate as view
from cockpit.words import moment, plural
from esml_engine.costs.records import month_start
from esml_engine.refs import ModelRef


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    statuses = estate.status()
    projects = estate.projects()
    st.title("Estate")
    st.caption(f"{plural(len(projects), 'project')} · {plural(len(statuses), 'model')} · {as_of()}")
    if not statuses:
        nothing_yet(
            "No model yet." if projects else "No project yet.",
            "Make one: `esml new project NAME --team TEAM`, then `esml new model PROJECT/MODEL`; or load the demo: `esml demo`.",
        )
        return
    now = dt.datetime.now(dt.UTC)
    e = evidence(
        estate.site, [s["model"] for s in statuses], month_start(), (now - dt.timedelta(days=7)).isoformat()
    )
    refs = [ModelRef.parse(s["model"]) for s in statuses]
    costs = predictions(estate.site, refs, estate.environments[0])
    spent = budgets(estate.site, projects, month_start())
    total = _total(spent, estate.site.settings.estate.currency)
    found = view.rows(statuses, e, estate.environments, costs, spent, now)
    with st.grid(5, min_column_width=160, gap="small"):
        for f in view.figures(found, e, total, now.date()):
            st.metric(
                f.label, f.text, f.note, delta_color=f.tone, delta_arrow=f.arrow, border=True, height=150, help=f.help or None,
                chart_data=list(f.series) if len(f.series) > 1 else None, chart_type=f.chart,
            )  # fmt: skip
    shown = _filters(found, {p: estate.site.settings.project(p).team for p in projects})
    if not shown:
        nothing_yet("No model passes these filters.", "Take a chip away, or clear the search.")
        return
    _table(shown, estate.environments)


def _total(budgets: dict[str, dict[str, Any]], currency: str) -> dict[str, Any]:
    return {k: sum(b[k] for b in budgets.values()) for k in ("spent", "budget", "month_end")} | {
        "currency": currency
    }


def _filters(found: list[view.Row], teams: dict[str, str]) -> list[view.Row]:
    kinds, stages = view.counts(found)
    with st.container(horizontal=True, vertical_alignment="center"):
        picked = chips("Stage", {s: f"{s} · {n}" for s, n in stages.items()}, "stage")
        needs = chips("Attention", {k: f"{view.KINDS[k]} · {n}" for k, n in kinds.items()}, "attention")
        with st.container(width=220):
            q = st.text_input(
                "Search",
                key="q",
                bind="query-params",
                label_visibility="collapsed",
                placeholder="project, model, team, need",
                icon=":material/search:",
            )
    return view.filtered(found, q or "", picked, needs, teams)


def _table(shown: list[view.Row], environments: tuple[str, ...]) -> None:
    frame = pd.DataFrame(
        [
            {
                "Needs attention": r.attention, "Project": r.project, "Model": r.name, "Stage": r.stage, "progress": r.progress, "Since": r.age, "Whose turn": r.turn, "Metric": r.metric,
                **{env: r.champions[env] if env in environments else "not set up" for env in ("dev", "test", "prod")}, "Next run": r.next_text,
            }
            for r in shown
        ]
    )  # fmt: skip
    config: dict[str, Any] = {
        "Needs attention": st.column_config.TextColumn(
            width=150, help="The worst open need; the list is sorted by it."
        ),
        "progress": st.column_config.ProgressColumn(
            "IN → prod",
            min_value=0.0,
            max_value=1.0,
            format=" ",
            width="small",
            help="How far the model is, from evidence.",
        ),
        "Since": st.column_config.TextColumn(help="How long it has been in this stage."),
        "Whose turn": st.column_config.TextColumn(help="The role that makes the next step."),
        **{
            env: st.column_config.TextColumn(
                width=84 if any(r.champions[env] for r in shown) else None,
                help=f"Champion in {env}: version and metric on gold_test.",
            )
            for env in ("dev", "test", "prod")
        },
        "Next run": st.column_config.TextColumn(
            "Next run, p50",
            alignment="right",
            help="Predicted cost of the next step in the first environment; ≤ marks an upper bound (no run yet).",
        ),
    }
    event = st.dataframe(
        frame,
        hide_index=True,
        column_config=config,
        on_select="rerun",
        selection_mode="single-row",
        key="models",
        placeholder="",
        row_height=34,
        height="content" if len(shown) <= 15 else 560,
    )
    chosen = event["selection"]["rows"]
    newest = max((t for r in shown if (t := moment(r.since))), default=None)
    st.caption(
        "Choose a row to open the model." + (f" Last change of stage: {when(newest)}." if newest else "")
    )
    if chosen:
        r = shown[chosen[0]]
        st.switch_page(page_file("model"), query_params={"project": r.project, "model": r.name})


show()
