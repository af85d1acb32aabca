"""When each person was here last, so that My work can say what happened since."""

from __future__ import annotations

import datetime as dt
import json
import os
import threading
from pathlib import Path

import streamlit as st

from cockpit.words import moment
from esml_engine.door.site import Site

_APART = dt.timedelta(hours=1)
_lock = threading.Lock()


def _file(site: Site) -> Path:
    return site.state / "cockpit" / "visits.json"


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # none yet, or cut by a full disk: everybody is new
        return {}
    if not isinstance(found, dict):
        return {}
    # a file for people's comfort: what can't be read, such as another version's entry, is a first visit
    return {who: its for who, its in found.items() if isinstance(its, dict)}


def came(site: Site, who: str, now: dt.datetime) -> dt.datetime | None:
    """Remember that this person is here now; returns when their last visit ended. Looks less than an hour apart are one visit."""
    path = _file(site)
    with _lock:
        all_ = _read(path)
        its = all_.get(who) or {}
        seen, before = moment(its.get("seen")), moment(its.get("before"))
        if seen is not None and now - seen > _APART:
            before = seen
        all_[who] = {
            "seen": now.isoformat(timespec="seconds"),
            "before": before.isoformat(timespec="seconds") if before else "",
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}.tmp")
        new.write_text(json.dumps(all_, indent=1), encoding="utf-8")
        new.replace(path)
    return before


def last_visit(site: Site, who: str, now: dt.datetime) -> dt.datetime | None:
    """The end of this person's last visit; the same for the whole of this session."""
    key = f"_visit:{site.root}:{who}"
    before = came(site, who, now)
    if key not in st.session_state:
        st.session_state[key] = before
    found: dt.datetime | None = st.session_state[key]
    return found
