"""What a prediction rests on: runs of the same act, and the parts of pipelines that did the same in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.costs.prediction import Past, predict_seconds
from esml_engine.costs.records import history
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.store import schema as t

MODEL = "p1/m1"


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    init_estate(tmp_path / "estate", ["dev", "test"])
    return open_estate(tmp_path / "estate")


def run(
    estate: Estate, name: str, act: str, steps: dict[str, tuple[str, float | None]], **more: object
) -> None:
    at = f"2026-11-0{len(name)}T00:00:00+00:00"
    row = {c.name: "" for c in t.runs.columns if not c.nullable and c.type.python_type is str}
    row |= {c.name: 0 for c in t.runs.columns if not c.nullable and c.type.python_type in (int, float)}
    row |= {"plan": {}, "params": {}}
    row |= {"run": name, "act": act, "object": MODEL, "env": "dev", "state": "done", "created": at, **more}
    with estate.site.store.write() as c:
        c.execute(t.runs.insert().values(**row))
        for n, (step, (state, seconds)) in enumerate(steps.items()):
            c.execute(
                t.run_steps.insert().values(run=name, step=step, n=n, state=state, attempt=1, seconds=seconds)
            )


def test_parts_of_pipelines_count_where_they_ran(estate: Estate) -> None:
    run(estate, "r1", "train", {"train": ("done", 9.0)}, seconds=10.0, predicted={"size": 300})
    steps = {
        "refine/bronze:a": ("done", 1.0), "refine/gold": ("done", 2.0), "train/train": ("done", 20.0),
        "train/register": ("done", 1.5),
        "test@refine/gold": ("done", 4.0), "test@promote/compare": ("done", 5.0), "test@promote/decide": ("waiting", None),
    }  # fmt: skip
    run(estate, "r22", "pipeline", steps, state="waiting", predicted={"size": 5})
    store = estate.site.store
    assert history(store, MODEL, "dev", "train") == [Past("r1", 300.0, 10.0), Past("r22", 0.0, 21.5)]
    assert history(store, MODEL, "dev", "refine") == [Past("r22", 0.0, 3.0)]
    assert history(store, MODEL, "test", "refine") == [Past("r22", 0.0, 4.0)]
    assert history(store, MODEL, "test", "promote") == [], "one of its steps has not ended"
    assert history(store, MODEL, "dev", "score_batch") == []


def test_a_promotion_that_compared_nothing_says_nothing_of_a_whole_one(estate: Estate) -> None:
    """A gate that needs no rows refuses within moments; what such a run took is no prediction."""
    store, whole = estate.site.store, {"compare": ("done", 9.0), "copy": ("done", 6.0)}
    run(estate, "r1", "promote", {"compare": ("done", 0.03), "copy": ("skipped", None)}, seconds=0.04)
    run(estate, "r22", "compare", {"compare": ("done", 0.03)}, seconds=0.03)
    assert history(store, MODEL, "dev", "promote") == history(store, MODEL, "dev", "compare") == []
    run(estate, "r333", "promote", whole, seconds=15.0)
    with store.write() as c:
        c.execute(t.run_steps.update().where(t.run_steps.c.run == "r333").values(work="runs/r333"))
    assert [p.run for p in history(store, MODEL, "dev", "promote")] == ["r333"]


def test_a_size_that_is_not_known_counts_as_the_one_asked_about() -> None:
    assert predict_seconds([Past("r", 0.0, 20.0)], 1000.0, 900.0).p50 == 20.0
    known = predict_seconds([Past("a", 100.0, 10.0), Past("b", 200.0, 20.0)], 150.0, 900.0)
    both = predict_seconds(
        [Past("a", 100.0, 10.0), Past("b", 200.0, 20.0), Past("c", 0.0, 15.0)], 150.0, 900.0
    )
    assert known.p50 == pytest.approx(15.0) and both.p50 == pytest.approx(15.0) and both.basis == "3 runs"


def test_a_training_with_another_time_limit_is_scaled() -> None:
    used_up = [Past("a", 100.0, 65.0, 60.0), Past("b", 100.0, 65.0, 60.0)]
    same, more = (predict_seconds(used_up, 100.0, s + 300.0, s) for s in (60.0, 500.0))
    assert (same.p50, same.basis) == (65.0, "2 runs")
    assert more.p50 == pytest.approx(6.5 + 500) and more.p90 >= more.p50
    assert more.basis == "2 runs, scaled to 500 s"
    one, six = (predict_seconds(used_up, 100.0, s + 300.0, s) for s in (1.0, 6.0))
    assert 5.0 < one.p50 < six.p50 < same.p50, "starting costs stay"
    by_trials = [Past("a", 100.0, 12.0, 60.0)]
    far = predict_seconds(by_trials, 100.0, 800.0, 500.0)
    assert far.p50 == 12.0 and far.p90 == pytest.approx(1.5 * (1.2 + 500)), (
        "longer than any: it may use all of it up"
    )
    assert far.basis == "1 run, scaled by size and to 500 s"
    known = predict_seconds([*by_trials, Past("b", 100.0, 13.0, 600.0)], 100.0, 800.0, 500.0)
    assert known.p90 < 20, "a longer limit has not been used up already"
    assert predict_seconds(used_up, 100.0, 310.0, 10_000.0).p90 == 310.0
    short = predict_seconds([Past("a", 100.0, 6.0, 3.0)], 100.0, 800.0, 60.0)
    assert short.p50 == 63.0, "what starting costs is not scaled with the search"
    of_it = [Past("a", 100.0, 8.0, 60.0), Past("b", 100.0, 9.0, 60.0)]
    beside = predict_seconds([*of_it, Past("c", 100.0, 3.9, 4.0)], 100.0, 800.0, 60.0)
    assert (beside.p50, beside.basis) == (8.5, "2 runs"), "a shorter one that was cut off changes nothing"


def test_the_time_limit_comes_from_the_runs_and_pipelines_plans(estate: Estate) -> None:
    limited = {"params": {"train_seconds": 60.0}}
    run(estate, "r1", "train", {}, seconds=50.0, predicted={"size": 300}, plan=limited)
    steps: dict[str, tuple[str, float | None]] = {"refine/gold": ("done", 2.0), "train/train": ("done", 20.0)}
    run(estate, "r22", "pipeline", steps, plan=limited)
    store = estate.site.store
    assert history(store, MODEL, "dev", "train") == [
        Past("r1", 300.0, 50.0, 60.0), Past("r22", 0.0, 20.0, 60.0),
    ]  # fmt: skip
    assert history(store, MODEL, "dev", "refine") == [Past("r22", 0.0, 2.0)]
