"""Approvals: what waits for a decision, and what was decided."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import streamlit as st

from cockpit import opening
from cockpit.components import as_of, gone, nothing_yet, page, when
from cockpit.deciding import cards
from cockpit.views import promotion as view
from cockpit.words import plural

_KINDS = ("promotion", "exception")


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    now = dt.datetime.now(dt.UTC)
    currency = estate.site.settings.estate.currency
    requests = estate.requests("")
    st.title("Approvals")
    waiting = [r for r in requests if r["state"] == "waiting"]
    st.caption(f"{plural(len(waiting), 'request')} open · {plural(len(requests) - len(waiting), 'request')} decided · {as_of()}")  # fmt: skip
    if not requests:
        nothing_yet("No request yet.", "A promotion whose policy asks for people, or a run over its policy, makes one.")  # fmt: skip
        return
    with st.container(horizontal=True):
        kind = st.pills("Kind", _KINDS, key="kind", bind="query-params", label_visibility="collapsed")
        env = st.pills("Environment", list(estate.environments), key="env", bind="query-params", label_visibility="collapsed")  # fmt: skip
    shown = [r for r in requests if kind in (None, r["kind"]) and env in (None, r["env"])]
    opened = st.query_params.get("request", "")
    if opened and opened not in {r["request"] for r in requests}:
        gone("Request", opened)
        return
    st.subheader("Open")
    waits = [r for r in shown if r["state"] == "waiting"]
    if not waits:
        nothing_yet("Nothing waits.", "")
    cards(estate, waits, now)
    decided = [r for r in shown if r["state"] != "waiting"]
    if decided:
        st.subheader("Decided")
        frame = pd.DataFrame(
            [
                {
                    "Asked": view.asks(r, currency, now)[0].replace("**", ""), "By": r["by"], "State": r["state"], "Decided": when(r["decided"] or r["expires"]),
                    "Who, and why": "; ".join(f"{d['by']}: {d['reason']}" for d in r["decisions"]) or "nobody", "Request": r["request"],
                }
                for r in decided
            ]
        )  # fmt: skip
        st.table(frame, border="horizontal", hide_index=True)


show()
