"""Faults by schedule, as the real clients see them."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.keyvault.secrets import SecretClient

from tests.azure.cloud.stand_in import Cloud

ERRORS = [
    (401, ClientAuthenticationError), (403, HttpResponseError), (404, ResourceNotFoundError), (409, ResourceExistsError),
    (412, HttpResponseError),
]  # fmt: skip


@pytest.mark.parametrize(("status", "error"), ERRORS)
def test_statuses_that_are_not_retried(azure: Cloud, status: int, error: type[Exception]) -> None:
    fault = azure.faults.add("Compute_Get", status=status)
    with pytest.raises(error) as e:
        azure.ml_client("dev").compute.get("cpu-cluster")
    assert getattr(e.value, "status_code", 0) == status and fault.seen == 1
    assert azure.ml_client("dev").compute.get("cpu-cluster").name == "cpu-cluster"


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_statuses_that_clients_retry(azure: Cloud, status: int) -> None:
    fault = azure.faults.add("Compute_Get", times=2, status=status)
    assert azure.ml_client("dev").compute.get("cpu-cluster").name == "cpu-cluster"
    assert fault.seen == 2


def test_retry_after_is_waited_for(azure: Cloud) -> None:
    azure.faults.add("Compute_Get", status=429, headers={"Retry-After": "1"})
    began = time.monotonic()
    azure.ml_client("dev").compute.get("cpu-cluster")
    assert time.monotonic() - began >= 1


def test_a_dropped_connection(azure: Cloud) -> None:
    fault = azure.faults.add("Compute_Get", times=9, drop=True)
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        azure.ml_client("dev", retry_total=1).compute.get("cpu-cluster")
    assert fault.seen == 2


def test_a_slow_answer_times_out(azure: Cloud) -> None:
    fault = azure.faults.add("GetSecret", times=2, delay=1.5)
    ws = azure.workspaces["dev"]
    client = SecretClient(
        ws.vault_url,
        azure.credential("dev"),
        verify_challenge_resource=False,
        retry_total=0,
        read_timeout=0.3,
    )
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        client.get_secret("any")
    assert fault.seen >= 1


def test_a_lost_answer_was_carried_out(azure: Cloud) -> None:
    ws, name = azure.workspaces["dev"], f"s-{uuid.uuid4().hex}"
    client = SecretClient(
        ws.vault_url, azure.credential("dev"), verify_challenge_resource=False, retry_total=0
    )
    with pytest.raises(ResourceNotFoundError):
        client.get_secret(name)  # from here on it knows the vault's challenge
    azure.faults.add("SetSecret", drop=True, after=True)
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        client.set_secret(name, "kept")
    assert client.get_secret(name).value == "kept"


def test_an_operation_that_fails_late(azure: Cloud) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    ml: Any = azure.ml_client("dev")
    azure.faults.add("OnlineEndpoints_CreateOrUpdate", late=True)
    name = f"e-{uuid.uuid4().hex[:8]}"
    poller = ml.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key"))
    with pytest.raises(HttpResponseError, match="failed late"):
        poller.result()
    assert ml.online_endpoints.get(name).provisioning_state == "Failed"
    ml.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key")).result()
    assert ml.online_endpoints.get(name).provisioning_state == "Succeeded"


def test_one_operation_at_a_time(azure: Cloud) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    ml: Any = azure.ml_client("dev")
    name = f"e-{uuid.uuid4().hex[:8]}"
    made = ml.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=name, auth_mode="key")
    ).result()
    azure.resources.get(made.id)["properties"]["provisioningState"] = "Updating"  # type: ignore[index]
    with pytest.raises(ResourceExistsError):
        ml.online_endpoints.begin_delete(name)


def test_storage_faults_and_paths(azure: Cloud) -> None:
    from azure.storage.filedatalake import DataLakeServiceClient

    fs = DataLakeServiceClient(
        azure.workspaces["dev"].storage_url, azure.credential("dev"), retry_total=0
    ).get_file_system_client("lake")
    azure.faults.add("Storage.*", times=9, status=503, path="/lake/faulty/*")
    with pytest.raises(HttpResponseError):
        fs.get_file_client("faulty/a").upload_data(b"1", overwrite=True)
    fs.get_file_client("fine/a").upload_data(b"1", overwrite=True)


def test_unknown_versions_and_routes(azure: Cloud) -> None:
    import httpx

    ws = azure.workspaces["dev"]
    token = azure.credential("dev").get_token("https://management.azure.com/.default").token

    def say(path: str) -> tuple[int, str]:
        got = httpx.get(
            azure.url + path,
            headers={"Authorization": f"Bearer {token}"},
            verify=str(azure.authority.ca_file),
        )
        return got.status_code, got.json()["error"]["code"]

    assert say(f"{ws.id}?api-version=1999-01-01") == (400, "InvalidApiVersionParameter")
    assert say(ws.id) == (400, "MissingApiVersionParameter")
    assert say(f"{ws.id}/nonsense?api-version=2025-12-01") == (404, "InvalidResourceType")
    assert [e.operation for e in azure.recorder.exchanges][-1] == "unknown"
    azure.recorder.exchanges.pop()  # asked on purpose
