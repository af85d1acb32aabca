"""A run that is begun again: its jobs have folders of their own, as one of before may still live."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esml_engine.estate import Estate, open_estate
from esml_engine.runs import records
from tests.conftest import cli

REF = "p1/m1"


def step_of(estate: Estate, run: str) -> dict[str, Any]:
    return next(s for s in records.steps(estate.site.store, run) if s["step"] == "silver:d1")


def test_a_retried_step_has_a_folder_of_its_own(
    empty: Estate, numbers: Callable[[str, int, int], Path]
) -> None:
    empty.model(REF).ingest("d1", [numbers("a.csv", 0, 60)], "2026-01-01")
    root = empty.site.root
    path = root / "projects" / REF / "steps/d1.py"
    path.write_text("def step(df, ctx):\n    raise ValueError('no')\n")
    cli(root, "refine", REF, check=1)
    run = cli(root, "runs")[0]["run"]
    before = step_of(open_estate(root), run)
    left = Path(before["work"], "spec.json").read_bytes(), Path(before["work"], "result.json").read_bytes()
    path.unlink()
    cli(root, "retry", run)
    after = step_of(open_estate(root), run)
    assert after["work"] != before["work"] and after["attempt"] == 1, "counted anew, and apart"
    spec = json.loads(Path(after["work"], "spec.json").read_bytes())
    assert (spec["work"], spec["attempt"], spec["retry"]) == (after["work"], 1, 2)
    now = Path(before["work"], "spec.json").read_bytes(), Path(before["work"], "result.json").read_bytes()
    assert now == left, "what the first job may still write nobody else reads or clears"
