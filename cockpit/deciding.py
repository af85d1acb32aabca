"""Deciding on a request, and a comparison laid out: cards, gates, distribution. Shared by the pages that need them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import streamlit as st

from cockpit import charts
from cockpit.components import failure, when
from cockpit.reads import who_can
from cockpit.views import promotion as view
from cockpit.views.plan import without_underscores
from cockpit.words import metric
from esml_engine.door import access
from esml_engine.door.facts import Call
from esml_engine.errors import EsmlError, NotFoundError
from esml_engine.estate import Estate
from esml_engine.promotion import records
from esml_engine.refs import ModelRef
from esml_engine.training import records as training

_SAID = "_decided"


def versions_of(estate: Estate, name: str) -> dict[int, dict[str, Any]]:
    """Registered versions by number; a promoted one as it was trained."""
    found = training.versions(estate.site.store, ModelRef.parse(name))
    return {r["version"]: r for r in sorted(found, key=lambda r: r["at"], reverse=True)}


def document_of(estate: Estate, request: dict[str, Any]) -> dict[str, Any]:
    """The comparison behind a request.

    Raises:
        NotFoundError: it is not in the store.
    """
    found = records.comparison(estate.site.store, request["detail"]["comparison"])
    if found is None:
        raise NotFoundError(
            f"the comparison of {request['request']} is gone", hint="ask for the promotion again"
        )
    return dict(found["document"])


def comparison(document: dict[str, Any], rows: dict[int, dict[str, Any]]) -> None:
    """Champion left, challenger right, the verdict with what would change it; gates and the difference below."""
    d = view.decision(document, rows, dt.datetime.now(dt.UTC))
    with st.grid(3, min_column_width=240):
        with st.container(border=True, height="stretch"):
            st.badge("champion", icon=":material/lock:", color="gray")
            if d.champion is None:
                st.subheader("None yet")
                st.caption(f"Floors and the trivial baseline take its place in {document['to']}.")
            else:
                _side(d.champion)
        with st.container(border=True, height="stretch"):
            st.badge("challenger", icon=":material/flag:", color="blue")
            _side(d.challenger)
        with st.container(border=True, height="stretch"):
            if d.verdict == "promote":
                st.badge(f"passed · {d.count} of {d.count} gates", icon=":material/check:", color="green")
                st.subheader("It may go up")
                st.caption("Every gate passed on the same rows. Policy decides whether people must approve.")
            else:
                st.badge(f"refused · {d.failed} of {d.count} gates", icon=":material/block:", color="red")
                st.subheader("What would change it")
                for said in d.change:
                    st.markdown(said)
    left, right = st.columns([3, 2])
    with left:
        st.markdown("**Gates**")
        frame = pd.DataFrame(
            [
                {
                    "Gate": g.gate, "Verdict": ":green-badge[:material/check: passed]" if g.passed else ":red-badge[:material/block: refused]",
                    "Champion": g.champion, "Challenger": g.challenger, "Difference": g.difference, "Margin": g.margin,
                }
                for g in d.gates
            ]
        )  # fmt: skip
        st.table(frame, border="horizontal", hide_index=True)
    with right:
        bars = view.bars(document.get("distribution"))
        if bars:
            main = metric(document["distribution"]["metric"])
            st.altair_chart(charts.distribution(bars, main, document["bootstrap"]["resamples"]))
        else:
            st.caption("No distribution of the difference: " + ("no champion stands there." if d.champion is None else "it could not be drawn."))  # fmt: skip
        with st.expander("Reasons of each gate", icon=":material/list:"):
            for g in d.gates:
                st.markdown(f"{':material/check:' if g.passed else ':material/block:'} **{g.gate}**: {g.reason}")  # fmt: skip


def _side(s: view.Side) -> None:
    st.subheader(s.title)
    st.caption(s.note or "‎")
    color: Any = "off" if s.better is None else "green" if s.better else "red"
    st.metric(s.metric, s.value, s.delta or None, delta_color=color, delta_arrow="off")


def cards(estate: Estate, requests: list[dict[str, Any]], now: dt.datetime) -> None:
    """One card a request; the one that the address names is open, with its evidence and the decision."""
    currency = estate.site.settings.estate.currency
    opened = st.query_params.get("request", "")
    for r in requests:
        what, note = view.asks(r, currency, now)
        is_open = opened == r["request"]
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                with st.container(gap="xxsmall"):
                    st.markdown(what)
                    st.caption(note)
                st.button(
                    "Close" if is_open else "Review",
                    key=f"review:{r['request']}",
                    on_click=_open,
                    args=("" if is_open else r["request"],),
                )
            if is_open:
                if r["kind"] == "promotion":
                    comparison(document_of(estate, r), versions_of(estate, r["object"]))
                else:
                    st.markdown("\n".join(f"- {w}" for w in r["detail"].get("will", [])))
                decide(estate, r)


def _open(request: str) -> None:
    if request:
        st.query_params["request"] = request
    elif "request" in st.query_params:
        del st.query_params["request"]


def decide(estate: Estate, request: dict[str, Any]) -> None:
    """Approve or refuse, with a reason; or why this person can't."""
    key = request["request"]
    said = st.session_state.pop(f"{_SAID}:{key}", None)
    if isinstance(said, EsmlError):
        failure(said)
    people = request["decisions"]
    st.caption(
        f"Needs {request['needed']} of: people other than {request['by']} · "
        + ("; ".join(f"{x['by']} {x['verdict']}d: {x['reason']}" for x in people) or "nobody decided yet")
        + f" · expires {when(request['expires'])}"
    )
    call = Call("approve", request["object"], request["env"], {"request": key, "kind": request["kind"]})
    rule = access.rule_name(call)
    verdict = estate.may(rule, call.project)
    own = estate.actor.rights == request["by"]
    why = "It is your own request: it needs another person." if own else without_underscores(verdict.reason)
    blocked = own or not verdict.allowed
    if blocked:
        st.info(
            f"{why} Who can: {who_can(estate.site, rule, call.project) or 'nobody has such a role yet'}.",
            icon=":material/lock:",
        )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=420):
            reason = st.text_input("Reason, kept with the decision", key=f"reason:{key}", disabled=blocked)
        read = st.checkbox("I have read the evidence", key=f"read:{key}", disabled=blocked)
        for act, label, icon, kind in (
            ("approve", "Approve", "check", "primary"),
            ("refuse", "Refuse", "block", "secondary"),
        ):
            st.button(
                label,
                key=f"{act}:{key}",
                icon=f":material/{icon}:",
                type=kind,
                disabled=blocked or not (reason or "").strip() or (act == "approve" and not read),
                on_click=_pressed,
                args=(estate, act, key, reason),
            )


def _pressed(estate: Estate, act: str, request: str, reason: str) -> None:
    try:
        if act == "approve":
            estate.approve(request, reason, detach=True)
        else:
            estate.refuse(request, reason, detach=True)
    except EsmlError as e:
        st.session_state[f"{_SAID}:{request}"] = e
