"""Changing a setting: choose the key, write the value, see the plan, set it. And asking for an exception from the limits."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from cockpit.acts.at_once import at_once
from cockpit.frame.components import locked
from cockpit.views.policies import in_words, kind_of_value, shown
from cockpit.words import plural
from esml_engine.door import access
from esml_engine.door.facts import Call
from esml_engine.door.policy import MONEY
from esml_engine.estate import Estate
from esml_engine.settings import Settings, dig

_LIMITS = dict(zip(MONEY, ("of one run", "of the month, here", "the project's budget"), strict=True))


def setting(
    estate: Estate, scope: str, keys: list[str], *, key: str, label: str = "Set it", help_: str = ""
) -> None:
    """One of `keys` of a scope. Who may change none of them reads why, and who can."""
    project = "" if scope == "estate" else scope.split("/")[0]
    rules = sorted({access.rule_name(Call("set", scope, "", {"key": k})) for k in keys})
    if not any(estate.may(r, project).allowed for r in rules) and locked(estate, rules[-1], project):
        return
    left, right = st.columns(2)
    settings = estate.site.settings
    with left:
        chosen = str(st.selectbox("Setting", keys, key=f"{key}:key", format_func=in_words))
    now = dig(estate.site.files.raw(scope), chosen)
    over = next((o.value for o in settings.live(scope) if o.key == chosen), None)
    said = f"set here to {shown(over)}" if over is not None else f"the file here says {shown(now)}" if now is not None else "nothing is said here: what lies above counts"  # fmt: skip
    with right:
        value = _value(
            settings, chosen, over if over is not None else now, f"{key}:value:{scope}:{chosen}", help_
        )
    at_once(
        estate,
        lambda **how: estate.set(scope, chosen, _text(chosen, value), **how),
        label,
        key=f"{key}:set",
        icon="tune",
        done=f"{in_words(chosen)} of {scope} is {value} now.",
        ready=bool(value),
        missing=f"{in_words(chosen)} of {scope}: {said}. Give another value to see the plan.",
    )


def _value(settings: Settings, key: str, now: Any, widget: str, help_: str) -> str:
    """A field of the key's own kind, and its value as a settings file writes it; empty while it is as it was."""
    kind, choices = kind_of_value(settings, key)
    if kind == "number":
        unit = (
            settings.estate.currency
            if key.startswith("prices.") or "cost" in key
            else "seconds"
            if "seconds" in key
            else ""
        )
        given = st.number_input(
            f"Value, {unit}" if unit else "Value",
            0.0,
            value=None if now is None else float(now),
            key=widget,
            format="%.10g",
        )
        return f"{given:.12g}" if given is not None and given != now else ""
    if kind == "one":
        picked = st.selectbox(
            "Value", choices, index=choices.index(now) if now in choices else None, key=widget
        )
        return json.dumps(picked) if picked is not None and picked != now else ""
    if kind == "several":
        several = st.multiselect("Value", choices, default=[n for n in now or () if n in choices], key=widget)
        return json.dumps(several) if several != list(now or ()) else ""
    return str(st.text_input("Value", key=widget, help=help_ or "Written as in the settings files.")).strip()


def _text(key: str, value: str) -> str:
    """A date stays a text: unquoted it would be read as a date, which is no price list's."""
    return f'"{value}"' if key.endswith(".as_of") and not value.startswith('"') else value


def exception(estate: Estate, model: str, env: str) -> None:
    """Ask another person for more money than a limit allows, for some days."""
    if locked(estate, "ask_exception", model.split("/")[0]):
        return
    currency = estate.site.settings.estate.currency
    with st.grid(3, min_column_width=180):
        limit = st.selectbox(
            "Which limit", list(_LIMITS), format_func=_LIMITS.__getitem__, key="exception:limit"
        )
        amount = st.number_input(
            f"A run may cost up to, {currency}"
            if limit == MONEY[0]
            else f"All that comes may cost, {currency}",
            0.0,
            step=1.0,
            key="exception:amount",
            help="Held against p90.",
        )
        days = int(st.number_input("For how many days", 1, 90, 7, key="exception:days"))
    reason = st.text_input("Why? Whoever decides reads it", key="exception:reason").strip()
    at_once(
        estate,
        lambda **how: estate.model(model, env).ask_exception(amount, reason, days, limit, **how),
        "Ask for the exception",
        key="ask_exception",
        icon="gavel",
        done=f"Asked for {plural(days, 'day')}. Another person decides on the page Approvals.",
        ready=amount > 0 and bool(reason),
        missing=f"An exception of {model} in {env}: amount and reason are needed. Somebody else decides.",
    )
