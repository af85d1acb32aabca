"""The cloud of the tests: one stand-in for each worker of a test run, and how clients are pointed at it."""

from __future__ import annotations

import atexit
import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from esml_engine.platforms.azure.platform import AzurePlatform
from tests.azure import shapes
from tests.azure.cloud.azurite import MissingToolError
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import SHORT, new_file_system, platform_of


@functools.cache
def running_cloud() -> Cloud | str:
    """The cloud of this process, started when first asked for; or why there is none."""
    folder = tempfile.TemporaryDirectory(prefix="esml-stand-in-")
    try:
        cloud = Cloud(Path(folder.name))
    except MissingToolError as e:
        folder.cleanup()
        return str(e)
    atexit.register(folder.cleanup)
    atexit.register(cloud.close)
    return cloud


@pytest.fixture(scope="session")
def azure_cloud() -> Iterator[Cloud]:
    """A small Azure on loopback: workspaces dev, test and prod, each in a subscription of its own.

    Point the clients at it so (`ws = azure_cloud.workspaces["test"]`; all need `azure_cloud.environ("test")` in the
    environment: certificates for requests, OpenSSL and rustls, and MSI_ENDPOINT/MSI_SECRET, with which azure-identity's
    `DefaultAzureCredential` gets real tokens as on an Azure ML node; the fixture `azure` sets it for a test):

    - MLClient: `azure_cloud.ml_client("test")`, or `MLClient(credential, ws.subscription, ws.resource_group, ws.name,
      cloud=azure_cloud.cloud_name, cloud_metadata=azure_cloud.metadata())` (the metadata once a process), or
      `ARM_CLOUD_METADATA_URL={azure_cloud.url}/metadata/endpoints?api-version=2022-09-01` with `cloud=azure_cloud.cloud_name`.
    - SecretClient: `SecretClient(ws.vault_url, credential, verify_challenge_resource=False)`.
    - DataLakeServiceClient / BlobServiceClient: `DataLakeServiceClient(ws.storage_url, credential)`; the file system is there.
    - deltalake: table `abfss://{ws.file_system}@{ws.account}.dfs.core.windows.net/path`, storage options
      `{"azure_storage_account_name": ws.account, "azure_storage_endpoint": ws.storage_url, "azure_storage_token": token}`
      with a token for `https://storage.azure.com/.default`.
    - CostManagementClient: `CostManagementClient(credential, base_url=azure_cloud.url, credential_scopes=[azure_cloud.url + "/.default"])`.
    - MLflow: `https://…/mlflow/v1.0{ws.id}` (the workspace's `mlFlowTrackingUri` with https for azureml), token in
      MLFLOW_TRACKING_TOKEN.
    - an estate's environment: write `azure_cloud.document("test")` as JSON to the file that its setting `cloud` names.
    - prices: `{azure_cloud.url}/api/retail/prices`.
    - credentials: `azure_cloud.credential("test")`, or DefaultAzureCredential as above.

    Faults: `azure_cloud.faults.add("Jobs_CreateOrUpdate", times=2, status=429, headers={"Retry-After": "1"})`; a role that
    is missing: `with azure_cloud.without_role("storage", "test") as role`. What was said: `azure_cloud.recorder`.
    """
    cloud = running_cloud()
    if isinstance(cloud, str):
        pytest.skip(cloud)
    yield cloud
    cloud.faults.clear()


@contextmanager
def fitting(cloud: Cloud) -> Iterator[Cloud]:
    """Hold what is said meanwhile: no failure of the stand-in itself, and every request and answer fits its published example.

    Where the examples are not on this machine the second is left out; `test_shapes.py` says then that it was skipped.
    """
    cloud.broken.clear()
    first = len(cloud.recorder.exchanges)
    yield cloud
    cloud.faults.clear()
    assert cloud.broken == [], "the stand-in itself failed"
    if shapes.folder() is not None:
        said = cloud.recorder.exchanges[first:]
        assert sorted({p for e in said for p in shapes.problems(e)}) == []


@pytest.fixture
def azure(azure_cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """The cloud with this process's environment pointed at it for one test, which is held to `fitting`."""
    for k, v in azure_cloud.environ().items():
        monkeypatch.setenv(k, v)
    with fitting(azure_cloud):
        yield azure_cloud


@pytest.fixture
def dev(azure: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzurePlatform]:
    """Environment dev on the stand-in, with short waits and a file system of its own."""
    for k, v in SHORT.items():
        monkeypatch.setenv(k, v)
    made = platform_of(azure, "dev", tmp_path, new_file_system())
    yield made
    made.close()
