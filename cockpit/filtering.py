"""Filters on scored data: chips that say what is set, and a form that adds one; the address holds them all."""

from __future__ import annotations

import dataclasses
from typing import Any

import streamlit as st

from cockpit.views import scored as view
from esml_engine.scored.where import written

_KEYS = ("from", "to", "caller", "version", "where", "sort", "page")


def go(w: view.Wanted) -> None:
    """Put these filters into the address."""
    for k in _KEYS:
        if k in st.query_params:
            del st.query_params[k]
    st.query_params.update(view.address(w))


def filters(w: view.Wanted, said: dict[str, Any], everything: dict[str, Any]) -> None:
    """The chips, the form, and the way back to everything."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for c in view.chips(w):
            st.button(f"{c.text}  ✕", key=f"chip:{c.key}:{c.value}", on_click=go, args=(view.without(w, c),))
        with st.popover("Add filter", icon=":material/add:"):
            _add(w, said, everything)
        if view.chips(w):
            st.button("Reset", type="tertiary", on_click=go, args=(view.Wanted(sort=w.sort),))


def _add(w: view.Wanted, said: dict[str, Any], everything: dict[str, Any]) -> None:
    names = [c["name"] for c in said["columns"]]
    callers = [c["caller_id"] for c in everything["by_caller"]]
    picked = st.multiselect("Callers", callers, default=[c for c in w.callers if c in callers])
    days = st.date_input("Days, UTC", value=[], key="days")
    column = st.selectbox("Column", ["", *names])
    op = st.selectbox("is", view.OPS)
    text = st.text_input("value", disabled=op == "is-null")
    if st.button("Apply", type="primary"):
        more = (written(column, op, text),) if column and (text or op == "is-null") else ()
        dates = [d.isoformat() for d in days] if isinstance(days, tuple | list) else []
        go(
            dataclasses.replace(
                w,
                callers=tuple(picked),
                where=(*w.where, *more),
                since=dates[0] if dates else w.since,
                until=dates[-1] if dates else w.until,
                page=1,
            )
        )
        st.rerun()
