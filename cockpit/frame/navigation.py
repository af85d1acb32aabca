"""The navigation: pages by section, as links that carry what was chosen."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from cockpit import places
from cockpit.facts.reads import roles_anywhere
from cockpit.frame import opening
from cockpit.frame.addressing import ADDRESS, UNKNOWN
from cockpit.frame.carrying import leading, settle, to
from cockpit.frame.screens import on_phone
from cockpit.work_reads import open_requests
from esml_engine.door import access
from esml_engine.errors import EsmlError

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "": {"work": ("My work", "inbox")},
    "Govern": {
        "estate": ("Estate", "dashboard"),
        "project": ("Project", "folder_open"),
        "approvals": ("Approvals", "approval"),
        "costs": ("Costs", "payments"),
        "audit": ("Audit", "history"),
    },
    "Refine": {"lake": ("Lake", "waves"), "dataset": ("Dataset", "table")},
    "Model": {
        "model": ("Model", "account_tree"),
        "leaderboard": ("Leaderboard", "leaderboard"),
        "promotion": ("Promotion", "upgrade"),
        "deployments": ("Deployments", "rocket_launch"),
    },
    "Use": {"scored": ("Scored data", "table_view")},
    "Operate": {"runs": ("Runs", "play_circle"), "settings": ("Settings", "tune")},
}
"""Section: page's file: (title, icon)."""
_NEEDS = {"audit": "read_audit", "scored": "read_scored"}
HIDDEN = {"run": ("Run", "list"), "row": ("Row", "badge")}
"""Pages that only links lead to."""
_MADE = "_pages"
LATER = {"catalogue": "The catalogue", "lineage": "Lineage", "drift": "Drift"}
"""Pages that are not built yet, by the address that they will have."""


def home() -> None:
    """`/` has no address of its own: on to what is mine today."""
    if _lost():  # under a path of several parts, which can't be registered
        no_page()
    else:
        st.switch_page(**to("work"))


def _lost() -> str:
    return lost_page(st.context.url, str(st.get_option("server.baseUrlPath") or ""))


def no_page() -> None:
    """The address names no page: say so, never show another instead."""
    name = _lost()
    if (
        name == UNKNOWN
    ):  # the server sent a path of several parts here, since a browser could load nothing under it
        name = st.query_params.get(ADDRESS, name).strip("/").replace("`", "")[:60]
    st.title("No such page")
    later = LATER.get(name.lower())
    st.warning(
        f"**{later} comes later.** This version has no page `/{name}` yet."
        if later
        else f"**There is no page `/{name}`.** The address is mistyped, or from another version.",
        icon=":material/link_off:",
    )
    for page, (title, icon) in ({**SECTIONS[""], **SECTIONS["Govern"]}).items():
        if page in _theirs() and page in ("work", "estate", "project"):
            st.page_link(**to(page), label=title, icon=f":material/{icon}:")
    if later:
        page, label, icon = "dataset", "Until then: versions, contents and quarantine on Dataset", "table"
        st.page_link(**to(page), label=label, icon=f":material/{icon}:")


def lost_page(url: str | None, base: str = "") -> str:
    """The path that an address names beside every page's; '' for the cockpit's own beginning. `base`: where the cockpit is served."""
    path = unquote(urlsplit(url or "").path).strip("/")
    inside = path.removeprefix(base.strip("/")).strip("/")
    known = {name for its in (*SECTIONS.values(), HIDDEN) for name in its}
    return "" if inside in ("", "home", *known) else inside.replace("`", "")[:60]


def chosen_page() -> tuple[StreamlitPage, dict[str, StreamlitPage]]:
    """Register every page: the one that the address names, and those of the sections by their names."""
    by_name: dict[str, StreamlitPage] = {}
    seen: dict[str, list[StreamlitPage]] = {"": [st.Page(home, title="Home", url_path="home", default=True,
        visibility="hidden")]}  # fmt: skip
    for section, its in SECTIONS.items():
        for name, (title, icon) in its.items():
            label = f"{title} ({n})" if name == "approvals" and on_phone() and (n := _waiting()) else title
            by_name[name] = _made(name, label, icon)
        seen.setdefault(section, []).extend(by_name[name] for name in its)
    seen[""] += [_made(name, title, icon, hidden=True) for name, (title, icon) in HIDDEN.items()]
    lost = _lost()
    if lost and "/" not in lost:  # registered, or Streamlit lays a dialog of its own over My work
        seen[""].append(st.Page(no_page, title="No such page", url_path=lost, visibility="hidden"))
    shown = st.navigation(seen, position="sidebar" if on_phone() else "hidden", expanded=True)
    return shown, by_name


def _made(name: str, title: str, icon: str, *, hidden: bool = False) -> StreamlitPage:
    """A page as Streamlit knows it, made once a session: it would look its file up at each rerun."""
    made = st.session_state.setdefault(_MADE, {})
    if (name, title) not in made:
        made[name, title] = st.Page(
            places.page(name),
            title=title,
            icon=f":material/{icon}:",
            visibility="hidden" if hidden else "visible",
        )
    page: StreamlitPage = made[name, title]
    return page


def _waiting() -> int:
    """Requests that wait and that this person may see."""
    try:
        return open_requests(opening.estate())
    except EsmlError:
        return 0  # the page itself says what failed


def _theirs() -> set[str]:
    """Pages that this person's roles open somewhere; a link to another still answers, with who can."""
    every = {name for its in SECTIONS.values() for name in its}
    try:
        have = roles_anywhere(opening.estate())
    except EsmlError:
        return every  # the page itself says what failed
    closed = {name for name, rule in _NEEDS.items() if not have & (access.RULES[rule] | {"admin"})}
    return every - closed if have else {"work", "estate"}


def links(registered: dict[str, StreamlitPage]) -> None:
    """The navigation as links, with the number of requests that wait beside Approvals."""
    try:
        estate = opening.estate()
        settle(estate)
    except EsmlError:
        pass  # the page itself says what failed; its links still lead everywhere
    if on_phone():
        return
    waiting, theirs, lead = _waiting(), _theirs(), leading()
    for section, pages in SECTIONS.items():
        its = {name: its for name, its in pages.items() if name in theirs}
        if not its:
            continue
        with st.container(gap="xxsmall"):
            if section:
                st.caption(section)
            for name, (title, icon) in its.items():
                label = f"{title} ({waiting})" if name == "approvals" and waiting else title
                st.page_link(registered[name], query_params=lead(name), label=label,
                    icon=f":material/{icon}:", width="stretch")  # fmt: skip
