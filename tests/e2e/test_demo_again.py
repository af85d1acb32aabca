"""The demo told a second time: the same answer, and nothing done in anybody's name."""

from __future__ import annotations

from pathlib import Path

from esml_engine.demo import run_demo, summary
from esml_engine.estate import open_estate


def test_a_finished_demo_is_not_told_again(demo: Path) -> None:
    estate = open_estate(demo)
    before, models = estate.audit(limit=1)[0]["n"], summary(estate)
    again = run_demo(demo)
    assert again["models"] == models
    assert estate.audit(limit=1)[0]["n"] == before
