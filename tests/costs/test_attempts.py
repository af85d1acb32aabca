"""Each attempt of a step costs what it used, once: also one whose worker was killed, and after a retry."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esml_engine.costs.records import spent
from esml_engine.estate import Estate, open_estate
from esml_engine.runs import records
from esml_engine.store import schema as t
from tests.conftest import cli
from tests.invariants import violations
from tests.runs.test_kill import killed
from tests.working import until, worker

Numbers = Callable[[str, int, int], Path]
REF = "p1/m1"
WAITS = """import time
from pathlib import Path


def step(df, ctx):
    Path({began!r}).touch()
    time.sleep(600)
"""


@pytest.fixture
def delivered(empty: Estate, numbers: Numbers) -> Estate:
    empty.model(REF).ingest("d1", [numbers("a.csv", 0, 60)], "2026-01-01")
    return empty


def metered(estate: Estate, step: str) -> list[dict[str, Any]]:
    m = t.meter
    return estate.site.store.rows(m.select().where(m.c.step == step).order_by(m.c.attempt))


def whole(estate: Estate) -> None:
    """Runs, their attempts and what was spent say the same."""
    runs = estate.site.store.rows(t.runs.select())
    rows = estate.site.store.rows(t.meter.select())
    for r in runs:
        mine = [m for m in rows if m["run"] == r["run"]]
        assert r["cost"] == pytest.approx(sum(m["cost"] for m in mine))
        assert r["seconds"] == pytest.approx(sum(m["seconds"] for m in mine))
    assert spent(estate.site.store) == pytest.approx(sum(r["cost"] for r in runs)) and spent(
        estate.site.store
    )
    assert violations(estate.site.root) == []


def test_a_killed_workers_attempt_costs_until_it_was_last_seen(delivered: Estate, tmp_path: Path) -> None:
    root, began = delivered.site.root, tmp_path / "began"
    path = root / "projects" / REF / "steps/d1.py"
    path.write_text(WAITS.format(began=str(began)))
    with worker(root) as process:
        run = open_estate(root).model(REF).refine(detach=True)["run"]
        until(began.exists, "the step")
        start = time.monotonic()
        until(lambda: time.monotonic() - start > 3, "three seconds of work")
        process.send_signal(signal.SIGKILL)
        process.wait()
        used = time.monotonic() - start
    assert metered(delivered, "silver:d1") == []
    path.unlink()
    cli(root, "refine", REF)
    first, second = (m for m in metered(delivered, "silver:d1") if m["run"] == run)
    assert 1.5 < first["seconds"] < used + 30 and (first["attempt"], second["attempt"]) == (1, 2)
    assert second["seconds"] < first["seconds"] + 30 and second["cost"] > 0
    whole(delivered)


@pytest.mark.parametrize("point", ["job:after", "commit:head", "store:before", "record:after"])
def test_a_worker_killed_while_it_records_counts_nothing_twice(delivered: Estate, point: str) -> None:
    root = delivered.site.root
    killed(root, point, "refine", REF)
    cli(root, "refine", REF)
    (bronze,) = metered(delivered, "bronze:d1")
    assert bronze["attempt"] == 1 and 0 < bronze["seconds"] < 60
    whole(delivered)


def test_a_retry_counts_beside_what_failed_before(delivered: Estate) -> None:
    root = delivered.site.root
    path = root / "projects" / REF / "steps/d1.py"
    path.write_text("def step(df, ctx):\n    raise ValueError('no')\n")
    cli(root, "refine", REF, check=1)
    (failed,) = metered(delivered, "silver:d1")
    path.unlink()
    cli(root, "retry", cli(root, "runs")[0]["run"])
    first, second = metered(delivered, "silver:d1")
    assert first == failed and second["attempt"] > first["attempt"] and second["cost"] > 0
    whole(delivered)


def test_what_a_worker_gives_back_when_it_ends_is_counted(delivered: Estate, tmp_path: Path) -> None:
    root, began = delivered.site.root, tmp_path / "began"
    path = root / "projects" / REF / "steps/d1.py"
    path.write_text(WAITS.format(began=str(began)))
    with worker(root):
        run = open_estate(root).model(REF).refine(detach=True)["run"]
        until(began.exists, "the step")
    (given,) = metered(delivered, "silver:d1")
    assert given["attempt"] < 0 and given["cost"] > 0
    path.unlink()
    with worker(root):
        until(lambda: records.get(delivered.site.store, run)["state"] == "done", "the run's end")
    assert len(metered(delivered, "silver:d1")) == 2
    whole(delivered)
