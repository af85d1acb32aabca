"""Run: one piece of work with its steps, its error and log, what went in and what came out."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from cockpit.acts.acting import progress_of, retry_card
from cockpit.facts.reads import log_tail
from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.components import away, gone, page
from cockpit.frame.saying import draw_again, nothing_yet
from cockpit.views import runs as view
from cockpit.views.lake import made
from cockpit.words import tidy
from esml_engine.door import access
from esml_engine.door.facts import Call
from esml_engine.errors import NotFoundError
from esml_engine.estate import Estate
from esml_engine.runs import records


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    run = st.query_params.get("run", "")
    if not run:
        st.title("Run")
        nothing_yet("No run was named.", "Choose one in the list of runs.")
        st.page_link(**to("runs"), label="All runs", icon=":material/play_circle:")
        return
    try:
        row = estate.runs(run)[0]
    except NotFoundError:
        st.title("Run")
        gone("Run", run)
        return
    live = row["state"] in records.OPEN
    away(estate, row["env"])
    st.page_link(**to("runs"), label="All runs", icon=":material/arrow_back:")
    st.title(f"{row['act'].capitalize()} of {row['object']}" + (f" in {row['env']}" if row["env"] else ""))
    stored = records.get(estate.site.store, run)
    again = f" · begun {stored['attempt']} times: tries count since the last" if stored["attempt"] > 1 else ""
    st.caption(f"run {row['run']} · asked by {view.asked_by(row)}{again}")
    st.fragment(_live, run_every=1.0 if live else None)(estate, run, live)
    left, right = st.columns(2)
    with left:
        st.subheader("What went in")
        _inputs(stored["plan"])
    with right:
        st.subheader("What came out")
        _result(estate, row)


def _live(estate: Estate, run: str, was_live: bool) -> None:
    row = estate.runs(run)[0]
    with st.container(border=True):
        progress_of(estate, row, key="one", link=False)
        if row["state"] in ("failed", "cancelled"):
            retry_card(estate, run, key="one:retry")
    if row["steps"]:
        st.table(pd.DataFrame(view.steps(row)), border="horizontal", hide_index=True)
    _log(estate, row)
    if was_live != (row["state"] in records.OPEN):
        draw_again()


def _log(estate: Estate, row: dict[str, Any]) -> None:
    params = records.get(estate.site.store, row["run"])["params"]
    may = estate.may(
        access.rule_name(Call(row["act"], row["object"], row["env"], params)), row["object"].split("/")[0]
    )
    steps = [s for s in row["steps"] if s["work"]]
    if not steps:
        return
    step = next((s for s in steps if s["state"] in ("running", "failed")), steps[-1])
    with st.expander(
        f"Log of {step['name']}",
        key=f"log:{step['name']}",
        icon=":material/terminal:",
        expanded=row["state"] == "failed",
    ):
        if not may.allowed:
            st.caption(f":material/lock: You may not: {may.reason}.")
            return
        st.caption("Its times are UTC.")
        text = log_tail(step["work"], estate.site.state)
        st.code(
            tidy(text, estate.site.root) if text else "This step wrote no log.",
            language=None,
            wrap_lines=True,
        )


def _inputs(plan: dict[str, Any]) -> None:
    rows = view.inputs(plan)
    if rows:
        st.dataframe(
            pd.DataFrame(rows),
            hide_index=True,
            height="content" if len(rows) <= 12 else 420,
            column_config={"Version": st.column_config.TextColumn(width="small")},
        )
    else:
        st.caption("Nothing is recorded.")


def _result(estate: Estate, row: dict[str, Any]) -> None:
    lines = made(row["result"])
    pairs = [(k, tidy(v, estate.site.root)) for k, v in view.facts(row["result"]) if k != "run"]
    if lines:
        st.markdown("\n".join(f"- {line}" for line in lines))
    elif pairs:
        st.dataframe(
            pd.DataFrame(pairs, columns=["What", "Value"]),
            hide_index=True,
            height="content" if len(pairs) <= 12 else 420,
        )
    else:
        st.caption("Nothing yet." if row["state"] in records.OPEN else "Nothing.")


show()
