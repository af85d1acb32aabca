"""Giving and taking roles: one form, for the estate and for a project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from cockpit.acts.at_once import at_once
from cockpit.frame.saying import said_done
from cockpit.words import ROLES
from esml_engine.door.access import ROLES as NAMES
from esml_engine.estate import Estate


def roles_form(estate: Estate, on: str, members: Sequence[dict[str, Any]]) -> None:
    """Give somebody a role on `on` (the estate or a project), or take what they have there away; each with its plan."""
    who = st.text_input("Person", key="member:who", placeholder="anna@company").strip()
    names = [r for r in NAMES if r != "admin" or on == "estate"]
    role = str(st.selectbox("Role", names, format_func=lambda r: ROLES[r], key="member:role"))
    at_once(
        estate, lambda **how: estate.member_add(on, who, role, **how), f"Give the role on {on}", key="member_add",
        icon="person_add",
        done=f"{who} is {ROLES[role].lower()} of {on} now.", ready=bool(who), missing="Whom? To take a role away, write its holder's name.", clears=("member:who",),
    )  # fmt: skip
    said_done("member_remove")
    theirs = {m["role"] for m in members if (m["actor"], m["on"]) == (who, on)}
    if theirs:
        take = role if role in theirs else ""
        label = f"Take {ROLES[role].lower()} away" if take else "Take every role away"
        at_once(
            estate, lambda **how: estate.member_remove(on, who, take, **how), label, key="member_remove",
            icon="person_remove",
            done=f"Taken from {who}.", clears=("member:who",),
        )  # fmt: skip
