"""Managed online endpoints and deployments: long operations, traffic, keys, logs, scoring.

States and headers after recording R1. One operation at a time on a resource: the next gets 409.
"""

from __future__ import annotations

import copy
import http.client
import random
import secrets
from typing import TYPE_CHECKING, Any

from tests.azure.cloud import scoring
from tests.azure.cloud import versions as v
from tests.azure.cloud.manage import begin, space
from tests.azure.cloud.resources import Workspace
from tests.azure.cloud.tokens import TENANT
from tests.azure.cloud.wire import WS, Answer, Call, Refusal, not_found, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

ENDPOINT = WS + "/onlineEndpoints/{name}"
DEPLOYMENT = ENDPOINT + "/deployments/{slot}"
MOVING = ("Creating", "Updating", "Deleting")
HOP = {
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "authorization",
    "accept-encoding",
    "keep-alive",
    "expect",
}


def _endpoint(cloud: Cloud, call: Call) -> dict[str, Any]:
    found = cloud.resources.get(f"{space(cloud, call).id}/onlineEndpoints/{call['name']}")
    if found is None:
        raise not_found(f"Endpoint {call['name']}", "EndpointNotFound")
    return found


def _deployment(cloud: Cloud, call: Call) -> dict[str, Any]:
    found = cloud.resources.get(f"{_endpoint(cloud, call)['id']}/deployments/{call['slot']}")
    if found is None:
        raise not_found(f"Deployment {call['slot']}", "DeploymentNotFound")
    return found


def _still(resource: dict[str, Any] | None) -> None:
    """409 while an operation is going on."""
    if resource is not None and resource["properties"]["provisioningState"] in MOVING:
        raise Refusal(
            409,
            "Conflict",
            f"Another operation is in progress on {resource['name']}: {resource['properties']['provisioningState']}",
        )


def _named(ws: Workspace, call: Call, kind: str, said: dict[str, Any]) -> dict[str, Any]:
    """What a tracked resource carries beside its properties."""
    identity = {"type": "SystemAssigned", "principalId": ws.principal, "tenantId": TENANT}
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
        _still(old)
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
            id, "onlineEndpoints", call, shown, **_named(ws, call, "onlineEndpoints", call.json)
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
    return Answer(200, _endpoint(cloud, call))


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
        _still(found)
        found["properties"]["provisioningState"] = "Deleting"

    def work() -> None:
        for d in cloud.resources.below(f"{found['id']}/deployments"):
            cloud.servers.stop(d["id"])

    key, headers = begin(cloud, ws, call, "oe", "OnlineEndpoints_Delete", work)
    cloud.when(key, lambda status: _gone(cloud, found, status))
    return Answer(202, b"null", headers)


def _gone(cloud: Cloud, resource: dict[str, Any], status: str) -> None:
    if status == "Succeeded":
        cloud.resources.remove(resource["id"])
        cloud.keys.pop(resource["id"].lower(), None)
    else:
        resource["properties"]["provisioningState"] = "Failed"


@operation("OnlineEndpoints_ListKeys", "POST", ENDPOINT + "/listKeys", versions=v.ENDPOINTS)
def list_keys(cloud: Cloud, call: Call) -> Answer:
    """OnlineEndpoints_ListKeys."""
    return Answer(200, dict(cloud.keys[_endpoint(cloud, call)["id"].lower()]))


@operation("OnlineEndpoints_RegenerateKeys", "POST", ENDPOINT + "/regenerateKeys", versions=v.ENDPOINTS)
def regenerate(cloud: Cloud, call: Call) -> Answer:
    """OnlineEndpoints_RegenerateKeys: 202; the new key is the one given, or a random one.

    Uncertain: azure-ai-ml sends the *present* key as `keyValue` and users still get a new one, so the present one is no wish here.
    """
    found, ws = _endpoint(cloud, call), space(cloud, call)
    _still(found)
    said = call.json
    word = {"primary": "primaryKey", "secondary": "secondaryKey"}[said["keyType"].lower()]
    asked = said.get("keyValue")
    value = asked if asked and asked != cloud.keys[found["id"].lower()][word] else secrets.token_urlsafe(24)

    def work() -> None:
        cloud.keys[found["id"].lower()][word] = value

    _, headers = begin(cloud, ws, call, "oe", "OnlineEndpoints_RegenerateKeys", work)
    return Answer(202, None, headers)


@operation("OnlineDeployments_CreateOrUpdate", "PUT", DEPLOYMENT, versions=v.DEPLOYMENTS)
def put_deployment(cloud: Cloud, call: Call) -> Answer:
    """OnlineDeployments_CreateOrUpdate: 201 Updating, then a status to poll; Succeeded when its server says that it is ready."""
    parent, ws = _endpoint(cloud, call), space(cloud, call)
    id = f"{parent['id']}/deployments/{call['slot']}"
    with cloud.resources.lock:
        old = cloud.resources.get(id)
        _still(parent)
        _still(old)
        said = {k: x for k, x in call.json["properties"].items() if x is not None}
        if said.get("endpointComputeType") != "Managed":
            raise Refusal(400, "BadArgument", "the stand-in runs managed deployments only")
        image = scoring.image_of(cloud, ws, said)
        probe = {
            "failureThreshold": 30,
            "successThreshold": 1,
            "timeout": "PT2S",
            "period": "PT10S",
            "initialDelay": "PT10S",
        }
        goal = {
            "description": None, "properties": {}, "codeConfiguration": None, "environmentVariables": {}, "appInsightsEnabled": False, "model": None,
            "modelMountPath": None, "egressPublicNetworkAccess": "Enabled", "scaleSettings": {"scaleType": "Default"}, "livenessProbe": probe, "readinessProbe": probe,
            "requestSettings": {"maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT0.5S", "requestTimeout": "PT5S"}, **said,
            "provisioningState": "Updating",
        }  # fmt: skip
        made, new = cloud.resources.put(
            id, "onlineEndpoints/deployments", call, goal, **_named(ws, call, "deployments", call.json)
        )

    def work() -> None:
        cloud.servers.start(ws, id, parent["name"], made["name"], goal, image)

    key, headers = begin(cloud, ws, call, "od", "OnlineDeployments_CreateOrUpdate", work)
    cloud.when(key, lambda status: made["properties"].update(provisioningState=status))
    answer = copy.deepcopy(made)
    answer["properties"]["provisioningState"] = "Updating"
    return Answer(
        201 if new else 200,
        answer,
        {**headers, "Location": f"{cloud.url}{id}?api-version={call.query['api-version']}"},
    )


