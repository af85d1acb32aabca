"""How figures are written."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from cockpit import words


@pytest.mark.parametrize(
    ("said", "as_"),
    [
        ("refine first", "Refine first"),
        ("esml split p/m --env dev", "esml split p/m --env dev"),
        ("v2 is deployed", "v2 is deployed"),
        ("gold_test is empty", "gold_test is empty"),
        ("", ""),
    ],
)
def test_a_sentence_keeps_commands_and_names(said: str, as_: str) -> None:
    assert words.sentence(said) == as_


@pytest.mark.parametrize(
    "amount,text",
    [
        (8412.4, "€ 8,412"),
        (4.1, "€ 4.10"),
        (0.0004, "€ 0.0004"),
        (0, "€ 0"),
        (0.00001, "under € 0.0001"),
        (None, "not measured"),
    ],
)
def test_money(amount: float | None, text: str) -> None:
    assert words.money(amount) == text


def test_a_prediction_names_what_it_rests_on() -> None:
    assert (
        words.predicted_cost({"p50": 4.1, "p90": 6.3, "currency": "EUR", "basis": "8 runs"})
        == "€ 4.10 (p90 € 6.30, 8 runs)"
    )
    said = words.predicted_cost(
        {"p50": 0.25, "p90": 0.25, "currency": "USD", "basis": "upper bound: no run yet"}
    )
    assert said == "at most $ 0.25 (upper bound, no run yet)"


@pytest.mark.parametrize(
    "seconds,text",
    [
        (0.42, "0.4 s"),
        (38.2, "38 s"),
        (125, "2 min 5 s"),
        (120, "2 min"),
        (4320, "1 h 12 min"),
        (59.6, "1 min"),
        (None, "not measured"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


def test_ago_and_clock() -> None:
    now = dt.datetime(2026, 11, 24, 14, 32, tzinfo=dt.UTC)
    assert words.ago("2026-11-22T14:00:00+00:00", now) == "2 d"
    assert words.ago("2026-11-24T14:31:40+00:00", now) == "just now"
    assert words.ago(None, now) == ""
    assert words.clock(now, "Europe/Stockholm") == "24 Nov 15:32"
    assert words.clock("2026-11-01", "America/New_York") == "1 Nov", "a date is that day everywhere"
    assert words.clock(now, None) == words.clock(now, "No/Such") == "24 Nov 14:32 UTC"


def test_a_message_carries_no_path(tmp_path: Path) -> None:
    assert words.tidy(f"{tmp_path}/projects/a.toml is wrong", tmp_path) == "projects/a.toml is wrong"
    assert str(Path.home()) not in words.tidy(f"see {Path.home()}/x", tmp_path)


def test_share() -> None:
    assert (words.share(0.002, 100), words.share(3.2, 100), words.share(71, 100), words.share(0, 5)) == (
        "under 0.1 %",
        "3.2 %",
        "71 %",
        "0.0 %",
    )


def test_the_line_of_a_run_says_of_many_parts_only_that_they_are_many() -> None:
    from cockpit.acts.acting import run_line

    seconds = {"p50": 4.0, "p90": 6.0, "basis": "3 runs"}
    row = {"state": "queued", "seconds": None, "cost": None, "ended": None, "started": None, "created": "2026-11-27T10:00:00+00:00"}  # fmt: skip
    one = {"p50": 1.0, "p90": 2.0, "currency": "EUR", "basis": "3 runs"}
    assert "(p90 € 2.00, 3 runs)" in run_line({**row, "predicted": {"seconds": seconds, "cost": one}})
    two = {**one, "basis": "split 3 runs; train 1 run, scaled by size"}
    assert "(p90 € 2.00, 2 parts, each by its past)" in run_line({**row, "predicted": {"seconds": seconds, "cost": two}})  # fmt: skip
