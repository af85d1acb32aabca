"""Audit: who did what to which object, when, with what result; and whether the chain holds."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.choosing import typed
from cockpit.frame.components import as_of, locked, page, when
from cockpit.frame.saying import nothing_yet
from cockpit.frame.screens import deciding_first, on_phone
from cockpit.views import audit as view
from cockpit.words import plural

_MOST = 500
_LISTED = 60  # on a phone, where events are lines


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    head, side = st.columns([3, 2], vertical_alignment="bottom")
    with head:
        st.title("Audit")
    whole = estate.may("read_audit").allowed
    if not whole and not any(estate.may("read_audit", p).allowed for p in estate.projects()):
        locked(estate, "read_audit", "")
        return
    wanted: dict[str, str] = {}
    given = any(st.query_params.get(key) for key, *_ in view.FIELDS)
    folded = (
        st.expander("Filters", icon=":material/filter_alt:", expanded=given) if on_phone() else st.container()
    )
    with folded, st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        for key, label, icon, width in view.FIELDS:
            with st.container(width=width):
                wanted[key] = typed(label, key, icon=f":material/{icon}:")
    bad = view.unread(wanted)
    if bad:
        st.warning(f"**{bad}** is no date: write YYYY-MM-DD.", icon=":material/event_busy:")
        return
    filters: dict[str, Any] = {"actor": wanted["actor"], "act": wanted["act"].replace(" ", "_"), "object_": wanted["object"],
        "result": wanted["result"], "since": wanted["from"], "until": wanted["to"]}  # fmt: skip
    events = estate.audit(**filters, limit=_MOST)
    with side, st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "Export", data=lambda: view.csv(estate.audit(**filters, limit=1_000_000)), file_name=f"audit-{dt.date.today()}.csv",
            mime="text/csv", icon=":material/download:",
            disabled=not events, help="Every event that matches, as CSV, with the hash of each.",
        )  # fmt: skip
        verify = st.button(
            "Verify the chain", icon=":material/verified:", type="primary",
            help="Recomputes the hash of every event of the estate, and holds the newest against the anchor outside the database.",
        )  # fmt: skip
    if verify:
        st.session_state["_chain"] = {**estate.audit(verify=True), "at": dt.datetime.now(dt.UTC)}
    _chain()
    sight = "" if whole else " · of your projects only"
    more = f", the newest {_MOST}: narrow the filters or export" if len(events) == _MOST else ""
    st.caption(f"{plural(len(events), 'event')} shown{more}, newest first · {view.summary(events)}{sight} · {as_of()}")  # fmt: skip
    if not events:
        nothing_yet("No event matches.", "Take a filter away.")
        return
    if on_phone():
        for line in view.lines(events[:_LISTED], when):
            st.markdown(line)
        if len(events) > _LISTED:
            st.caption(f"The newest {_LISTED}: narrow the filters, or export all.")
        return
    above = st.empty()
    event = st.dataframe(pd.DataFrame(view.table(events, when)), hide_index=True, placeholder="", height=540, row_height=34,
        column_config=view.COLUMNS, column_order=deciding_first(view.ORDER, ("When", "Result", "Act", "Who")),
        on_select="rerun", selection_mode="single-row", key=f"events:{hash(tuple(wanted.values()))}")  # fmt: skip
    st.caption("Choose a row to read it whole.")
    for i in event["selection"]["rows"]:
        _whole(above, events[i])


def _whole(place: DeltaGenerator, event: dict[str, Any]) -> None:
    """One event with everything that was kept of it, above the list."""
    with place.container(border=True, gap="xxsmall"):
        st.markdown(view.lines([event], when)[0])
        if event["run"]:
            st.page_link(**to("run", run=event["run"]), label=f"Run {event['run']}", icon=":material/list:")
        st.caption(f"event {event['n']} · hash `{event['hash'][:16]}`")


def _chain() -> None:
    said = st.session_state.get("_chain")
    if said is None:
        return
    if said["ok"]:
        st.success(f"**The chain holds.** {said['events']:,} events, each with the hash of the one before; verified {when(said['at'])}.",
            icon=":material/verified:")  # fmt: skip
    else:
        st.error(f"**The chain is broken** at event {said['first_bad']}: {said.get('reason', '')}. Keep a copy of the store, compare it with the last backup, and tell an administrator.",
            icon=":material/gpp_bad:")  # fmt: skip


show()
