"""Scored data: filters live in the address, nothing is shown that was not asked for, a row leads back to its files."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cockpit.parts import charts
from cockpit.views import scored as view
from esml_engine.scored.where import written
from tests.cockpit.conftest import Open, text_of

WHERE = {"project": "project002", "model": "m11_diabetes", "env": "prod"}


def test_calls_a_day_are_those_of_days_that_have_some() -> None:
    days = [{"day": f"2026-11-0{n}", "rows": 9, "calls": c} for n, c in ((1, 4), (2, 5), (3, 0))]
    assert view.calls_note({"by_day": days}, 3) == "4.5 a day · 3 callers in all"
    assert view.calls_note({"by_day": days[:1]}, 1) == "1 caller in all"


def test_the_address_goes_there_and_back() -> None:
    one = {"from": "2026-10-01", "to": "2026-10-31", "sort": "age:desc", "page": "3"}
    many = {"caller": ["web", "batch"], "version": ["7", "x"], "where": ["prediction >= 200"]}
    w = view.wanted(one, many)
    assert w.bad == ("version=x",), "what can't be read is named, not dropped in silence"
    assert view.address(w) == {
        **one,
        "caller": ["web", "batch"],
        "version": ["7"],
        "where": ["prediction >= 200"],
    }
    assert view.wanted({"page": "-1"}, {}).page == 1


def test_chips_say_each_filter_and_take_it_away() -> None:
    w = view.wanted({"from": "2026-10-01"}, {"caller": ["web"], "version": ["7"], "where": ["a in 1, 2"]})
    assert [c.text for c in view.chips(w)] == [
        "scored from 2026-10-01",
        "caller is web",
        "model is v7",
        "a is one of 1, 2",
    ]
    for c in view.chips(w):
        assert c not in view.chips(view.without(w, c))
        assert len(view.chips(view.without(w, c))) == 3


@pytest.mark.parametrize(
    "given,says",
    [
        (("name", "=", "Smith, John"), 'name = "Smith, John"'),
        (("name", "contains", 'a "b"'), 'name contains "a ""b"""'),
        (("age", "in", "1, 2"), "age in 1, 2"),
        (("age", "is-null", ""), "age is-null"),
    ],
)
def test_a_condition_is_quoted_where_it_must(given: tuple[str, str, str], says: str) -> None:
    assert written(*given) == says


def test_the_export_asks_for_the_same_filters() -> None:
    w = view.wanted({"page": "2", "sort": "age"}, {"caller": ["a&b"], "where": ["x = 1"]})
    parts = urlsplit(view.export_address("p1/m1", "prod", w, "csv", "anna@x"))
    assert parts.path == "/api/v1/scored/p1/m1.csv"
    assert parse_qs(parts.query) == {"caller": ["a&b"], "where": ["x = 1"], "env": ["prod"], "as": ["anna@x"]}


def test_columns_are_chosen_in_the_address_and_an_export_has_them_all() -> None:
    w = view.wanted({}, {"cols": ["bmi", "age", "bmi"]})
    assert w.cols == ("bmi", "age") and view.address(w) == {"cols": ["bmi", "age"]}
    assert "cols" not in view.export_address("p1/m1", "prod", w, "csv") and not view.kept(w)
    names = (
        "request_id",
        "row",
        "scored_at",
        "caller_id",
        "model_version",
        "prediction",
        "age",
        "sex",
        "bmi",
    )
    row = dict.fromkeys(names, 1) | {"scored_at": "2026-10-01T00:00:00+00:00"}
    said = {"columns": [{"name": n} for n in names], "rows": [row]}
    always = {"Scored at", "Caller", "Model", "Prediction", "Request", "Row"}
    assert set(view.table(said, None, w.cols)[0]) == always | {"age", "bmi"}
    assert set(view.table(said, None, ("gone",))[0]) == always | {"age", "sex", "bmi"}, (
        "never an empty choice"
    )


def test_chosen_columns_on_the_page(demo: Path, page: Open) -> None:
    at = page(demo, "scored", **WHERE, cols="age")
    assert not at.exception and not at.error
    assert [c for c in at.dataframe[0].value.columns if c.islower()] == ["age"]
    at = page(demo, "scored", **WHERE, cols="zzz")
    assert "`cols=zzz` in the address can't be read" in text_of(at)
    assert {"age", "bmi"} <= set(at.dataframe[0].value.columns)


