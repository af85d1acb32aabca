"""Runs: what runs, what failed? A live list; open runs with progress first."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cockpit.acts.acting import progress_of, retry_card
from cockpit.facts.reads import worker_alive
from cockpit.frame import opening
from cockpit.frame.addressing import unread
from cockpit.frame.carrying import to
from cockpit.frame.choosing import one_of, opens
from cockpit.frame.components import as_of, away, chips, no_sight, page, ways_on, when
from cockpit.frame.saying import nothing_yet
from cockpit.views import runs as view
from esml_engine.estate import Estate
from esml_engine.runs.records import OPEN

_LIMIT = 500
_SHOWN_OPEN = 5


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    st.title("Runs")
    away(estate)
    rows = estate.runs(limit=_LIMIT)
    if not rows:
        st.caption(as_of())
        if not no_sight(estate):
            _worker(estate)
            nothing_yet(
                "No run yet.", "Refine a model on the page Lake.", ("Go to the lake", "waves", to("lake"))
            )
        return
    people = view.people(rows)
    unread("state", view.STATES)
    with st.container(horizontal=True, vertical_alignment="center"):
        states = chips("State", {s: s for s in view.STATES}, "state")
        with st.container(width=200):
            kind = one_of(
                "Act", view.kinds(rows), "kind", "of any kind", format_func=lambda k: k.replace("_", " ")
            )
        with st.container(width=260):
            by = one_of("By", people, "by", "asked by anybody")
    live = any(r["state"] in OPEN for r in rows)
    st.fragment(_list, run_every=1.0 if live else 5.0)(estate, states, by, kind)


def _worker(estate: Estate) -> None:
    if not worker_alive(estate.site):
        st.warning(
            "**The worker is not running.** Runs wait until somebody starts it: `esml up`.",
            icon=":material/power_off:",
        )


def _list(estate: Estate, states: list[str], by: str, kind: str) -> None:
    rows = estate.runs(limit=_LIMIT)
    shown = view.filtered(rows, states, by, kind)
    st.caption(f"{view.summary(rows)} · the newest {len(rows)} · {as_of()}")
    _worker(estate)
    for row in [r for r in shown if r["state"] in OPEN][:_SHOWN_OPEN]:
        with st.container(border=True):
            progress_of(estate, row, key=f"open:{row['run']}", named=True)
    for failed in [r for r in view.not_made_good(rows) if r in shown][:_SHOWN_OPEN]:
        with st.container(border=True):
            progress_of(estate, failed, key=f"failed:{failed['run']}", named=True)
            if opens(
                "Retry: see the plan", "Close the plan", "retry", failed["run"], primary=False, icon="refresh"
            ):
                retry_card(estate, failed["run"], key=f"retry:{failed['run']}")
    if not shown:
        nothing_yet("No run passes these filters.", "Take one away.")
        return
    above = st.empty()
    event = st.dataframe(
        pd.DataFrame(view.table(shown, when)), hide_index=True, on_select="rerun", selection_mode="single-row", key="list",
        row_height=34, placeholder="",
        height="content" if len(shown) <= 15 else 560,
        column_config={n: st.column_config.TextColumn(alignment="right") for n in ("Time", "Predicted", "Cost",
            "Predicted cost")},
    )  # fmt: skip
    st.caption(
        "Choose a row for its steps, log and result. ≤ marks an upper bound: no run of that act before it."
    )
    if event["selection"]["rows"]:
        r = shown[event["selection"]["rows"][0]]
        about = f"{r['act'].replace('_', ' ')} of {r['object']}"
        ways_on(above, about, [(f"Run {r['run']}: steps, log, result", "list", to("run", run=r["run"]))])


show()
