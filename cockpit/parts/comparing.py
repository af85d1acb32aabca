"""A comparison laid out: champion, challenger and the verdict, the gates, how the difference is spread."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from cockpit.frame.components import when
from cockpit.frame.screens import on_phone
from cockpit.parts import charts
from cockpit.views import promotion as view
from cockpit.words import metric

PASSED = {
    "": ("It may go up", "Policy decides whether people must approve."),
    "stands": ("It is the champion of {to}", "It went up since."),
    "stale": ("It passed then", "What that rested on changed since: compare again before it can go up."),
    "waits": ("It waits for approval", "Its request stands below."),
    "refused": ("People refused it", "Ask again when their reason has changed."),
}
"""Where a version stands whose gates passed: what is said of it."""


def comparison(
    document: dict[str, Any],
    rows: dict[int, dict[str, Any]],
    grounds: list[tuple[str, str]] | None = None,
    *,
    standing: str = "",
    act: Callable[[], None] | None = None,
    below: Callable[[], None] | None = None,
) -> None:
    """Champion left, challenger right, the verdict with what would change it and its `grounds`; gates and the difference below.

    `standing`: what became of it since, one of `PASSED`. `act`: draws into the verdict's card; `below`: between the cards and the gates.
    """
    d = view.decision(document, rows, dt.datetime.now(dt.UTC), when)
    with st.grid(3, min_column_width=180):
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
                color: Any = "gray" if standing == "stale" else "green"
                st.badge(f"passed · {d.count} of {d.count} gates", icon=":material/check:", color=color)
                if not grounds:
                    head, said = PASSED[standing]
                    st.subheader(head.format(to=document["to"]))
                    st.caption(f"Every gate passed on the same rows. {said}")
            else:
                st.badge(f"refused · {d.failed} of {d.count} gates", icon=":material/block:", color="red")
                st.subheader("What would change it")
                for said in d.change:
                    st.markdown(said)
            for name, text in grounds or ():
                st.caption(f"**{name}**: {text}")
            if act:
                act()
    if below:
        below()
    _gates(document, d)


def _gates(document: dict[str, Any], d: view.Decision) -> None:
    sides = st.grid(5, min_column_width=180)  # a narrow page: below each other, so that no column is cut off
    with sides.cell(column_span=3):
        told = [g for g in d.gates if not g.passed or g.margin or g.challenger]
        if on_phone():
            for g in told:
                figures = f" · margin {g.margin}" if g.margin else ""
                st.markdown(f":{'green' if g.passed else 'red'}-badge[:material/{'check' if g.passed else 'block'}: {'passed' if g.passed else 'refused'}] {g.gate}{figures}")  # fmt: skip
        frame = pd.DataFrame(
            [
                {
                    "Gate": g.gate,
                    "Verdict": ":green-badge[:material/check: passed]" if g.passed else ":red-badge[:material/block: refused]",
                    "Margin": g.margin, "Difference": g.difference, "Champion": g.champion, "Challenger": g.challenger,
                }
                for g in told
            ]
        )  # fmt: skip
        if not on_phone():
            st.table(frame, border="horizontal", hide_index=True)
        plain_yes = [g.gate for g in d.gates if g not in told]
        if plain_yes:  # a line, so that the decision stands on the first screen
            st.markdown(f":green-badge[:material/check: passed] also: {' · '.join(plain_yes)}")
    with sides.cell(column_span=2):
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
