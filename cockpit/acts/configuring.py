"""The tabs of the page Settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from cockpit.acts.editing import setting
from cockpit.acts.peopling import roles_form
from cockpit.frame import opening
from cockpit.frame.components import when
from cockpit.frame.reaching import Reached, check, known
from cockpit.frame.saying import nothing_yet
from cockpit.views import policies as view
from cockpit.words import tidy
from esml_engine.errors import EsmlError
from esml_engine.estate import Estate
from esml_engine.settings import flatten

_WORKS = {
    True: ":green-badge[:material/check: works]", False: ":red-badge[:material/error: does not]",
    None: ":gray-badge[:material/help: not checked]",
}  # fmt: skip


def environments(estate: Estate, where: str, env: str) -> None:
    """Each environment, how it answered, and the act that asks again."""
    site = estate.site
    for name in (env,) if env else estate.environments:
        found = known(site, name)
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{name}**", width="content")
                _state(found)
                st.caption(view.environment(name, site.settings.estate.environments[name]), width="content")  # type: ignore[index]
                if st.button("Check connection", key=f"check:{name}", icon=":material/network_check:"):
                    with st.spinner(f"asking {name}"):
                        check(site, name)
                    st.rerun()
            if found.rows:
                _rows(estate, found.rows)
    _engine(estate)


def _state(r: Reached) -> None:
    if r.ok is None:
        st.badge("not asked yet", icon=":material/help:", color="gray")
    elif r.ok:
        st.badge(f"reached · {when(r.asked)}", icon=":material/check_circle:", color="green")
    else:
        last = f"last reached {when(r.answered)}" if r.answered else "never reached by this server"
        st.badge(f"not reached · {last}", icon=":material/cloud_off:", color="red")


def _engine(estate: Estate) -> None:
    """The rest of `esml doctor`, on demand: it walks the audit chain."""
    key = "_doctor"
    if st.button("Check the engine itself", key="doctor", icon=":material/stethoscope:",
        disabled=not estate.may("read_status").allowed,
        help="Settings, store, audit chain, worker: what `esml doctor` says, to who has a role on the estate."):  # fmt: skip
        names = tuple(f"{e} " for e in estate.environments)
        st.session_state[key] = [r for r in estate.doctor() if not r["part"].startswith(names)]
    if rows := st.session_state.get(key):
        _rows(estate, rows)


def _rows(estate: Estate, found: Sequence[Mapping[str, Any]]) -> None:
    """Parts as `doctor` tells them; what one that fails said may name any project's model, so it is for the estate's roles."""
    whole = estate.may("read_status").allowed
    lines = [
        {
            "Part": r["part"], "State": _WORKS[r["ok"]], "What it said": tidy(r["message"], opening.root()) if whole or r["ok"] else "for who has a role on the estate",
            "To do": tidy(r["hint"], opening.root()) or "nothing",
        }
        for r in found
    ]  # fmt: skip
    st.table(pd.DataFrame(lines), border="horizontal", hide_index=True)


def policies(estate: Estate, where: str, env: str) -> None:
    """What is in force, its origin, what the file and an override say here; and changing it."""
    for name in (env,) if env else estate.environments:
        st.markdown(f"**{name}**")
        lines = view.policy(estate.site.settings, where, name)
        st.table(pd.DataFrame(lines).drop(columns="Key"), border="horizontal", hide_index=True)
    st.markdown(f"**Change a policy** of {where}, {env or 'every environment'}")
    setting(estate, where, view.policy_keys(env), key="policy", label="Set the policy")


def people(estate: Estate, where: str, env: str) -> None:
    """Who has which role, on the estate and on this project; the estate's roles are given here."""
    on = where.split("/")[0]
    above = estate.members("estate") if on != "estate" and estate.may("read_status").allowed else []
    members = estate.members() if on == "estate" else [*above, *estate.members(on)]
    seen = {"estate", *estate.projects()}
    rows = view.roles([m for m in members if m["on"] in seen])
    left, right = st.columns([3, 2], gap="large")
    with left:
        if rows:
            st.dataframe(pd.DataFrame(rows), hide_index=True, height="content" if len(rows) <= 14 else 520,
                row_height=34)  # fmt: skip
        else:
            nothing_yet("Nobody was given a role yet.",
                "On this machine its own user is administrator. Give the first role beside this.")  # fmt: skip
    with right:
        roles_form(estate, on, members)


def secrets(estate: Estate, where: str, env: str) -> None:
    """Names alone; values never reach a page."""
    rows = []
    for name in (env,) if env else estate.environments:
        try:
            kept = estate.site.platform(name).secret_names()
        except EsmlError as e:
            st.warning(f"**{name} can't be reached**, so its secrets can't be listed: {tidy(e.message, opening.root())}.",
                icon=":material/cloud_off:")  # fmt: skip
            continue
        rows += [{"Environment": name, "Secret": s,
            "For": _for(s)} for s in kept]  # fmt: skip
    rows = [r for r in rows if _may_see(estate, r["Secret"])]
    if rows:
        st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
        st.caption("Names only. Rotate an endpoint's key with `esml keys MODEL --rotate`.")
    else:
        nothing_yet("No secret is kept yet.", "A deployment makes its endpoint's key.")


def _for(secret: str) -> str:
    """What a secret is kept for, by the names that the engine gives its own."""
    if secret == "esml-doctor":
        return "the check of the connection: that the store keeps what is written"
    kinds = {"endpoint-": "the key of an endpoint", "smoke-": "trying a deployment before it gets traffic"}
    return next((what for start, what in kinds.items() if secret.startswith(start)), "your own use")


def _may_see(estate: Estate, secret: str) -> bool:
    """An endpoint's secret names its model: it shows to whom the project does; others to an administrator."""
    projects = estate.projects()
    named = secret.removeprefix("endpoint-").removeprefix("smoke-")
    if named != secret:
        return any(named.startswith(f"{p}-") for p in projects)
    return estate.may("set").allowed


def prices(estate: Estate, where: str, env: str) -> None:
    """The price list in force with its date."""
    rows, date = view.prices(estate.site.settings)
    st.markdown(f"**Price list of the estate**, as of {date}")
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)
    st.caption("Where a platform knows its own prices, they count instead. A new price counts from the next run on; what was metered stays.")  # fmt: skip
    keys = [f"prices.{k}" for k in estate.site.settings.prices()]
    setting(estate, "estate", keys, key="prices", label="Set the price")


def everything(estate: Estate, where: str, env: str) -> None:
    """Every effective value of the chosen scope and where it comes from."""
    rows = view.values(estate.settings(where))
    st.dataframe(pd.DataFrame(rows), hide_index=True, height=420, placeholder="", row_height=34)
    raw = estate.site.files.typed(where).model_dump(by_alias=True, mode="json")
    keys = [k for k, _ in flatten(raw) if not k.startswith("policy")]
    setting(estate, where, keys, key="all",
        help_="Written as in the settings file: 30, true, \"text\", [\"a\", \"b\"].")  # fmt: skip
