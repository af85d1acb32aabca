"""Acts that happen at once (a role, a budget, a new project): a form, its plan, and the button that does exactly that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from cockpit.acts.acting import start_button
from cockpit.facts.reads import who_can
from cockpit.frame import opening
from cockpit.frame.saying import done_now, failure, said_done, said_now
from cockpit.views.plan import card
from cockpit.words import plain, tidy
from esml_engine.door import access
from esml_engine.door.facts import Plan
from esml_engine.errors import EsmlError
from esml_engine.estate import Estate


def at_once(
    estate: Estate,
    act: Callable[..., Any],
    label: str,
    *,
    key: str,
    icon: str = "check",
    done: str = "Done.",
    ready: bool = True,
    missing: str = "",
    lines: Sequence[str] = (),
    clears: Sequence[str] = (),
    leads: tuple[str, str, dict[str, str]] | None = None,
) -> None:
    """The plan of `act` and its button. `act` takes `dry_run=True`, or `plan=` the hash to start under.

    `ready`: whether the form says enough for a plan; `missing`: what it still lacks. `lines`: what it will do as people
    say it, where the plan's own words are a settings file's. `clears`: keys of text fields that are empty again once it is
    done, so that the form is ready for the next; `leads`: page, label and query of the way on.
    """
    with st.container(border=True):
        said_now(key)
        done_before = said_done(key)
        if not ready:
            if not done_before:  # fields are empty since it was done: nothing is missing yet
                st.caption(f":material/edit: {missing}")
            return
        try:
            plan: Plan = act(dry_run=True)
        except EsmlError as e:
            failure(e)
            return
        rule = access.rule_name(plan.call)
        who = "" if plan.allowed else who_can(estate.site, rule, plan.call.project)
        c = card(plan.document(), worker=True, who=who, durable=False)
        if c.kind != "nothing":
            said = [plain(w) for w in lines] or [tidy(w, opening.root()) for w in c.will]
            st.markdown("\n".join(f"- {w}" for w in said))

        def start(plan_hash: str) -> dict[str, Any]:
            answer: dict[str, Any] = act(plan=plan_hash)
            later = [f"{w['message']}. {w['hint']}" for w in answer.get("warnings", [])]
            done_now(key, "\n\n".join([done, *later]), leads)
            for field in clears:
                st.session_state[field] = ""
            return answer

        start_button(c, label, start, key=key, icon=icon)
