"""Versioned assets: data, models, environments, codes. Containers come into being with their first version."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.azure.cloud import versions as v
from tests.azure.cloud.manage import space
from tests.azure.cloud.wire import WS, Answer, Call, Refusal, not_found, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

# collection -> operation's first word, api-versions, properties that a version always has
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "data": ("Data", v.DATA, {"description": None, "tags": {}, "properties": {}, "isAnonymous": False, "isArchived": False,
        "dataType": "uri_folder"}),
    "models": ("Model", v.MODELS, {"description": None, "tags": {}, "properties": {}, "isAnonymous": False, "isArchived": False,
        "flavors": {}, "modelType": "custom_model"}),
    "environments": ("Environment", v.ENVIRONMENTS, {"description": None, "tags": {}, "properties": {}, "isAnonymous": False,
        "isArchived": False, "environmentType": "UserCreated", "osType": "Linux"}),
    "codes": ("Code", v.CODES, {"description": None, "tags": {}, "properties": {}, "isAnonymous": False, "isArchived": False}),
}  # fmt: skip
FIXED = {"data": "dataUri", "models": "modelUri", "environments": "image", "codes": "codeUri"}
PAGE = 100


def _enter(kind: str) -> None:
    word, versions, defaults = KINDS[kind]
    top, one = f"{WS}/{kind}", f"{WS}/{kind}/{{name}}/versions/{{version}}"

    @operation(f"{word}Versions_CreateOrUpdate", "PUT", one, versions=versions)
    def put(cloud: Cloud, call: Call) -> Answer:
        ws = space(cloud, call)
        id = f"{ws.id}/{kind}/{call['name']}/versions/{call['version']}"
        said = {k: x for k, x in call.json["properties"].items() if x is not None}
        old = cloud.resources.get(id)
        word_ = FIXED[kind]
        # a version's content can't change once it is there; the service's own words were not seen
        if old is not None and said.get(word_) and said[word_] != old["properties"].get(word_):
            raise Refusal(
                409,
                "UserError",
                f"{kind} {call['name']} version {call['version']} exists with another {word_}",
            )
        container = f"{ws.id}/{kind}/{call['name']}"
        if cloud.resources.get(container) is None:
            about = {"description": None, "tags": {}, "isArchived": False}
            cloud.resources.put(
                container,
                kind,
                call,
                about | ({"dataType": said.get("dataType"), "properties": {}} if kind == "data" else {}),
            )
        made, new = cloud.resources.put(id, f"{kind}/versions", call, {**defaults, **said})
        if not new:
            return Answer(200, made)
        return Answer(201, made, {"Location": f"{cloud.url}{id}?api-version={call.query['api-version']}"})

    @operation(f"{word}Versions_Get", "GET", one, versions=versions)
    def get(cloud: Cloud, call: Call) -> Answer:
        found = cloud.resources.get(
            f"{space(cloud, call).id}/{kind}/{call['name']}/versions/{call['version']}"
        )
        if found is None:
            raise not_found(f"{kind} {call['name']}:{call['version']}")
        return Answer(200, found)

    @operation(f"{word}Versions_List", "GET", f"{top}/{{name}}/versions", versions=versions)
    def list_versions(cloud: Cloud, call: Call) -> Answer:
        id = f"{space(cloud, call).id}/{kind}/{call['name']}"
        if cloud.resources.get(id) is None and "hash" not in call.query:
            raise not_found(f"{kind} {call['name']}")
        rows = cloud.resources.below(f"{id}/versions")
        if call.query.get("hash"):
            rows = [
                r
                for r in rows
                if r["properties"].get("properties", {}).get("hash_sha256") == call.query["hash"]
            ]
        return _page(cloud, call, rows)

    @operation(f"{word}Containers_Get", "GET", f"{top}/{{name}}", versions=versions)
    def get_container(cloud: Cloud, call: Call) -> Answer:
        found = cloud.resources.get(f"{space(cloud, call).id}/{kind}/{call['name']}")
        if found is None:
            raise not_found(f"{kind} {call['name']}")
        return Answer(200, _with_next(cloud, found))

    @operation(f"{word}Containers_List", "GET", top, versions=versions)
    def list_containers(cloud: Cloud, call: Call) -> Answer:
        rows = [_with_next(cloud, r) for r in cloud.resources.below(f"{space(cloud, call).id}/{kind}")]
        return _page(cloud, call, rows)

    put.__doc__ = (
        f"{word}Versions_CreateOrUpdate: 201 with Location, 200 when it was there (recordings R1, R2)."
    )
    get.__doc__ = f"{word}Versions_Get."
    list_versions.__doc__ = f"{word}Versions_List: `$orderBy=createdtime desc`, `$top`, `$skip`, `hash`."
    get_container.__doc__ = (
        f"{word}Containers_Get with `latestVersion` and `nextVersion`, as the client reads them."
    )
    list_containers.__doc__ = f"{word}Containers_List."


def _with_next(cloud: Cloud, container: dict[str, Any]) -> dict[str, Any]:
    names = [r["name"] for r in cloud.resources.below(container["id"] + "/versions")]
    numbers = [int(n) for n in names if n.isdigit()]
    return container | {
        "properties": container["properties"]
        | {"latestVersion": names[-1] if names else None, "nextVersion": str(max(numbers, default=0) + 1)}
    }


def _page(cloud: Cloud, call: Call, rows: list[dict[str, Any]]) -> Answer:
    """A page of rows; archived ones are left out unless asked for."""
    view = call.query.get("listViewType", "ActiveOnly").lower()
    archived = {"activeonly": (False,), "archivedonly": (True,)}.get(view, (False, True))
    rows = [r for r in rows if bool(r["properties"].get("isArchived")) in archived]
    if "desc" in call.query.get("$orderBy", "").lower():
        rows = rows[::-1]
    first, most = int(call.query.get("$skip", "0")), int(call.query.get("$top", PAGE))
    more = first + most < len(rows) and "$top" not in call.query
    kept = {k: x for k, x in call.query.items() if k != "$skip"}
    query = "&".join(f"{k}={x}" for k, x in {**kept, "$skip": str(first + most)}.items())
    return Answer(
        200,
        {
            "value": rows[first : first + most],
            "nextLink": f"{cloud.url}{call.path}?{query}" if more else None,
        },
    )


for _kind in KINDS:
    _enter(_kind)


@operation(
    "CodeVersions_CreateOrGetStartPendingUpload",
    "POST",
    WS + "/codes/{name}/versions/{version}/startPendingUpload",
    versions=v.CODES,
)
def start_upload(cloud: Cloud, call: Call) -> Answer:
    """CodeVersions_CreateOrGetStartPendingUpload: a signed address of a container for this upload alone (Azurite's own)."""
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    ws = space(cloud, call)
    container = f"{call['name'][:40].lower()}-code"
    cloud.azurite.send(ws.account, "PUT", container, "restype=container")
    sas = generate_container_sas(
        ws.account, container, cloud.azurite.keys[ws.account], permission=ContainerSasPermissions.from_string("racwdl"),
        expiry=datetime.now(UTC) + timedelta(hours=4), start=datetime.now(UTC) - timedelta(minutes=5),
    )  # fmt: skip
    where = f"{cloud.azurite.url}/{ws.account}/{container}"
    reference = {
        "blobUri": where, "storageAccountArmId": ws.scope(f"Microsoft.Storage/storageAccounts/{ws.account}"),
        "credential": {"credentialType": "SAS", "sasUri": f"{where}?{sas}"},
    }  # fmt: skip
    id = call.json.get("pendingUploadId") or str(uuid.uuid4())
    return Answer(
        200,
        {
            "blobReferenceForConsumption": reference,
            "pendingUploadId": id,
            "pendingUploadType": "TemporaryBlobReference",
        },
    )
