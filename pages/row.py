"""Row: one scored row's passport, back to the IN files behind its model and what was put in."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd
import streamlit as st

from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.components import choose, gone, locked, page, when, zone
from cockpit.frame.saying import nothing_yet
from cockpit.views import scored as view
from cockpit.words import plural
from esml_engine.errors import NotFoundError
from esml_engine.lake.deliveries import delivered_name
from esml_engine.scored.where import written


@page
def show() -> None:
    """The page."""
    choice = choose(opening.estate(), "Row")
    if choice is None:
        return
    request, number = st.query_params.get("request", ""), st.query_params.get("row", "0")
    if not request:
        st.title("Row")
        nothing_yet("No row was named.", "Choose one on the page Scored data.")
        st.page_link(**to("scored"), label="Scored data", icon=":material/table_view:")
        return
    st.title(f"Row {number} of request {request}")
    if not number.isdigit():
        gone("Row", number)
        return
    if locked(choice.estate, "read_status", choice.ref.project):
        return
    values = choice.estate.may("read_scored", choice.ref.project).allowed
    try:
        lineage = choice.model.lineage(request_id=request, row=int(number))
    except NotFoundError:
        if not values:
            gone(f"Row {number} of request", request)
            return
        there = choice.model.scored(where=(written("request_id", "=", request),), limit=1)
        gone(*(("Row", number) if there.document()["rows"] else ("Request", request)))
        return
    if not values:  # how it came to be is everybody's who has a role here, what was put in is not
        locked(choice.estate, "read_scored", choice.ref.project)
        _passport(lineage)
        return
    found = choice.model.scored(where=(written("request_id", "=", request), f"row = {number}"), limit=1)
    rows = found.document()["rows"]
    if not rows:
        gone("Row", number)
        return
    row = rows[0]
    st.caption(f"scored {when(row['scored_at'])} for {row['caller_id']} by v{row['model_version']} of {choice.ref} in {choice.env}")  # fmt: skip
    with st.container(horizontal=True):
        of_caller = to("scored", caller=row["caller_id"])
        st.page_link(**of_caller, label=f"Answers to {row['caller_id']}", icon=":material/table_view:")
        st.page_link(**to("model", tab="Versions"), label=f"Version v{row['model_version']}",
            icon=":material/account_tree:")  # fmt: skip
        gold = next((n for n in lineage["nodes"] if n["name"] == "gold_train"), None)
        if gold:
            its = to("dataset", env=gold["id"].split("/")[0], table="gold_train", v=gold["version"])
            st.page_link(**its, label=f"What it learned from: gold_train v{gold['version']}",
                icon=":material/table:")  # fmt: skip
    with st.grid(4, min_column_width=150):
        for name, text in view.figures(row):
            st.metric(name, text, border=True)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _passport(lineage)
    with right:
        st.subheader("What was put in")
        given = lineage["input"] or {}
        if "file" in given:
            file = delivered_name(given["file"], given.get("sha256") or "")
            st.markdown(f"Line **{given['line']}** of `{file}`")
        known = (*view.IDENTITY, "prediction", "low", "high")
        features = {
            k: v
            for k, v in row.items()
            if k not in known and not k.startswith("probability_") and v is not None
        }
        st.table(
            pd.DataFrame({"Column": list(features), "Value": [str(v) for v in features.values()]}),
            border="horizontal",
            hide_index=True,
        )


def _passport(lineage: dict[str, Any]) -> None:
    st.subheader("How the answer came to be")
    stops = [asdict(s) for s in view.passport(lineage, zone())]
    st.table(
        pd.DataFrame(stops).rename(columns=lambda c: c.capitalize()), border="horizontal", hide_index=True
    )
    st.caption(f"{plural(len(stops), 'stop')}, {plural(len(lineage['edges']), 'step')} recorded by runs.")


show()
