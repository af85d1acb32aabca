"""When each person was here last, so that My work can say what happened since."""

from __future__ import annotations

import datetime as dt

import streamlit as st

from cockpit.facts import kept
from cockpit.words import moment
from esml_engine.door.site import Site

_APART = dt.timedelta(hours=1)
_NAME = "visits"


def came(site: Site, who: str, now: dt.datetime) -> dt.datetime | None:
    """Remember that this person is here now; returns when their last visit ended. Looks less than an hour apart are one visit."""
    with kept.lock:
        all_ = kept.read(site, _NAME)
        its = all_.get(who) or {}
        seen, before = moment(its.get("seen")), moment(its.get("before"))
        if seen is not None and now - seen > _APART:
            before = seen
        all_[who] = {
            "seen": now.isoformat(timespec="seconds"),
            "before": before.isoformat(timespec="seconds") if before else "",
        }
        kept.write(site, _NAME, all_)
    return before


def last_visit(site: Site, who: str, now: dt.datetime) -> dt.datetime | None:
    """The end of this person's last visit; the same for the whole of this session."""
    key = f"_visit:{site.root}:{who}"
    before = came(site, who, now)
    if key not in st.session_state:
        st.session_state[key] = before
    found: dt.datetime | None = st.session_state[key]
    return found
