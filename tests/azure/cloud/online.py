"""Managed online endpoints: long operations, traffic, keys. States and headers after recording R1.

One operation at a time on a resource: the next gets 409.
"""

from __future__ import annotations

import copy
import secrets
from typing import TYPE_CHECKING, Any

from tests.azure.cloud import versions as v
from tests.azure.cloud.manage import begin, identity_of, space
from tests.azure.cloud.resources import Workspace
from tests.azure.cloud.wire import WS, Answer, Call, Refusal, not_found, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

ENDPOINT = WS + "/onlineEndpoints/{name}"
MOVING = ("Creating", "Updating", "Deleting")


def endpoint_of(cloud: Cloud, call: Call) -> dict[str, Any]:
    """The endpoint that a call names; 404 when there is none."""
    found = cloud.resources.get(f"{space(cloud, call).id}/onlineEndpoints/{call['name']}")
    if found is None:
        raise not_found(f"Endpoint {call['name']}", "EndpointNotFound")
    return found


def still(resource: dict[str, Any] | None) -> None:
    """409 while an operation is going on."""
    if resource is not None and resource["properties"]["provisioningState"] in MOVING:
        raise Refusal(
            409,
            "Conflict",
            f"Another operation is in progress on {resource['name']}: {resource['properties']['provisioningState']}",
        )


def named(ws: Workspace, call: Call, kind: str, said: dict[str, Any]) -> dict[str, Any]:
    """What a tracked resource carries beside its properties."""
    identity = identity_of(ws)
    sku = {"name": "Default", "tier": "Standard", **(said.get("sku") or {})}
    more = (
        {"identity": identity}
        if kind == "onlineEndpoints"
        else {"sku": {k: x for k, x in sku.items() if x is not None}}
    )
    return {
        "location": said.get("location") or ws.region,
        "kind": "Managed",
        "tags": said.get("tags") or {},
        **more,
    }


@operation("OnlineEndpoints_CreateOrUpdate", "PUT", ENDPOINT, versions=v.ENDPOINTS)
def put_endpoint(cloud: Cloud, call: Call) -> Answer:
    """OnlineEndpoints_CreateOrUpdate: 201 Creating (200 Updating for one that is there), then a status to poll."""
    ws = space(cloud, call)
    name, id = call["name"], f"{ws.id}/onlineEndpoints/{call['name']}"
    if not (3 <= len(name) <= 32):
        raise Refusal(400, "BadArgument", f"Endpoint name {name} must be 3 to 32 characters")
    with cloud.resources.lock:
        old = cloud.resources.get(id)
        still(old)
        said = {k: x for k, x in call.json["properties"].items() if x is not None}
        traffic = {k: x for k, x in (said.get("traffic") or {}).items()}
        there = {d["name"] for d in cloud.resources.below(f"{id}/deployments")}
        if set(traffic) - there:
            raise Refusal(
                400,
                "BadArgument",
                f"The traffic names deployments that do not exist: {sorted(set(traffic) - there)}",
            )
        if traffic and sum(traffic.values()) not in (0, 100):
            raise Refusal(400, "BadArgument", "The sum of traffic percentages must be 0 or 100")
        goal = {
            "description": None,
            "properties": {},
            "compute": None,
            "mirrorTraffic": {},
            "publicNetworkAccess": "Enabled",
            **said,
            "traffic": traffic,
        }
        shown = {
            **goal,
            "traffic": old["properties"]["traffic"] if old else {},
            "provisioningState": "Updating" if old else "Creating",
        }
        shown["scoringUri"] = old["properties"]["scoringUri"] if old else None
        shown["swaggerUri"] = old["properties"]["swaggerUri"] if old else None
        made, new = cloud.resources.put(
            id, "onlineEndpoints", call, shown, **named(ws, call, "onlineEndpoints", call.json)
        )
        cloud.keys.setdefault(
            id.lower(), {k: secrets.token_urlsafe(24) for k in ("primaryKey", "secondaryKey")}
        )

    def work() -> None:
        base = f"{cloud.url}/inference/{ws.env}/{name}"
        made["properties"].update(scoringUri=f"{base}/score", swaggerUri=f"{base}/swagger.json")

    key, headers = begin(cloud, ws, call, "oe", "OnlineEndpoints_CreateOrUpdate", work)

    def end(status: str) -> None:
        if status == "Succeeded":
            made["properties"]["traffic"] = traffic
        made["properties"]["provisioningState"] = status

    cloud.when(key, end)
    made["properties"]["properties"] = {
        **made["properties"]["properties"],
        "AzureAsyncOperationUri": headers["Azure-AsyncOperation"],
    }
    answer = copy.deepcopy(made)
    answer["properties"]["provisioningState"] = "Creating" if new else "Updating"
    return Answer(
        201 if new else 200,
        answer,
        {**headers, "Location": f"{cloud.url}{id}?api-version={call.query['api-version']}"},
    )


