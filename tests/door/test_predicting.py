"""A chain is predicted by its parts: each by the history of its own act where it runs, and added up."""

from __future__ import annotations

import pytest

from esml_engine.costs.prediction import UNKNOWN
from esml_engine.estate import Estate, open_estate

MODEL = "p1/m1"


def _deliver(estate: Estate, numbers, first: int, name: str) -> None:
    estate.model(MODEL).ingest("d1", [numbers(name, first, first + 60)], "2026-01-01")


def test_a_chain_without_any_history_is_an_upper_bound(empty: Estate, numbers) -> None:
    _deliver(empty, numbers, 0, "a.csv")
    seconds = empty.model(MODEL).plan_pipeline(until="gold").predicted["seconds"]
    assert seconds["basis"] == UNKNOWN and seconds["p90"] == 3 * 900


def test_a_chain_whose_parts_have_run_rests_on_them(empty: Estate, numbers) -> None:
    model = empty.model(MODEL)
    _deliver(empty, numbers, 0, "a.csv")
    model.refine()
    model.split()
    _deliver(empty, numbers, 60, "b.csv")
    alone = model.plan_refine().predicted
    chain = model.plan_pipeline(until="gold").predicted
    assert chain["seconds"]["p90"] == pytest.approx(alone["seconds"]["p90"])
    assert chain["cost"]["p50"] == pytest.approx(alone["cost"]["p50"], abs=1e-6)
    assert chain["seconds"]["basis"] == "refine 1 run, scaled by size"

    whole = model.plan_pipeline(until="trained").predicted
    limit = empty.site.settings.profile(model.ref, "dev").seconds
    assert whole["seconds"]["basis"].startswith(
        f"{UNKNOWN} of train; refine 1 run, scaled by size; split 1 run"
    )
    assert limit < whole["seconds"]["p90"] < limit + 900, "the training is bounded, the rest is known"
    assert whole["cost"]["p90"] == pytest.approx(whole["seconds"]["p90"] / 3600 * 0.1, abs=1e-5)


def test_what_a_chain_did_is_history_for_its_parts(empty: Estate, numbers) -> None:
    model = empty.model(MODEL)
    _deliver(empty, numbers, 0, "a.csv")
    model.pipeline(until="gold")
    _deliver(empty, numbers, 60, "b.csv")
    assert (
        open_estate(empty.site.root)
        .model(MODEL)
        .plan_refine()
        .predicted["seconds"]["basis"]
        .startswith("1 run")
    )
    assert model.plan_pipeline(until="gold").predicted["seconds"]["basis"].startswith("refine 1 run")
