"""What-if answers through the code that plans use, and says what each figure rests on."""

from __future__ import annotations

import pytest

from esml_engine.costs.prediction import Past, money, predict_seconds
from esml_engine.costs.whatif import Scenario, what_if

HISTORY = [Past(f"r-{n}", 100.0 * n, 10.0 * n + 1) for n in (1, 2, 3)]


def ask(**over: float | str) -> object:
    base: dict[str, object] = {"node": "local.small", "nodes": 1, "price": 0.1, "size": 300.0, "limit": 900.0}
    return what_if(HISTORY, Scenario(**{**base, **over}), "EUR", measured_on="local.small", usual_size=300.0)  # type: ignore[arg-type]


def test_as_it_is_equals_the_plans_prediction() -> None:
    said = ask()
    assert said.seconds == predict_seconds(HISTORY, 300.0, 900.0)  # type: ignore[attr-defined]
    assert said.cost == money(said.seconds, 1, 0.1, "EUR")  # type: ignore[attr-defined]
    assert len(said.basis) == 2 and "3 runs" in said.basis[0]  # type: ignore[attr-defined]


def test_every_change_is_priced_and_said() -> None:
    said = ask(node="local.large", nodes=4, price=0.4, size=900.0)
    assert said.seconds.p50 == pytest.approx(91.0)  # type: ignore[attr-defined]
    assert said.cost["p50"] == pytest.approx(4 * 91.0 / 3600 * 0.4, abs=1e-6)  # type: ignore[attr-defined]
    told = " ".join(said.basis)  # type: ignore[attr-defined]
    for part in ("3 × the next run's (beyond", "measured on local.small", "no run on 4 nodes",
        "0.4 EUR an hour of local.large × 4"):  # fmt: skip
        assert part in told


def test_without_a_run_it_is_an_upper_bound() -> None:
    said = what_if([], Scenario("n", 1, 1.0, 10, 60), "EUR", measured_on="n", usual_size=10)
    assert said.seconds.p50 == said.seconds.p90 == 60 and "upper bound" in said.basis[0]


def test_a_history_of_one_size_says_that_it_shows_no_growth() -> None:
    same = [Past("r-1", 100.0, 9.0), Past("r-2", 100.0, 11.0)]
    said = what_if(same, Scenario("n", 1, 1.0, 900.0, 60), "EUR", measured_on="n", usual_size=100.0)
    assert "no growth with size" in " ".join(said.basis) and said.seconds.p50 == 10.0


def test_growth_that_no_run_shows_is_bounded_as_if_it_were_there() -> None:
    same = [Past(f"r-{n}", 100.0, 10.0) for n in range(3)]
    said = what_if(same, Scenario("n", 1, 3600.0, 1000.0, 60), "EUR", measured_on="n", usual_size=100.0)
    assert said.seconds.p50 == 10.0 and said.seconds.p90 == 60.0, (
        "ten times the rows, up to the limit of a run"
    )
    assert any("as if time grew with it" in b for b in said.basis)
    assert (
        what_if(same, Scenario("n", 1, 1.0, 200.0, 60), "EUR", measured_on="n", usual_size=100.0).seconds.p90
        == 20.0
    )
