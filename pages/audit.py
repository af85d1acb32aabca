"""Audit: who did what to which object, when, with what result; and whether the chain holds."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cockpit import opening
from cockpit.components import as_of, nothing_yet, page, when
from cockpit.words import plural

_MOST = 500


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    st.title("Audit")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=220):
            actor = st.text_input("Actor", key="actor", bind="query-params", icon=":material/person:")
        with st.container(width=220):
            act = st.text_input("Act", key="act", bind="query-params", icon=":material/bolt:")
        with st.container(width=220):
            since = st.text_input("Since (YYYY-MM-DD)", key="from", bind="query-params", icon=":material/event:")  # fmt: skip
        verify = st.button(
            "Verify the chain",
            icon=":material/verified:",
            disabled=not estate.may("read_audit").allowed,
            help="Recomputes every event's hash, and holds the newest against the anchor outside the database.",
        )
    events = estate.audit(actor=actor or "", act=act or "", since=since or "", limit=_MOST)
    st.caption(f"{plural(len(events), 'event')} shown, newest first · {as_of()}")
    if verify:
        said = estate.audit(verify=True)
        if said["ok"]:
            st.success(f"**The chain holds.** {said['events']:,} events, each with the hash of the one before.", icon=":material/verified:")  # fmt: skip
        else:
            st.error(f"**The chain is broken** at event {said['first_bad']}. Keep a copy of the store, compare it with the last backup, and tell an administrator.", icon=":material/gpp_bad:")  # fmt: skip
    if not events:
        nothing_yet("No event matches.", "Take a filter away.")
        return
    frame = pd.DataFrame(
        [
            {
                "n": e["n"], "When": when(e["at"]), "Who": e["as"] or e["actor"], "Signed in": e["actor"], "Act": e["act"].replace("_", " "), "Object": e["object"], "Env": e["env"] or "",
                "Result": e["result"], "Run": e["run"] or "",
            }
            for e in events
        ]
    )  # fmt: skip
    st.dataframe(frame, hide_index=True, placeholder="", height=560)


show()