def test_rows_figures_and_callers(demo: Path, page: Open) -> None:
    at = page(demo, "scored", **WHERE)
    assert not at.exception and not at.error
    assert [m.label for m in at.metric] == ["Rows", "Calls"] and at.metric[0].value == "31"
    frame = at.dataframe[0].value
    assert set(frame["Caller"]) == {"web", "ward-3", "nightly"} and set(frame["Model"]) == {"v2"}

    at = page(demo, "scored", **WHERE, caller="web", where="prediction > 9000")
    assert "No row matches all of these filters" in text_of(at) and not at.dataframe
    assert r"without *prediction \> 9000*: 6" in text_of(at)

    at = page(demo, "scored", act_as="manager@demo", **WHERE)
    assert "You may not:" in text_of(at) and not at.dataframe

    at = page(demo, "row", **WHERE, request="demo-web", row="2")
    assert not at.exception and not at.error
    names = list(at.table[0].value["Name"])
    assert "gold_train · dev" in names and any(n.startswith("patients-2026-11-01") for n in names)
    assert "bmi" in list(at.table[1].value["Column"])
    on = {link.proto.label: link.proto.query_string for link in at.get("page_link")}
    assert any("env=dev" in q and "v=2" in q for t, q in on.items() if t.startswith("What it learned from"))
    assert "caller=web" in next(q for t, q in on.items() if t == "Answers to web")
    assert "gone, or not yours to see" in text_of(page(demo, "row", **WHERE, request="nobody", row="0"))
    at = page(demo, "row", act_as="manager@demo", **WHERE, request="demo-web", row="2")
    assert "You may not:" in text_of(at), "what was put in"
    assert len(at.table) == 1 and list(at.table[0].value["Name"]) == names, (
        "how it came to be is for all roles"
    )
    at = page(demo, "row", act_as="manager@demo", **WHERE, request="nobody", row="0")
    assert "gone, or not yours to see" in text_of(at)


def test_approvals_tell_open_from_decided(demo: Path, page: Open) -> None:
    at = page(demo, "approvals")
    assert not at.exception and not at.error
    said = text_of(at)
    assert (
        "1 request open" in said
        and "5 requests decided" in said
        and "Promote **m12_tumour v2** to prod" in said
    )
    assert "refused" in " ".join(map(str, at.dataframe[0].value["State"]))
    assert "`q-gone` is gone, or not yours to see" in text_of(page(demo, "approvals", request="q-gone"))


def test_a_refusal_reaches_who_asked_with_its_reason(demo: Path, page: Open) -> None:
    """On My work, and on the pages where they would ask again."""
    work = text_of(page(demo, "work", act_as="scientist@demo"))
    assert "Your requests that did not go through · 1" in work
    assert "Promote **m21_co2 v2** to prod: refused by approver@demo on" in work
    where = {"project": "project003", "model": "m21_co2"}
    up = page(demo, "promotion", act_as="scientist@demo", **where, env="prod", version="2")
    assert "A request for v2 was refused by** approver@demo" in "\n".join(e.value for e in up.error)
    board = page(demo, "leaderboard", act_as="scientist@demo", **where, env="dev")
    assert "v2 to prod was refused by approver@demo" in text_of(board)


def test_audit_verifies_its_chain(demo: Path, page: Open) -> None:
    at = page(demo, "audit", act="approve")
    assert {who.split(" (")[0] for who in at.dataframe[0].value["Who"]} == {"approver@demo"}
    at = next(b for b in at.button if b.label == "Verify the chain").click().run()
    assert "The chain holds." in "\n".join(s.value for s in at.success)
    assert "You may not:" in text_of(page(demo, "audit", act_as="analyst@demo"))


def test_days_drawn_or_clicked_become_a_filter() -> None:
    days = ["2026-10-01", "2026-10-02", "2026-10-05"]
    span = {"days": {"day": [1759363200000 + 365 * 86_400_000, 1759449600000 + 368 * 86_400_000]}}
    assert view.days_of(span, days) == ["2026-10-02", "2026-10-05"]
    assert view.days_of({"day": [{"date": "2026-10-05"}]}, days) == ["2026-10-05"]
    close = 1790899200000  # closely round the bar of 2 October, which stands at its midnight
    assert view.days_of({"days": {"day": [close - 3_600_000, close + 3_600_000]}}, days) == ["2026-10-02"]
    spec = charts.by_day([{"day": d, "rows": 1, "calls": 1} for d in days]).to_dict()
    assert spec["encoding"]["x"]["scale"]["type"] == "utc", "no browser's own zone moves a bar"
    assert any(p.get("select", {}).get("fields") == ["date"] for p in spec["params"])
    assert view.days_of({}, days) == [] and view.days_of({"days": {}, "day": []}, days) == []


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("prediction>=150", "prediction ≥ 150"),
        ("prediction >= 150", "prediction ≥ 150"),
        ("sex = f", "sex is f"),
        ("name contains a>b", "name contains a>b"),
        ("bmi is-null", "bmi is empty"),
        ("sex in f,m", "sex is one of f,m"),
        ("within!=3", "within is not 3"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_condition_is_a_chip_in_words(condition: str, said: str) -> None:
    assert view.in_words(condition) == said