@operation("OnlineEndpoints_Get", "GET", ENDPOINT, versions=v.ENDPOINTS)
def get_endpoint(cloud: Cloud, call: Call) -> Answer:
    """OnlineEndpoints_Get."""
    return Answer(200, endpoint_of(cloud, call))


@operation("OnlineEndpoints_List", "GET", WS + "/onlineEndpoints", versions=v.ENDPOINTS)
def list_endpoints(cloud: Cloud, call: Call) -> Answer:
    """OnlineEndpoints_List."""
    return Answer(
        200, {"value": cloud.resources.below(f"{space(cloud, call).id}/onlineEndpoints"), "nextLink": None}
    )


@operation("OnlineEndpoints_Delete", "DELETE", ENDPOINT, versions=v.ENDPOINTS)
def delete_endpoint(cloud: Cloud, call: Call) -> Answer:
    """OnlineEndpoints_Delete: 202 with a body of `null`; 204 when there is none."""
    ws = space(cloud, call)
    found = cloud.resources.get(f"{ws.id}/onlineEndpoints/{call['name']}")
    if found is None:
        return Answer(204)
    with cloud.resources.lock:
        still(found)
        found["properties"]["provisioningState"] = "Deleting"

    def work() -> None:
        for d in cloud.resources.below(f"{found['id']}/deployments"):
            cloud.servers.stop(d["id"])

    key, headers = begin(cloud, ws, call, "oe", "OnlineEndpoints_Delete", work)
    cloud.when(key, lambda status: gone(cloud, found, status))
    return Answer(202, b"null", headers)


def gone(cloud: Cloud, resource: dict[str, Any], status: str) -> None:
    """A deletion is through: take the resource away, or mark it Failed."""
    if status == "Succeeded":
        cloud.resources.remove(resource["id"])
        cloud.keys.pop(resource["id"].lower(), None)
    else:
        resource["properties"]["provisioningState"] = "Failed"


@operation("OnlineEndpoints_ListKeys", "POST", ENDPOINT + "/listKeys", versions=v.ENDPOINTS)
def list_keys(cloud: Cloud, call: Call) -> Answer:
    """OnlineEndpoints_ListKeys."""
    return Answer(200, dict(cloud.keys[endpoint_of(cloud, call)["id"].lower()]))


@operation("OnlineEndpoints_RegenerateKeys", "POST", ENDPOINT + "/regenerateKeys", versions=v.ENDPOINTS)
def regenerate(cloud: Cloud, call: Call) -> Answer:
    """OnlineEndpoints_RegenerateKeys: 202; the new key is the one given, or a random one.

    Uncertain: azure-ai-ml sends the *present* key as `keyValue` and users still get a new one, so the present one is no wish here.
    """
    found, ws = endpoint_of(cloud, call), space(cloud, call)
    still(found)
    said = call.json
    word = {"primary": "primaryKey", "secondary": "secondaryKey"}[said["keyType"].lower()]
    asked = said.get("keyValue")
    value = asked if asked and asked != cloud.keys[found["id"].lower()][word] else secrets.token_urlsafe(24)

    def work() -> None:
        cloud.keys[found["id"].lower()][word] = value

    _, headers = begin(cloud, ws, call, "oe", "OnlineEndpoints_RegenerateKeys", work)
    return Answer(202, None, headers)
