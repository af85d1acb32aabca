"""Lake: where does data stand? Dataset by layer, and the plan of the next refinement."""

from __future__ import annotations

import datetime as dt
from typing import Any

import streamlit as st

from cockpit import opening
from cockpit.acting import act_card, follow
from cockpit.components import Choice, as_of, choose, failure, nothing_yet, page
from cockpit.views import lake as view
from cockpit.words import plural
from esml_engine.errors import EsmlError
from esml_engine.refs import Purpose


@page
def show() -> None:
    """The page."""
    choice = choose(opening.estate(), "Lake")
    if choice is None:
        return
    choice.estate.require("read_status", choice.ref.project)
    head, side = st.columns([3, 1], vertical_alignment="bottom")
    with side, st.container(horizontal=True, horizontal_alignment="right"):
        purpose: Purpose = (
            st.segmented_control(
                "Side",
                ["train", "inference"],
                default="train",
                required=True,
                key="purpose",
                bind="query-params",
                label_visibility="collapsed",
            )
            or "train"
        )
    with head:
        st.title("Lake")
        st.caption(f"{choice.ref} · {purpose} side in {choice.env} · {as_of()}")
    m = view.matrix(choice.estate.site, choice.ref, choice.env, purpose, dt.datetime.now(dt.UTC))
    _matrix(m)
    _refine(choice, purpose, m)
    if m.split is not None and m.gold.label.startswith("v"):
        _split(choice)


def _cell(cell: view.Cell, head: str = "") -> None:
    with st.container(border=True, height="stretch", gap="xxsmall"):
        if head:
            st.caption(head)
        st.badge(cell.label, icon=f":material/{cell.icon}:", color=cell.color)
        if cell.note:
            st.caption(cell.note)


def _matrix(m: view.Matrix) -> None:
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        for ds, cells in m.datasets.items():
            with st.container(gap="xsmall"):
                st.markdown(f"**{ds}**")
                with st.grid(3, min_column_width=105, gap="xsmall"):
                    for head, cell in zip(("IN", "Bronze", "Silver"), cells, strict=True):
                        _cell(cell, head)
    with right, st.container(gap="xsmall"):
        st.markdown("**all datasets**")
        with st.grid(2 if m.split is not None else 1, min_column_width=130, gap="xsmall"):
            _cell(m.gold, "Gold" if m.goal == "gold" else "To score")
            if m.split is not None:
                _cell(m.split, "Split")


def _refine(choice: Choice, purpose: Purpose, m: view.Matrix) -> None:
    st.subheader("Before you refine")
    plan = choice.model.plan_refine(purpose=purpose)
    if plan.draft.nothing_to_do and not any(c[0].label != "none yet" for c in m.datasets.values()):
        first = next(iter(m.datasets))
        nothing_yet(
            "No IN file yet.",
            f"Deliver one: `esml ingest {choice.ref} {first} FILE --date YYYY-MM-DD --env {choice.env}`"
            + (" `--purpose inference`" if purpose == "inference" else ""),
        )
    else:
        label = f"Refine {plural(m.waiting, 'file')}" if m.waiting else "Refine"
        act_card(choice, plan, label, "refine", purpose=purpose)
    _made(follow(choice, ("refine", "pipeline"), key="refine-run", purpose=purpose))


def _split(choice: Choice) -> None:
    st.subheader("Split")
    try:
        plan = choice.model.plan_split()
    except EsmlError as e:
        failure(e)
        return
    act_card(choice, plan, "Split gold", "split", icon="call_split")
    _made(follow(choice, ("split",), key="split-run"))


def _made(run: dict[str, Any] | None) -> None:
    lines = view.made(run["result"]) if run and run["state"] == "done" else []
    if lines:
        st.caption("It made: " + " · ".join(lines))


show()
