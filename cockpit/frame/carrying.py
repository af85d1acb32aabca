"""What an address carries from page to page: project, model, environment, and whose rights are used.

Links hold all of it from the start: a page that had to write its own address would put an entry of its own into the
browser's history, and Back would need two presses.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import streamlit as st

from cockpit.places import page as page_file
from esml_engine.estate import Estate

KEYS = ("project", "model", "env")
_CHOSEN = "_chosen"  # what this session chose last
_USUAL = "_usual"  # where it begins when nothing was chosen yet
_SETTLED = "_settled"  # for whom, and about which project, that was last found out
_LEFT = "_left"  # the project that was chosen when somebody chose all of them
_HERE = "_here"  # the page that is drawn
_ANEW = "anew"  # in the address of a link to the page on which it stands
_WHOLE = frozenset({"dataset", "deployments", "lake", "leaderboard", "model", "promotion", "row", "scored"})
_SCOPED = frozenset({"costs", "settings"})  # about all projects, unless one was chosen


class Link(TypedDict):
    """Arguments of `st.page_link` and `st.switch_page`."""

    page: Path
    query_params: dict[str, Any]


def chosen() -> dict[str, str]:
    """Project, model and environment that this session chose last; some or all may be missing."""
    found: dict[str, str] = st.session_state.get(_CHOSEN, {})
    return found


def choose(**parts: str) -> None:
    """Remember a choice; another project's model does not stay."""
    before = chosen()
    if parts.get("project", before.get("project")) != before.get("project"):
        st.session_state.pop(_LEFT, None)
        before = {k: v for k, v in before.items() if k != "model"}
    st.session_state[_CHOSEN] = {**before, **parts}


def narrow(project: str) -> None:
    """One project, or with '' all of them, was chosen on a page about many: such pages begin so until another is chosen."""
    if project:
        choose(project=project)
        st.session_state.pop(_LEFT, None)
    else:
        st.session_state[_LEFT] = chosen().get("project", "")


def settle(estate: Estate) -> None:
    """Take over what the address names, where it is there and permitted, before links are drawn; what is missing is the first there is.

    The estate is asked only when something is new.
    """
    q = {k: st.query_params.get(k, "") for k in KEYS}
    who = (st.session_state.get("act_as"), chosen().get("project"))
    if st.session_state.get(_SETTLED) == who and (not q["model"] or q == chosen()):
        return
    visible, environments = estate.visible(), estate.environments
    st.session_state[_SETTLED] = who if visible else None
    if q["env"] in environments and any((r.project, r.model) == (q["project"], q["model"]) for r in visible):
        choose(**q)
    project = chosen().get("project", "")
    first = next((r for r in visible if project in ("", r.project)), None)
    st.session_state[_USUAL] = {"project": first.project, "model": first.model,
        "env": environments[0]} if first else {}  # fmt: skip


def here(page: str) -> None:
    """The page that is drawn from now on, by its name in addresses.

    A link to it that was pressed on it draws it anew, but Streamlit leaves the browser's address as it was: such a link has a
    mark, and taking it away writes the address.
    """
    st.session_state[_HERE] = page
    if _ANEW in st.query_params:
        del st.query_params[_ANEW]


def to(name: str, **query: Any) -> Link:
    """A page with all that its address needs; `query` wins over what is carried."""
    return {"page": page_file(name), "query_params": leading()(name, **query)}


def leading() -> Callable[..., dict[str, Any]]:
    """What answers the address's query for a page by its name, as of what this session has chosen by now: read once for many links."""
    have = st.session_state
    last, who, drawn, left = chosen(), have.get("act_as"), have.get(_HERE), have.get(_LEFT)
    now = {**have.get(_USUAL, {}), **last}

    def lead(name: str, **query: Any) -> dict[str, Any]:
        if name in _WHOLE:
            carried = {k: now[k] for k in KEYS if k in now}
            if query.get("project", carried.get("project")) != carried.get("project"):
                carried.pop("model", None)  # another project's
        elif name == "project":
            carried = {"project": now["project"]} if "project" in now else {}
        elif name in _SCOPED:
            project = last.get("project", "")
            carried = {"project": project} if project and project != left else {}
        else:
            carried = {}
        mark = {_ANEW: "1"} if name == drawn else {}
        return {**carried, **query, **({"as": who} if who else {}), **mark}

    return lead
