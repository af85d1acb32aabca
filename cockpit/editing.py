"""Changing a setting: choose the key, write the value, see the plan, set it. And asking for an exception from the limits."""

from __future__ import annotations

import streamlit as st

from cockpit.at_once import at_once
from cockpit.words import plural
from esml_engine.estate import Estate
from esml_engine.settings import dig


def setting(
    estate: Estate, scope: str, keys: list[str], *, key: str, label: str = "Set it", help_: str = ""
) -> None:
    """One of `keys` of a scope."""
    left, right = st.columns(2)
    with left:
        chosen = str(st.selectbox("Setting", keys, key=f"{key}:key"))
    now = dig(estate.site.files.raw(scope), chosen)
    over = next((o.value for o in estate.site.settings.live(scope) if o.key == chosen), None)
    said = f"override here: {over}" if over is not None else f"file here: {now}" if now is not None else "nothing said here: inherited"  # fmt: skip
    with right:
        value = st.text_input("Value", key=f"{key}:value:{chosen}", placeholder="30, true, or [\"local.small\"]",
            help=help_ or "Written as in the settings files.").strip()  # fmt: skip
    at_once(
        estate,
        lambda **how: estate.set(scope, chosen, _text(chosen, value), **how),
        label,
        key=f"{key}:set",
        icon="tune",
        done=f"{chosen} of {scope} is {value} now.",
        ready=bool(value),
        missing=f"{chosen} of {scope}: {said}. Write a value to see the plan.",
    )


def _text(key: str, value: str) -> str:
    """A date stays a text: unquoted it would be read as a date, which is no price list's."""
    return f'"{value}"' if key.endswith(".as_of") and not value.startswith('"') else value


def exception(estate: Estate, model: str, env: str) -> None:
    """Ask another person for more money a run, for some days."""
    currency = estate.site.settings.estate.currency
    with st.grid(2, min_column_width=180):
        amount = st.number_input(
            f"A run may cost up to, {currency}",
            0.0,
            step=1.0,
            key="exception:amount",
            help="Held against p90.",
        )
        days = int(st.number_input("For how many days", 1, 90, 7, key="exception:days"))
    reason = st.text_input("Why? Whoever decides reads it", key="exception:reason").strip()
    at_once(
        estate,
        lambda **how: estate.model(model, env).ask_exception(amount, reason, days, **how),
        "Ask for the exception",
        key="ask_exception",
        icon="gavel",
        done=f"Asked for {plural(days, 'day')}. Another person decides on the page Approvals.",
        ready=amount > 0 and bool(reason),
        missing=f"An exception of {model} in {env}: amount and reason are needed. Somebody else decides.",
    )
