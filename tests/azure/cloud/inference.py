"""The scoring address of an endpoint: its key, its traffic, the container's answer."""

from __future__ import annotations

import http.client
import random
from typing import TYPE_CHECKING

from tests.azure.cloud.passing import passed_on
from tests.azure.cloud.wire import Answer, Call, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud


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
    try:
        status, got, body = passed_on(
            port, call.method, "/" + call["route"], call.headers, call.body, seconds=60
        )
    except (OSError, http.client.HTTPException) as e:
        return Answer(502, {"message": f"upstream: {type(e).__name__}"}, {"azureml-model-deployment": slot})
    kind = got.get("content-type") or "application/json"
    own = {k: x for k, x in got.items() if k.startswith("x-")}
    headers = {"content-type": kind, "azureml-model-deployment": slot, "server": "azureml-frontdoor", **own}
    if not 200 <= status < 300:
        headers |= {
            "ms-azureml-model-error-statuscode": str(status),
            "ms-azureml-model-error-reason": "model_error",
        }
        return Answer(424, body, headers)
    return Answer(status, body, headers)
