"""Filters on scored data: chips that say what is set, and a form that adds one; the address holds them all."""

from __future__ import annotations

import dataclasses
from typing import Any

import streamlit as st

from cockpit.frame.saying import keep
from cockpit.views import scored as view
from cockpit.words import plain, sentence
from esml_engine.errors import UsageError
from esml_engine.scored.where import written

_KEYS = ("from", "to", "caller", "version", "where", "cols", "sort", "page", "view")


def go(w: view.Wanted, named: str = "") -> None:
    """Put these filters into the address, in one step, which Back undoes. `named`: the view that they are."""
    new: dict[str, str | list[str]] = {**view.address(w), **({"view": named} if named else {})}
    # a key that is set to nothing leaves the address; deleting keys would be a step each
    st.query_params.update({k: new.get(k, []) for k in _KEYS if k in new or k in st.query_params})


def filters(w: view.Wanted, said: dict[str, Any], everything: dict[str, Any], versions: list[int]) -> None:  # fmt: skip
    """The chips, the form, and the way back to everything."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _chips(w)
        with st.popover("Add filter", icon=":material/add:"):
            _add(w, said, everything, versions)
        _reset(w)


def unreadable(w: view.Wanted, e: UsageError) -> None:
    """A filter that can't be read: why, and every filter to take away."""
    st.warning(
        f"**A filter can't be read:** {plain(e.message)}. {sentence(e.hint)}.",
        icon=":material/filter_alt_off:",
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _chips(w)
        st.button("Reset", type="tertiary", on_click=go, args=(view.Wanted(),))  # sorting and columns too


def _chips(w: view.Wanted) -> None:
    for c in view.chips(w):
        st.button(
            f"{plain(c.text)}  ✕", key=f"chip:{c.key}:{c.value}", on_click=go, args=(view.without(w, c),)
        )


def _reset(w: view.Wanted) -> None:
    if view.chips(w):
        st.button("Reset", type="tertiary", on_click=go, args=(view.Wanted(sort=w.sort, cols=w.cols),))


def _add(w: view.Wanted, said: dict[str, Any], everything: dict[str, Any], versions: list[int]) -> None:  # fmt: skip
    """In a form: a popover closes when what is in it draws the page again."""
    names = [c["name"] for c in said["columns"]]
    callers = [c["caller_id"] for c in everything["by_caller"]]
    with st.form("filter:form", border=False):
        picked = st.multiselect("Callers", callers, default=[c for c in w.callers if c in callers])
        numbers = st.multiselect(
            "Model versions", versions, default=list(w.versions), format_func=lambda n: f"v{n}"
        )
        days = st.date_input("Days, UTC: the first, then the last", value=[], key="days")
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            column = st.selectbox("Column", ["", *names])
            op = st.selectbox("is", view.OPS)
            text = st.text_input("value", help="Not needed for is-null.")
        if not st.form_submit_button("Apply", type="primary"):
            return
    if bool(column) != bool(text.strip()) and op != "is-null":
        half = f"a value for {column}" if column else f"the column that {text.strip()!r} is about"
        keep("filter", f"The filter lacks {half}: it was not applied.")
    more = (written(column, op, text.strip()),) if column and (text.strip() or op == "is-null") else ()
    dates = [d.isoformat() for d in days] if isinstance(days, tuple | list) else []
    go(
        dataclasses.replace(
            w,
            callers=tuple(picked),
            versions=tuple(numbers),
            where=(*w.where, *more),
            since=dates[0] if dates else w.since,
            until=dates[-1] if dates else w.until,
            page=1,
        )
    )
    st.rerun()


def columns(w: view.Wanted, said: dict[str, Any]) -> None:
    """Which columns the table shows; in a form, as a popover closes when what is in it draws the page again."""
    every = view.choosable(said)
    shown = [c for c in every if c in w.cols] or every
    label = "Columns" if len(shown) == len(every) else f"Columns: {len(shown)} of {len(every)}"
    with st.popover(label, icon=":material/view_column:"), st.form("columns:form", border=False):
        chosen = st.multiselect(
            "Shown columns",
            every,
            default=shown,
            key=f"cols:{','.join(w.cols)}",
            help="Time, caller, model, prediction, request and row always stand there. The address keeps the choice. An export has every column whatever is shown here.",
        )
        if not st.form_submit_button("Show these", type="primary"):
            return
    go(dataclasses.replace(w, cols=() if len(chosen) in (0, len(every)) else tuple(chosen)),
        st.query_params.get("view", ""))  # fmt: skip
    st.rerun()
