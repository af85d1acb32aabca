"""Promotion: may it go up? Champion and challenger on the same rows, gates, what would change the verdict."""

from __future__ import annotations

import streamlit as st

from cockpit.acts.acting import RECENT, follow
from cockpit.acts.deciding import became, changed_under, decide, just_decided, let_go, promotions, versions_of
from cockpit.acts.promoting import acts, evidence, history, not_compared, offer, opened
from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.components import Choice, as_of, choose, gone, page, pick, when
from cockpit.frame.saying import nothing_yet
from cockpit.parts.comparing import comparison
from cockpit.words import plain
from esml_engine.estate import Estate
from esml_engine.promotion import reads
from esml_engine.training import records as training

_ACTS = ("compare", "promote", "pipeline", "rollback")


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    _way(estate)
    choice = choose(estate, "Promotion")
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
        if following:
            st.page_link(**to("promotion", env=following), label=f"Promotion into {following}", icon=":material/arrow_forward:")  # fmt: skip
        return
    source = way[place - 1]
    rows = versions_of(choice.estate, str(choice.ref))
    if not training.versions(choice.estate.site.store, choice.ref, source):
        nothing_yet(f"No version in {source} yet.", f"Train or promote into {source} first.")
        return
    with side, st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="bottom"):
        version = _version(choice, source)
        if version is not None:
            evidence(choice, version)
    if version is None:
        return
    just_decided(choice.estate)
    champion = training.champion(choice.estate.site.store, choice.ref, choice.env)
    stands = champion is not None and champion["version"] == version
    asked = [r for r in promotions(choice.estate, str(choice.ref)) if r["env"] == choice.env]
    waits = [r for r in asked if r["state"] == "waiting"]
    found = reads.comparisons(
        choice.estate.site, choice.ref, source=source, target=choice.env, version=version
    )
    with head:
        st.caption(f"{source} → {choice.env} · v{version} · " + (f"evidence of {when(found[0]['at'])} · " if found else "") + as_of())  # fmt: skip
    if champion is not None and stands:
        st.success(
            f"**v{version} is the champion of {choice.env}** since {when(champion['at'])}."
            + (" This is the evidence that it went up on." if found else ""),
            icon=":material/lock:",
        )
    b = became(asked).get(choice.env, {}).get(version)
    refused = b.said if b and not stands else ""
    if refused:
        st.error(f"**A request for v{version} was refused by** {refused}. Ask again when that has changed.",
            icon=":material/block:")  # fmt: skip
    stale = bool(found) and not stands and not found[0]["current"]
    if stale:
        st.warning(
            f"**Compare again.** What this comparison rested on changed since: {plain(changed_under(choice.estate, found[0]['comparison']))}.",
            icon=":material/sync_problem:",
        )
    follow(choice, _ACTS, key="promotion-run", recent=RECENT, also=let_go(asked))

    def plans() -> None:  # without current evidence they are the next thing to do
        if not stands and (stale or not found or opened()):
            acts(choice, source, version)

    if found:
        passed = found[0]["verdict"] == "promote"
        asks = not (stands or stale or waits)
        standing = (
            "stands" if stands else "stale" if stale else "waits" if waits else "refused" if refused else ""
        )
        comparison(found[0], rows, standing=standing, act=(lambda: offer(version, passed=passed)) if asks else None, below=plans)  # fmt: skip
    else:
        not_compared(choice, version)
        plans()
    for request in waits:
        with st.container(border=True):
            st.markdown(f"**Request {request['request']}**")
            decide(choice.estate, request)
    history(choice)


def _way(estate: Estate) -> None:
    """`from` and `to` of an address: the environment that it is about is the one that the version goes into."""
    into, source = st.query_params.get("to"), st.query_params.get("from")
    way = estate.environments
    if into is None and source in way[:-1]:
        into = way[way.index(source) + 1]
    if into in way:
        st.query_params["env"] = into
        before = way[way.index(into) - 1] if way.index(into) else ""
        if source and source != before:
            st.warning(f"`from={source}` in the address was left out: a version goes into {into} from {before or 'nowhere'}.", icon=":material/link_off:")  # fmt: skip
    elif source and source == way[-1] and into is None:
        st.warning(f"Nothing lies after {source}: a version goes into it from {way[-2] if len(way) > 1 else 'nowhere'}.", icon=":material/link_off:")  # fmt: skip
    elif into or source:
        gone("Environment", str(into or source), instead=False)
    for key in ("from", "to"):
        st.query_params.pop(key, None)


def _version(choice: Choice, source: str) -> int | None:
    """Which version of the source; its champion first."""
    have = training.versions(choice.estate.site.store, choice.ref, source)
    champion = training.champion(choice.estate.site.store, choice.ref, source)
    numbers = [r["version"] for r in have]
    asked = st.query_params.get("version", "")
    if asked and asked not in map(str, numbers):
        gone(f"Version of {source}", asked)
        return None
    usual: int = champion["version"] if champion else numbers[0]

    def said(n: int) -> str:
        return f"v{n} · champion of {source}" if champion and champion["version"] == n else f"v{n}"

    chosen: int = pick("Version", numbers, "version", said, default=usual, width=280)
    return chosen


show()
