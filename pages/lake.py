"""Lake: where does data stand? Dataset by layer, and the plan of the next refinement."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import streamlit as st

from cockpit.acts import laking as acts
from cockpit.facts.lake import LakeFacts, lake_facts
from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.choosing import open_tabs, segment
from cockpit.frame.components import Choice, as_of, choose, page
from cockpit.frame.reaching import away
from cockpit.frame.screens import on_phone
from cockpit.views import lake as view
from cockpit.views.dataset import quarantine_of
from cockpit.words import plain, plural, tidy
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
        side_ = segment("Side", {"train": "train", "inference": "inference"}, "purpose", "train")
        purpose: Purpose = "inference" if side_ == "inference" else "train"
    with head:
        st.title("Lake")
        st.caption(f"{choice.ref} · {purpose} side in {choice.env} · {as_of()}")
    site = choice.estate.site
    gone = away(site, choice.env) is not None
    facts = lake_facts(site, choice.ref, choice.env, purpose, away=gone)
    m = view.matrix(facts, dt.datetime.now(dt.UTC))
    _matrix(choice, m)
    _refused(choice, facts)
    _acts(choice, purpose, m)
    acts.newest(choice, purpose)


def _refused(choice: Choice, facts: LakeFacts) -> None:
    """IN files that could not be read, each with its reason and what ends it."""
    root = choice.estate.site.root
    found = [(ds, file, why) for ds, files in facts.refused.items() for file, why in files]
    if found:
        lines = [f"- {ds}, {file.date}: **{plain(file.name)}** · {plain(tidy(why, root))}" for ds, file,
            why in found[:5]]  # fmt: skip
        more = f"\n- and {plural(len(found) - 5, 'more')}" if len(found) > 5 else ""
        st.warning("**Refused as unreadable.** Deliver it again, mended, under the same name.\n" + "\n".join(lines) + more,
            icon=":material/report:")  # fmt: skip


def _acts(choice: Choice, purpose: Purpose, m: view.Matrix) -> None:
    draw: dict[str, Callable[[], None]] = {
        "Refine": lambda: acts.refine(choice, purpose, m),
        "Deliver files": lambda: acts.deliver(choice, purpose),
        "Split": lambda: acts.split(choice, m),
        "Pipeline": lambda: acts.pipeline(choice, purpose),
        "R&D mode": lambda: acts.rnd(choice),
    }
    for tab, name in open_tabs(list(draw), "act"):
        with tab:
            draw[name]()


def _cell(choice: Choice, cell: view.Cell, head: str = "") -> None:
    with st.container(border=True, height="stretch", gap="xxsmall"):
        if head:
            st.caption(head)
        st.badge(cell.label, icon=f":material/{cell.icon}:", color=cell.color)
        if cell.note:
            st.caption(cell.note)
        if cell.quarantine:
            where = {"project": choice.ref.project, "model": choice.ref.model}
            where |= quarantine_of(choice.env, cell.quarantine)
            st.page_link(**to("dataset", **where), label="See why")


def _listed(choice: Choice, m: view.Matrix) -> None:
    """The matrix as lists, a line a cell: a phone has no room for three beside each other."""
    for ds, cells in m.datasets.items():
        with st.container(border=True, gap="xxsmall"):
            _dataset_link(choice, m, ds)
            for head, cell in zip(("IN", "Bronze", "Silver"), cells, strict=True):
                _line(head, cell)
    with st.container(border=True, gap="xxsmall"):
        _line("Gold" if m.goal == "gold" else "To score", m.gold)
        if m.split is not None:
            _line("Split", m.split)


def _line(head: str, cell: view.Cell) -> None:
    st.markdown(
        f"**{head}** :{cell.color}-badge[:material/{cell.icon}: {cell.label}] :gray[:small[{cell.note}]]"
    )


def _dataset_link(choice: Choice, m: view.Matrix, ds: str) -> None:
    table = f"{'inference/' if m.goal == 'to_score' else ''}{ds}/silver"
    st.page_link(
        **to("dataset", project=choice.ref.project, model=choice.ref.model, env=choice.env, table=table),
        label=f"**{ds}**",
        icon=":material/table:",
    )


def _matrix(choice: Choice, m: view.Matrix) -> None:
    if on_phone():
        _listed(choice, m)
        return
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        for ds, cells in m.datasets.items():
            with st.container(gap="xsmall"):
                _dataset_link(choice, m, ds)
                with st.grid(3, min_column_width=105, gap="xsmall"):
                    for head, cell in zip(("IN", "Bronze", "Silver"), cells, strict=True):
                        _cell(choice, cell, head)
    with right, st.container(gap="xsmall"):
        st.markdown("**all datasets**")
        with st.grid(2 if m.split is not None else 1, min_column_width=130, gap="xsmall"):
            _cell(choice, m.gold, "Gold" if m.goal == "gold" else "To score")
            if m.split is not None:
                _cell(choice, m.split, "Split")


show()
