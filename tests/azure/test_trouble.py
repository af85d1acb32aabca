"""What Azure answers when it does not do what was asked: the engine's errors, bounded repetition, nothing done twice."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from esml_engine.errors import (
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
from esml_engine.serving import client
from esml_engine.serving.applied import ready as _ready
from esml_engine.training import tracking
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import SHORT, platform_of


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


@pytest.mark.parametrize("status", [401, 403, 404, 424, 429, 503])
def test_what_an_endpoint_refuses_comes_with_what_to_do(status: int) -> None:
    error = client._refusal(httpx.Response(status, json={"error": {"message": "refused"}}), "r")
    assert error.message == "refused" and error.hint
    said = {"error": {"message": "refused", "hint": "its own"}}
    assert client._refusal(httpx.Response(status, json=said), "r").hint == "its own"
