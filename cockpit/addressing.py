"""What an address says that no widget can show: it is named, never dropped in silence."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st


def unread(key: str, options: Iterable[str]) -> None:
    """Say which values under `key` the address names that there are not; widgets drop them in silence."""
    known = list(options)
    for asked in st.query_params.get_all(key):
        if asked not in known:
            st.warning(f"`{key}={asked}` in the address can't be read and was left out; {key} is one of {', '.join(known)}.", icon=":material/link_off:")  # fmt: skip
