"""Scored data beside its rows: named views, the histogram of days as a filter, the profile of the filtered rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import streamlit as st

from cockpit.frame.components import Choice, gone, profile_table, when
from cockpit.frame.saying import keep, said_now
from cockpit.parts import charts
from cockpit.parts.filtering import go
from cockpit.views import dataset as dataset_view
from cockpit.views import scored as view
from cockpit.words import plain, plural
from esml_engine.errors import EsmlError

_VIEWS = "views"


def saved_views(choice: Choice, w: view.Wanted) -> None:
    """Open a named view, keep the present filters under a name, forget one."""
    found = choice.model.views()
    now = next(
        (v["name"] for v in found if view.of_view(v["filters"]) == dataclasses.replace(w, page=1, cols=())),
        "",
    )
    may = choice.estate.may("save_view", choice.ref.project)
    said_now(_VIEWS)  # beside the popover, which is closed by now
    with st.popover(f"View: {plain(now)}" if now else "Saved views", icon=":material/bookmark:"):
        for v in found:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.button(plain(v["name"]), key=f"view:{v['name']}", icon=":material/bookmark:", type="tertiary", on_click=go,
                    args=(dataclasses.replace(view.of_view(v["filters"]), cols=w.cols), v["name"]))  # fmt: skip
                st.caption(f"{v['by']} · {when(v['at'])}")
                st.button("Forget", key=f"drop:{v['name']}", icon=":material/delete:", type="tertiary", on_click=_drop,
                    args=(choice, v["name"]), disabled=not may.allowed)  # fmt: skip
        if not found:
            st.caption("No view is kept yet. Set filters, then give them a name: everybody who may read these rows finds it here.")  # fmt: skip
        with st.form(
            "view:form", border=False
        ):  # a form: a popover closes when what is in it draws the page again
            st.text_input("Name", key="view:new", placeholder="high predictions of October")
            st.form_submit_button("Keep these filters", icon=":material/bookmark_add:", on_click=_save, args=(choice, w),
                disabled=not may.allowed, help=None if may.allowed else may.reason)  # fmt: skip


def _save(choice: Choice, w: view.Wanted) -> None:
    name = st.session_state["view:new"].strip()
    try:
        choice.model.save_view(name, view.kept(w))
    except EsmlError as e:
        keep(_VIEWS, e)
        return
    go(dataclasses.replace(w, page=1), name)


def _drop(choice: Choice, name: str) -> None:
    try:
        choice.model.drop_view(name)
    except EsmlError as e:
        keep(_VIEWS, e)
        return
    st.query_params.pop("view", None)


def of_address(choice: Choice, w: view.Wanted) -> view.Wanted | None:
    """The filters that count: those of the view that the address names when it says nothing more; None after saying that the view is gone."""
    name = st.query_params.get("view", "")
    if not name:
        return w
    found = next((v for v in choice.model.views() if v["name"] == name), None)
    if found is None:
        gone("View", name)
        return None
    bare = dataclasses.replace(w, cols=()) == view.Wanted()
    return dataclasses.replace(view.of_view(found["filters"]), cols=w.cols) if bare else w


def exports(choice: Choice, w: view.Wanted, total: int) -> None:
    """Links to the whole filtered result, as a file of either kind."""
    who = choice.estate.actor.acting_as or ""
    for kind, main in (("parquet", False), ("csv", True)):
        label = f"Export {plural(total, 'row')} as CSV" if main else "Parquet"
        if not total:  # a link that leads nowhere can't be told from one that does
            st.button(label, key=f"export:{kind}", icon=":material/download:", disabled=True)
            continue
        st.link_button(
            label,
            view.export_address(str(choice.ref), choice.env, w, kind, who),
            icon=":material/download:",
            type="primary" if main else "secondary",
        )


def by_day(w: view.Wanted, rows: list[dict[str, Any]]) -> None:
    """The histogram; drawing over some days filters by them."""
    event: Any = st.altair_chart(charts.by_day(rows), on_select="rerun", key=f"days:{w.since}:{w.until}")
    found = (event or {}).get("selection") or {}
    kept = view.days_of(found, [r["day"] for r in rows])
    if kept and (kept[0], kept[-1]) != (w.since, w.until):
        go(dataclasses.replace(w, since=kept[0], until=kept[-1], page=1))
        st.rerun()


def profile(choice: Choice, w: view.Wanted, said: dict[str, Any]) -> None:
    """What each column holds over all filtered rows, and how one of them is spread."""
    scored = choice.model.scored(**w.filters)
    columns = [c["name"] for c in said["columns"]]
    start = columns.index("prediction") if "prediction" in columns else 0
    with st.container(width=260):
        column = st.selectbox("Spread of", columns, index=start, key="spread")
    found = view.bars(scored.histogram(column))
    if found:
        st.altair_chart(charts.spread(found, column))
    profile_table(dataset_view.profile(scored.profile()))
    st.caption(f"over all {plural(said['total'], 'filtered row')}, not over this page alone")
