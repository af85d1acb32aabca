"""What a layer is held to: a version's results, and the form that changes what the next one is checked for."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pandas as pd
import streamlit as st

from cockpit.acts.at_once import at_once
from cockpit.frame.carrying import to
from cockpit.frame.components import Choice, locked
from cockpit.frame.saying import nothing_yet
from cockpit.views import checks as view
from cockpit.views import dataset
from cockpit.words import plain
from esml_engine.tables import Table

_NEXT = {
    "bronze": "The next refinement reads all of its files anew and checks them.",
    "silver": "The next refinement makes silver anew and checks it.",
    "gold": "The next refinement builds gold anew and checks it.",
}


def checks(choice: Choice, table: Table, now: dict[str, Any]) -> None:
    """The results of the version shown, and what its layer is held to from the next one on."""
    found = view.where(table.name)
    if found is None:
        way = ("Checks of gold", "rule", to("dataset", table="gold", tab="Checks"))
        nothing_yet("A part of gold is held to no checks of its own.", "Gold is checked before it is split.", way)  # fmt: skip
        return
    if results := dataset.checks(now["quality"]):
        st.table(pd.DataFrame(results), border="horizontal", hide_index=True)
    else:
        nothing_yet("This version was held to no check.", "What is declared below counts from the next refinement on.")  # fmt: skip
    expectations(choice, table, *found)


def expectations(choice: Choice, table: Table, key: str, layer: str) -> None:
    """Expectations as rows to add, change and remove; who may not change them reads them, and who can."""
    estate, scope, settings = choice.estate, str(choice.ref), choice.estate.site.settings
    said = view.declared(settings, scope, key)
    columns = table.show(limit=0)["columns"]
    shown = view.rows(said, layer)
    may = estate.may("edit_expectations", choice.ref.project).allowed
    of = dataset.in_words(table.name).removesuffix(" (inference)") if layer != "gold" else "gold"
    how = " · the empty row adds one; rows ticked at the left are removed by Delete or the bin" if may else ""
    with st.container(gap="xxsmall"):
        st.markdown(f"**What {of} is held to**")
        st.caption(
            f"{view.whose(settings, scope, key)} · in every environment, for training and inference{how}"
        )
        if kept := view.kept(said, layer):
            st.caption(f":material/lock: not shown, and kept as it is: {plain(', '.join(kept))}")
    edited = _editor(shown, columns, key=f"checks:{scope}:{key}:{layer}", fixed=not may) if shown or may else []  # fmt: skip
    if locked(estate, "edit_expectations", choice.ref.project):
        return
    numeric = view.numbers(columns)
    then = view.changed(said, edited, layer, numeric)
    wrong = view.refusal(said, edited, layer, numeric)
    at_once(
        estate,
        lambda **how: estate.set(scope, key, then, **how),
        "Set",
        key=f"checks:{scope}:{key}:{layer}:set",
        icon="rule",
        done=f"{of} is held to that now. {_NEXT[layer]}",
        ready=then != said and not wrong,
        missing=wrong or "Nothing is changed yet. Change, add or remove a row to see the plan.",
        lines=view.differences(said, edited, layer, numeric),
        leads=("lake", "Refine on the page Lake", {}),
    )


def _editor(
    shown: list[dict[str, Any]], columns: list[dict[str, str]], *, key: str, fixed: bool
) -> list[dict[str, Any]]:
    """The rows as they are edited; another editor once others are declared, or changes would be laid over what they made."""
    names = [c["name"] for c in columns]
    names += sorted({r["column"] for r in shown if r["column"]} - set(names))  # declared, and not there
    cell, one = st.column_config, st.column_config.SelectboxColumn
    config = {
        "check": one("Check", options=view.offered(shown), default="not_null", width=110),
        "column": one("Column", options=names, width=150, help="row_count needs none."),
        "level": one("Level", options=view.LEVELS, default="error", width=80, help="error: the layer stops; warn: it is shown."),
        "min": cell.NumberColumn("Min", width=80, help="in_range and row_count: one of min and max, or both. Both belong to the range."),
        "max": cell.NumberColumn("Max", width=80),
        "values": cell.TextColumn("Values", width=220, help="in_set: separated by commas; one that holds a comma stands in quotes."),
        "pattern": cell.TextColumn("Pattern", width=170, help="regex: the whole text must match."),
        "within": cell.TextColumn("Within", width=90, help="fresh, which comes later."),
    }  # fmt: skip
    used = [f for f in view.FIELDS if f != "within" or any(r[f] for r in shown)]
    frame = pd.DataFrame(shown, columns=[view.AT, *view.FIELDS], dtype=object)
    frame = frame.astype({view.AT: float, "min": float, "max": float})
    state = hashlib.sha256(json.dumps(shown, default=str).encode()).hexdigest()[:8]
    edited = st.data_editor(
        frame,
        num_rows="fixed" if fixed else "dynamic",
        disabled=fixed or [view.AT],
        hide_index=True,
        column_order=used,
        column_config=config,
        height="content",
        placeholder="",
        key=f"{key}:{state}",
        alt="Expectations, a row each",
    )
    return [{k: None if pd.isna(v) else v for k, v in r.items()} for r in edited.to_dict(orient="records")]
