"""View models of the governing pages, without a browser and without an estate."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cockpit import words
from cockpit.facts.costing import Asked
from cockpit.facts.evidence import Evidence
from cockpit.views import audit as audit_view
from cockpit.views import costs, lenses, policies, project, work
from cockpit.views import estate as estate_view
from cockpit.views import promotion as promotion_view
from esml_engine.platforms.azure.place import AzurePlace
from esml_engine.platforms.local.place import LocalPlace
from tests.cockpit.test_views import NOW, _cost, _rows, _status

TODAY = NOW.date()


def _seen(e: Evidence) -> lenses.Seen:
    budgets = {"p": {"spent": 3.0, "budget": 100.0, "month_end": 41.0}}
    owners = {"p": estate_view.Owner("Care", "anna@x", "high")}
    return lenses.Seen(e, budgets, owners, "EUR", NOW, ("dev", "test"))


def _facts() -> Evidence:
    return Evidence(
        waiting={"p/m": 2}, late={"p/m": ("ds02", "2026-11-23T06:00:00+00:00")}, quarantined={"p/m": 14}, failed={"p/m": 1},
        spent={"p/m": 3.5},
        serving={("p/m", "dev"): 3}, served={("p/m", "dev"): "2026-11-10T00:00:00+00:00"}, answered={("p/m", "dev"): (40, 2)},
        asked={"p/m": 1},
        asked_since={"p/m": "2026-11-21T12:00:00+00:00"}, exceptions={"p/m": (50.0, "2026-12-01T00:00:00+00:00")},
        evidence={("p/m", "dev"): "2026-11-20T12:00:00+00:00"},
        crowned={("p/m", "dev"): "2026-11-14T12:00:00+00:00"},
    )  # fmt: skip


def test_four_lenses_on_one_row() -> None:
    e = _facts()
    (row,) = _rows(e, _status("p/m", champion=3))
    assert [n.kind for n in row.needs][:2] == [
        "approval",
        "late",
    ] and row.attention == "Approval waits, 3 d (+3)"
    line = lenses.progress(row, _seen(e))
    assert (line["Stage"], line["dev"], line["test"], line["prod"]) == (
        "trained · 4 d",
        "v3 · 52.9",
        "",
        "not set up",
    )
    line = lenses.health(row, _seen(e))
    assert line["Health"] == "! Late IN: ds02, 1 d (+2)" and line["IN"] == "ds02 late 1 d"
    assert (line["Quality"], line["Serves"], line["Endpoint errors"]) == ("14 rows in quarantine", "dev v3",
        "2 of 40 calls")  # fmt: skip
    assert line["Drift"] == "not measured", "a mark of its own, never a dash"
    line = lenses.spending(row, _seen(e))
    assert (line["Spent, month"], line["Month end, project"]) == ("€ 3.50", "€ 41.00 · 41 % of € 100.00")
    assert (line["Next run"], line["p90"], line["Idle"]) == ("train € 0.0050", "€ 0.01", "dev 14 d")
    line = lenses.governance(row, _seen(e))
    assert (line["Owner"], line["Risk"], line["Champion"], line["Evidence"]) == ("anna@x", "high", "dev v3 · since 10 d",
        "4 d old")  # fmt: skip
    assert (line["Open"], line["Exceptions"]) == (1, "€ 50.00 until 2026-12-01")


def test_a_calm_model_says_so_through_every_lens() -> None:
    (row,) = _rows(Evidence(), _status("p/m"))
    assert lenses.health(row, _seen(Evidence()))["Health"] == "✓ good"
    for lens in lenses.LENSES.values():
        assert all(v not in ("-", "–", None) for v in lens(row, _seen(Evidence())).values())


def test_no_cell_of_an_export_is_a_formula() -> None:
    assert [words.safe(x) for x in ("=1+1", "+1", "-1", "@x", "\t=1", "a=1", 3)] == ["'=1+1", "'+1", "'-1", "'@x", "'\t=1",
        "a=1", 3]  # fmt: skip


def test_whose_turn_a_need_makes_it() -> None:
    done = {**_status("p/m", "prod", champion=1), "next": None, "turn": None}
    assert _rows(Evidence(waiting={"p/m": 1}), done)[0].turn == "Data engineer"
    assert _rows(Evidence(serving={("p/m", "dev"): 9}), done)[0].turn == "Data scientist"
    both = _status("p/m")
    assert both["next"] == "train" and _rows(Evidence(), both)[0].turn == "Data scientist"
    assert _rows(Evidence(quarantined={"p/m": 3}), both)[0].turn == "Data engineer", (
        "what is said first decides"
    )
    failed = {**done, "blocked_by": "train failed in dev: no memory"}
    assert _rows(Evidence(), failed)[0].turn == "Data scientist"


def test_broken_rows_lead_to_the_fullest_quarantine() -> None:
    done = {**_status("p/m", "prod", champion=1), "next": None, "turn": None}
    e = Evidence(quarantined={"p/m": 14}, fullest={"p/m": (9, "test", "inference/ds01/quarantine")})
    (item,) = work.needs(_rows(e, done), lambda _: frozenset({"data_engineer"}))
    assert (item.page, item.label) == ("dataset", "Quarantine") and "14 rows" in item.text
    assert item.query == {"project": "p", "model": "m", "env": "test", "table": "inference/ds01/bronze",
        "tab": "Quarantine"}  # fmt: skip
    (warned,) = work.needs(_rows(Evidence(warned={"p/m": "unique id in gold"}), done),
        lambda _: frozenset({"data_engineer"}))  # fmt: skip
    assert warned.page == "lake"


def test_a_decision_that_waits_is_said_with_its_age_and_end() -> None:
    asked = {
        "kind": "exception", "object": "p/m", "env": "dev", "by": "li", "at": "2026-11-21T12:00:00+00:00",
        "expires": "2026-11-26T12:00:00+00:00",
        "detail": {"act": "train", "amount": 41.0, "currency": "EUR"},
    }  # fmt: skip
    said = estate_view.decisions([asked], "EUR", NOW)
    assert said.startswith("**1 decision waits for you.** Oldest: Exception: train of m in dev for € 41.00")
    assert said.endswith("asked 3 d ago, expires in 2 d")


# project
def test_tracks_end_where_a_model_ends_and_name_the_block() -> None:
    blocked = _status("p/b", "silver", blocked="refine failed in dev: no column x")
    report = {**_status("p/r", "gold"), "task": "analytics", "next": None, "turn": None}
    rows = _rows(Evidence(), blocked, report)
    found = project.tracks([blocked, report], rows, ("dev", "test"))
    assert [(t.model, t.blocked) for t in found] == [("b", True), ("r", False)]
    assert [(s.name, s.state) for s in found[0].steps] == [
        ("IN", "done"), ("Bronze", "done"), ("Silver", "done"), ("Gold", "blocked"), ("Trained", "later"), ("Test", "later"),
        ("Prod", "none"),
    ]  # fmt: skip
    assert found[1].steps[-1].name == "Gold" and "where it shall be" in found[1].said
    assert "Prod: not set up" in project.line(found[0]) and ":red-badge[:material/block: Gold]" in project.line(found[0])  # fmt: skip
    head = project.headline(found)
    assert head.startswith("**1 of 2 models needs somebody.** First: *b*: Failed: refine in dev") and "Data scientist" in head  # fmt: skip
    assert "Nothing is blocked" in project.headline(found[1:])


def test_layers_say_what_the_page_of_the_model_says() -> None:
    here = _status("p/m", "test", champion=1)
    e = Evidence(to_read={("p/m", "dev"): 90}, ill={("p/m", "dev"): {"silver"}, ("p/m", "test"): {"gold"}})
    (track,) = project.tracks([here], _rows(e, here), ("dev", "test"))
    states = {s.name: s.state for s in track.steps}
    assert (states["Bronze"], states["Silver"], states["Gold"]) == ("due", "warned", "due")
    assert ":orange-badge[:material/update: Bronze]" in project.line(track)


def test_the_blocked_step_opens_on_the_page_that_mends_it() -> None:
    waits = {**_status("p/w", "prod", champion=1), "next": None, "turn": None}
    asks = {**_status("p/a", "test", blocked="v2 waits for a decision", champion=2), "next": "approve",
        "turn": "approver"}  # fmt: skip
    e = Evidence(waiting={"p/w": 1}, asked={"p/a": 1})
    pages = {
        t.model: t.page for t in project.tracks([waits, asks], _rows(e, waits, asks), ("dev", "test", "prod"))
    }
    assert pages == {"w": "lake", "a": "approvals"}


def test_next_runs_say_what_is_due_and_what_they_cost() -> None:
    times = {"refine": {"p50": 2.0, "p90": 3.0, "basis": "3 runs"},
        "train": {"p50": 9.0, "p90": 9.0, "basis": "upper bound: no run yet"}}  # fmt: skip
    bound = {"p50": 0.5, "p90": 0.5, "currency": "EUR", "basis": "upper bound: no run yet"}
    cost = {"predicted": {**_cost()["predicted"], "train": bound}, "seconds": times}
    a, b = _status("p/a"), {**_status("p/b", "prod"), "next": None}
    runs = project.next_runs(
        [b, a], {"p/a": cost, "p/b": cost}, Evidence(to_read={("p/b", "dev"): 90}), "dev"
    )
    assert [(r["model"], r["act"], r["due"]) for r in runs] == [
        ("p/a", "train", True),
        ("p/b", "refine", True),
    ]
    table = project.runs_table(runs)
    assert table[0]["Predicted cost"] == "at most € 0.50 (upper bound, no run yet)" and table[0]["Predicted time"] == "at most 9.0 s"  # fmt: skip
    assert table[1]["Predicted time"] == "2.0 s (p90 3.0 s)"


def test_the_next_run_is_what_the_model_s_page_says() -> None:
    """A split is for a training; and nothing is trained but in the first environment."""
    split = {**_status("p/m", "prod"), "next": "split"}
    assert estate_view.due_act(split, "dev", Evidence()) == "train"
    assert estate_view.next_act(split, "prod", Evidence()) == "refine"
    assert estate_view.next_act({**split, "next": None}, "dev", Evidence()) == "train"
    assert estate_view.due_act({**split, "next": None}, "dev", Evidence()) == ""
    assert estate_view.due_act(split, "dev", Evidence(to_read={("p/m", "dev"): 9})) == "refine"


def test_people_with_the_roles_of_the_estate() -> None:
    members = [{"actor": "a", "role": "reader", "on": "p"}, {"actor": "a", "role": "admin", "on": "estate"},
        {"actor": "b", "role": "analyst", "on": "q"}]  # fmt: skip
    assert project.people(members, "p") == [{"Person": "a", "Roles": "Administrator (estate), Reader"}]


# costs
def test_periods_have_one_of_the_same_length_before_them() -> None:
    month, last, ninety = (costs.period(k, TODAY) for k in ("month", "last", "90"))
    assert (month.first, month.end) == (dt.date(2026, 11, 1), dt.date(2026, 11, 25))
    assert month.before == (dt.date(2026, 10, 1), dt.date(2026, 10, 25)) and month.current
    assert (last.first, last.end, last.current) == (dt.date(2026, 10, 1), dt.date(2026, 11, 1), False)
    assert last.before == (dt.date(2026, 9, 1), dt.date(2026, 10, 1))
    assert (ninety.end - ninety.first).days == (ninety.before[1] - ninety.before[0]).days == 90


def test_cost_cards_are_compared_and_bounds_are_said() -> None:
    bound = {"cost": {"p50": 2.0, "p90": 2.0, "basis": "upper bound: no run yet"}}
    idle = costs.endpoints({("p/m", "dev"): 3, ("p/n", "dev"): 1},
        {("p/m", "dev"): "2026-11-01T00:00:00+00:00", ("p/n", "dev"): "2026-11-24T00:00:00+00:00"},
        {("p/m", "dev"): 0.1, ("p/n", "dev"): 0.1}, NOW, 7)  # fmt: skip
    cards = costs.figures(4.0, 2.0, 10.0, 4.0, 12.0, costs.period("month", TODAY), {"2026-11-02": 4.0}, [bound], idle,
        "EUR")  # fmt: skip
    assert [(c.text, c.note) for c in cards] == [
        ("€ 4.00", "+100% on € 2.00 before"), ("40 %", "of € 10.00 a month"), ("€ 12.00", "120 % of budget"),
        ("€ 2.00", "1 run without a past, of 1"), ("1 of 2", "€ 73.00 a month for nothing"),
    ]  # fmt: skip
    assert cards[3].label == "Next runs, upper bound"
    assert cards[2].tone == "inverse" and "1 of 1 are upper bounds" in cards[3].help
    lines = costs.endpoint_table(idle, "EUR", NOW)
    assert [line["State"] for line in lines] == ["! idle", "✓ in use"], "the quietest first"


def _ended(
    cost: float, p50: float = 1.0, p90: float = 2.0, basis: str = "4 runs", act: str = "train"
) -> dict[str, Any]:
    p = {"p50": p50, "p90": p90, "basis": basis}
    return {"run": "r", "object": "p/m", "env": "dev", "act": act, "predicted": {"cost": p, "seconds": p}, "seconds": cost,
        "cost": cost, "ended": "2026-11-24"}  # fmt: skip


def test_predictions_are_held_against_what_came() -> None:
    runs = [_ended(1.0), _ended(1.5), _ended(3.0), _ended(0.1, 5.0, 5.0, "upper bound: no run yet", "refine")]
    said = costs.accuracy(runs, "EUR")
    assert (
        said.said.startswith("**2 of 3 runs (67 %) cost at most their p90**")
        and "1.50 × its p50" in said.said
    )
    assert [(x["Act"], x["Runs"], x["First runs"]) for x in said.lines] == [("refine", "0", "1 of 1 under their upper bound"),
        ("train", "3", "none")]  # fmt: skip
    assert [p["side"] for p in costs.points(runs)] == ["at most p90", "at most p90", "over p90"]
    assert "was followed by a run yet" in costs.accuracy(runs[3:], "EUR").said
    partly = "sum of its parts: refine: 2 runs; upper bound, no run yet: train"
    runs.append(_ended(0.2, 5.0, 6.0, partly, "pipeline"))
    assert costs.accuracy(runs, "EUR").said == said.said, "a part's upper bound is no promise of a median"
    assert costs.accuracy(runs, "EUR").lines[0]["First runs"] == "1 of 1 under their upper bound"
    assert len(costs.points(runs)) == 3


def test_a_scenario_goes_into_the_address_and_back() -> None:
    base = Asked("p/m", "train", "dev", "local.small", 1, 400, "dev")
    text = costs.written(Asked("p/m", "train", "prod", "local.large", 4, 900, "prod"))
    assert costs.scenario(text, base) == (Asked("p/m", "train", "prod", "local.large", 4, 900, "prod"), ())
    found, bad = costs.scenario("nodes:many;act:fly;colour:red;rows:7", base)
    assert found == Asked("p/m", "train", "dev", "local.small", 1, 7, "dev")
    assert bad == ("nodes:many", "act:fly", "colour:red"), (
        "what can't be read is named, not dropped in silence"
    )


# my work
def test_what_changed_since_a_visit() -> None:
    at = "2026-11-24T11:00:00+00:00"
    crowned = [{"object": "p/m", "env": e, "version": 8, "at": at} for e in ("test", "dev")] + [{"object": "p/old", "env": "dev",
        "version": 1, "at": "2026-11-01"}]  # fmt: skip
    runs = [{"ended": at, "state": "done"}, {"ended": at, "state": "failed"},
        {"ended": "2026-11-01", "state": "failed"}]  # fmt: skip
    late = {"p/m": ("ds02", at)}
    said = work.changes(crowned, runs, late, work.Money(8.0, 11.0, "EUR"), NOW - dt.timedelta(days=1))
    assert [c.text for c in said] == [
        "v8 of **m** became champion in dev and test", "1 dataset late: ds02", "Month-end forecast rose from € 8.00 to € 11.00",
        "1 run done", "1 failed run",
    ]  # fmt: skip
    assert [c.text for c in work.changes([], [], {}, work.Money(8.0, 8.1, "EUR"), NOW)] == ["No failed run"]


@pytest.mark.parametrize(
    "days,heading", [(0, "Since your last visit"), (1, "Since Monday"), (30, "Since then")]
)
def test_the_heading_names_the_last_visit(days: int, heading: str) -> None:
    since, head, said = work.since_words(NOW - dt.timedelta(days=days), "then", NOW)
    assert (
        head == heading and said == "since your last visit, then" and since == NOW - dt.timedelta(days=days)
    )
    assert work.since_words(None, "", NOW)[1:] == ("Last 7 days", "your first visit")


def test_late_files_come_first_and_only_to_people_who_refine() -> None:
    late = {"p/m": ("ds02", "2026-11-23T06:00:00+00:00")}
    items = work.files({"p/a": 3, "p/m": 1}, late, lambda p: frozenset({"data_engineer"}), NOW)
    assert [(i.kind, i.text) for i in items] == [("late", "**m**: ds02 is late"), ("files", "**m**: 1 IN file not refined yet"),
        ("files", "**a**: 3 IN files not refined yet")]  # fmt: skip
    assert work.files({"p/a": 3}, late, lambda p: frozenset({"approver"}), NOW) == []


def test_what_waits_for_a_decision_stands_in_one_list_only() -> None:
    asked = {**_status("p/m", blocked="v2 waits for a decision"), "next": "approve", "turn": "approver"}
    assert work.turns([asked], lambda p: frozenset({"admin", "approver"}), NOW) == ([], [])


def test_a_failed_run_that_blocks_a_model_is_told_once_with_its_log() -> None:
    blocked = {
        **_status("p/m", blocked="refine failed in dev: no file"),
        "next": "refine",
        "turn": "data_engineer",
    }
    one = {
        "act": "refine",
        "env": "dev",
        "state": "failed",
        "error": {"message": "no file"},
        "ended": NOW.isoformat(),
    }
    runs = [{**one, "object": "p/m", "run": "r-2"}, {**one, "object": "p/other", "run": "r-1"}]
    items, _ = work.turns([blocked], lambda p: frozenset({"data_engineer"}), NOW, runs)
    assert [(i.page, i.label, i.query["run"]) for i in items] == [("run", "Log", "r-2")]
    assert [i.query["run"] for i in work.failed(runs, NOW, told=items)] == ["r-1"]
    assert [i.query["run"] for i in work.failed(runs, NOW)] == ["r-2", "r-1"]


# audit
def test_audit_lines_say_why() -> None:
    event = {
        "n": 3, "at": "2026-11-24T10:00:00+00:00", "actor": "root", "as": "li@x", "act": "member_add", "object": "p", "env": None,
        "result": "refused", "run": None,
        "detail": {"message": "li@x has reader on p"}, "prev": "0", "hash": "1",
    }  # fmt: skip
    (line,) = audit_view.table([event], lambda t: t[:10])
    assert (line["Who"], line["Act"], line["Result"], line["Why, or with what"]) == ("li@x (root)", "member add", "⊘ refused",
        "li@x has reader on p")  # fmt: skip
    assert audit_view.why({**event, "detail": {"key": "budget.month", "value": 5}}) == "budget.month = 5"
    text = audit_view.csv([{**event, "object": "=cmd()"}]).decode("utf-8-sig")
    assert text.splitlines()[0].startswith("n,at,actor,as,act") and ",'=cmd()," in text
    assert audit_view.unread({"from": "2026-11-01", "to": "soon"}) == "soon"


def test_money_behind_an_exception() -> None:
    asked = {"by": "li", "at": "2026-11-21T12:00:00+00:00", "expires": "2026-11-28T12:00:00+00:00",
        "detail": {"amount": 41.0, "reason": "the yearly load", "origin": "estate", "will": ["train"]}}  # fmt: skip
    lines = dict(promotion_view.exception_grounds(asked, 30.0, 100.0, "EUR", lambda t: t[:10]))
    assert lines["Money"] == "up to € 41.00 a run; the budget still holds € 70.00 of € 100.00 this month"
    assert lines["Why"] == "the yearly load" and lines["Holds until"].startswith("2026-11-28")
    assert "Asked after it" not in lines
    once = dict(promotion_view.exception_grounds({**asked, "detail": {**asked["detail"], "key": "max_train_seconds"}}, 30.0, 100.0, "EUR", lambda t: t[:10]))  # type: ignore[dict-item]  # fmt: skip
    assert "for this run" in once["Money"] and "no other run" in once["Holds until"]
    asked["detail"]["also"] = ["in prod: 3 EUR is over max_cost_run = 1 EUR"]  # type: ignore[index]
    lines = dict(promotion_view.exception_grounds(asked, 30.0, 100.0, "EUR", lambda t: t[:10]))
    assert "3 EUR is over" in lines["Asked after it"]


def test_only_azure_says_where_in_azure() -> None:
    local = policies.environment("dev", LocalPlace())
    assert local == "platform local · place 1 on the way"
    cloud = policies.environment("prod", AzurePlace.model_construct(platform="azure", workspace="w1"))
    assert "workspace w1" in cloud and "serving node Standard_DS3_v2" in cloud and "place 3" in cloud


def test_how_a_request_ended_in_a_line() -> None:
    said = {"by": "boss@x", "person": "os", "verdict": "refuse", "reason": "too [dear]", "at": "2026-11-20"}
    refused = {"state": "refused", "by": "anna@x", "decisions": [said]}
    assert (
        promotion_view.outcome(refused)
        == ":red-badge[⊘ refused] :small[boss@x: too \\[dear\\] · asked by anna@x]"
    )
    expired = {"state": "expired", "by": "anna@x", "decisions": []}
    assert (
        promotion_view.outcome(expired) == ":gray-badge[– expired] :small[nobody decided · asked by anna@x]"
    )
