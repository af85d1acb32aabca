"""What a small screen changes: which device asks, and which columns of a table come first there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import streamlit as st

_PHONE = "_phone"


def on_phone() -> bool:
    """Whether a phone asks. There Streamlit's own navigation is used, tables say the deciding columns first, and some are lists."""
    if _PHONE not in st.session_state:  # a session keeps its browser
        st.session_state[_PHONE] = "Mobi" in (st.context.headers.get("User-Agent") or "")
    return bool(st.session_state[_PHONE])


def deciding_first(columns: Iterable[str], first: Sequence[str]) -> list[str]:
    """All columns: on a phone those of `first` that there are before the others, else as they are."""
    every = [str(c) for c in columns]
    if not on_phone():
        return every
    return [*(c for c in first if c in every), *(c for c in every if c not in first)]
