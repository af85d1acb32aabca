"""Expectations on the tab Checks: rows from settings, settings from rows, and the form that sets them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st

from cockpit.views import checks as view
from esml_engine.estate import Estate, open_estate
from tests.cockpit.conftest import MODEL, Open, text_of
from tests.conftest import copy_of

WHERE = {"project": "project001", "model": "m01_price", "env": "dev", "table": "ds01_houses/silver", "tab": "Checks"}  # fmt: skip
KEY = "datasets.ds01_houses.expect"
SAID: list[dict[str, Any]] = [
    {"on": "bronze", "check": "unique", "column": "id"},
    {"check": "in_range", "column": "size", "min": 0, "max": 99, "level": "warn"},
    {"on": "silver", "check": "custom", "column": "rooms", "pattern": "mine"},
    {"on": "silver", "check": "in_set", "column": "rooms", "values": [1, 2, 3]},
]


def _new(**said: Any) -> dict[str, Any]:
    return {view.AT: None, **dict.fromkeys(view.FIELDS), "level": "error", **said}


def test_a_table_has_its_key_and_its_layer() -> None:
    assert view.where("ds01/bronze") == ("datasets.ds01.expect", "bronze")
    assert view.where("inference/ds01/silver") == ("datasets.ds01.expect", "silver")
    assert view.where("gold") == view.where("to_score") == ("expect", "gold")
    assert view.where("gold_test") is None


def test_rows_are_of_one_layer_and_show_what_is_declared() -> None:
    rows = view.rows(SAID, "silver")
    assert [(r[view.AT], r["check"], r["level"], r["values"]) for r in rows] == [
        (1, "in_range", "warn", None), (3, "in_set", "error", "1, 2, 3")]  # fmt: skip
    assert view.kept(SAID, "silver") == ["custom on rooms · pattern mine · error"]
    assert view.rows([{"check": "row_count", "min": 1}], "gold")[0]["check"] == "row_count"


def test_what_nobody_touched_stays_as_it_is_written() -> None:
    assert view.changed(SAID, view.rows(SAID, "silver"), "silver", {"rooms"}) == SAID
    assert view.differences(SAID, view.rows(SAID, "silver"), "silver", {"rooms"}) == []


def test_changes_leave_other_layers_and_hidden_checks_in_place() -> None:
    first, last = view.rows(SAID, "silver")
    edited = [{**last, "values": "1, 2.5, 4"}, _new(check="regex", column="y", pattern=r"\d+")]
    assert view.changed(SAID, edited, "silver", {"rooms"}) == [
        SAID[0],
        SAID[2],
        {**SAID[3], "values": [1, 2.5, 4]},
        {"on": "silver", "check": "regex", "column": "y", "pattern": r"\d+"},
    ]
    assert view.differences(SAID, edited, "silver", {"rooms"}) == [
        "remove in_range on size · min 0 · max 99 · warn",
        "make in_set on rooms · values 1, 2, 3 · error into in_set on rooms · values 1, 2.5, 4 · error",
        r"add regex on y · pattern \d+ · error",
    ]
    cleared = view.changed(SAID, [{**first, "max": None, "min": 2.0, "level": "error"}], "silver", set())
    assert cleared[1] == {"check": "in_range", "column": "size", "min": 2, "level": "error"}
    assert view.changed([], [_new(check="row_count", min=1.0)], "gold", set()) == [{"check": "row_count", "min": 1}]  # fmt: skip


def test_values_are_texts_but_where_the_column_holds_numbers() -> None:
    row = _new(check="in_set", column="c", values=' a b,"x, y", 3 ,, "", "say ""no"""')
    assert view.changed([], [row], "gold", set())[0]["values"] == ["a b", "x, y", "3", "", 'say "no"']
    numeric = view.changed([], [{**row, "values": "1, 2.5, nan, x"}], "gold", {"c"})[0]["values"]
    assert numeric == [1, 2.5, "nan", "x"]
    odd: list[dict[str, Any]] = [
        {"check": "in_set", "column": "c", "values": ["a, b", "", ' "x"', True, "é"]}
    ]
    shown = view.rows(odd, "gold")
    assert shown[0]["values"] == '"a, b", "", " ""x""", true, é'
    again = view.changed([], [{**shown[0], view.AT: None}], "gold", set())
    assert again[0]["values"] == ["a, b", "", ' "x"', "true", "é"]
    types = [{"name": n, "type": n} for n in ("int64", "double", "decimal128(9, 2)", "string", "bool")]
    assert view.numbers(types) == {"int64", "double", "decimal128(9, 2)"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (_new(check="in_range", column="c"), "Row 1: in_range needs min or max."),
        (_new(check="in_range", column="c", min=2.0, max=1.0), "Row 1: min 2 lies above max 1."),
        (_new(check="in_set", column="c", values=" , "), "Row 1: in_set needs values."),
        (_new(check="regex", column="c"), "Row 1: regex needs a pattern."),
        (_new(check="not_null"), "Row 1: not_null needs a column."),
        (_new(column="c"), "Row 1: it needs a check."),
        (_new(check="row_count", min=1.0), ""),
    ],
)
def test_an_incomplete_row_is_refused_in_the_engines_words(said: dict[str, Any], why: str) -> None:
    assert view.refusal([], [said], "silver", set()) == view.refusal([], [said], "gold", set()) == why


