"""View models, without a browser and without an estate."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from cockpit.facts.evidence import Evidence
from cockpit.facts.reads import log_tail
from cockpit.views import estate as estate_view
from cockpit.views import model as model_view
from cockpit.views import plan as plan_view
from cockpit.views import runs as runs_view
from cockpit.views.figures import figures as five
from cockpit.views.lake import in_cell, made, split_cell, version_cell
from esml_engine.lake.catalogue import Version
from esml_engine.lake.deliveries import InFile

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)


def _status(
    model: str, stage: str = "trained", blocked: str | None = None, champion: int | None = None
) -> dict[str, Any]:
    its = {"champion": champion, "metric": "rmse", "value": 52.9 if champion else None, "gold": 1}
    return {
        "model": model, "task": "regression", "stage": stage, "since": "2026-11-20T00:00:00+00:00", "fresh": None,
        "next": "train", "blocked_by": blocked, "turn": "data_scientist",
        "environments": {"dev": its},
    }  # fmt: skip


def _cost(p90: float = 0.01) -> dict[str, Any]:
    p = {"p50": p90 / 2, "p90": p90, "currency": "EUR", "basis": "3 runs"}
    return {
        "predicted": {"refine": p, "train": p},
        "policy": {"limits": {"max_cost_run": 5.0}},
        "spent": 1.0,
        "budget": 100.0,
        "month_end": 2.0,
    }


def _rows(e: Evidence, *statuses: dict[str, Any], **costs: dict[str, Any]) -> list[estate_view.Row]:
    named = {s["model"]: costs.get(s["model"].split("/")[1], _cost()) for s in statuses}
    return estate_view.rows(list(statuses), e, ("dev",), named, {"p": _cost()}, NOW)


def test_models_are_sorted_by_their_worst_need() -> None:
    e = Evidence(waiting={"p/waits": 3}, quarantined={"p/rows": 14}, serving={("p/old", "dev"): 1})
    found = _rows(
        e,
        _status("p/calm"),
        _status("p/rows"),
        _status("p/waits"),
        _status("p/old", champion=2),
        _status("p/dear"),
        _status("p/broke", blocked="refine failed in dev: no column"),
        dear=_cost(41.0),
    )
    assert [r.name for r in found] == ["broke", "dear", "waits", "old", "rows", "calm"]
    assert [r.attention for r in found][:3] == [
        "Failed: refine in dev",
        "Policy: train € 41.00 > € 5.00",
        "3 IN files wait",
    ]
    assert found[-1].attention == "" and found[3].attention == "dev serves v1, not v2"


def test_progress_ends_at_the_last_environment_that_there_is() -> None:
    assert _rows(Evidence(), _status("p/m", "trained"))[0].progress == 1.0
    assert estate_view.rows([_status("p/m", "trained")], Evidence(), ("dev", "test", "prod"), {}, {}, NOW)[
        0
    ].progress == pytest.approx(5 / 7)


def test_filters_join_by_and() -> None:
    e = Evidence(waiting={"p/a": 1})
    found = _rows(e, _status("p/a"), _status("p/b", "gold"))
    care = {"p": estate_view.Owner("Care", "anna@x", "low")}

    def named(**w: Any) -> list[str]:
        return [found[n].name for n in estate_view.chosen(found, estate_view.Wanted(**w), care)]

    assert named(stages=("gold",)) == ["b"]
    assert named(q="care", kinds=("waiting",)) == ["a"] and named(q="anna") == ["a", "b"]
    assert named(q="care b", stages=("trained",)) == []
    assert named(team="Care") == ["a", "b"] and named(team="Other") == []
    assert named(sort="stage") == ["a", "b"] and named(sort="model") == ["a", "b"]
    assert estate_view.counts(found) == ({"waiting": 1}, {"gold": 1, "trained": 1})


def test_an_exception_is_the_turn_of_either_who_may_decide_on_every_page() -> None:
    asked = {
        **_status("p/a", blocked="an exception waits for a decision: li asked for dev"),
        "next": "approve",
        "turn": "approver",
    }
    (row,) = _rows(Evidence(asked={"p/a": 1}), asked)
    assert row.turn == "Approver or project manager"
    assert "Whose turn: **Approver or project manager**." in model_view.blocked(asked, 0)[1]


def test_files_that_wait_elsewhere_say_where() -> None:
    def said(places: dict[tuple[str, str], int]) -> str:
        e = Evidence(waiting={"p/a": sum(places.values())}, waits_in={"p/a": places})
        return _rows(e, _status("p/a"))[0].attention

    assert said({("dev", "train"): 2}) == "2 IN files wait"
    assert said({("dev", "inference"): 1}) == "1 IN file waits: 1 of inference in dev"
    assert (
        said({("dev", "train"): 9, ("dev", "inference"): 2})
        == "11 IN files wait: 9 in dev, 2 of inference in dev"
    )


def test_figures_have_something_to_compare_with() -> None:
    e = Evidence(
        spent_by_day={"2026-11-02": 2.0, "2026-11-24": 1.0},
        failed_by_day={"2026-11-24": 1},
        failed_before=3,
        crowned_by_day={"2026-09-01": 1},
    )
    figures = five(
        _rows(e, _status("p/a", champion=3)),
        e,
        {"spent": 3.0, "budget": 4.0, "month_end": 5.0, "currency": "EUR"},
        {"2026-11-20": 3, "2026-11-24": 2, "2026-01-01": 9},
        NOW.date(),
    )
    assert [(f.text, f.note) for f in figures] == [
        ("1 of 1", "0 in prod"),
        ("0 of 1", "nothing waits"),
        ("€ 3.00", "75 % of € 4.00"),
        ("€ 5.00", "125 % of budget"),
        ("1", "-2 on the week before"),
    ]
    assert figures[0].series[0] == 1.0 and figures[2].series[1] == 2.0 and figures[3].series[-1] == 3.0
    assert figures[3].tone == "inverse", "over budget is marked"
    assert figures[1].series == (3.0, 2.0), "the days of a month on which somebody looked"


def _plan(**over: Any) -> dict[str, Any]:
    known = {"p50": 2.0, "p90": 3.0, "basis": "8 runs"}
    return {
        "act": "refine", "nothing_to_do": None, "will": ["read 4 files"], "inputs": [{"file": "a"}, {"file": "b"}],
        "makes": ["ds/bronze v2"], "steps": ["bronze:ds"],
        "predicted": {"seconds": known, "cost": {**known, "currency": "EUR"}}, "budget_left": 81.2,
        "policy": {"verdict": "ok", "origin": "estate", "limits": {"max_cost_run": 5.0}},
        "allowed": True, "reason": None, "irreversible": [], "hash": "abc", **over,
    }  # fmt: skip


def test_a_plan_card_says_every_figure_with_its_basis() -> None:
    c = plan_view.card(_plan(), worker=True)
    assert (c.reads, c.time, c.cost, c.left) == (
        ("2 files", "1 step"),
        ("2.0 s", "p90 3.0 s"),
        ("€ 2.00", "p90 € 3.00 · 8 runs"),
        ("€ 81.20", "this month, at p90"),
    )
    assert c.kind == "ready" and not c.blocked and c.policy == "policy of estate: at most € 5.00 a run"
    bound = {"p50": 9.0, "p90": 9.0, "basis": "upper bound: no run yet"}
    c = plan_view.card(_plan(predicted={"seconds": bound, "cost": {**bound, "currency": "EUR"}}), worker=True)
    assert c.time == ("≤ 9.0 s", "upper bound: no run yet") and c.cost[0] == "≤ € 9.00" and not c.month
    of = {"verdict": "ok", "origin": "exception q-1 of 9 until 2026-12-04, approved by li", "limits": {"max_cost_run": 5.0}}  # fmt: skip
    assert plan_view.card(_plan(policy=of), worker=True).policy == of["origin"], "not the limit that it lifts"
    month = {"p50": 73.0, "p90": 73.0, "currency": "EUR", "basis": "1 node local.small × 730 h"}
    c = plan_view.card(_plan(predicted={**_plan()["predicted"], "endpoint_month": month}), worker=True)
    assert c.month == "€ 73.00 a month while it is up (1 node local.small × 730 h)"


@pytest.mark.parametrize(
    "over,worker,kind,says",
    [
        ({"nothing_to_do": "no new IN file"}, True, "nothing", "no new IN file"),
        (
            {"allowed": False, "reason": "x has reader on p; refine needs data_engineer"},
            True,
            "forbidden",
            "Who can: engineer@p.",
        ),
        (
            {"policy": {"verdict": "refuse", "origin": "project001", "reason": "too dear"}},
            True,
            "refused",
            "Policy of project001 refuses: too dear.",
        ),
        (
            {"policy": {"verdict": "ask", "origin": "estate", "reason": "too dear"}},
            True,
            "waits",
            "asks for an approval",
        ),
        (
            {"policy": {"verdict": "ask", "origin": "e", "reason": "dear", "also": ["in prod: dear"]}},
            True,
            "waits",
            "After it, one each: in prod: dear",
        ),
        ({}, False, "worker", "esml up"),
    ],
)
def test_a_button_that_may_not_be_pressed_says_why(
    over: dict[str, Any], worker: bool, kind: str, says: str
) -> None:
    c = plan_view.card(_plan(**over), worker=worker, who="engineer@p")
    assert c.kind == kind and says in (c.blocked or c.asks)


def test_a_retry_reads_the_same_again() -> None:
    again = _plan(inputs=[{"run": "r-1", "attempt": 1}], steps=[])
    assert plan_view.card(again, worker=True).reads == ("the same again", "attempt 2")


def test_a_run_says_what_it_made() -> None:
    trained = {"model_version": 3, "task": "regression", "estimator": "extra_trees", "metrics": {"rmse": 4.5}}
    for act, result, said in (
        ("train", trained, ["model v3 (extra trees, RMSE 4.5)"]),
        ("promote", {"champion": 3}, ["v3 is the champion"]),
        ("promote", {"champion": None}, []),
        ("deploy", {"deployment": "v3", "traffic": {"v3": 100}}, ["v3 serves 100 % of the calls"]),
        ("score_batch", {"rows": 22, "model_version": 2}, ["22 rows scored by v2"]),
        ("split", {"tables": {"gold_test": {"version": 2, "rows": 7}}}, ["gold_test v2: 7 rows"]),
        ("cancel", None, []),
    ):
        assert runs_view.made({"act": act, "result": result}) == said
    refused = {"act": "promote", "result": {"champion": 3, "state": "refused"}}
    assert "refused. Nothing moved" in runs_view.outcome(refused)
    assert (
        runs_view.outcome({"act": "promote", "result": {"champion": 3, "state": "promoted"}})
        == "It made: v3 is the champion"
    )


def test_what_can_not_wait_for_an_approval_is_not_offered_to_ask_for_one() -> None:
    asks = {"verdict": "ask", "origin": "estate", "reason": "too dear"}
    c = plan_view.card(_plan(policy=asks), worker=True, waits=False)
    assert c.kind == "refused" and not c.asks and "Start the act itself anew" in c.blocked


def _version(**over: Any) -> Version:
    facts: dict[str, Any] = {
        "object": "p/m",
        "env": "dev",
        "name": "gold",
        "version": 3,
        "delta_version": 2,
        "rows": 1200,
        "bytes": 1,
        "at": "2026-11-24T10:00:00+00:00",
        "run": None,
        "step": None,
        "by": None,
    }
    return Version(**{**facts, "inputs": (), "code": "", "schema": "", **over})


def test_cells_of_the_lake() -> None:
    file = InFile("ds", "train", "2026-11-20", "a.csv", "00", "x", 1, "2026-11-20T00:00:00+00:00")
    assert in_cell([], 0).label == "none yet"
    assert (in_cell([file, file], 1).label, in_cell([file], 0).label) == ("1 waiting", "all read")
    assert version_cell(None, False, [], NOW).label == "none yet"
    assert version_cell(_version(), True, [], NOW).label == "v3 → v4"
    cell = version_cell(
        _version(quality=({"passed": False, "level": "warn"},)), False, ["14 quarantined"], NOW
    )
    assert (cell.label, cell.note, cell.icon) == (
        "v3",
        "1,200 rows · 2 h · 14 quarantined · 1 warning",
        "warning",
    )
    assert cell.quarantine and not version_cell(_version(), False, [], NOW).quarantine
    train = _version(
        name="gold_train",
        inputs=({"table": "gold", "version": 2},),
        facts={"split": {"train": 0.6, "validate": 0.2, "test": 0.2, "by": "key"}},
    )
    assert split_cell(_version(), train, {}, NOW).color == "orange", "gold moved on since"
    assert split_cell(_version(version=2), train, {}, NOW).label == "of gold v2"


def test_what_a_run_made() -> None:
    layers = [
        {"dataset": "ds", "layer": "bronze", "version": 3, "rows": 10, "quarantined": 2, "changed": True},
        {"dataset": None, "layer": "gold", "version": 2, "rows": 10, "quarantined": 0, "changed": False},
    ]
    assert made({"layers": layers}) == ["ds bronze v3: 10 rows, 2 quarantined"]
    assert made({"tables": {"gold_train": {"version": 1, "rows": 6}}}) == ["gold_train v1: 6 rows"]
    assert made(None) == []


def _run(run: str, state: str, **over: Any) -> dict[str, Any]:
    return {
        "run": run, "act": "refine", "object": "p/m", "env": "dev", "state": state, "steps": [],
        "predicted": {"seconds": {"p50": 2.0, "p90": 3.0, "basis": "2 runs"},
            "cost": {"p50": 0.1, "p90": 0.2, "currency": "EUR", "basis": "2 runs"}},
        "seconds": 2.5, "cost": 0.1, "actor": "li", "as": None, "created": "2026-11-24T10:00:00+00:00", "started": None,
        "ended": None, "cancel": False, "result": None, "error": None, **over,
    }  # fmt: skip


def test_runs_that_are_open_stand_first() -> None:
    rows = [_run("r-3", "done"), _run("r-2", "running", **{"as": "ann"}), _run("r-1", "failed")]
    assert [r["run"] for r in runs_view.filtered(rows, [], "")] == ["r-2", "r-3", "r-1"]
    assert [r["run"] for r in runs_view.filtered(rows, ["failed"], "li")] == ["r-1"]
    kinds = runs_view.kinds(rows)
    assert [r["run"] for r in runs_view.filtered(rows, [], "", kinds[0])] == ["r-2", "r-3", "r-1"]
    assert runs_view.filtered(rows, [], "", "no_such") == []
    assert runs_view.people(rows) == ["li", "li as ann"]
    assert runs_view.summary(rows) == "1 running · 1 done · 1 failed"
    row = runs_view.table(rows, lambda t: t or "")[0]
    assert (row["State"], row["Time"], row["Predicted"], row["Predicted cost"]) == (
        "✓ done",
        "2.5 s",
        "2.0 s",
        "€ 0.10",
    )


def test_facts_of_a_result() -> None:
    assert runs_view.facts({"a": {"b": 1.23456789}, "c": [1, 2], "d": None, "e": list(range(20))}) == [
        ("a.b", "1.23457"),
        ("c", "1, 2"),
        ("e", "20 values"),
    ]


def test_against_the_baseline_knows_the_direction() -> None:
    assert model_view.against(60.0, 80.0, "rmse") == ("25 % better than baseline 80", True)
    assert model_view.against(0.9, 0.6, "r2") == ("50 % better than baseline 0.6", True)
    assert model_view.against(90.0, 80.0, "rmse")[1] is False
    assert model_view.against(None, 80.0, "rmse") == ("baseline not measured", None)


def test_what_blocks_a_model() -> None:
    assert model_view.blocked(_status("p/m", blocked="refine failed in dev: no column"), 0)[0] == "block"
    assert "2 runs in progress" in model_view.blocked(_status("p/m"), 2)[1]
    icon, line = model_view.blocked(_status("p/m"), 0)
    assert icon == "flag" and "*train*" in line and "Whose turn: **Data scientist**." in line


def test_a_log_is_found_where_the_estate_was_moved_to_and_nowhere_else(tmp_path: Path) -> None:
    state = tmp_path / "moved" / ".esml"
    work = state / "runs" / "r-1" / "step" / "1"
    work.mkdir(parents=True)
    (work / "log.txt").write_text("one\ntwo\n", encoding="utf-8")
    assert log_tail(str(work), state, lines=1) == "two"
    assert log_tail(f"/was/there/.esml/runs/{'/'.join(work.parts[-3:])}", state) == "one\ntwo"
    assert log_tail("/etc/../etc/x", state) is None and log_tail("../../../x/y", state) is None
    (tmp_path / "log.txt").write_text("secret", encoding="utf-8")
    assert log_tail(str(tmp_path), state) is None and log_tail(None, state) is None
