"""What Azure answers when it does not do what was asked: the engine's errors, bounded repetition, nothing done twice."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from esml_engine.desk import StepDesk
from esml_engine.errors import (
    CancelledError,
    ConflictError,
    EsmlError,
    FailedError,
    NotFoundError,
    PlatformError,
)
from esml_engine.lake.catalogue import files_of, sizes_of
from esml_engine.lake.log import open_table
from esml_engine.platforms.azure import limits
from esml_engine.platforms.azure.delta import translated
from esml_engine.platforms.azure.errors import (
    AzureBusyError,
    AzureDeniedError,
    AzureFailedError,
    AzureMissingError,
)
from esml_engine.platforms.azure.platform import AzurePlatform
from esml_engine.platforms.azure.quiet import CHATTY
from esml_engine.platforms.base import DataAsset, EndpointState, keep_quiet
from esml_engine.runs import records
from esml_engine.runs.execution import JobFailedError, earlier, run_job
from esml_engine.runs.facts import JobResult, JobSpec
from esml_engine.serving import client
from esml_engine.serving.applied import ready as _ready
from esml_engine.training import tracking
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import SHORT, platform_of


def spec_at(p: AzurePlatform, run: str, kind: str = "no.such.kind") -> str:
    """A specification whose job fails at once."""
    work = p.work_folder(run, "s", 1)
    spec = JobSpec(run, "s", 1, kind, "dev", "p1", "m1", {}, work)
    p.write_file(f"{work}/spec.json", spec.to_json().encode())
    return f"{work}/spec.json"


def ended(p: AzurePlatform, handle: str) -> Any:
    end = time.monotonic() + 120
    while (state := p.follow(handle)).state == "running":
        assert time.monotonic() < end, state
        p.wait(handle, 0.1)
    return state


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, AzureDeniedError, "az login"),
        (403, AzureDeniedError, "az role assignment create"),
        (404, AzureMissingError, "estate.toml"),
        (409, ConflictError, "retry"),
        (412, ConflictError, "retry"),
        (429, AzureBusyError, "later"),
        (503, AzureBusyError, "later"),
    ],
)
def test_each_status_becomes_an_error_with_what_to_do(
    azure: Cloud, dev: AzurePlatform, status: int, kind: type[EsmlError], says: str
) -> None:
    azure.faults.add("Workspaces_Get", times=99, status=status)
    with pytest.raises(kind) as e:
        _ = dev.workspace.about
    assert says in e.value.hint and "mlw-esml-dev" in e.value.message


def test_repetitions_are_bounded_and_retry_after_is_capped(azure: Cloud, dev: AzurePlatform) -> None:
    fault = azure.faults.add("Workspaces_Get", times=99, status=429, headers={"Retry-After": "3600"})
    at = time.monotonic()
    with pytest.raises(AzureBusyError) as e:
        _ = dev.workspace.about
    assert fault.seen == 3, "once, and two repetitions (ESML_AZURE_TRIES)"
    assert time.monotonic() - at < 60 and "3600" in e.value.hint
    azure.faults.clear()
    azure.faults.add("Workspaces_Get", times=2, status=503)
    assert dev.workspace.about.location == "westeurope", "what passes by itself is not seen"


def test_a_connection_that_is_dropped(azure: Cloud, dev: AzurePlatform) -> None:
    azure.faults.add("Workspaces_Get", times=99, drop=True)
    with pytest.raises(AzureBusyError, match="does not answer"):
        _ = dev.workspace.about


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


def test_as_many_repetitions_as_are_set(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ESML_AZURE_TRIES", "5")
    monkeypatch.setenv("ESML_AZURE_LONGEST_WAIT", "0.1")
    fresh = platform_of(azure, "dev", tmp_path, dev.file_system)
    fault = azure.faults.add("Workspaces_Get", times=99, status=503)
    with pytest.raises(AzureBusyError):
        _ = fresh.workspace.about
    assert fault.seen == 6
    lake = azure.faults.add("Storage.Any", times=99, status=503)
    with pytest.raises(AzureBusyError):
        fresh.read_file("x")
    assert lake.seen == 6


def test_a_time_or_an_address_is_no_status() -> None:
    said = (
        "Error performing GET https://x.dfs/p/403/part-404.parquet in 403.219541ms, after 2 retries, max_retries: 2 - "
        "Server returned non-2xx status code: {} Service"
    )
    uri = "abfss://fs@acc.dfs.core.windows.net/t"
    assert isinstance(translated(uri, OSError(said.format(503))), AzureBusyError)
    assert isinstance(translated(uri, OSError(said.format(403))), AzureDeniedError)
    assert isinstance(translated(uri, OSError(said.format(404))), AzureMissingError)


def test_two_estates_in_one_vault_have_keys_of_their_own(
    azure: Cloud, dev: AzurePlatform, tmp_path: Path
) -> None:
    root = tmp_path / "other"
    root.mkdir()
    other = platform_of(azure, "dev", root, f"{dev.file_system}2")
    dev.put_secret("endpoint-shared", "mine")
    other.put_secret("endpoint-shared", "theirs")
    other.put_secret("endpoint-theirs", "x")
    assert (dev.vault.ask("endpoint-shared"), other.vault.ask("endpoint-shared")) == ("mine", "theirs")
    assert "endpoint-theirs" not in dev.secret_names() and "endpoint-theirs" in other.secret_names()


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


def test_an_operation_that_fails_late_says_so(azure: Cloud, dev: AzurePlatform) -> None:
    azure.faults.add("OnlineEndpoints_CreateOrUpdate", times=99, late=True)
    dev.put_secret("endpoint-e", "k")
    config = {
        "server": {},
        "control": {"revision": 1, "live": "", "slots": {}, "traffic": {}, "save": True, "key_sha256": []},
        "secret": "endpoint-e",
    }
    end = time.monotonic() + 90
    while not (state := dev.endpoint_state("late")).stuck:
        assert time.monotonic() < end, state
        dev.apply_endpoint("late", config)
        time.sleep(0.1)
    assert not state.running


def test_what_is_wanted_next_begins_afresh(azure: Cloud, dev: AzurePlatform) -> None:
    fault = azure.faults.add("OnlineEndpoints_CreateOrUpdate", times=99, status=403)
    dev.put_secret("endpoint-a", "k")
    control = {"live": "", "slots": {}, "traffic": {}, "save": True, "key_sha256": []}

    def state_with(revision: int) -> EndpointState:
        dev.apply_endpoint(
            "afresh",
            {"server": {}, "control": {**control, "revision": revision}, "secret": "endpoint-a"},
        )
        time.sleep(0.1)
        return dev.endpoint_state("afresh")

    end = time.monotonic() + 90
    while not (state := state_with(1)).stuck:
        assert time.monotonic() < end, state
    assert state.stuck_at == 1 and "AuthorizationFailed" in state.stuck
    assert "az role assignment create" in state.hint and "AzureML Data Scientist" in state.hint
    with pytest.raises(FailedError) as e:
        _ready(state, 1, "blue")
    assert e.value.hint == state.hint, "role and command reach who deploys"
    assert not _ready(state, 2, "blue"), "what was seen of an earlier revision ends no later deployment"
    dev.stop_endpoint("afresh")
    assert not dev.endpoint_state("afresh").stuck
    seen = fault.seen
    while fault.seen == seen:
        assert not state_with(2).stuck and time.monotonic() < end, "it is tried anew"
    azure.faults.clear()
    while not (state := state_with(3)).running:
        assert time.monotonic() < end and not state.stuck, state
    while dev.endpoint_state("afresh").running:
        assert time.monotonic() < end, "and it ends, also where it was ended before"
        dev.stop_endpoint("afresh")
        time.sleep(0.1)


def test_a_deployment_that_is_refused_says_role_command_and_log(azure: Cloud, dev: AzurePlatform) -> None:
    dev.put_secret("endpoint-r", "k")
    slots = {
        "blue": {"deployment": "v1", "model_version": 1, "folder": "m", "sha256": "0" * 64, "instances": 1}
    }
    control = {"revision": 1, "live": "", "slots": slots, "traffic": {}, "save": True, "key_sha256": []}
    azure.faults.add("OnlineDeployments_CreateOrUpdate", times=99, status=403)
    end = time.monotonic() + 120
    while ((state := dev.endpoint_state("refused")).slots or {}).get("blue", {}).get("state") != "failed":
        assert time.monotonic() < end, state
        dev.apply_endpoint("refused", {"server": {}, "control": control, "secret": "endpoint-r"})
        time.sleep(0.1)
    with pytest.raises(FailedError) as e:
        _ready(state, -1, "blue")
    assert "deployment blue" in e.value.message and "did not load" not in e.value.message
    assert "az ml online-deployment get-logs" in e.value.hint
    assert "az role assignment create" in e.value.hint
    azure.faults.clear()
    dev.stop_endpoint("refused")


def test_delta_says_what_the_lake_refused(azure: Cloud, dev: AzurePlatform) -> None:
    uri, storage = f"{dev.lake_root()}/p/m/gold", dev.storage_options()
    write_deltalake(uri, pa.table({"a": [1]}), storage_options=storage)
    assert len(files_of(uri, 0, storage)) == 1
    azure.faults.add("Storage.Any", times=9999, status=403, path="*_delta_log*")
    for read in (
        lambda: files_of(uri, 0, storage),
        lambda: sizes_of(uri, 0, storage),
        lambda: open_table(uri, storage),
    ):
        with pytest.raises(AzureDeniedError) as e:
            read()
        assert "Storage Blob Data Contributor" in e.value.hint and "\x1b" not in e.value.message
    azure.faults.clear()
    with pytest.raises(NotFoundError, match="not there any more"):
        files_of(f"{uri}_gone", 0, storage)


def test_deltas_repetitions_are_bounded_too(azure: Cloud, dev: AzurePlatform) -> None:
    uri, storage = f"{dev.lake_root()}/p/m/silver", dev.storage_options()
    write_deltalake(uri, pa.table({"a": [1]}), storage_options=storage)
    fault = azure.faults.add("Storage.Any", times=9999, status=503, path="*_delta_log*")
    with pytest.raises(EsmlError):
        open_table(uri, storage)
    most = 1 + int(SHORT["ESML_AZURE_TRIES"])
    assert most <= fault.seen <= 4 * most, "each of its few requests is repeated as often as asked for"


def test_writing_only_if_absent_under_faults(azure: Cloud, dev: AzurePlatform) -> None:
    azure.faults.add("Storage.Any", times=1, status=503)
    assert dev.create_file("a/one", b"1")
    assert not dev.create_file("a/one", b"2") and dev.read_file("a/one") == b"1"
    azure.faults.add("Storage.Any", times=99, status=403)
    with pytest.raises(AzureDeniedError, match="a/two") as e:
        dev.write_file("a/two", b"")
    assert "Storage Blob Data Contributor" in e.value.hint


def test_a_data_asset_that_cannot_be_announced_is_said_again(azure: Cloud, dev: AzurePlatform) -> None:
    azure.faults.add("DataVersions_CreateOrUpdate", times=99, status=500)
    asset = DataAsset("M_GOLD", 1, f"{dev.lake_root()}/x")
    with pytest.raises(PlatformError):
        dev.announce(asset)
    azure.faults.clear()
    dev.announce(asset)


def test_a_data_asset_that_points_elsewhere_is_not_told(azure: Cloud, dev: AzurePlatform) -> None:
    dev.announce(DataAsset("M_ELSE_GOLD", 1, f"{dev.lake_root()}/x"))
    dev.announce(DataAsset("M_ELSE_GOLD", 1, f"{dev.lake_root()}/x", {"rows": "2"}))
    with pytest.raises(
        ConflictError, match=r"M_ELSE_GOLD version 1 points to abfss://.*/x, not to .*/y"
    ) as e:
        dev.announce(DataAsset("M_ELSE_GOLD", 1, f"{dev.lake_root()}/y"))
    assert "az ml data show" in e.value.hint


def test_mlflows_repetitions_are_bounded_and_retry_after_is_not_slept(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = dev.tracking_uri()
    fault = azure.faults.add("MLflow.Any", times=99, status=429, headers={"Retry-After": "3600"})
    at = time.monotonic()
    with pytest.raises(AzureBusyError, match="429") as e:
        tracking.experiment(uri, "p-m")
    assert fault.seen == 3 and time.monotonic() - at < 60 and "retry" in e.value.hint
    assert limits.told() == {k: SHORT[k] for k in limits.told()} and len(limits.told()) == 3, (
        "a job is told them"
    )
    monkeypatch.setenv("ESML_AZURE_TRIES", "99")
    monkeypatch.setenv("ESML_AZURE_LONGEST_WAIT", "20")
    assert limits.mlflow()["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "10", "MLflow refuses more"
    assert limits.mlflow()["MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR"] == "0", "2**9 times one would be too long"


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (401, None, AzureDeniedError, "az login"),
        (403, None, AzureDeniedError, "AzureML Data Scientist"),
        (403, {"message": "no", "error_code": "PERMISSION_DENIED"}, AzureDeniedError, "AzureML Data Scientist"),
        (404, None, AzureMissingError, "estate.toml"),
        (500, None, AzureBusyError, "retry"),
        (400, {"error": {"code": "UserError", "message": "a body of Azure's own"}}, AzureFailedError, "doctor"),
    ],
)  # fmt: skip
def test_what_tracking_answers_is_an_error_with_role_and_command(
    azure: Cloud, dev: AzurePlatform, status: int, body: Any, kind: type[EsmlError], says: str
) -> None:
    uri = dev.tracking_uri()
    azure.faults.add("MLflow.Any", times=99, status=status, body=body)
    with pytest.raises(kind) as e:
        tracking.register(uri, "p-m", "", "x", {"esml.run": "r"})
    assert says in e.value.hint and "mlw-esml-dev" in e.value.message, (e.value.message, e.value.hint)
    if status == 403:
        ws = azure.workspaces["dev"]
        assert ws.principal in e.value.hint and ws.id in e.value.hint, "the command can be copied"


def test_the_workers_log_does_not_take_each_request(
    azure: Cloud, dev: AzurePlatform, caplog: pytest.LogCaptureFixture
) -> None:
    loggers = [logging.getLogger(n) for n in CHATTY]
    before = [(one, one.level) for one in loggers]
    try:
        for one in loggers:
            one.setLevel(logging.NOTSET)
        with caplog.at_level(logging.INFO):
            keep_quiet()
            assert dev.workspace.about.location and dev.lake_root()
            dev.write_file("log/one", b"1")
            dev.workspace.client.online_endpoints.list()
        said = [r for r in caplog.records if r.name.partition(".")[0] in ("azure", "urllib3", "msal")]
        assert not [r for r in said if r.levelno < logging.WARNING], said[:3]
    finally:
        for one, level in before:
            one.setLevel(level)


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


@pytest.mark.parametrize("status", [401, 403, 404, 424, 429, 503])
def test_what_an_endpoint_refuses_comes_with_what_to_do(status: int) -> None:
    error = client._refusal(httpx.Response(status, json={"error": {"message": "refused"}}), "r")
    assert error.message == "refused" and error.hint
    said = {"error": {"message": "refused", "hint": "its own"}}
    assert client._refusal(httpx.Response(status, json=said), "r").hint == "its own"
