"""Selectors whose value stands in the address: one of a few, a project or none, an environment or all, a text, a switch.

Not bound by Streamlit: leaving a page with a bound value writes an entry into the browser's history that has this page's
path and the next one's query, and Back comes there instead of to the view that was left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from cockpit.facts.reads import roles_anywhere
from cockpit.frame import carrying
from cockpit.frame.addressing import unread
from cockpit.frame.components import gone, lit, lost, none_there, pick, reach
from esml_engine.estate import Estate

ALL = ""


def open_tabs(names: Sequence[str], key: str = "tab") -> list[tuple[Any, str]]:
    """Draw tabs whose open one stands in the address under `key`; the open one and its name, as the others need no drawing."""
    unread(key, names)
    asked = st.query_params.get(key)
    st.session_state[key] = asked if asked in names else names[0]

    def changed() -> None:
        value = st.session_state[key]
        st.query_params.update({key: [] if value == names[0] else value})

    drawn = st.tabs(list(names), key=key, on_change=changed)
    return [(tab, name) for tab, name in zip(drawn, names, strict=True) if tab.open]


def typed(label: str, key: str, **look: Any) -> str:
    """A text in the address under `key`; an empty one leaves it."""
    st.session_state[key] = st.query_params.get(key, "")

    def changed() -> None:
        st.query_params.update({key: (st.session_state[key] or "").strip() or []})

    return (st.text_input(label, key=key, on_change=changed, **look) or "").strip()


def switched(label: str, key: str) -> bool:
    """A switch in the address under `key`; off leaves it."""
    st.session_state[key] = st.query_params.get(key) == "true"

    def changed() -> None:
        st.query_params.update({key: "true" if st.session_state[key] else []})

    return bool(st.toggle(label, key=key, on_change=changed))


def opens(label: str, close: str, key: str, value: str = "true", *, primary: bool = True, icon: str) -> bool:
    """A button that opens what the address has under `key`, and closes it again; whether it is open."""
    is_open = bool(st.query_params.get(key) == value)

    def turned() -> None:
        st.query_params.update({key: [] if is_open else value})

    st.button(
        close if is_open else label,
        key=f"opens:{key}" if value == "true" else f"opens:{key}:{value}",
        icon=":material/expand_less:" if is_open else f":material/{icon}:",
        type="primary" if primary and not is_open else "secondary",
        on_click=turned,
    )
    return is_open


def one_of(label: str, options: Sequence[str], key: str, placeholder: str, **look: Any) -> str:
    """One of a list, in the address under `key`, or '' for any; an unknown value is said."""
    unread(key, options)
    asked = st.query_params.get(key)
    st.session_state[key] = asked if asked in options else None

    def changed() -> None:
        st.query_params.update({key: st.session_state[key] or []})

    return str(
        st.selectbox(label, options, index=None, key=key, on_change=changed, label_visibility="collapsed",
            placeholder=placeholder, **look) or ""
    )  # fmt: skip


def segment(label: str, options: Mapping[str, str], key: str, default: str) -> str:
    """One of a few side by side (value: shown text); the default leaves the address, an unknown value is said."""
    widget = f"seg:{key}"
    unread(key, options)
    asked = st.query_params.get(key)
    now = st.session_state[widget] = asked if asked in options else default

    def changed() -> None:
        value = st.session_state[widget]
        if value == default:
            st.query_params.pop(key, None)
        else:
            st.query_params[key] = value

    return str(
        st.segmented_control(
            label, list(options), required=True, key=widget, label_visibility="collapsed",
            format_func=lambda v: lit(options.get(v, v), v == now), on_change=changed
        )
    )  # fmt: skip


def at_most_one(label: str, options: Sequence[str], key: str) -> str | None:
    """One of a few as chips, or none of them; the address has it under `key`, an unknown value is said."""
    widget = f"chip:{key}"
    unread(key, options)
    asked = st.query_params.get(key)
    now = st.session_state[widget] = asked if asked in options else None

    def changed() -> None:
        value = st.session_state[widget]
        st.query_params.update({key: value or []})

    chosen = st.pills(label, options, key=widget, label_visibility="collapsed", format_func=lambda v: lit(v, v == now),
        on_change=changed)  # fmt: skip
    return str(chosen) if chosen else None


def _no_member(estate: Estate, project: str) -> None:
    """Whether it is there is not said to somebody who may not see it, unless they own it."""
    if "admin" in roles_anywhere(estate):
        gone("Project", project)
        return
    owned = estate.site.files.projects.get(project, {}).get("owner") == estate.actor.rights
    who = "You own it, but were given no role on it: ask an administrator" if owned else "Ask its owner. If nobody knows it, it is gone"  # fmt: skip
    st.warning(f"**You are not a member of `{project}`.** {who}.", icon=":material/lock:")


def choose_project(estate: Estate, title: str) -> str | None:
    """A project in a row above the title; None after saying why there is none, under the page's title."""
    seen = reach(estate)
    have, asked = list(seen), st.query_params.get("project")
    if lost(estate, seen, {"project": asked or ""}):
        st.title(title)
        _no_member(estate, str(asked))
        return None
    if not have:
        none_there(estate, title)
        return None
    last = carrying.chosen().get("project")
    project = asked or (last if last in have else have[0])
    if not asked:
        st.query_params["project"] = project  # so that the address can be forwarded
    teams = {p: estate.site.settings.project(p).team for p in have}

    def shown(p: str) -> str:
        return f"{p} · {teams[p]}" if teams.get(p) else p

    chosen = pick("Project", have, "project", shown, default=project)
    if st.query_params.get("project") != chosen:  # each writing is an entry of the history
        st.query_params["project"] = chosen
    carrying.choose(project=chosen)
    return chosen


def scope(
    estate: Estate, title: str, *, whole: bool = True, model: bool = True, environment: bool = True
) -> tuple[str, str] | None:
    """(`estate`, a project or a model; an environment or all) in a row above the title, all of them to begin with.

    `whole`: the estate itself may be chosen; else the first project is. None after saying why there is nothing.
    """
    by_project = reach(estate)
    asked = {k: st.query_params.get(k, "") for k in carrying.KEYS if k != "model" or model}
    if bad := lost(estate, by_project, asked):
        st.title(title)
        gone(*bad)
        return None
    if not whole and not by_project:
        none_there(estate, title)
        return None
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        first = ALL if whole else asked["project"] or next(iter(by_project))
        project = pick("Project", [*([ALL] if whole else []), *by_project], "project", lambda p: p or "all projects",
            default=first, width=230)  # fmt: skip
        if project and st.query_params.get("project") != project:
            st.query_params["project"] = project
        carrying.narrow(project)
        name = ALL
        if model and project:
            name = pick("Model", [ALL, *by_project[project]], "model", lambda m: m or "all models", default=ALL,
                width=200)  # fmt: skip
        env = ALL
        if environment:
            env = pick("Environment", [ALL, *estate.environments], "env", lambda e: e or "all environments", default=ALL,
                width=180)  # fmt: skip
    return (f"{project}/{name}" if name else project or "estate"), env
