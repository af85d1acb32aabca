"""A job whose log, details or state can't be read for once or for good: it is no end of the job."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from esml_engine.errors import ConflictError
from esml_engine.platforms.azure import jobs
from esml_engine.platforms.azure.errors import AzureBusyError, AzureDeniedError
from esml_engine.platforms.azure.platform import AzurePlatform
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import ended, spec_at

REFUSED_LOG = {"error": {"code": "AuthorizationPermissionMismatch", "message": "no right to the log"}}


def mirrored(root: Path, run: str) -> str:
    return (root / ".esml" / "runs" / run / "s" / "1" / "log.txt").read_text()


@pytest.mark.parametrize("times", [1, 999], ids=["once", "always"])
@pytest.mark.parametrize("operation", ["RunHistory.Log", "RunHistory.Details"])
def test_what_cannot_be_read_of_a_job_is_said_once_and_the_job_is_done(
    azure: Cloud,
    dev: AzurePlatform,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    operation: str,
    times: int,
) -> None:
    run = "r-unread"
    handle = spec_at(dev, run)
    dev.submit(handle)
    fault = azure.faults.add(operation, times=times, status=403, body=REFUSED_LOG)
    with caplog.at_level(logging.WARNING, "esml.azure"):
        state = ended(dev, handle)
        assert dev.follow(handle).state == state.state == "done"
    warned = [r.getMessage() for r in caplog.records if r.name == "esml.azure"]
    assert fault.seen and len(warned) == 1 and "no right to the log" in warned[0], warned
    if times > 1:
        assert mirrored(tmp_path, run).count("no right to the log") == 1
        assert (state.seconds is None) == (operation == "RunHistory.Details")
    else:
        assert "no right" not in mirrored(tmp_path, run), "its own log takes the place"


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 503}, {"drop": True}], ids=str)
def test_a_running_job_goes_on_without_its_log(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    handle = spec_at(dev, "r-goes-on")
    dev.submit(handle)
    ended(dev, handle)
    monkeypatch.setattr(dev.jobs, "_get", lambda name: SimpleNamespace(status="Running"))
    for operation in ("RunHistory.Log", "RunHistory.Details"):
        azure.faults.add(operation, times=999, **fault)
        dev.jobs._logged.clear()
        state = dev.follow(handle)
        assert state.state == "running" and "Azure ML does not" not in state.message, state


def test_details_that_are_only_silent_are_asked_again_for_the_seconds(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = spec_at(dev, "r-seconds")
    dev.submit(handle)
    assert ended(dev, handle).seconds is not None
    fault = azure.faults.add("RunHistory.Details", times=3, status=503)
    assert dev.follow(handle).state == "running" and fault.seen == 3
    assert dev.follow(handle).seconds is not None
    azure.faults.clear()
    azure.faults.add("RunHistory.Details", times=999, status=503)
    assert dev.follow(handle).state == "running"
    monkeypatch.setattr(jobs, "_SILENT", -1.0)
    state = dev.follow(handle)
    assert state.state == "done" and state.seconds is None, "and not for ever"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, AzureDeniedError),
        (503, AzureBusyError),
        *[(status, AzureBusyError) for status in (408, 429)],
        *[(status, ConflictError) for status in (409, 412)],
    ],
)
def test_a_job_that_cannot_be_looked_at_for_a_while_is_no_lost_job(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception]
) -> None:
    handle = spec_at(dev, "r-refused")
    dev.submit(handle)
    azure.faults.add("Jobs_Get", times=1 if status in (403, 409, 412) else 3, status=status)
    state = dev.follow(handle)
    assert state.state == "running" and state.message.startswith("Azure ML ")
    if status == 403:
        assert "refuses" in state.message and "az role assignment create" in state.message
    assert ended(dev, handle).state == "done" and not dev.jobs._silent, "it counts from the next on"
    azure.faults.add("Jobs_Get", times=999, status=status)
    assert dev.follow(handle).state == "running"
    monkeypatch.setattr(jobs, "_SILENT", -1.0)
    with pytest.raises(kind):
        dev.follow(handle)
