"""Leaderboard: best by environment, candidates beside each other, only what differs, the best value marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cockpit.views import candidates, intervals
from cockpit.views import leaderboard as view
from cockpit.views.promotion import Became
from esml_engine.estate import Estate, open_estate
from tests.cockpit.conftest import Open, text_of

WHERE = {"project": "project001", "model": "m01_price", "env": "dev"}


def _row(estimator: str, rmse: float | None, **more: Any) -> dict[str, Any]:
    plain = {
        "env": "dev", "run": "r-1", "model_version": None, "estimator": estimator, "metrics": {"rmse": rmse, "mae": 1.0},
        "baseline": {"rmse": 10.0},
        "alias": None, "ready": None, "ready_to": "test", "cost": 0.1, "data": {"gold": 2, "gold_test": 2}, "gates": [],
        "intervals": {},
    }  # fmt: skip
    return plain | more


def _costed(row: dict[str, Any]) -> dict[str, Any]:
    return view.with_costs([row])[0]


def test_the_champion_stands_for_its_environment_else_the_best_candidate() -> None:
    rows = [
        _row("lightgbm", 4.0),
        _row("linear", 5.0, alias="champion", model_version=3, intervals={"rmse": [4.5, 5.5]}),
        _row("linear", 6.0, env="test"),
    ]
    dev, test, prod = view.best(rows, "rmse", ("dev", "test", "prod"))
    assert (dev.version, dev.value, dev.state) == ("v3", "5 (4.5–5.5)", "champion")
    assert (test.version, test.state) == ("not registered", "candidate")
    assert prod.state == "nothing trained yet" and not prod.value


def test_nothing_is_offered_for_promotion_that_leads_there_already() -> None:
    rows = [
        _row("a", 4.0, model_version=2), _row("a", 4.0, model_version=None),
        _row("a", 4.0, env="test", alias="champion", model_version=2),
    ]  # fmt: skip
    assert (
        view.nothing_newer(rows, "dev", "test") == "v2, the newest of dev, is the champion of test already."
    )
    assert not view.nothing_newer([*rows, _row("b", 3.0, model_version=3)], "dev", "test")
    assert not view.nothing_newer(rows[:2], "dev", "test"), "test has no champion yet"
    assert view.way_up(rows, "dev", "test", {})[1] == ""
    assert view.way_up(rows[:2], "dev", "test", {}) == ("", "Compare, and ask for promotion to test")
    waits = {"test": {2: Became("waiting"), 1: Became("refused", "ann: no")}}
    assert view.way_up(rows[:2], "dev", "test", waits) == ("", "See the request for v2 into test")


def test_what_people_refused_is_not_ready_anywhere_on_the_page() -> None:
    ready = _row("linear", 5.0, alias="champion", model_version=3, ready=True)
    refused = {"test": {3: Became("refused", "approver@demo: not yet")}}
    assert view.best([ready], "rmse", ("dev",), refused)[0].state == "refused for test"
    row = {**ready, "at": "", "ready_reason": ""}
    (line,) = candidates.table(view.with_costs([row]), "rmse", "EUR", refused)
    assert line["Ready?"] == "✕ refused for test by people"
    (line,) = candidates.table(view.with_costs([row]), "rmse", "EUR", {})
    assert line["Ready?"] == "✓ ready for test"
    waits = {"test": {3: Became("waiting")}}
    assert view.best([ready], "rmse", ("dev",), waits)[0].state == "waits for test"
    (line,) = candidates.table(view.with_costs([row]), "rmse", "EUR", waits)
    assert line["Ready?"] == "‖ waits for approval into test"


def test_a_champion_that_may_go_up_is_said_to_be_ready() -> None:
    ready = _row("linear", 5.0, alias="champion", model_version=3, ready=True)
    assert view.best([ready], "rmse", ("dev",))[0].state == "ready for test"


def test_only_what_differs_stands_beside_with_the_best_in_bold() -> None:
    rows = [_row("lightgbm", 4.0), _row("linear", 5.0)]
    facts = [view.facts(_costed(r), None, {}, ("rmse", "mae"), "EUR") for r in rows]
    lines = {line[0]: line[1:] for line in view.beside(facts, ("rmse", "mae"), all_=False)}
    assert lines == {"Estimator": ["lightgbm", "linear"], "RMSE": ["**4**", "5"]}
    assert "MAE" in {line[0] for line in view.beside(facts, ("rmse", "mae"), all_=True)}


def test_a_promotion_trained_nothing_and_shows_what_was_trained() -> None:
    rows = [{"env": "test", "model_version": 1, "run": "r-9"}, {"env": "dev", "model_version": 1, "run": "r-1"}, {"env": "dev", "model_version": None, "run": "r-2"}]  # fmt: skip
    assert view.trained_in(rows, ("dev", "test", "prod")) == {1: "r-1"}
    costs = [{**_row("a", 5.0), "model_version": 1, "cost": 0.5, "run": "r-1"}, {**_row("a", 5.0, env="test"), "model_version": 1, "cost": None, "run": "r-9"}]  # fmt: skip
    assert [r["training_cost"] for r in view.with_costs(costs)] == [0.5, 0.5] and view.trainings(costs) == 1
    promoted = view.facts(view.with_costs(costs)[1], None, {"gates": {"min_gain": {"rmse": 0.5}, "floor": {}}}, ("rmse",), "EUR")  # fmt: skip
    assert (promoted["Training cost"], promoted["Profile: gates"]) == ("€ 0.50", "min gain rmse 0.5")
    (line,) = [
        x for x in view.beside([promoted, {"Time": "1 s"}], ("rmse",), all_=False) if x[0] == "Training cost"
    ]
    assert line == ["Training cost", "€ 0.50", "none"], (
        "what one of them lacks is no figure that was not measured"
    )


def test_an_unmeasured_value_is_never_the_best() -> None:
    facts = [view.facts(_costed(_row("a", x)), None, {}, ("rmse",), "EUR") for x in (None, 5.0)]
    line = next(x for x in view.beside(facts, ("rmse",), all_=False) if x[0] == "RMSE")
    assert line == ["RMSE", "not measured", "**5**"]


def _version(n: int, env: str = "dev", coverage: float | None = 0.784, **more: Any) -> dict[str, Any]:
    return {"version": n, "env": env, "detail": {"backtest": {"level": 0.8, "coverage": coverage}}} | more


def test_a_forecast_s_coverage_stands_beside_what_is_aimed_at() -> None:
    assert intervals.coverage_of(_version(1)) == "coverage 78 % · 80 % aimed"
    other = [
        _version(4, coverage=None),
        {**_version(5), "detail": {"backtest": None}},
        {**_version(6), "detail": None},
    ]
    assert {intervals.coverage_of(v) for v in (None, *other)} == {""}
    found = [_version(2, "test", 1.0), _version(2), _version(1, coverage=0.5), *other]
    assert intervals.lines(found) == [
        "v1 in dev: coverage 50 % · 80 % aimed",
        "v2 in dev: coverage 78 % · 80 % aimed",
        "v2 in test: coverage 100 % · 80 % aimed",
    ]
    covered = intervals.by_version(found)
    rows = [_row("linear", 5.0, alias="champion", model_version=1), _row("theta", 6.0)]
    assert view.best(rows, "rmse", ("dev",), covered=covered)[0].coverage == "coverage 50 % · 80 % aimed"
    assert [view.facts(_costed(r), None, {}, ("rmse",), "EUR", covered)["Intervals"] for r in rows] == [
        "coverage 50 % · 80 % aimed",
        "not measured",
    ]
    assert "Intervals" not in view.facts(_costed(rows[0]), None, {}, ("rmse",), "EUR", {}), (
        "other tasks have none"
    )


def test_other_test_rows_are_said() -> None:
    assert not view.on_other_rows([_row("a", 1.0), _row("b", 2.0)])
    assert view.on_other_rows([_row("a", 1.0), _row("b", 2.0, data={"gold_test": 3})])
    assert view.on_other_rows([_row("a", 1.0), _row("b", 2.0, env="test")])


def test_two_candidates_of_the_address_stand_beside_each_other(estate: Estate, page: Open) -> None:
    board = estate.model("project001/m01_price").leaderboard()
    at = page(estate.site.root, "leaderboard", **WHERE, runs=view.id_of(board[0]))
    assert not at.exception and not at.error
    assert "One candidate" in text_of(at)
    assert any("Estimator" in str(t.value.iloc[:, 0].tolist()) for t in at.table)


def test_candidates_of_one_training_stand_beside_each_other(demo: Path, page: Open) -> None:
    """They share its run; what became a version of it is not registered again."""
    board = open_estate(demo).model("project002/m11_diabetes").leaderboard()
    run = next(r["run"] for r in board if r["model_version"] is None)
    ids = [view.id_of(r) for r in board if r["run"] == run and r["model_version"] is None]
    assert len(ids) > 1
    at = page(demo, "leaderboard", project="project002", model="m11_diabetes", env="dev", runs=ids[:2])
    assert not at.exception and not at.error
    assert "Beside each other" in text_of(at) and "could not be shown" not in text_of(at)
    assert not any(b.label.startswith("Register the model of") for b in at.button)


def test_only_what_is_no_version_can_be_registered() -> None:
    rows = [
        {"env": "dev", "model_version": 1, "run": "r-1"}, {"env": "dev", "model_version": None, "run": "r-1"},
        {"env": "dev", "model_version": None, "run": "r-2"}, {"env": "test", "model_version": None, "run": "r-3"},
    ]  # fmt: skip
    assert view.unregistered(rows, "dev") == {"r-2"}


def test_the_plan_of_a_training_is_opened_and_closed_by_its_button(estate: Estate, page: Open) -> None:
    at = page(estate.site.root, "leaderboard", **WHERE)
    assert not any(b.key == "board:train" for b in at.button)
    at.button(key="opens:train").click().run()
    assert any(b.key == "board:train" for b in at.button) and at.query_params["train"] == "true"
    at.button(key="opens:train").click().run()
    assert not any(b.key == "board:train" for b in at.button) and "train" not in at.query_params


def test_a_candidate_that_is_gone_is_said(estate: Estate, page: Open) -> None:
    said = text_of(page(estate.site.root, "leaderboard", **WHERE, runs="r-gone:linear"))
    assert "Candidate `r-gone:linear` is gone" in said


def test_training_has_its_plan_and_its_budget(
    estate: Estate, page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cockpit.acts.acting.worker_alive", lambda site: True)
    at = page(estate.site.root, "leaderboard", **WHERE, train="true")
    assert {"Predicted time", "Predicted cost"} <= {m.label for m in at.metric}
    button = next(b for b in at.button if b.key == "board:train")
    assert button.label == "Train in dev" and not button.disabled
    at.number_input(key="train:budget").set_value(3.0).run()
    assert "at most 3 s" in str([m.value for m in at.markdown])


def test_an_unknown_metric_is_gone(estate: Estate, page: Open) -> None:
    assert "Metric `auc` is gone" in text_of(page(estate.site.root, "leaderboard", **WHERE, metric="auc"))
