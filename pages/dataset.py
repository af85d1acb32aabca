"""Dataset: what is in a table, and what changed from version to version."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import streamlit as st

from cockpit.acts.checking import checks
from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.choosing import open_tabs
from cockpit.frame.components import Choice, as_of, choose, gone, page, pick, profile_table
from cockpit.frame.saying import failure, nothing_yet
from cockpit.parts import charts
from cockpit.views import dataset as view
from cockpit.words import plural, safe, safe_rows
from esml_engine.errors import NotFoundError
from esml_engine.refs import TableName
from esml_engine.tables import Table


@page
def show() -> None:
    """The page."""
    choice = choose(opening.estate(), "Dataset")
    if choice is None:
        return
    st.title("Dataset")
    may = {rule: choice.estate.may(rule, choice.ref.project).allowed for rule in ("read_tables", "read_gold")}
    names = view.tables(choice.estate.site.settings.model(choice.ref), may)
    if not names:
        choice.estate.require("read_gold", choice.ref.project)
    asked = st.query_params.get("table")
    if asked and asked not in names:
        gone("Table", asked)
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = pick("Table", names, "table", view.in_words, default="gold" if "gold" in names else names[0])
        table = choice.model.table(name)
        versions = table.versions()
        numbers = [x["version"] for x in versions]
        v = _number("v", numbers) if versions else None
        if v is not None:
            v = pick("Version", numbers, "v", lambda n: f"v{n}", default=numbers[0], width=120)
    if not versions:
        nothing_yet(f"{view.in_words(name)} has no version in {choice.env} yet.", "Refine to make it.")
        st.page_link(**to("lake"), label="Go to the lake", icon=":material/waves:")
    if v is not None:
        now = next(x for x in versions if x["version"] == v)
        _head(choice, name, now, versions)
        _tabs(choice, table, now, versions)


def _number(key: str, numbers: list[int]) -> int | None:
    """A version from the address; one that is gone is said to be, and None."""
    asked = st.query_params.get(key)
    if asked is None:
        return numbers[0]
    if asked.isdigit() and int(asked) in numbers:
        return int(asked)
    st.warning(
        f"**v{asked} is not there**: retention removed it, or it never was. There are {', '.join(f'v{n}' for n in numbers[:12])}.",
        icon=":material/link_off:",
    )
    return None


def _head(choice: Choice, name: str, now: dict[str, Any], versions: list[dict[str, Any]]) -> None:
    age = view.version_rows([now], dt.datetime.now(dt.UTC))[0]
    line = view.time_line(versions)
    change = next(x["change"] for x in line if x["version"] == now["version"])
    made = f" · made from {age['Made from']}" if age["Made from"] else ""
    st.caption(f"{view.in_words(name)} of {choice.ref} in {choice.env}{made} · by {age['By'] or 'another engine'} · {as_of()}")  # fmt: skip
    left, right = st.columns([3, 2], gap="large")
    current = now["version"] == versions[0]["version"]
    with left, st.grid(4, min_column_width=120):
        for label, value, note in (
            ("Version", f"v{now['version']}", "current" if current else f"now v{versions[0]['version']}"),
            ("Rows", f"{now['rows']:,}", "the first" if change is None else f"{change:+,} rows"),
            ("Age", age["Age"], f"{now['bytes'] / 1e6:,.2f} MB"),
            ("Expectations", *view.checks_figure(now["quality"])),
        ):
            st.metric(label, value, note, delta_color="off", delta_arrow="off")
    with right:
        st.altair_chart(charts.versions(line, now["version"]))


def _tabs(choice: Choice, table: Table, now: dict[str, Any], versions: list[dict[str, Any]]) -> None:
    v = now["version"]
    for tab, name in open_tabs(list(view.TABS)):
        with tab:
            if name == "Preview":
                said = table.show(v, 100)
                st.dataframe(pd.DataFrame(safe_rows(said["rows"]), columns=[safe(c["name"]) for c in said["columns"]]), hide_index=True, placeholder="", height=420)  # fmt: skip
                st.caption(f"the first {len(said['rows'])} of {now['rows']:,} rows · {plural(len(said['columns']), 'column')}")  # fmt: skip
            elif name == "Profile":
                profile_table(view.profile(table.profile(v)))
            elif name == "Changes":
                _changes(table, v, [x["version"] for x in versions])
            elif name == "Checks":
                checks(choice, table, now)
            elif name == "Quarantine":
                _quarantine(choice, table.name, now)
            else:
                rows = view.version_rows(versions, dt.datetime.now(dt.UTC))
                st.table(pd.DataFrame(rows), border="horizontal", hide_index=True)


def _changes(table: Table, v: int, numbers: list[int]) -> None:
    others = [n for n in numbers if n != v]
    if not others:
        nothing_yet("There is one version only.", "What changed can be said from the second on.")
        return
    before = next((n for n in others if n < v), others[0])
    if _number("vs", others) is None:
        return
    vs = pick("against", others, "vs", lambda n: f"v{n}", default=before)
    said = table.diff(*sorted((v, vs)))
    with st.grid(3, min_column_width=120):
        for name in ("added", "removed", "changed"):
            st.metric(f"Rows {name}", f"{said['rows'][name]:,}", f"v{min(v, vs)} → v{max(v, vs)}", delta_color="off", delta_arrow="off", border=True)  # fmt: skip
    st.markdown("  \n".join(view.changes(said)) or "The columns are the same.")


def _quarantine(choice: Choice, name: str, now: dict[str, Any]) -> None:
    t, task = TableName.parse(name), choice.estate.site.settings.model(choice.ref).task
    if t.dataset is None:
        return nothing_yet("Quarantine belongs to a dataset.", "Choose its bronze or silver table.")
    try:
        rows = choice.model.dataset(t.dataset).quarantine(t.purpose, view.bronze_behind(name, now))
    except NotFoundError as e:  # the bronze behind an older silver is gone
        return failure(e)
    if not rows:
        st.caption(f":material/check: {view.all_read(now, task)}")
        return
    st.markdown(" · ".join(f"**{n:,}** {why}" for why, n in view.by_reason(rows)))
    st.dataframe(
        pd.DataFrame(safe_rows(rows[:1000])), hide_index=True, height="content" if len(rows) <= 10 else 360
    )
    st.caption(f"the first {min(1000, len(rows)):,} of {plural(len(rows), 'row')} · line: counted from 1 with the header · these rows are in no later layer{view.of_sample(now, task)}")  # fmt: skip
    st.caption(view.MENDED)


show()
