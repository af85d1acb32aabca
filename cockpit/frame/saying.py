"""What a page says: that it failed, that nothing is here yet, and what a press led to, on the drawing that follows it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cockpit.frame import opening
from cockpit.frame.carrying import Link, to
from cockpit.views.plan import without_underscores
from cockpit.words import sentence, tidy
from esml_engine.errors import (
    EsmlError,
    NotAllowedError,
    NotFoundError,
    PolicyError,
    RefusedError,
    StalePlanError,
    UsageError,
    WaitingError,
)

_SAID = "_said"
_DONE = "_done"
_SHOWN = "_shown"  # what was said since the page was drawn


def once(name: str) -> Any:
    """What is kept under a name of this session, said now and no more; None where nothing is."""
    said = st.session_state.pop(name, None)
    if said is not None:
        st.session_state.setdefault(_SHOWN, {})[name] = said
    return said


def drawn_anew() -> None:
    """A page begins: what it said before was read."""
    st.session_state[_SHOWN] = {}


def draw_again() -> None:
    """Draw the page again by itself, since something ended; what it said just now is said again, as nobody may have read it."""
    st.session_state.update(st.session_state.get(_SHOWN, {}))
    st.rerun()


def failure(e: EsmlError, *, next_act: str = "") -> None:
    """It failed, or you may not: what happened, its id, what to do."""
    root = opening.root()
    message, hint = tidy(e.message, root), tidy(e.hint or next_act, root)
    end = f"  \n{sentence(hint)}." if hint else ""
    if isinstance(e, NotAllowedError):
        st.warning(f"**You may not:** {without_underscores(message)}.{end}", icon=":material/lock:")
    elif isinstance(e, StalePlanError):
        st.warning(
            "**The facts changed since you looked.** Nothing was started; this is the new plan.",
            icon=":material/sync_problem:",
        )
    elif isinstance(e, (PolicyError, WaitingError)):
        st.warning(f"**Refused by policy:** {message}.{end}", icon=":material/policy:")
    elif isinstance(e, RefusedError):  # somebody was first, or a gate says no
        st.warning(f"**Not done:** {message}.{end}", icon=":material/block:")
    elif isinstance(e, NotFoundError):
        st.error(f"**Not there:** {message}.{end}", icon=":material/error:")
    elif isinstance(e, UsageError):  # what was asked for is wrong: nothing was tried, so no id leads anywhere
        st.error(f"**Not accepted:** {message}.{end}", icon=":material/error:")
    else:
        st.error(f"**It failed:** {message}.{end}  \n`{e.id}`", icon=":material/error:")


def not_yet(e: EsmlError) -> None:
    """It can't be planned as things stand: what is missing, and what brings it."""
    root = opening.root()
    hint = tidy(e.hint, root)
    st.info(
        f"**Not yet:** {tidy(e.message, root)}.{f'  {chr(10)}{sentence(hint)}.' if hint else ''}",
        icon=":material/inbox:",
    )


def nothing_yet(what: str, act: str, way: tuple[str, str, Link] | None = None) -> None:
    """Nothing here yet, and the act that fills it; `way`: label, icon and target of the link to it."""
    st.info(f"**{what}** {act}", icon=":material/inbox:")
    if way:
        label, icon, target = way
        st.page_link(**target, label=label, icon=f":material/{icon}:")


def keep(key: str, said: EsmlError | str) -> None:
    """Keep what a press led to, to be said on the page's next drawing, where its button stands."""
    st.session_state[f"{_SAID}:{key}"] = said


def said_now(key: str) -> None:
    """What the last press of this button led to, once."""
    said = once(f"{_SAID}:{key}")
    if isinstance(said, EsmlError):
        failure(said)
    elif said:
        st.info(said, icon=":material/group:")


def done_now(key: str, said: str, leads: tuple[str, str, dict[str, str]] | None = None) -> None:
    """Keep what an act did, to be said on the page's next drawing. `leads`: page, label and query of the way on."""
    st.session_state[f"{_DONE}:{key}"] = (said, leads)


def said_done(key: str) -> bool:
    """What an act just did, once, with the way on; whether there was something."""
    said, leads = once(f"{_DONE}:{key}") or ("", None)
    if said:
        st.success(said, icon=":material/check_circle:")
    if leads:
        page, label, query = leads
        st.page_link(**to(page, **query), label=label, icon=":material/arrow_forward:")
    return bool(said)


def said_elsewhere() -> None:
    """What a press led to whose button stands on this page no more, since the facts under it changed; once."""
    for name in [k for k in st.session_state if str(k).startswith(f"{_SAID}:")]:
        said = once(str(name))
        if isinstance(said, StalePlanError):
            st.warning(
                "**The facts changed since you looked.** Nothing was started; this page shows how it is now.",
                icon=":material/sync_problem:",
            )
        elif isinstance(said, EsmlError):
            failure(said)
        else:
            st.info(said, icon=":material/group:")
