"""Estate: how is everything? What waits for me, five figures, then the models that need somebody first, through one of four lenses."""

from __future__ import annotations

import datetime as dt
from typing import Any

import streamlit as st

from cockpit.acts.starting import new_project_asked, new_project_dialog
from cockpit.facts.reads import who_can
from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.components import away, demo_stopped, figures, no_model_yet, no_sight, page, ways_on, when
from cockpit.frame.saying import nothing_yet
from cockpit.frame.screens import on_phone
from cockpit.overview import Overview, overview
from cockpit.parts.listing import chosen_row, columns, csv, filters, listed, printed, ways_of
from cockpit.views import estate as view
from cockpit.views import work
from cockpit.views.plan import without_underscores
from cockpit.words import plural
from cockpit.work_reads import may_decide
from esml_engine.estate import Estate


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    requests = estate.requests("waiting")
    seen = overview(estate)
    head, side = st.columns([3, 2], vertical_alignment="bottom")
    with head:
        st.title("Estate")
        age = int((dt.datetime.now(dt.UTC) - seen.read).total_seconds())
        st.caption(f"{plural(len(seen.projects), 'project')} · {plural(len(seen.rows), 'model')} · as of {when(seen.read)} · read {age} s ago")  # fmt: skip
    new_project_dialog(estate)
    asked = {**st.query_params.to_dict(), "q": st.session_state.get("q", st.query_params.get("q", "")) or ""}
    where = view.wanted(asked, {k: st.query_params.get_all(k) for k in ("stage", "attention")})  # fmt: skip
    shown = seen.places if where == view.EVERYTHING else view.chosen(seen.rows, where, seen.projects)
    with side, st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "Export the list", data=lambda: csv(seen, shown), file_name=f"estate-{seen.read:%Y-%m-%d}.csv", mime="text/csv",
            icon=":material/download:", disabled=not shown,
            help="All four lenses of the models that the filters leave, as CSV.",
        )  # fmt: skip
        st.download_button(
            "Report", data=lambda: printed(seen, shown, requests), file_name=f"estate-{seen.read:%Y-%m-%d}.html", mime="text/html",
            icon=":material/description:", disabled=not shown,
            help="One page to print or to send: figures, decisions that wait, needs, and these models through all four lenses.",
        )  # fmt: skip
        may = estate.may("new_project")
        st.button(
            "New project", icon=":material/create_new_folder:", on_click=new_project_asked, width="content",
            disabled=not may.allowed,
            help=None if may.allowed else f"{without_underscores(may.reason)}. Who can: {who_can(estate.site, 'new_project', '')}",
        )  # fmt: skip
    if not seen.projects and no_sight(estate):
        return
    if not seen.rows:
        no_model_yet(estate)
        return
    demo_stopped(estate)
    _waits(estate, requests)
    away(estate)
    figures(seen.figures)
    lens = filters(seen)
    if not shown:
        nothing_yet("No model passes these filters.", "Take a chip away, or clear the search.")
        return
    _table(seen, shown, lens)


def _waits(estate: Estate, requests: list[dict[str, Any]]) -> None:
    """What waits for this person's decision."""
    mine, _, _ = work.mine(requests, lambda r: may_decide(estate, r), estate.actor.rights)
    if not mine:
        return
    said = view.decisions(mine, estate.site.settings.estate.currency, dt.datetime.now(dt.UTC))
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(said, width="content")
        st.page_link(**to("approvals"), label="**Open approvals**", icon=":material/approval:")


def _table(seen: Overview, shown: list[int], lens: str) -> None:
    frame = seen.frame(lens)
    if shown is not seen.places:
        frame = frame.iloc[shown]
    if on_phone():
        listed(seen, frame, shown)
        return
    above, names = st.empty(), seen.models if shown is seen.places else [seen.models[i] for i in shown]
    at = chosen_row(names, st.query_params.get("row"))
    event = st.dataframe(
        frame, hide_index=True, column_config=columns(lens, seen.environments), on_select="rerun", selection_mode="single-row",
        key=f"models:{lens}:{at}", placeholder="", row_height=34, selection_default={"selection": {"rows": at}},
        height="content" if len(shown) <= 15 else 560,
    )  # fmt: skip
    st.caption("Choose a row for the ways to its pages. " + view.EXPLAINED[lens])
    now = list(event["selection"]["rows"])
    if now != at:  # the address says which row, as of everything else that is chosen
        st.query_params["row"] = [names[i] for i in now]
        st.rerun()
    for i in now:
        ways_on(above, seen.rows[shown[i]].name, ways_of(seen, names[i]))


show()