def test_checks_that_come_later_are_not_offered() -> None:
    assert "fresh" not in view.offered([]) and "custom" not in view.offered([])
    assert "fresh" in view.offered([_new(check="fresh")]), "so that it can be read, and taken out"


def test_the_form_sets_them_and_the_next_refinement_holds_to_them(
    estate: Estate, page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = open_estate(copy_of(estate.site.root, tmp_path / "estate"))
    mine.set(MODEL, KEY, [{"on": "bronze", "check": "unique", "column": "id"}])
    at = page(mine.site.root, "dataset", **WHERE)
    said = text_of(at)
    assert (
        not at.exception
        and "Nothing is changed yet" in said
        and "**This version was held to no check.**" in said
    )
    rows: list[dict[str, Any]] = [{"check": "in_range", "column": "size"}]

    def edit(frame: pd.DataFrame, **how: Any) -> pd.DataFrame:
        return pd.concat([frame, pd.DataFrame(rows)], ignore_index=True) if len(frame) < 1 else frame

    monkeypatch.setattr(st, "data_editor", edit)
    at.run()
    assert "Row 1: in_range needs min or max." in text_of(at)
    assert not [b for b in at.button if b.label == "Set"], "nothing can be set"
    rows[0] |= {"min": 0.0, "max": 99.0, "level": "warn"}
    at.run()
    assert "add in\\_range on size · min 0 · max 99 · warn" in text_of(at)
    next(b for b in at.button if b.label == "Set").click().run()
    assert not at.exception and not at.error and "is held to that now" in at.success[0].value
    then = open_estate(mine.site.root)
    found = then.site.settings.model(then.model(MODEL).ref).datasets["ds01_houses"].expect
    assert [(e.on, e.check, e.column) for e in found] == [
        ("bronze", "unique", "id"),
        ("silver", "in_range", "size"),
    ]
    model = then.model(MODEL)
    assert any("settings expect other things of bronze" in w for w in model.plan_refine().draft.will)
    with then.hand.holding(warm=True):
        model.refine()
    quality = {t: model.table(f"ds01_houses/{t}").versions()[0]["quality"] for t in ("bronze", "silver")}
    assert {t: [q["check"] for q in found] for t, found in quality.items()} == {
        "bronze": ["unique"],
        "silver": ["in_range"],
    }


def test_who_may_not_reads_them_and_who_can(estate: Estate, page: Open, tmp_path: Path) -> None:
    mine = open_estate(copy_of(estate.site.root, tmp_path / "estate"))
    mine.set(MODEL, KEY, SAID[:2])
    theirs = page(mine.site.root, "dataset", act_as="engineer@small", **WHERE)
    assert not theirs.exception and "You may not" not in text_of(theirs), (
        "expectations are the data engineer's"
    )
    mine.member_add("project001", "scientist@small", "data_scientist")
    at = page(mine.site.root, "dataset", act_as="scientist@small", **WHERE)
    said = text_of(at)
    assert not at.exception and "**You may not:**" in said and "Who can:" in said
    assert not [b for b in at.button if b.label == "Set"]
    assert list(at.dataframe[-1].value["check"]) == ["in_range"]


def test_a_part_of_gold_has_no_checks_of_its_own(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "dataset", **{**WHERE, "table": "gold_test"})
    assert not at.exception and "**A part of gold is held to no checks of its own.**" in text_of(at)
