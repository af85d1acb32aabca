"""A run that ends while its job may live on in Azure: the job's end is asked for until it is heard, and it is metered."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from esml_engine.costs.records import spent
from esml_engine.estate import Estate, open_estate
from esml_engine.handing import RunFailedError
from esml_engine.platforms.azure import jobs
from esml_engine.runs import execution, records, unended
from esml_engine.store import schema as t
from tests.azure.cloud.stand_in import Cloud
from tests.azure.test_mixed_estate import NAME, estate_on
from tests.working import until, worker

pytestmark = pytest.mark.cycle
WAITS = "import time\n\n\ndef step(df, ctx):\n    time.sleep(600)\n"


@pytest.fixture
def estate(
    azure: Cloud, tmp_path: Path, numbers: Callable[[str, int, int], Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Estate]:
    """Dev on Azure, with a file delivered and a step that would work for ten minutes."""
    root = tmp_path / "estate"
    estate_on(azure, root, ["dev"], monkeypatch, ("dev",))
    open_estate(root).model(NAME).dataset("d1").ingest(numbers("a.csv", 0, 50), date="2026-01-01")
    step = root / "projects" / NAME / "steps/d1.py"
    step.parent.mkdir(parents=True, exist_ok=True)
    step.write_text(WAITS)
    made = open_estate(root)
    yield made
    made.site.close_platforms()


def silver(azure: Cloud, run: str) -> list[dict[str, Any]]:
    """A run's jobs of the step that waits, in Azure."""
    found = azure.resources.below(f"{azure.workspaces['dev'].id}/jobs")
    of = [j for j in found if j["properties"]["tags"].get("esml-run") == run]
    return [j for j in of if j["properties"]["tags"]["esml-step"] == "silver:d1"]


def at_work(azure: Cloud, estate: Estate) -> str:
    """A run whose silver job runs in Azure."""
    run = str(estate.model(NAME).refine(detach=True)["run"])
    until(lambda: [j for j in silver(azure, run) if j["properties"]["status"] == "Running"], "the job", 180)
    return run


def row(estate: Estate, run: str) -> dict[str, Any]:
    return records.get(estate.site.store, run)


def ended(estate: Estate, run: str) -> dict[str, Any]:
    until(lambda: row(estate, run)["state"] in records.ENDED, "the run's end", 180)
    return row(estate, run)


def test_a_cancel_that_is_not_taken_is_repeated_and_a_retry_runs_apart(
    azure: Cloud, estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_ENDING", 0.5)
    with estate.hand.holding():
        run = at_work(azure, estate)
        refused = azure.faults.add("Jobs_Cancel", times=9999, status=409)
        estate.cancel(run)
        said = ended(estate, run)
        assert said["state"] == "cancelled"
        assert said["message"] == f"the job of silver:d1 {unended.MESSAGE}"
        assert said["message"] in RunFailedError(said).hint and said["message"] not in said["error"]["hint"]
        (first,) = silver(azure, run)
        assert first["properties"]["status"] == "Running", "it lives on"
        before, seen = said["cost"], refused.seen
        until(lambda: refused.seen > seen, "the cancel again")
        (estate.site.root / "projects" / NAME / "steps/d1.py").unlink()
        assert [x["layer"] for x in estate.retry(run)["layers"]] == ["bronze", "silver", "gold"]
        _, second = silver(azure, run)
        assert first["properties"]["status"] == "Running" and first["name"] != second["name"]
        ways = [j["properties"]["command"].rpartition("/silver-d1/")[2] for j in (first, second)]
        assert ways == ["1/spec.json'", "2.1/spec.json'"] or ways == ["1/spec.json", "2.1/spec.json"]
        assert second["properties"]["tags"]["esml-attempt"] == "2.1"
        assert unended.MESSAGE in row(estate, run)["message"], "the first one's job lives, the run is done"
        azure.faults.clear()
        until(lambda: not unended.listing(estate.site.store), "the job's end heard", 120)
    assert first["properties"]["status"] == "Canceled"
    now = row(estate, run)
    m = t.meter
    rows = estate.site.store.rows(m.select().where(m.c.run == run, m.c.step == "silver:d1"))
    assert sorted(r["attempt"] for r in rows) == [1, 101], "both jobs are metered"
    assert now["state"] == "done" and now["message"] is None and now["cost"] > before
    assert now["cost"] == pytest.approx(spent(estate.site.store))


def test_a_job_behind_a_silent_service_is_ended_when_it_answers_again(
    azure: Cloud, estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with estate.hand.holding():
        run = at_work(azure, estate)
        monkeypatch.setattr(jobs, "_SILENT", -1.0)
        azure.faults.add("Jobs_*", times=9999, status=503)
        said = ended(estate, run)
        assert said["state"] == "failed" and said["error"]["code"] == "azure_busy"
        assert len(unended.listing(estate.site.store)) == 1
        assert silver(azure, run)[0]["properties"]["status"] == "Running"
        azure.faults.clear()
        until(lambda: not unended.listing(estate.site.store), "the job's end heard", 120)
    (job,) = silver(azure, run)
    assert job["properties"]["status"] == "Canceled" and row(estate, run)["cost"] > 0


def test_a_killed_workers_run_that_is_cancelled_leaves_no_job(
    azure: Cloud, estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody of the next worker knows of the job but by the store."""
    monkeypatch.delenv("AZUREML_CURRENT_CLOUD", raising=False)  # a client of this process set it
    with worker(estate.site.root) as process:
        run = at_work(azure, estate)
        process.send_signal(signal.SIGKILL)
        process.wait()
    estate.cancel(run)
    with estate.hand.holding():
        assert ended(estate, run)["state"] == "cancelled"
        until(lambda: silver(azure, run)[0]["properties"]["status"] == "Canceled", "the job's end", 120)
        until(lambda: not unended.listing(estate.site.store), "its end heard", 120)
