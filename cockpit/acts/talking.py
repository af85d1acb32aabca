"""Before a decision: what was said about a request, a question to the requester, an answer, handing it to somebody else."""

from __future__ import annotations

import datetime as dt
from typing import Any

import streamlit as st

from cockpit.acts.at_once import at_once
from cockpit.frame.components import when
from cockpit.views import talk as view
from esml_engine.door.talk import LONGEST, open_questions
from esml_engine.estate import Estate
from esml_engine.promotion.deciding import could_decide
from esml_engine.promotion.talking import rule_of


def said(estate: Estate, request: dict[str, Any]) -> None:
    """What was said so far, that a question is open, and the answer's form for whoever may give it."""
    lines = view.lines(request, dt.datetime.now(dt.UTC), when)
    if lines:
        st.markdown("  \n".join(lines))
    open_ = view.unanswered(request)
    if not open_:
        return
    me, key = estate.actor.rights, request["request"]
    asked_by = {x["by"] for x in open_questions(request["talk"])}
    may = estate.may(rule_of(estate.site, request), request["object"].split("/")[0]).allowed
    if not may or asked_by == {me}:
        st.caption(f":material/hourglass: {open_}")
        return
    name = f"answer:{key}"
    text = st.text_input("Your answer, kept with the request", key=name, max_chars=LONGEST).strip()
    _form(
        estate, "answer", key, (text,), "Answer", "reply", name, ready=bool(text), done="Answered.",
        missing=f"{', '.join(sorted(asked_by))} waits for your answer: write it, and what answering will do is shown here.",
    )  # fmt: skip


def forms(estate: Estate, request: dict[str, Any]) -> None:
    """A question to the requester, and handing the request over; for somebody who may decide on it."""
    key = request["request"]
    left, right = st.columns(2)
    with left, st.expander("Ask the requester", key=f"open-ask:{key}", icon=":material/help:"):
        name = f"ask:{key}"
        text = st.text_input(f"Question to {request['by']}", key=name, max_chars=LONGEST).strip()
        _form(estate, "ask", key, (text,), "Ask", "send", name, ready=bool(text), done=f"Asked: it is {request['by']}'s turn.",
            missing="Write the question: what asking will do is shown then.")  # fmt: skip
    with right, st.expander("Hand it to somebody else", key=f"open-hand:{key}", icon=":material/forward:"):
        others = [p for p in could_decide(estate.site, request) if p != estate.actor.rights]
        if not others:
            st.caption("Nobody else could decide on it: a member needs the role first, see the project's people.")  # fmt: skip
            return
        to = st.selectbox("To", others, index=None, placeholder="who could decide, too", key=f"to:{key}")
        name = f"why:{key}"
        why = st.text_input("Why, if it helps", key=name, max_chars=LONGEST).strip()
        _form(estate, "delegate", key, (to or "", why), "Hand over", "forward", name, ready=bool(to), done=f"Handed to {to}.",
            missing="Choose a person: only people who could decide it anyhow are listed.")  # fmt: skip


def _form(
    estate: Estate,
    act: str,
    key: str,
    args: tuple[str, ...],
    label: str,
    icon: str,
    field: str,
    *,
    ready: bool,
    done: str,
    missing: str,
) -> None:
    def do(**how: Any) -> Any:
        answer = getattr(estate, act)(key, *args, **how)
        if "plan" in how:
            st.session_state[field] = ""  # said: the next one begins empty
        return answer

    at_once(estate, do, label, key=f"do-{act}:{key}", icon=icon, done=done, ready=ready, missing=missing)
