"""What Azure answers of a job when it does not do what was asked: nothing is started twice, nothing ends by silence."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from esml_engine.desk import StepDesk
from esml_engine.errors import (
    CancelledError,
    EsmlError,
)
from esml_engine.platforms.azure.errors import (
    AzureBusyError,
)
from esml_engine.platforms.azure.platform import AzurePlatform
from esml_engine.runs import records
from esml_engine.runs.execution import JobFailedError, earlier, run_job
from esml_engine.runs.facts import JobResult, JobSpec
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import ended, platform_of, spec_at


def test_a_lost_answer_of_a_submission_makes_no_second_job(azure: Cloud, dev: AzurePlatform) -> None:
    handle = spec_at(dev, "r-lost")
    azure.faults.add("Jobs_CreateOrUpdate", times=1, status=503, after=True)
    dev.submit(handle)
    dev.submit(handle)
    state = ended(dev, handle)
    assert state.state == "done" and '"ok": false' in state.result, "it failed, and its document says why"
    jobs = azure.resources.below(f"{azure.workspaces['dev'].id}/jobs")
    assert sum("r-lost" in str(j["name"]) for j in jobs) == 1
    assert state.seconds is not None and state.seconds >= 0, "metered by its own begin and end"


def test_a_submission_whose_answers_are_all_lost_is_found_by_its_name(
    azure: Cloud, dev: AzurePlatform
) -> None:
    handle = spec_at(dev, "r-mute3")
    azure.faults.add("Jobs_CreateOrUpdate", times=9, status=503, after=True)
    assert dev.submit(handle) == handle
    azure.faults.clear()
    assert ended(dev, handle).state == "done"
    jobs = azure.resources.below(f"{azure.workspaces['dev'].id}/jobs")
    assert sum("r-mute3" in str(j["name"]) for j in jobs) == 1


def test_a_submission_whose_answers_and_looks_are_all_lost_is_followed(
    azure: Cloud, dev: AzurePlatform
) -> None:
    handle, never = spec_at(dev, "r-mute4"), spec_at(dev, "r-mute5")
    azure.faults.add("Jobs_CreateOrUpdate", times=3, status=503, after=True)
    azure.faults.add("Jobs_Get", times=99, status=503)
    assert dev.submit(handle) == handle
    azure.faults.add("Jobs_CreateOrUpdate", times=9, drop=True)
    assert dev.submit(never) == never
    assert "does not answer" in dev.follow(handle).message
    azure.faults.clear()
    assert ended(dev, handle).state == "done"
    assert dev.follow(never).state == "lost", "the next attempt starts it"
    azure.faults.add("Jobs_CreateOrUpdate", times=9, status=400)
    azure.faults.add("Jobs_Get", times=99, status=503)
    with pytest.raises(EsmlError, match="r-refused"):
        dev.submit(spec_at(dev, "r-refused"))


@pytest.mark.parametrize("status", [400, 409])
def test_a_submission_that_is_refused_since_the_job_is_there_takes_it_over(
    azure: Cloud, dev: AzurePlatform, status: int
) -> None:
    """Its answer was lost, the repetition is refused: 409, or 400 for what may not change."""
    handle = spec_at(dev, f"r-there{status}")
    dev.submit(handle)
    azure.faults.add("Jobs_CreateOrUpdate", times=9, status=status)
    assert dev.submit(handle) == handle
    azure.faults.clear()
    assert ended(dev, handle).state == "done"
    jobs = azure.resources.below(f"{azure.workspaces['dev'].id}/jobs")
    assert sum(f"r-there{status}" in str(j["name"]) for j in jobs) == 1


@pytest.mark.parametrize("status", [400, 409])
def test_a_submission_that_is_refused_and_not_there_fails(
    azure: Cloud, dev: AzurePlatform, status: int
) -> None:
    azure.faults.add("Jobs_CreateOrUpdate", times=9, status=status)
    with pytest.raises(EsmlError, match=str(status)):
        dev.submit(spec_at(dev, f"r-none{status}"))


def test_a_service_that_stays_silent_gives_the_job_up(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a quarter of an hour without an answer; one answer in between, and it counts from there anew."""
    handle = spec_at(dev, "r-mute")
    dev.submit(handle)
    clock = [1000.0]
    with monkeypatch.context() as m:
        m.setattr("esml_engine.platforms.azure.jobs.time", SimpleNamespace(monotonic=lambda: clock[0]))
        azure.faults.add("Jobs_Get", times=999, status=503)
        assert dev.follow(handle).state == "running"
        clock[0] += 890
        assert "does not answer" in dev.follow(handle).message
        azure.faults.clear()
        dev.follow(handle)
        azure.faults.add("Jobs_Get", times=999, status=503)
        clock[0] += 20
        assert dev.follow(handle).state == "running", "it answered since"
        clock[0] += 901
        with pytest.raises(AzureBusyError):
            dev.follow(handle)
        azure.faults.clear()
    assert ended(dev, handle).state == "done"


