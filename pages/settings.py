"""Settings: what is configured? Environments with their check, policies with origin, roles, names of secrets, the price list."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from cockpit.acts import configuring as tabs
from cockpit.frame import opening
from cockpit.frame.choosing import open_tabs, scope
from cockpit.frame.components import as_of, away, page
from cockpit.words import plural

_TABS = {
    "Environments": tabs.environments,
    "Policies": tabs.policies,
    "People": tabs.people,
    "Secrets": tabs.secrets,
    "Prices": tabs.prices,
    "All settings": tabs.everything,
}


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    found = scope(estate, "Settings", whole=estate.may("read_status").allowed)
    if found is None:
        return
    where, env = found
    estate.require("read_status", where.split("/")[0])
    settings = estate.site.settings
    st.title("Settings")
    st.caption(
        f"estate **{settings.estate.name}** · {plural(len(settings.environments), 'environment')} · money in {settings.estate.currency} · {'shown for ' + where if where != 'estate' else 'the whole estate'} · {as_of()}"
    )
    away(estate, *([env] if env else []))
    bad = pd.DataFrame(
        [
            {"Scope": o.scope, "Setting": o.key, "Was set to": str(o.value), "By": o.by, "On": o.at[:10]}
            for name in {"estate", where.split("/")[0], where}
            for o in settings.superseded(name)
        ]
    )
    if len(bad):
        st.warning(f"**{plural(len(bad), 'override')} no longer count:** the settings file changed after them, and the file wins.",
            icon=":material/history:")  # fmt: skip
        st.table(bad, border="horizontal", hide_index=True)
    for tab, name in open_tabs(list(_TABS)):
        with tab:
            _TABS[name](estate, where, env)


show()
