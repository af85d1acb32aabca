"""Promotion: may it go up? Champion and challenger on the same rows, gates, what would change the verdict."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from cockpit import opening
from cockpit.acting import act_card, follow
from cockpit.components import Choice, as_of, choose, failure, nothing_yet, page, when
from cockpit.deciding import comparison, decide, versions_of
from esml_engine.errors import EsmlError
from esml_engine.promotion import evidence, reads, records
from esml_engine.training import records as training

_ACTS = ("compare", "promote", "pipeline", "rollback")


@page
def show() -> None:
    """The page."""
    choice = choose(opening.estate(), "Promotion")
    if choice is None:
        return
    way = choice.estate.environments
    place = way.index(choice.env)
    head, side = st.columns([3, 2], vertical_alignment="bottom")
    with head:
        st.title("Promotion")
    if choice.estate.site.settings.model(choice.ref).task == "analytics":
        nothing_yet("An analytics model ends at gold.", "There is no model to promote.")
        return
    if place == 0:
        following = way[1] if len(way) > 1 else ""
        st.caption(f"Into which environment? Choose one after {choice.env} above.")
        nothing_yet(
            f"Models are trained in {choice.env}.",
            f"Choose **{following}** above to promote into it."
            if following
            else "This estate has no further environment.",
        )
        return
    source = way[place - 1]
    rows = versions_of(choice.estate, str(choice.ref))
    with side, st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="bottom"):
        version = _version(choice, source)
        _evidence(choice)
    if version is None:
        return
    champion = training.champion(choice.estate.site.store, choice.ref, choice.env)
    stands = champion is not None and champion["version"] == version
    waits = [
        r
        for r in choice.estate.requests("waiting")
        if (r["object"], r["env"], r["kind"]) == (str(choice.ref), choice.env, "promotion")
    ]
    found = reads.comparisons(
        choice.estate.site, choice.ref, source=source, target=choice.env, version=version
    )
    with head:
        st.caption(f"{source} → {choice.env} · v{version} · " + (f"evidence of {when(found[0]['at'])} · " if found else "") + as_of())  # fmt: skip
    if stands:
        st.success(
            f"**v{version} is the champion of {choice.env}** since {when(champion['at'])}."
            + (" This is the evidence that it went up on." if found else ""),
            icon=":material/lock:",
        )
    elif found and not found[0]["current"]:
        st.warning(
            "**Compare again.** What this comparison rested on changed since.", icon=":material/sync_problem:"
        )
    if found:
        comparison(found[0], rows)
    else:
        nothing_yet(f"v{version} was not compared with {choice.env} yet.", "Comparing scores both models afresh on the same rows.")  # fmt: skip
    for request in waits:
        with st.container(border=True):
            st.markdown(f"**Request {request['request']}**")
            decide(choice.estate, request)
    _acts(choice, source, version)
    _follow(choice)
    _history(choice)


def _version(choice: Choice, source: str) -> int | None:
    """Which version of the source; its champion first."""
    have = training.versions(choice.estate.site.store, choice.ref, source)
    if not have:
        nothing_yet(f"No version in {source} yet.", f"Train or promote into {source} first.")
        return None
    champion = training.champion(choice.estate.site.store, choice.ref, source)
    numbers = [r["version"] for r in have]
    asked = st.query_params.get("version", "")
    first = (
        int(asked)
        if asked.isdigit() and int(asked) in numbers
        else champion["version"]
        if champion
        else numbers[0]
    )

    def said(n: int) -> str:
        return f"v{n} · champion of {source}" if champion and champion["version"] == n else f"v{n}"

    with st.container(width=280):
        chosen = st.selectbox("Version", numbers, index=numbers.index(first), format_func=said, key=f"version:{choice.ref}:{choice.env}")  # fmt: skip
    if chosen != first or asked:
        st.query_params["version"] = str(chosen)
    return chosen


def _evidence(choice: Choice) -> None:
    """The newest evidence pack of the environment, as one file."""
    if not choice.estate.may("read_evidence", choice.ref.project).allowed:
        return
    pack = next(
        (e["evidence"] for e in records.evidence_of(choice.estate.site.store, choice.ref, choice.env)), None
    )
    if pack:
        st.download_button(
            "Evidence pack",
            data=lambda: evidence.html(evidence.pack(choice.estate.site, pack)),
            file_name=f"evidence-{choice.ref.model}-{choice.env}-{pack}.html",
            mime="text/html",
            icon=":material/download:",
            key="evidence",
        )


def _acts(choice: Choice, source: str, version: int) -> None:
    model = choice.estate.model(str(choice.ref), source)
    compare, promote = st.tabs(["Promote", "Compare only"])
    with compare:
        _card(choice, lambda: model.plan_promote(choice.env, version), f"Promote v{version} to {choice.env}", "promote", "upgrade", model, version)  # fmt: skip
    with promote:
        _card(choice, lambda: model.plan_compare(choice.env, version), "Compare", "compare", "compare_arrows", model, version)  # fmt: skip


def _card(choice: Choice, plan: Any, label: str, act: str, icon: str, model: Any, version: int) -> None:
    try:
        made = plan()
    except EsmlError as e:
        failure(e)
        return
    source = Choice(choice.estate, choice.ref, model.env_name)
    act_card(source, made, label, act, icon=icon, place="promotion:", to=choice.env, version=version)


def _follow(choice: Choice) -> None:
    follow(choice, _ACTS, key="promotion-run", recent=300.0)


def _history(choice: Choice) -> None:
    """Who was champion when, the evidence behind it, and the way back."""
    line = choice.model.timeline()
    if not line:
        return
    st.subheader(f"Champions of {choice.env}")
    frame = pd.DataFrame(
        [
            {"Version": f"v{k['version']}", "Since": when(k["at"]), "By": k["by"], "Why": k["why"] or "", "Evidence": k.get("evidence") or ""}
            for k in line
        ]
    )  # fmt: skip
    st.table(frame, border="horizontal", hide_index=True)
    if len({k["version"] for k in line}) > 1:
        try:
            plan = choice.model.rollback(dry_run=True)
        except EsmlError as e:
            failure(e)
            return
        act_card(choice, plan, f"Roll back {choice.env}", "rollback", icon="undo", place="promotion:")


show()