def test_a_service_that_is_silent_for_a_while_ends_no_job(azure: Cloud, dev: AzurePlatform) -> None:
    handle = spec_at(dev, "r-silent")
    dev.submit(handle)
    azure.faults.add("Jobs_Get", times=3, status=503)
    state = dev.follow(handle)
    assert state.state == "running" and "does not answer" in state.message
    assert ended(dev, handle).state == "done"


def test_a_job_that_the_service_loses_is_lost_with_its_reason(azure: Cloud, dev: AzurePlatform) -> None:
    azure.faults.add("Jobs_CreateOrUpdate", late=True)
    handle = spec_at(dev, "r-node")
    dev.submit(handle)
    state = ended(dev, handle)
    assert state.state in ("lost", "failed") and "node" in state.message


def test_an_ending_worker_leaves_its_job_to_the_next(
    azure: Cloud, dev: AzurePlatform, tmp_path: Path
) -> None:
    handle = spec_at(dev, "r-handed")
    dev.submit(handle)
    dev.close()
    assert dev.follow(handle).state == "lost"
    root = tmp_path / "other"
    root.mkdir()
    nxt = platform_of(azure, "dev", root, dev.file_system)
    assert ended(nxt, handle).state == "done"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        *[(s, "running") for s in ("NotStarted", "Starting", "Provisioning", "Preparing", "Queued", "Running", "Finalizing",
            "CancelRequested")],
        *[(s, "running") for s in ("NotResponding", "Paused", "Unknown", "SomethingNew")],
        ("Completed", "lost"), ("Canceled", "failed"), ("Failed", "lost"),
    ],
)  # fmt: skip
def test_every_state_of_the_service_is_mapped(
    azure: Cloud, dev: AzurePlatform, status: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a result document: what runs runs, what ended without one is lost, and what somebody cancelled has failed."""
    handle = spec_at(dev, f"r-{status.lower()}")

    class Job:
        pass

    job = Job()
    job.status = status  # type: ignore[attr-defined]
    monkeypatch.setattr(dev.jobs, "_get", lambda name: job)
    monkeypatch.setattr(dev.jobs, "_details", lambda *_, **__: {})
    assert dev.follow(handle).state == state


def test_a_failed_and_a_taken_up_job_are_metered_by_the_platforms_seconds(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "cancelled", lambda store, run: False)
    monkeypatch.setattr(records, "progress", lambda *_: None)
    handle = spec_at(dev, "r-used")
    spec = JobSpec.from_json((dev.read_file(handle) or b"").decode())
    told: list[float] = []
    with pytest.raises(JobFailedError):
        run_job(None, dev, spec, base=0.0, share=1.0, used=told.append)  # type: ignore[arg-type]
    seconds = dev.follow(handle).seconds
    assert seconds is not None and told == [seconds]
    dev.write_file(f"{spec.work}/result.json", JobResult(True, 12345.0).to_json().encode())
    found = earlier(dev, "r-used", "s", 1, spec.retry)
    assert found is not None and found.result is not None and found.result.node_seconds == seconds
    desk = StepDesk.__new__(StepDesk)
    desk.result, desk.used, desk.adopted = found.result, None, True
    assert desk.seconds() == seconds, "not the 12345 s that the job itself counted"


def test_a_cancelled_job_is_metered_by_the_platforms_seconds(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "cancelled", lambda store, run: True)
    spec = JobSpec(
        "r-ended", "s", 1, "no.such.kind", "dev", "p1", "m1", {}, dev.work_folder("r-ended", "s", 1)
    )
    told: list[float] = []
    with pytest.raises(CancelledError):
        run_job(None, dev, spec, base=0.0, share=1.0, used=told.append)  # type: ignore[arg-type]
    state = dev.follow(f"{spec.work}/spec.json")
    assert state.state != "running" and told == [state.seconds or 0.0]


def test_a_404_of_a_job_that_is_there_is_not_believed(azure: Cloud, dev: AzurePlatform) -> None:
    """Believed, the job would be started twice beside itself, or be forgotten while it is asked to end."""
    handle, nodes = spec_at(dev, "r-false404"), azure.slots(azure.workspaces["dev"])
    with ExitStack() as held:  # it waits for a node, so it has not ended while it is looked at
        for _ in range(4):
            held.enter_context(nodes)
        dev.submit(handle)
        azure.faults.add("Jobs_*", times=9999, status=404)
        dev.cancel(handle)
        state = dev.follow(handle)
        assert state.state == "running" and "has a history, and can't be read: 404" in state.message
        found = earlier(dev, "r-false404", "s", 1, 1)
        assert found is not None and found.handle == handle, "taken up, not done again"
        azure.faults.clear()
    assert ended(dev, handle).state == "done"
    assert dev.follow(spec_at(dev, "r-never")).state == "lost", "one that never was is not waited for"
