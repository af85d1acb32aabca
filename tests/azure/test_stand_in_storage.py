"""The stand-in's storage, vault and identity with the real clients."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from azure.keyvault.secrets import SecretClient
from azure.storage.filedatalake import DataLakeServiceClient

from tests.azure.cloud.stand_in import Cloud
from tests.azure.cloud.tokens import TENANT


def lake(cloud: Cloud, env: str = "dev") -> DataLakeServiceClient:
    return DataLakeServiceClient(cloud.workspaces[env].storage_url, cloud.credential(env), retry_total=0)


def test_directories_and_files(azure: Cloud) -> None:
    fs = lake(azure).get_file_system_client("lake")
    top = f"t-{uuid.uuid4().hex}"
    fs.create_directory(f"{top}/a/b")
    assert fs.get_directory_client(f"{top}/a").exists()
    with pytest.raises(ResourceExistsError):
        fs.get_directory_client(f"{top}/a/b").create_directory(match_condition=MatchConditions.IfMissing)
    file = fs.get_file_client(f"{top}/a/c/data.csv")
    file.upload_data(b"x" * 3_000_000, overwrite=True)
    assert file.get_file_properties().size == 3_000_000
    assert fs.get_file_client(f"{top}/a/c/data.csv").download_file().readall() == b"x" * 3_000_000
    seen = {(p.name[len(top) :], p.is_directory) for p in fs.get_paths(top)}
    assert seen == {("/a", True), ("/a/b", True), ("/a/c", True), ("/a/c/data.csv", False)}
    assert [p.name for p in fs.get_paths(f"{top}/a", recursive=False)] == [f"{top}/a/b", f"{top}/a/c"]
    assert file.rename_file(f"lake/{top}/a/b/moved.csv").get_file_properties().size == 3_000_000
    assert not file.exists()
    fs.get_directory_client(f"{top}/a").delete_directory()
    assert not fs.get_directory_client(f"{top}/a").exists()
    with pytest.raises(ResourceNotFoundError):
        list(fs.get_paths(f"{top}/never"))


def test_a_listing_of_blobs_shows_directories(azure: Cloud) -> None:
    from azure.storage.blob import ContainerClient

    top, ws = f"t-{uuid.uuid4().hex}", azure.workspaces["dev"]
    blobs = ContainerClient(ws.storage_url, "lake", credential=azure.credential("dev"), retry_total=0)
    blobs.upload_blob(f"{top}/a/b.txt", b"1")
    found = {
        b.name: (b.metadata or {}).get("hdi_isfolder")
        for b in blobs.list_blobs(name_starts_with=f"{top}/", include=["metadata"])
    }
    assert found == {f"{top}/a": "true", f"{top}/a/b.txt": None}


def test_access_lists(azure: Cloud) -> None:
    fs = lake(azure).get_file_system_client("lake")
    top = f"t-{uuid.uuid4().hex}"
    folder = fs.create_directory(f"{top}/p1")
    folder.set_access_control(acl="user::rwx,group::---,group:abc:r-x,other::---")
    assert "group:abc:r-x" in folder.get_access_control()["acl"]
    folder.create_sub_directory("deep")
    folder.update_access_control_recursive("group:def:rwx")
    said = fs.get_directory_client(f"{top}/p1/deep").get_access_control()["acl"]
    assert "group:def:rwx" in said and "group:abc:r-x" in said


def test_delta_with_a_token(azure: Cloud) -> None:
    from deltalake import DeltaTable, write_deltalake

    ws = azure.workspaces["dev"]
    options = {
        "azure_storage_account_name": ws.account,
        "azure_storage_endpoint": ws.storage_url,
        "azure_storage_token": azure.credential("dev").get_token("https://storage.azure.com/.default").token,
    }
    where = f"abfss://lake@{ws.account}.dfs.core.windows.net/t-{uuid.uuid4().hex}/gold"
    for i in range(3):
        write_deltalake(where, pa.table({"a": [i]}), mode="append", storage_options=options)
    table = DeltaTable(where, storage_options=options)
    assert table.version() == 2 and sorted(table.to_pyarrow_table()["a"].to_pylist()) == [0, 1, 2]
    write_deltalake(where, pa.table({"a": [9]}), mode="overwrite", storage_options=options)
    removed = DeltaTable(where, storage_options=options).vacuum(
        0, dry_run=False, enforce_retention_duration=False
    )
    assert len(removed) == 3
    assert DeltaTable(where, storage_options=options).to_pyarrow_table()["a"].to_pylist() == [9]


def test_storage_refuses(azure: Cloud) -> None:
    ws = azure.workspaces["dev"]
    with pytest.raises(ClientAuthenticationError):
        DataLakeServiceClient(ws.storage_url, retry_total=0).get_file_system_client("lake").create_directory(
            "x"
        )
    with azure.without_role("storage", "dev"), pytest.raises(HttpResponseError) as e:
        lake(azure).get_file_system_client("lake").create_directory("x")
    assert e.value.status_code == 403
    with pytest.raises(ResourceNotFoundError):
        lake(azure).get_file_system_client("never-made").create_directory("x")


def vault(cloud: Cloud, env: str = "dev") -> SecretClient:
    return SecretClient(
        cloud.workspaces[env].vault_url, cloud.credential(env), verify_challenge_resource=False, retry_total=0
    )


def test_secrets(azure: Cloud) -> None:
    client, name = vault(azure), f"s-{uuid.uuid4().hex}"
    with pytest.raises(ResourceNotFoundError):
        client.get_secret(name)
    first = client.set_secret(name, "one", tags={"a": "b"})
    client.set_secret(name, "two")
    assert client.get_secret(name).value == "two"
    assert client.get_secret(name, first.properties.version).value == "one"
    assert name in {s.name for s in client.list_properties_of_secrets(max_page_size=1)}
    assert len(list(client.list_properties_of_secret_versions(name))) == 2
    client.begin_delete_secret(name).wait()
    with pytest.raises(ResourceExistsError):
        client.set_secret(name, "three")
    client.purge_deleted_secret(name)
    client.set_secret(name, "three")
    with azure.without_role("vault", "dev") as role, pytest.raises(HttpResponseError) as e:
        client.get_secret(name)
    assert e.value.status_code == 403 and role == "Key Vault Secrets Officer"


def test_identities(azure: Cloud) -> None:
    ws = azure.workspaces["dev"]
    name = f"s-{uuid.uuid4().hex}"
    SecretClient(ws.vault_url, DefaultAzureCredential(), verify_challenge_resource=False).set_secret(
        name, "by the node"
    )
    app = ClientSecretCredential(
        TENANT, ws.principal, azure.client_secret, authority=azure.url, disable_instance_discovery=True
    )
    assert (
        SecretClient(ws.vault_url, app, verify_challenge_resource=False).get_secret(name).value
        == "by the node"
    )


def test_tokens_are_checked(azure: Cloud) -> None:
    import httpx

    ws = azure.workspaces["dev"]
    url = f"{azure.url}{ws.id}?api-version=2024-10-01-preview"

    def say(token: str) -> tuple[int, str]:
        got = httpx.get(
            url, headers={"Authorization": f"Bearer {token}"}, verify=str(azure.authority.ca_file)
        )
        return got.status_code, got.json().get("error", {}).get("code", "")

    make = azure.tokens.issue
    assert say(make("https://management.azure.com", ws.principal)[0]) == (200, "")
    assert say(make("https://vault.azure.net", ws.principal)[0]) == (
        401,
        "InvalidAuthenticationTokenAudience",
    )
    assert say(make("https://management.azure.com", ws.principal, seconds=-5)[0]) == (
        401,
        "ExpiredAuthenticationToken",
    )
    assert say("nonsense")[0] == 401
