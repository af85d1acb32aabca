"""Key Vault: secrets with versions, soft delete, and the challenge that its clients expect."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from tests.azure.cloud.tokens import TENANT
from tests.azure.cloud.wire import VAULT, Answer, Call, Refusal, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

VERSIONS = "7.4 7.5 7.6 2025-07-01 2026-04-01"
RESOURCE = "https://vault.azure.net"


def challenge(cloud: Cloud) -> Refusal:
    """The 401 that names where tokens for a vault come from."""
    return Refusal(
        401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.",
        {"WWW-Authenticate": f'Bearer authorization="{cloud.url}/{TENANT}", resource="{RESOURCE}"'},
    )  # fmt: skip


def _missing(name: str) -> Refusal:
    return Refusal(404, "SecretNotFound", f"A secret with (name/id) {name} was not found in this key vault.")


def _bundle(secret: dict[str, Any], *, value: bool) -> dict[str, Any]:
    return {k: v for k, v in secret.items() if (value or k != "value") and v is not None}


@operation("SetSecret", "PUT", "/secrets/{name}", versions=VERSIONS, service=VAULT, audience=VAULT)
def set_secret(cloud: Cloud, call: Call) -> Answer:
    """SetSecret: a new version under the name; 409 while a deleted secret keeps the name."""
    vault = cloud.vaults[call.account]
    if call["name"] in vault.deleted:
        raise Refusal(
            409,
            "Conflict",
            f"Secret {call['name']} is currently in a deleted but recoverable state, and its name cannot be reused.",
        )
    at = int(time.time())
    made = {
        "value": call.json["value"], "id": f"{vault.url}/secrets/{call['name']}/{uuid.uuid4().hex}",
        "attributes": {"enabled": True, **call.json.get("attributes", {}), "created": at, "updated": at,
            "recoveryLevel": "Recoverable+Purgeable"},
        "tags": call.json.get("tags"), "contentType": call.json.get("contentType"),
    }  # fmt: skip
    vault.secrets.setdefault(call["name"], []).append(made)
    return Answer(200, _bundle(made, value=True))


@operation("GetSecret", "GET", "/secrets/{name}", versions=VERSIONS, service=VAULT, audience=VAULT)
def get_secret(cloud: Cloud, call: Call) -> Answer:
    """GetSecret: the newest version."""
    found = cloud.vaults[call.account].secrets.get(call["name"])
    if not found:
        raise _missing(call["name"])
    return Answer(200, _bundle(found[-1], value=True))


@operation(
    "GetSecretVersions", "GET", "/secrets/{name}/versions", versions=VERSIONS, service=VAULT, audience=VAULT
)
def list_versions(cloud: Cloud, call: Call) -> Answer:
    """GetSecretVersions: without values."""
    found = cloud.vaults[call.account].secrets.get(call["name"], [])
    return Answer(200, {"value": [_bundle(s, value=False) for s in found], "nextLink": None})


@operation("GetSecret", "GET", "/secrets/{name}/{version}", versions=VERSIONS, service=VAULT, audience=VAULT)
def get_version(cloud: Cloud, call: Call) -> Answer:
    """GetSecret: a version by its id."""
    found = cloud.vaults[call.account].secrets.get(call["name"], [])
    for s in found:
        if s["id"].endswith("/" + call["version"]):
            return Answer(200, _bundle(s, value=True))
    raise _missing(f"{call['name']}/{call['version']}")


@operation("GetSecrets", "GET", "/secrets", versions=VERSIONS, service=VAULT, audience=VAULT)
def list_secrets(cloud: Cloud, call: Call) -> Answer:
    """GetSecrets: names without values, `maxresults` a page."""
    vault = cloud.vaults[call.account]
    names = sorted(vault.secrets)
    first, most = int(call.query.get("$skiptoken", "0")), int(call.query.get("maxresults", "25"))
    rows = [
        _bundle(vault.secrets[n][-1] | {"id": f"{vault.url}/secrets/{n}"}, value=False)
        for n in names[first : first + most]
    ]
    for r in rows:
        r["attributes"] = {k: x for k, x in r["attributes"].items() if k != "recoveryLevel"}
    more = f"{vault.url}/secrets?api-version={call.query['api-version']}&$skiptoken={first + most}&maxresults={most}"
    return Answer(200, {"value": rows, "nextLink": more if first + most < len(names) else None})


@operation("DeleteSecret", "DELETE", "/secrets/{name}", versions=VERSIONS, service=VAULT, audience=VAULT)
def delete_secret(cloud: Cloud, call: Call) -> Answer:
    """DeleteSecret: recoverable for ninety days."""
    vault = cloud.vaults[call.account]
    found = vault.secrets.pop(call["name"], None)
    if not found:
        raise _missing(call["name"])
    at = int(time.time())
    vault.deleted[call["name"]] = found
    about = {
        "recoveryId": f"{vault.url}/deletedsecrets/{call['name']}",
        "deletedDate": at,
        "scheduledPurgeDate": at + 90 * 86400,
    }
    return Answer(200, {**about, **_bundle(found[-1], value=False)})


@operation(
    "GetDeletedSecret", "GET", "/deletedsecrets/{name}", versions=VERSIONS, service=VAULT, audience=VAULT
)
def get_deleted(cloud: Cloud, call: Call) -> Answer:
    """GetDeletedSecret: clients poll it until the deletion is through."""
    vault = cloud.vaults[call.account]
    if call["name"] not in vault.deleted:
        raise _missing(call["name"])
    return Answer(
        200,
        {
            "recoveryId": f"{vault.url}/deletedsecrets/{call['name']}",
            **_bundle(vault.deleted[call["name"]][-1], value=False),
        },
    )


@operation(
    "PurgeDeletedSecret", "DELETE", "/deletedsecrets/{name}", versions=VERSIONS, service=VAULT, audience=VAULT
)
def purge(cloud: Cloud, call: Call) -> Answer:
    """PurgeDeletedSecret: the name is free again."""
    if cloud.vaults[call.account].deleted.pop(call["name"], None) is None:
        raise _missing(call["name"])
    return Answer(204)


class Vault:
    """One vault's secrets: name -> versions, oldest first."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.secrets: dict[str, list[dict[str, Any]]] = {}
        self.deleted: dict[str, list[dict[str, Any]]] = {}
