"""The demo told a second time: the same answer, and nothing done in anybody's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from esml_engine.demo import run_demo, summary
from esml_engine.demo.story import Company
from esml_engine.errors import FailedError
from esml_engine.estate import Estate, open_estate


def test_a_finished_demo_is_not_told_again(demo: Path) -> None:
    estate = open_estate(demo)
    before, models = estate.audit(limit=1)[0]["n"], summary(estate)
    again = run_demo(demo)
    assert again["models"] == models
    assert estate.audit(limit=1)[0]["n"] == before


def test_what_failed_before_is_run_again(empty: Estate, numbers: Callable[[str, int, int], Path]) -> None:
    model = empty.model("p1/m1")
    model.ingest("d1", [numbers("a.csv", 0, 20)], "2026-01-01")
    step = empty.site.root / "projects/p1/m1/steps/d1.sql"
    step.parent.mkdir(exist_ok=True)
    step.write_text("SELECT nothing FROM bronze")
    with pytest.raises(FailedError):
        model.refine(idempotency_key="d1-refine-dev")
    step.unlink()
    Company(empty.site.root).take_up()
    assert [r["state"] for r in empty.runs()] == ["done"]
    assert model.refine(idempotency_key="d1-refine-dev")["layers"]
