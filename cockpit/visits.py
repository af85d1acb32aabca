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

_lock = threading.Lock()


def _file(site: Site) -> Path:
    return site.state / "cockpit" / "visits.json"


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # none yet, or cut by a full disk: everybody is new
        return {}
    return found if isinstance(found, dict) else {}


def came(site: Site, who: str, now: dt.datetime) -> dt.datetime | None:
    """Remember that this person is here now; returns when they were here before."""
    path = _file(site)
    with _lock:
        all_ = _read(path)
        before = moment(all_.get(who))
        all_[who] = now.isoformat(timespec="seconds")
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
