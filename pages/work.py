"""My work: what is mine today?"""

from __future__ import annotations

import datetime as dt
from typing import Any

import streamlit as st

from cockpit import opening
from cockpit.components import as_of, nothing_yet, page
from cockpit.deciding import cards
from cockpit.places import page as page_file
from cockpit.reads import crowned, roles_on, waiting_files
from cockpit.views import work
from cockpit.words import plural, role
from esml_engine.door import access
from esml_engine.door.facts import Call
from esml_engine.estate import Estate

_DECIDE, _OWN, _OTHERS = "Yours to decide", "You asked for", "Waits for others to decide"


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    now = dt.datetime.now(dt.UTC)
    statuses = estate.status()
    roles = roles_on(estate)
    st.title("My work")
    mine = sorted({role(r) for p in estate.projects() for r in roles(p)})
    st.caption(f"{estate.actor.rights} · {', '.join(mine) or 'no role yet'} · {as_of()}")
    runs = estate.runs(limit=500)
    to_decide, own, others = work.mine(
        estate.requests("waiting"), lambda r: _may(estate, r), estate.actor.rights
    )
    blocked, next_ = work.turns(statuses, roles, now)
    failed = work.failed(runs, now)
    files = work.files(waiting_files(estate.site, [s["model"] for s in statuses]), roles)
    opened = st.query_params.get("request", "")
    if opened in {r["request"] for r in (*to_decide, *own, *others)}:  # read and decided over the whole width
        kept = [[r for r in rs if r["request"] == opened] for rs in (to_decide, own, others)]
        for title, rs in zip((_DECIDE, _OWN, _OTHERS), kept, strict=True):
            _requests(estate, title, rs, now)
        return
    left, right = st.columns([5, 3], gap="large")
    with left:
        if not (to_decide or own or blocked or next_ or failed or files):
            nothing_yet("Nothing waits for you.", "The estate shows how everything is.")
        _requests(estate, _DECIDE, to_decide, now)
        _items("Blocked, and your turn", blocked)
        _items("Failed runs", failed)
        _items("IN files", files)
        _items("Your next steps", next_)
        _requests(estate, _OWN, own, now)
        _requests(estate, _OTHERS, others, now)
    with right:
        st.subheader("Last 7 days")
        for c in work.changes(crowned(estate), runs, now):
            st.markdown(f":material/{c.icon}: {c.text}")


def _may(estate: Estate, request: dict[str, Any]) -> bool:
    call = Call("approve", request["object"], request["env"], {"kind": request["kind"]})
    return estate.may(access.rule_name(call), call.project).allowed


def _requests(estate: Estate, title: str, found: list[dict[str, Any]], now: dt.datetime) -> None:
    if found:
        st.subheader(f"{title} · {len(found)}")
        cards(estate, found, now)


def _items(title: str, items: list[work.Item]) -> None:
    if not items:
        return
    st.subheader(f"{title} · {len(items)}")
    for item in items[:10]:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            with st.container(gap="xxsmall"):
                st.markdown(item.text)
                st.caption(item.note)
            st.page_link(
                page_file(item.page),
                label=item.label,
                icon=":material/arrow_forward:",
                query_params=dict(item.query),
            )
    if len(items) > 10:
        st.caption(f"and {plural(len(items) - 10, 'more')}")


show()
