"""The estate's list as a table: its lens and filters, columns of each lens, and the whole list as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from cockpit.frame.addressing import unread
from cockpit.frame.carrying import Link, to
from cockpit.frame.choosing import segment, typed
from cockpit.frame.components import chips, pick, when
from cockpit.frame.screens import on_phone
from cockpit.overview import Overview
from cockpit.views import estate as view
from cockpit.views.lenses import LENSES
from cockpit.views.promotion import asks
from cockpit.views.report import report
from cockpit.words import plain, plural, safe
from esml_engine.refs import STAGES

_OF_ITSELF = ("Project", "Model", "progress")
_LENSES = {"progress": "Progress", "health": "Health", "money": "Money", "governance": "Governance"}


def columns(lens: str, environments: tuple[str, ...]) -> dict[str, Any]:
    """How each column of a lens is shown."""
    text = st.column_config.TextColumn
    out: dict[str, Any] = {
        "Needs attention": text(width=155, help="The worst open need; the list is sorted by it."),
        "Health": text(width=150, help="The worst part of its health, by name, and how many more."),
        "Open": st.column_config.NumberColumn(width=60, help="Requests that wait for a decision."),
        "Champion": text(width=150),
        "Month end, project": text(width=190),
        "progress": st.column_config.ProgressColumn(
            "IN → prod",
            min_value=0.0,
            max_value=1.0,
            format=" ",
            width=62,
            help="How far the model is, from evidence.",
        ),
        "Stage": text(help="How far it is, and for how long it has been there."),
        "Metric": text(width=58),
        "Whose turn": text(help="The role that makes the next step."),
        **{
            e: text(width=80, help=f"Champion in {e}: version and metric on gold_test.")
            for e in ("dev", "test", "prod")
        },
        "Next run": text(
            "Next run, p50",
            alignment="right",
            width=92,
            help="Predicted cost of the next run in the first environment; ≤ marks an upper bound (no run yet).",
        ),
        "p90": text(
            "Next run, p90",
            alignment="right",
            help="Nine of ten such runs cost less, if the past is a guide.",
        ),
        "Spent, month": text(alignment="right", help="Metered since the first of the month, UTC."),
        "Failed, 7 d": st.column_config.NumberColumn(
            help="Runs that failed in the last seven days.", width=75
        ),
        "Quality": text(width=118),
        "IN": text(width=86),
        "Serves": text(width=96),
        "Endpoint errors": text(
            width=110, help="Answers with a server error, of all since the endpoint was first deployed."
        ),
        "Idle": text(help="Endpoints without a call for seven days."),
        "Drift": text(width=92, help="Comes with drift detection."),
    }
    return out


_MOST = 20  # cards on a phone


def listed(seen: Overview, frame: pd.DataFrame, shown: list[int]) -> None:
    """The list as cards: a phone has no room for columns beside each other."""
    for n, i in enumerate(shown[:_MOST]):
        row = seen.rows[i]
        first, *rest = [(c, str(v)) for c, v in frame.iloc[n].items() if c not in _OF_ITSELF and str(v)]
        with st.container(border=True, gap="xxsmall"):
            st.page_link(**to("model", project=row.project, model=row.name), label=f"**{row.name}**")
            st.markdown(plain(first[1]))
            st.caption(plain(" · ".join(f"{c} {v}" for c, v in rest[:4])))
    if len(shown) > _MOST:
        st.caption(f"and {plural(len(shown) - _MOST, 'more model')}: narrow them down by the chips above")


def chosen_row(names: list[str], asked: str | None) -> list[int]:
    """The row that the address names, as a selection; one that is not in the list is none."""
    return [names.index(asked)] if asked in names else []


def ways_of(seen: Overview, model: str) -> list[tuple[str, str, Link]]:
    """The pages about a model: label, icon, link; an analytics model has nothing to compare or deploy."""
    task = next(s["task"] for s in seen.statuses if s["model"] == model)
    ways = [("Model", "account_tree"), ("Lake", "waves")]
    if task != "analytics":
        ways += [("Leaderboard", "leaderboard"), ("Deployments", "rocket_launch")]
    project, name = model.split("/")
    return [(label, icon, to(label.lower(), project=project, model=name)) for label, icon in ways]


def csv(seen: Overview, shown: list[int]) -> bytes:
    """All four lenses of the chosen rows side by side; no cell is a formula."""
    frames = [seen.frame(lens) for lens in LENSES]
    whole = pd.concat(frames, axis=1)
    whole = whole.loc[:, ~whole.columns.duplicated()].iloc[shown]
    return whole.map(safe).to_csv(index=False).encode("utf-8-sig")


def printed(seen: Overview, shown: list[int], requests: Sequence[dict[str, Any]]) -> bytes:
    """The report of the chosen rows."""
    rows = [seen.rows[i] for i in shown]
    there = {r.model for r in rows}
    asked = [asks(r, seen.currency, seen.read) for r in requests if r["object"] in there]
    head = f"{plural(len(rows), 'model')} of {plural(len({r.project for r in rows}), 'project')} · as of {when(seen.read)}"
    frames = {name: seen.frame(lens).iloc[shown] for lens, name in _LENSES.items()}
    waiting = [f"{what}: {by}" for what, by in asked]
    return report(head, seen.figures, waiting, rows, frames).encode()


def filters(seen: Overview) -> str:
    """The lens, the search, and chips of what there is; the chosen lens."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        lens = segment("Lens", _LENSES, "lens", "progress")
        if on_phone():
            with st.popover("Find and sort", icon=":material/tune:"):
                _find(seen)
                _stages(seen)
        else:
            _find(seen)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _counted("Attention", "attention", view.KINDS, seen.kinds)
        if not on_phone():
            _stages(seen)
    return lens


def _counted(label: str, key: str, names: dict[str, str], counts: dict[str, int]) -> None:
    """Chips with how many models each would leave; those that nobody needs are left out, unless the address asks for one."""
    unread(key, names)
    asked = [v for v in st.query_params.get_all(key) if v in names]
    shown = {v: f"{names[v]} · {counts.get(v, 0)}" for v in names if v in counts or v in asked}
    chips(label, shown, key)


def _stages(seen: Overview) -> None:
    _counted("Stage", "stage", {s: s for s in STAGES}, seen.stages)


def _find(seen: Overview) -> None:
    if len(seen.teams) > 1:
        pick("Team", ["", *seen.teams], "team", lambda t: t or "all teams", default="", width=170)
    pick("Order", list(view.SORTS), "sort", lambda s: view.SORTS[s], default="attention", width=170)
    with st.container(width=240):
        typed("Search", "q", label_visibility="collapsed", placeholder="project, model, team, owner",
            icon=":material/search:")  # fmt: skip
