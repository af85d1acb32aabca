"""The entry that Streamlit runs for every page: navigation, and whose rights are used."""

from __future__ import annotations

import streamlit as st

from cockpit.facts.reads import people
from cockpit.frame import carrying, navigation, opening
from cockpit.words import tidy
from esml_engine.door.start import local_admin
from esml_engine.errors import EsmlError

_LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 220 32"><g fill="#6cb6ff"><rect x="2" y="6" width="24" height="4" rx="2"/><rect x="2" y="14" width="24" height="4" rx="2"/><rect x="2" y="22" width="24" height="4" rx="2"/></g><text x="36" y="23" font-family="Inter, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="20" font-weight="600" fill="#f2f6fb">ESML Cockpit</text></svg>"""
_ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0f1b2d"/><g fill="#6cb6ff"><rect x="6" y="8" width="20" height="3.4" rx="1.7"/><rect x="6" y="14.3" width="20" height="3.4" rx="1.7"/><rect x="6" y="20.6" width="20" height="3.4" rx="1.7"/></g></svg>"""


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
    if (
        now and asked != now
    ):  # each write is an entry of the browser's history, under the path of the page before
        st.query_params["as"] = now
    if (
        now and now not in known
    ):  # their last role was taken away meanwhile: never fall back to more rights in silence
        known.append(now)
    with st.sidebar:
        chosen = st.selectbox(
            f"Act as (signed in: {me})", ["", *(p for p in known if p != me)], key="act_as", persist_state="session",
            on_change=_acted, format_func=lambda p: p or f"{me} · administrator",
            help="This machine has no sign-in: its user is administrator and may act as any member. The audit names both.",
        )  # fmt: skip
        if chosen:
            st.caption(f":material/theater_comedy: You see and do what **{chosen}** may.")


def _acted() -> None:
    """Another person was chosen: into the address."""
    if st.session_state["act_as"]:
        st.query_params["as"] = st.session_state["act_as"]
    else:
        st.query_params.pop("as", None)


def main() -> None:
    """Draw the frame, then the page."""
    st.set_page_config(
        page_title="ESML Cockpit", page_icon=_ICON, layout="wide", initial_sidebar_state="auto"
    )
    st.logo(_LOGO, icon_image=_ICON, size="medium")
    page, registered = navigation.chosen_page()
    carrying.here(page.url_path)
    links = st.sidebar.container(gap="xsmall")  # above whose rights are used, which they carry
    acting()
    with links:
        navigation.links(registered)
    page.run()


main()
