"""Scored data: what was predicted, for whom, by which version; never something else than what was asked for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
import streamlit as st

from cockpit.frame import opening
from cockpit.frame.addressing import unread
from cockpit.frame.carrying import to
from cockpit.frame.choosing import open_tabs
from cockpit.frame.components import Choice, as_of, choose, locked, page, ways_on, zone
from cockpit.frame.saying import nothing_yet
from cockpit.frame.screens import deciding_first
from cockpit.parts.boards import figure
from cockpit.parts.filtering import columns, filters, go, unreadable
from cockpit.parts.viewing import by_day, exports, of_address, profile, saved_views
from cockpit.views import scored as view
from cockpit.words import plain, plural
from esml_engine.errors import UsageError
from esml_engine.training import records as training


@page
def show() -> None:
    """The page."""
    choice = choose(opening.estate(), "Scored data")
    if choice is None:
        return
    head, side = st.columns([2, 3], vertical_alignment="bottom")
    with head:
        st.title("Scored data")
        st.caption(
            f"{choice.ref} in {choice.env} · times in {zone() or 'UTC'} · days are UTC days · {as_of()}"
        )
    if locked(choice.estate, "read_scored", choice.ref.project):
        return
    if choice.estate.site.settings.model(choice.ref).task == "analytics":
        nothing_yet("An analytics model ends at gold.", "There is no model that could score.")
        return
    q, model = st.query_params, choice.model
    everything = model.scored(by="caller", limit=0).document()  # refuses who may not read it
    w = of_address(choice, view.wanted(q.to_dict(), {k: q.get_all(k) for k in ("caller", "version", "where", "cols")}))  # fmt: skip
    if w is None:
        return
    try:
        said = model.scored(**w.filters, order_by=w.sort, limit=view.ROWS, offset=(w.page - 1) * view.ROWS).document()  # fmt: skip
    except UsageError as e:
        unreadable(w, e)
        return
    scoring = ("Score a file", "calculate", to("deployments", tab="Score a file"))
    with side, st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        if everything["total"]:
            st.page_link(**scoring[2], label=scoring[0], icon=f":material/{scoring[1]}:")
        saved_views(choice, w)
        exports(choice, w, said["total"])
    for b in w.bad:
        st.warning(f"`{b}` in the address can't be read and was left out.", icon=":material/link_off:")
    if not everything["total"]:
        nothing_yet("No scored row yet.", "Score a file, or send a test call.", scoring)
        return
    have = {r["version"] for r in training.versions(choice.estate.site.store, choice.ref)}
    filters(w, said, everything, sorted(have | set(w.versions)))
    if not said["total"]:
        _empty(choice, w)
        return
    if not said["rows"]:
        last = -(-said["total"] // view.ROWS)
        st.warning(f"**There is no page {w.page}.** The filters leave {plural(said['total'], 'row')} on {plural(last, 'page')}.", icon=":material/link_off:")  # fmt: skip
        st.button(f"Page {last}", on_click=go, args=(dataclasses.replace(w, page=last),))
        return
    left, right = st.columns([1, 4])
    with left:
        st.metric("Rows", f"{said['total']:,}", f"of {everything['total']:,}", delta_color="off", delta_arrow="off")  # fmt: skip
        st.metric("Calls", f"{said['calls']:,}", view.calls_note(said, len(everything["by_caller"])), delta_color="off", delta_arrow="off")  # fmt: skip
    with right:
        by_day(w, said["by_day"])
    for tab, name in open_tabs(["Rows", "Profile"], "show"):
        with tab:
            (_rows if name == "Rows" else profile)(choice, w, said)


def _empty(choice: Choice, w: view.Wanted) -> None:
    """Nothing matches: which filter empties it."""
    lines = []
    for c in view.chips(w):
        n = choice.model.scored(**view.without(w, c).filters, count_only=True).document()["total"]
        lines.append(f"- without *{plain(c.text)}*: {n:,}")
    st.info("**No row matches all of these filters.**\n" + "\n".join(lines), icon=":material/filter_alt_off:")


def _bars(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Predictions that are numbers stand as bars between the least and the most of this page."""
    found = [r["prediction"] for r in rows if isinstance(r["prediction"], float | int)]
    if len(found) < len(rows) or not found or min(found) == max(found):
        return {}
    low = min(0.0, float(min(found)))
    return {"Prediction": figure("Prediction", low, float(max(found)))}


def _rows(choice: Choice, w: view.Wanted, said: dict[str, Any]) -> None:
    unread("cols", view.choosable(said))
    frame = pd.DataFrame(view.table(said, zone(), w.cols))
    above = st.empty()
    event = st.dataframe(
        frame,
        hide_index=True,
        lazy=False,
        placeholder="",
        column_config=_bars(said["rows"]),
        column_order=deciding_first(frame.columns, ("Prediction", "Caller", "Scored at")),
        height="content" if len(frame) <= 10 else 430,
        on_select="rerun",
        selection_mode="single-row",
        key=f"rows:{w.page}",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        pages = max(1, -(-said["total"] // view.ROWS))
        # the page in the key: what the widget remembers never wins over the address
        now = st.pagination(pages, default=min(w.page, pages), key=f"pages:{w.page}:{pages}")
        first = (w.page - 1) * view.ROWS + 1
        st.caption(
            f"rows {first:,}–{first + len(frame) - 1:,} of {said['total']:,} · {w.sort or 'newest first'}"
        )
        columns(w, said)
        names = [c["name"] for c in said["columns"]]
        orders = ["", *(f"{c}{d}" for c in names for d in ("", ":desc"))]
        with st.container(width=220):
            sort = st.selectbox(
                "Order",
                orders,
                index=orders.index(w.sort) if w.sort in orders else 0,
                format_func=lambda o: o or "newest first",
                label_visibility="collapsed",
                key=f"order:{w.sort}",
            )
    if now != w.page or sort != w.sort:
        go(dataclasses.replace(w, page=now if sort == w.sort else 1, sort=sort))
        st.rerun()
    if event["selection"]["rows"]:
        r = said["rows"][event["selection"]["rows"][0]]
        where = {"project": choice.ref.project, "model": choice.ref.model, "env": choice.env}
        target = to("row", **where, request=r["request_id"], row=str(r["row"]))
        ways_on(above, f"row {r['row']} of {r['request_id']}", [("Passport: how the answer came to be", "badge", target)])  # fmt: skip


show()
