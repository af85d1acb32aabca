"""Dataset: a table's versions, what each column holds, what changed; links to versions that are gone say so."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from cockpit.views import dataset as view
from esml_engine.estate import Estate, open_estate
from esml_engine.settings import ModelSettings
from tests.cockpit.conftest import Open, text_of
from tests.conftest import copy_of

WHERE = {"project": "project001", "model": "m01_price", "env": "dev"}


def _version(n: int, rows: int, **more: Any) -> dict[str, Any]:
    plain = {"version": n, "rows": rows, "at": f"2026-11-0{n}T00:00:00+00:00", "run": "r", "by": "a", "inputs": [], "quality": [],
        "note": None, "rnd": False}  # fmt: skip
    return plain | more


def test_tables_are_those_that_a_person_may_open() -> None:
    settings = ModelSettings(task="regression", datasets={"ds01": {"format": "csv"}}, label="y")  # type: ignore[dict-item]
    engineer = view.tables(settings, {"read_tables": True, "read_gold": True})
    assert engineer[:3] == ["ds01/bronze", "ds01/silver", "gold"] and "inference/ds01/bronze" in engineer
    analyst = view.tables(settings, {"read_tables": False, "read_gold": True})
    assert analyst == ["gold", "gold_train", "gold_validate", "gold_test", "to_score"]
    assert view.tables(settings, {"read_tables": False, "read_gold": False}) == []


def test_the_time_line_says_each_change() -> None:
    line = view.time_line([_version(3, 90), _version(2, 120), _version(1, 100)])
    assert [(x["version"], x["change"]) for x in line] == [(1, None), (2, 20), (3, -30)]
    rows = view.version_rows([_version(2, 120), _version(1, 100)], dt.datetime(2026, 11, 3, tzinfo=dt.UTC))
    assert [r["Change"] for r in rows] == ["+20", "first"] and rows[0]["Age"] == "1 d"


def test_checks_that_were_not_met_come_first() -> None:
    quality = [
        {"check": "unique", "column": "id", "level": "error", "passed": True, "failed_rows": 0, "rows": 9, "message": "ok"},
        {"check": "not_null", "column": "x", "level": "warn", "passed": False, "failed_rows": 2, "rows": 9, "message": "2 rows"},
    ]  # fmt: skip
    assert [c["Result"] for c in view.checks(quality)] == ["✕ not met", "✓ met"]
    assert view.checks(quality)[0]["Rows that fail"] == "2 of 9"
    assert view.checks_in_short(quality) == "! 1 of 2 not met" and view.checks_in_short([]) == "none declared"


def test_the_page_shows_a_version_with_its_rows(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "dataset", **WHERE, table="ds01_houses/bronze")
    assert not at.exception and not at.error
    figures = {m.label: m.value for m in at.metric}
    assert figures["Version"] == "v1" and figures["Rows"] == "90"
    assert list(at.dataframe[0].value["id"])[:2] == [0, 1]


@pytest.mark.parametrize("tab", view.TABS)
def test_each_tab_opens(tab: str, estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "dataset", **WHERE, table="ds01_houses/silver", tab=tab)
    assert not at.exception and not at.error
    if tab == "Profile":
        assert list(at.dataframe[0].value["Column"]) == ["id", "size", "rooms", "y"]


def test_gone_versions_and_tables_are_said(estate: Estate, page: Open) -> None:
    said = text_of(page(estate.site.root, "dataset", **WHERE, table="ds01_houses/bronze", v="7"))
    assert "**v7 is not there**" in said
    assert "is gone, or not yours to see" in text_of(
        page(estate.site.root, "dataset", **WHERE, table="ds09/bronze")
    )


def test_a_reader_may_not(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "dataset", act_as="reader@small", **WHERE)
    assert not at.exception and not at.dataframe
    assert "You may not" in text_of(at)


def test_profile_counts_what_is_empty() -> None:
    import duckdb

    from esml_engine.lake.preview import summarized

    con = duckdb.connect()
    rows = con.sql(
        "SELECT i, CASE WHEN i % 7 = 0 THEN NULL ELSE i / 2.0 END AS x, 'a' || i % 3 AS s FROM range(100000) t(i)"
    )
    found = {c["name"]: c for c in summarized(con, rows)}
    assert found["x"]["nulls"] == 14_286 and found["i"]["nulls"] == 0
    assert (found["i"]["min"], found["i"]["max"]) == (0, 99_999)
    assert found["i"]["mean"] == pytest.approx(49_999.5)
    assert found["s"]["mean"] is None and found["s"]["min"] == "a0"


def test_quarantine_is_of_the_version_shown_and_of_the_sample_where_it_is_one() -> None:
    assert view.bronze_behind("ds01/bronze", _version(2, 90)) == 2
    silver = _version(3, 90, inputs=[{"table": "ds01/bronze", "version": 1}])
    assert view.bronze_behind("ds01/silver", silver) == 1
    assert view.bronze_behind("inference/ds01/silver", silver) is None, "of another purpose"
    assert "of the R&D sample" in view.all_read(_version(1, 9, rnd=True), "regression")
    assert view.all_read(_version(1, 9), "regression") == "Every row that was delivered could be read."
    assert (
        "R&D sample" in view.of_sample(_version(1, 9, rnd=True), "regression")
        and view.of_sample(_version(1, 9), "regression") == ""
    )
    assert view.of_sample(_version(1, 9, rnd=True), "forecasting") == "", "a series is read whole"


def test_quarantine_says_how_rows_are_mended_and_so_they_are(
    estate: Estate, page: Open, tmp_path: Path
) -> None:
    mine = open_estate(copy_of(estate.site.root, tmp_path / "estate"))
    file = tmp_path / "c.csv"
    file.write_text("id,size,rooms,y\n" + "500,x,1,2\n" + "501,1,1,2\n" * 9, encoding="utf-8")
    model = mine.model("project001/m01_price")
    model.ingest("ds01_houses", [file], "2026-11-20")
    with mine.hand.holding(warm=True):
        model.refine(layer="bronze")
    at = page(mine.site.root, "dataset", **WHERE, table="ds01_houses/bronze", tab="Quarantine")
    assert not at.exception and view.MENDED in text_of(at)
    assert len(at.dataframe[-1].value) == 1
    file.write_text("id,size,rooms,y\n" + "501,1,1,2\n" * 9, encoding="utf-8")
    model.ingest("ds01_houses", [file], "2026-11-20")
    with mine.hand.holding(warm=True):
        model.refine(layer="bronze")
    assert model.dataset("ds01_houses").quarantine() == [], "delivered again under its name and date"
