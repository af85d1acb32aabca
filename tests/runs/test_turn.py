"""A run that waited for its turn does what was planned, or ends and says what changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from esml_engine.errors import StalePlanError
from esml_engine.estate import Estate, open_estate
from tests.conftest import cli
from tests.invariants import violations
from tests.runs.test_joining import REF, Halfway
from tests.working import until

Numbers = Callable[[str, int, int], Path]


def _end(estate: Estate, run: str) -> dict[str, Any]:
    ended = ("done", "failed", "cancelled")
    return dict(until(lambda: next((r for r in estate.runs(run) if r["state"] in ended), None), "its end"))


def test_a_split_of_a_gold_that_moved_while_it_waited(empty: Estate, numbers: Numbers, up: None) -> None:
    empty.model(REF).ingest("d1", [numbers("o.csv", 200, 260)], "2025-12-31")
    empty.model(REF).refine()
    half = Halfway(empty, numbers, ("refine", REF))
    run = half.model.split(detach=True)["run"]
    half.go()
    said = _end(empty, run)
    assert said["state"] == "cancelled" and said["error"]["code"] == StalePlanError.code
    assert "while it waited for its turn: gold v2 is new" in said["error"]["message"]
    assert "start it again" in said["error"]["hint"] and not any(s["attempt"] for s in said["steps"])
    assert half.model.split()["run"] and violations(half.root, at_rest=False) == []


def test_step_code_that_changed_while_it_waited(empty: Estate, numbers: Numbers, up: None) -> None:
    half = Halfway(empty, numbers, ("refine", REF))
    path = half.root / "projects" / REF / "steps" / "d1.py"
    path.write_text("def step(df, ctx):\n    return df\n")
    run = half.model.refine(detach=True)["run"]
    path.write_text("def step(df, ctx):\n    return df.head(1)\n")
    half.go()
    said = _end(empty, run)
    assert said["state"] == "cancelled" and said["error"]["message"].endswith("its code")
    assert cli(half.root, "refine", REF)["layers"][-1]["rows"] == 1


def test_a_file_that_came_while_it_waited_is_left_for_the_next(
    empty: Estate, numbers: Numbers, up: None
) -> None:
    half = Halfway(empty, numbers, ("refine", REF))
    half.model.ingest("d1", [numbers("b.csv", 80, 90)], "2026-01-02")
    run = half.model.refine(detach=True)["run"]
    half.model.ingest("d1", [numbers("c.csv", 90, 97)], "2026-01-03")
    half.go()
    assert _end(empty, run)["state"] == "done"
    assert [v["rows"] for v in cli(half.root, "versions", REF, "--table", "gold")] == [90, 80]
    model = open_estate(half.root).model(REF)
    assert model.plan_refine().draft.will[0] == "read 1 file of d1 into bronze"
    assert model.refine()["layers"][-1]["rows"] == 97 and violations(half.root, at_rest=False) == []


def test_read_anew_without_a_file_that_bronze_holds_it_ends(
    empty: Estate, numbers: Numbers, up: None
) -> None:
    """Bronze made anew from the planned files alone would lose the rows of one that was delivered again meanwhile."""
    empty.model(REF).ingest("d1", [numbers("o.csv", 200, 260)], "2025-12-31")
    empty.model(REF).refine()
    half = Halfway(empty, numbers, ("refine", REF))
    half.model.estate.set(REF, "datasets.d1.null", "-")
    run = half.model.refine(detach=True)["run"]
    half.model.ingest("d1", [numbers("o.csv", 200, 261)], "2025-12-31")
    half.go()
    said = _end(empty, run)
    assert said["state"] == "cancelled" and "o.csv is not what this run was planned to read" in said["error"]["message"]  # fmt: skip
    assert next(v["rows"] for v in cli(half.root, "versions", REF, "--table", "gold")) == 140
    assert half.model.refine()["layers"][-1]["rows"] == 141


def test_a_limit_that_was_set_while_it_waited(empty: Estate, numbers: Numbers, up: None) -> None:
    half = Halfway(empty, numbers, ("refine", REF))
    half.model.ingest("d1", [numbers("b.csv", 80, 90)], "2026-01-02")
    run = half.model.refine(detach=True)["run"]
    half.model.estate.set("p1", "policy.max_cost_run", "0.0000000001")
    half.go()
    said = _end(empty, run)
    assert said["state"] == "cancelled" and "EUR" in said["error"]["message"]


def test_the_code_that_a_pipeline_trains_with_is_part_of_its_plan(empty: Estate, numbers: Numbers) -> None:
    model = empty.model(REF)
    model.ingest("d1", [numbers("a.csv", 0, 60)], "2026-01-01")
    before = model.plan_pipeline().hash
    path = empty.site.root / "projects" / REF / "steps" / "train.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("def train(X, y, ctx):\n    raise NotImplementedError\n")
    assert model.plan_pipeline().hash != before
