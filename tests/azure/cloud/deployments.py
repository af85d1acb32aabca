"""Deployments of managed online endpoints: made, listed, deleted, their logs."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tests.azure.cloud import scoring
from tests.azure.cloud import versions as v
from tests.azure.cloud.manage import begin, space
from tests.azure.cloud.online import ENDPOINT, endpoint_of, gone, named, still
from tests.azure.cloud.wire import Answer, Call, Refusal, not_found, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

DEPLOYMENT = ENDPOINT + "/deployments/{slot}"


def deployment_of(cloud: Cloud, call: Call) -> dict[str, Any]:
    found = cloud.resources.get(f"{endpoint_of(cloud, call)['id']}/deployments/{call['slot']}")
    if found is None:
        raise not_found(f"Deployment {call['slot']}", "DeploymentNotFound")
    return found


@operation("OnlineDeployments_CreateOrUpdate", "PUT", DEPLOYMENT, versions=v.DEPLOYMENTS)
def put_deployment(cloud: Cloud, call: Call) -> Answer:
    """OnlineDeployments_CreateOrUpdate: 201 Updating, then a status to poll; Succeeded when its server says that it is ready."""
    parent, ws = endpoint_of(cloud, call), space(cloud, call)
    id = f"{parent['id']}/deployments/{call['slot']}"
    with cloud.resources.lock:
        old = cloud.resources.get(id)
        still(parent)
        still(old)
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
            "description": None, "properties": {}, "codeConfiguration": None, "environmentVariables": {},
            "appInsightsEnabled": False, "model": None,
            "modelMountPath": None, "egressPublicNetworkAccess": "Enabled", "scaleSettings": {"scaleType": "Default"},
            "livenessProbe": probe, "readinessProbe": probe,
            "requestSettings": {"maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT0.5S", "requestTimeout": "PT5S"},
            **said,
            "provisioningState": "Updating",
        }  # fmt: skip
        made, new = cloud.resources.put(
            id, "onlineEndpoints/deployments", call, goal, **named(ws, call, "deployments", call.json)
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
    return Answer(200, deployment_of(cloud, call))


@operation("OnlineDeployments_List", "GET", ENDPOINT + "/deployments", versions=v.DEPLOYMENTS)
def list_deployments(cloud: Cloud, call: Call) -> Answer:
    """OnlineDeployments_List."""
    return Answer(
        200,
        {"value": cloud.resources.below(f"{endpoint_of(cloud, call)['id']}/deployments"), "nextLink": None},
    )


@operation("OnlineDeployments_Delete", "DELETE", DEPLOYMENT, versions=v.DEPLOYMENTS)
def delete_deployment(cloud: Cloud, call: Call) -> Answer:
    """OnlineDeployments_Delete: 202, 204 when there is none; refused while it has traffic (the status of that is uncertain)."""
    parent, ws = endpoint_of(cloud, call), space(cloud, call)
    found = cloud.resources.get(f"{parent['id']}/deployments/{call['slot']}")
    if found is None:
        return Answer(204)
    with cloud.resources.lock:
        still(parent)
        still(found)
        if parent["properties"]["traffic"].get(call["slot"]):
            raise Refusal(400, "BadArgument", f"Deployment {call['slot']} can't be deleted: it has traffic")
        found["properties"]["provisioningState"] = "Deleting"
    key, headers = begin(
        cloud, ws, call, "od", "OnlineDeployments_Delete", lambda: cloud.servers.stop(found["id"])
    )

    def end(status: str) -> None:
        gone(cloud, found, status)
        parent["properties"]["traffic"].pop(call["slot"], None)

    cloud.when(key, end)
    return Answer(202, b"null", headers)


@operation("OnlineDeployments_GetLogs", "POST", DEPLOYMENT + "/getLogs", versions=v.DEPLOYMENTS)
def get_logs(cloud: Cloud, call: Call) -> Answer:
    """OnlineDeployments_GetLogs: the last lines of the server's output."""
    found = deployment_of(cloud, call)
    if str(call.json.get("containerType", "InferenceServer")).lower() == "storageinitializer":
        return Answer(200, {"content": ""})
    lines = cloud.servers.log(found["id"]).splitlines(keepends=True)
    return Answer(200, {"content": "".join(lines[-int(call.json.get("tail") or 50) :])})
