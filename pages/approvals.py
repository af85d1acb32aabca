"""Approvals: what waits for a decision, and what was decided; one request on one screen."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import streamlit as st

from cockpit.acts.acting import released
from cockpit.acts.deciding import cards, just_decided, let_go
from cockpit.frame import opening
from cockpit.frame.choosing import at_most_one, segment
from cockpit.frame.components import as_of, away, gone, no_sight, page, when
from cockpit.frame.saying import nothing_yet
from cockpit.frame.screens import on_phone
from cockpit.views import promotion as view
from cockpit.views import talk, work
from cockpit.words import plural
from cockpit.work_reads import may_decide
from esml_engine.estate import Estate

_STATES = {"open": "Open", "decided": "Decided", "all": "Both"}
_KINDS = ("promotion", "exception")


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    now = dt.datetime.now(dt.UTC)
    requests = estate.requests("")
    waiting = [r for r in requests if r["state"] == "waiting"]
    st.title("Approvals")
    if no_sight(estate):
        return
    just_decided(estate)
    released(estate, let_go(estate.requests("approved"), estate.actor.rights), key="released")
    away(estate)
    if not requests:
        nothing_yet("No request yet.",
            "A promotion whose policy asks for people, or a run over its policy, makes one.")  # fmt: skip
        return
    opened = st.query_params.get("request", "")
    if opened:
        _one(estate, [r for r in requests if r["request"] == opened], opened, now)
        return
    mine, own, _ = work.mine(waiting, lambda r: may_decide(estate, r), estate.actor.rights)
    asked = talk.asked_of(waiting, estate.actor.rights)
    answer = f" · {plural(len(asked), 'question')} for you to answer" if asked else ""
    st.caption(f"{plural(len(waiting), 'request')} open · {len(mine)} yours to decide · {len(own)} asked by you{answer} · {plural(len(requests) - len(waiting), 'request')} decided · {as_of()}")  # fmt: skip
    with st.container(horizontal=True):
        state = segment("State", _STATES, "state", "all")
        kind = at_most_one("Kind", _KINDS, "kind")
        env = at_most_one("Environment", estate.environments, "env")
    shown = [r for r in requests if kind in (None, r["kind"]) and env in (None, r["env"])]
    if state != "decided":
        waits = [r for r in shown if r["state"] == "waiting"]
        me = estate.actor.rights
        waits.sort(key=lambda r: (r not in mine and r not in asked, talk.first_mine(r, me)))
        st.subheader(f"Open · {len(waits)}")
        if not waits and waiting:
            chosen = " and ".join(x for x in (kind, env) if x)
            nothing_yet(
                f"None of {plural(len(waiting), 'open request')} is of {chosen}.",
                "Take the chip away to see them.",
            )
        elif not waits:
            nothing_yet("Nothing waits.",
                "A request comes from the pages Promotion and Costs, or from a run over its policy.")  # fmt: skip
        cards(estate, waits, now)
    decided = [r for r in shown if r["state"] != "waiting"]
    decided.sort(key=lambda r: str(r["decided"] or r["at"]), reverse=True)
    if state != "open" and decided:
        _decided(estate, decided, now)


def _one(estate: Estate, found: list[dict[str, object]], opened: str, now: dt.datetime) -> None:
    """The one request that the address names, over the whole width."""
    if not found:
        gone("Request", opened)
        return
    cards(estate, found, now)


def _decided(estate: Estate, decided: list[dict[str, object]], now: dt.datetime) -> None:
    currency = estate.site.settings.estate.currency
    st.subheader(f"Decided · {len(decided)}")
    if on_phone():  # as the open ones: a table's reasons would lie beyond the edge
        cards(estate, decided[:10], now)
        if len(decided) > 10:
            st.caption(f"{plural(len(decided) - 10, 'older request')}: narrow by kind or environment above.")
        return
    frame = pd.DataFrame([view.decided(r, currency, now, when) for r in decided])
    event = st.dataframe(
        frame, hide_index=True, on_select="rerun", selection_mode="single-row", key="decided", row_height=34, placeholder="",
        height="content" if len(frame) <= 12 else 440,
        column_config={"Who, and why": {"width": 420}, "State": {"width": 90}, "By": {"width": 120}},
    )  # fmt: skip
    st.caption("Choose a row to see what it rested on.")
    if event["selection"]["rows"]:
        st.query_params["request"] = str(decided[event["selection"]["rows"][0]]["request"])
        st.rerun()


show()