@operation("OnlineDeployments_Get", "GET", DEPLOYMENT, versions=v.DEPLOYMENTS)
def get_deployment(cloud: Cloud, call: Call) -> Answer:
    """OnlineDeployments_Get."""
    return Answer(200, _deployment(cloud, call))


@operation("OnlineDeployments_List", "GET", ENDPOINT + "/deployments", versions=v.DEPLOYMENTS)
def list_deployments(cloud: Cloud, call: Call) -> Answer:
    """OnlineDeployments_List."""
    return Answer(
        200, {"value": cloud.resources.below(f"{_endpoint(cloud, call)['id']}/deployments"), "nextLink": None}
    )


@operation("OnlineDeployments_Delete", "DELETE", DEPLOYMENT, versions=v.DEPLOYMENTS)
def delete_deployment(cloud: Cloud, call: Call) -> Answer:
    """OnlineDeployments_Delete: 202, 204 when there is none; refused while it has traffic (the status of that is uncertain)."""
    parent, ws = _endpoint(cloud, call), space(cloud, call)
    found = cloud.resources.get(f"{parent['id']}/deployments/{call['slot']}")
    if found is None:
        return Answer(204)
    with cloud.resources.lock:
        _still(parent)
        _still(found)
        if parent["properties"]["traffic"].get(call["slot"]):
            raise Refusal(400, "BadArgument", f"Deployment {call['slot']} can't be deleted: it has traffic")
        found["properties"]["provisioningState"] = "Deleting"
    key, headers = begin(
        cloud, ws, call, "od", "OnlineDeployments_Delete", lambda: cloud.servers.stop(found["id"])
    )

    def end(status: str) -> None:
        _gone(cloud, found, status)
        parent["properties"]["traffic"].pop(call["slot"], None)

    cloud.when(key, end)
    return Answer(202, b"null", headers)


@operation("OnlineDeployments_GetLogs", "POST", DEPLOYMENT + "/getLogs", versions=v.DEPLOYMENTS)
def get_logs(cloud: Cloud, call: Call) -> Answer:
    """OnlineDeployments_GetLogs: the last lines of the server's output."""
    found = _deployment(cloud, call)
    if str(call.json.get("containerType", "InferenceServer")).lower() == "storageinitializer":
        return Answer(200, {"content": ""})
    lines = cloud.servers.log(found["id"]).splitlines(keepends=True)
    return Answer(200, {"content": "".join(lines[-int(call.json.get("tail") or 50) :])})


@operation("Scoring.Call", "*", "/inference/{env}/{name}/{route*}", versions=None, audience="")
def score(cloud: Cloud, call: Call) -> Answer:
    """Scoring.Call: key, then the named deployment or one by the traffic; an error of the container becomes 424.

    424 with `ms-azureml-model-error-statuscode` is documented; whether the container's body passes through was not seen.
    """
    ws = cloud.workspaces[call["env"]]
    endpoint = cloud.resources.get(f"{ws.id}/onlineEndpoints/{call['name']}")
    if endpoint is None:
        return Answer(404, b"")
    keys = cloud.keys[endpoint["id"].lower()].values()
    if call.headers.get("authorization").removeprefix("Bearer ") not in keys:
        return Answer(401, {"message": "key_auth_access_denied"})
    traffic = {k: x for k, x in endpoint["properties"]["traffic"].items() if x > 0}
    slot = call.headers.get("azureml-model-deployment")
    if not slot:
        if not traffic:
            return Answer(404, {"message": "no deployment has traffic"})
        slot = random.choices(list(traffic), list(traffic.values()))[0]
    port = cloud.servers.port(f"{endpoint['id']}/deployments/{slot}")
    if port is None:
        return Answer(404, {"message": f"deployment {slot} was not found"})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        sent = {k: x for k, x in call.headers.items() if k not in HOP}
        connection.request(call.method, "/" + call["route"], call.body, sent)
        got = connection.getresponse()
        body, kind = got.read(), got.getheader("content-type") or "application/json"
    except (OSError, http.client.HTTPException) as e:
        return Answer(502, {"message": f"upstream: {type(e).__name__}"}, {"azureml-model-deployment": slot})
    finally:
        connection.close()
    own = {k.lower(): x for k, x in got.getheaders() if k.lower().startswith("x-")}
    headers = {"content-type": kind, "azureml-model-deployment": slot, "server": "azureml-frontdoor", **own}
    if not 200 <= got.status < 300:
        headers |= {
            "ms-azureml-model-error-statuscode": str(got.status),
            "ms-azureml-model-error-reason": "model_error",
        }
        return Answer(424, body, headers)
    return Answer(got.status, body, headers)
