"""The entry that Streamlit runs for every page: navigation, and whose rights are used."""

from __future__ import annotations

import streamlit as st

from cockpit import opening, places
from cockpit.reads import people
from cockpit.words import tidy
from cockpit.work_reads import open_requests
from esml_engine.door.start import local_admin
from esml_engine.errors import EsmlError

_LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 220 32"><g fill="#6cb6ff"><rect x="2" y="6" width="24" height="4" rx="2"/><rect x="2" y="14" width="24" height="4" rx="2"/><rect x="2" y="22" width="24" height="4" rx="2"/></g><text x="36" y="23" font-family="Inter, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="20" font-weight="600" fill="#f2f6fb">ESML Cockpit</text></svg>"""
_ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0f1b2d"/><g fill="#6cb6ff"><rect x="6" y="8" width="20" height="3.4" rx="1.7"/><rect x="6" y="14.3" width="20" height="3.4" rx="1.7"/><rect x="6" y="20.6" width="20" height="3.4" rx="1.7"/></g></svg>"""


def home() -> None:
    """`/` has no address of its own: on to what is mine today."""
    st.switch_page(places.page("work"))


def acting() -> None:
    """Single-user mode: whose rights are used, labelled, below the navigation."""
    try:
        estate = opening.estate_as(None)
        known = people(estate.site)
    except EsmlError as e:
        st.sidebar.error(f"{tidy(e.message, opening.root())}", icon=":material/error:")
        return
    me = local_admin()
    asked = st.query_params.get("as")
    if asked is not None:  # the address wins: a reload, a link and Back all keep whose rights they showed
        st.session_state["act_as"] = asked
    now = st.session_state.get("act_as")
    if now:
        st.query_params["as"] = now
    if (
        now and now not in known
    ):  # their last role was taken away meanwhile: never fall back to more rights in silence
        known.append(now)
    with st.sidebar:
        chosen = st.selectbox(
            f"Act as (signed in: {me})", ["", *(p for p in known if p != me)], key="act_as", persist_state="session", on_change=_acted, format_func=lambda p: p or f"{me} · administrator",
            help="This machine has no sign-in: its user is administrator and may act as any member. The audit names both.",
        )  # fmt: skip
        if chosen:
            st.caption(f":material/theater_comedy: You see and do what **{chosen}** may.")


def _approvals() -> str:
    """The page's title with the number of open requests that this person may see."""
    try:
        n = open_requests(opening.estate())
    except EsmlError:
        return "Approvals"  # the page itself says what failed
    return f"Approvals ({n})" if n else "Approvals"


def _acted() -> None:
    """Another person was chosen: into the address."""
    if st.session_state["act_as"]:
        st.query_params["as"] = st.session_state["act_as"]
    else:
        st.query_params.pop("as", None)


def main() -> None:
    """Draw the frame, then the page."""
    st.set_page_config(
        page_title="ESML Cockpit", page_icon=":material/menu:", layout="wide", initial_sidebar_state="auto"
    )
    st.logo(_LOGO, icon_image=_ICON, size="medium")
    page = st.navigation(
        {
            "": [
                st.Page(home, title="Home", url_path="home", default=True, visibility="hidden"),
                st.Page(places.page("work"), title="My work", icon=":material/inbox:"),
                st.Page(places.page("run"), title="Run", icon=":material/list:", visibility="hidden"),
                st.Page(places.page("row"), title="Row", icon=":material/badge:", visibility="hidden"),
            ],
            "Govern": [
                st.Page(places.page("estate"), title="Estate", icon=":material/dashboard:"),
                st.Page(places.page("project"), title="Project", icon=":material/folder_open:"),
                st.Page(places.page("approvals"), title=_approvals(), icon=":material/approval:"),
                st.Page(places.page("costs"), title="Costs", icon=":material/payments:"),
                st.Page(places.page("audit"), title="Audit", icon=":material/history:"),
            ],
            "Refine": [
                st.Page(places.page("lake"), title="Lake", icon=":material/waves:"),
                st.Page(places.page("dataset"), title="Dataset", icon=":material/table:"),
            ],
            "Model": [
                st.Page(places.page("model"), title="Model", icon=":material/account_tree:"),
                st.Page(places.page("leaderboard"), title="Leaderboard", icon=":material/leaderboard:"),
                st.Page(places.page("promotion"), title="Promotion", icon=":material/upgrade:"),
                st.Page(places.page("deployments"), title="Deployments", icon=":material/rocket_launch:"),
            ],
            "Use": [st.Page(places.page("scored"), title="Scored data", icon=":material/table_view:")],
            "Operate": [
                st.Page(places.page("runs"), title="Runs", icon=":material/play_circle:"),
                st.Page(places.page("settings"), title="Settings", icon=":material/tune:"),
            ],
        },
        expanded=True,
    )
    acting()
    page.run()


main()
