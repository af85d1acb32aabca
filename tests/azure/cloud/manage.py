"""Management: metadata of the cloud, workspaces, datastores, computes, roles and long operations' states."""

from __future__ import annotations

import threading
import traceback
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.azure.cloud import versions as v
from tests.azure.cloud.resources import Workspace, now
from tests.azure.cloud.tokens import TENANT
from tests.azure.cloud.wire import WS, Answer, Call, Refusal, not_found, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

LOCATION = "/subscriptions/{sub}/providers/Microsoft.MachineLearningServices/locations/{loc}"


def space(cloud: Cloud, call: Call) -> Workspace:
    """The workspace of a call; 404 when there is none."""
    for w in cloud.workspaces.values():
        if (w.subscription, w.resource_group.lower(), w.name.lower()) == (
            call["sub"],
            call["rg"].lower(),
            call["ws"].lower(),
        ):
            return w
    raise Refusal(
        404,
        "ResourceNotFound",
        f"The Resource 'Microsoft.MachineLearningServices/workspaces/{call['ws']}' under resource group '{call['rg']}' was not found.",
    )


def furnish(cloud: Cloud, ws: Workspace) -> None:
    """What a new workspace has: datastores and the compute cluster."""
    by = Call("arm", "", "PUT", "", {}, {}, b"", "", principal=ws.principal)  # type: ignore[arg-type]
    stores = {
        "workspaceblobstore": ("AzureBlob", "containerName", True),
        "lake": ("AzureDataLakeGen2", "filesystem", False),
    }
    for name, (kind, word, default) in stores.items():
        cloud.resources.put(
            f"{ws.id}/datastores/{name}", "datastores", by,
            {"description": None, "tags": {}, "isDefault": default, "properties": {}, "credentials": {"credentialsType": "None"},
             "datastoreType": kind, "accountName": ws.account, word: ws.file_system, "endpoint": "core.windows.net",
             "protocol": "https"},
        )  # fmt: skip
    put_compute(
        cloud,
        ws,
        by,
        ws.compute,
        {
            "vmSize": ws.node,
            "scaleSettings": {"maxNodeCount": 4, "minNodeCount": 0, "nodeIdleTimeBeforeScaleDown": "PT2M"},
        },
    )


def put_compute(
    cloud: Cloud,
    ws: Workspace,
    call: Call,
    name: str,
    said: dict[str, Any],
    tags: dict[str, str] | None = None,
) -> dict[str, Any]:
    """An AmlCompute cluster with the service's defaults."""
    inner = {
        "vmPriority": "Dedicated", "osType": "Linux", "isolatedNetwork": False, "remoteLoginPortPublicAccess": "Disabled",
        "allocationState": "Steady", "allocationStateTransitionTime": now(), "errors": None, "currentNodeCount": 0,
        "targetNodeCount": 0,
        "nodeStateCounts": {f"{k}NodeCount": 0 for k in ("preparing", "running", "idle", "unusable", "leaving", "preempted")},
        "enableNodePublicIp": True, **said,
    }  # fmt: skip
    properties = {
        "description": None, "createdOn": now(), "modifiedOn": now(), "computeType": "AmlCompute",
        "provisioningState": "Succeeded", "properties": inner,
    }  # fmt: skip
    more: dict[str, Any] = {"tags": tags} if tags else {}
    made, _ = cloud.resources.put(
        f"{ws.id}/computes/{name}",
        "computes",
        call,
        properties,
        location=ws.region,
        identity=identity_of(ws),
        **more,
    )
    made.pop("systemData")  # the published example has none
    return made


def identity_of(ws: Workspace) -> dict[str, str]:
    """A system-assigned identity."""
    return {"type": "SystemAssigned", "principalId": ws.principal, "tenantId": TENANT}


@operation("Metadata.Endpoints", "GET", "/metadata/endpoints", versions=v.METADATA, audience="")
def endpoints(cloud: Cloud, call: Call) -> Answer:
    """Metadata.Endpoints: the description of this cloud (read by ARM_CLOUD_METADATA_URL)."""
    return Answer(
        200,
        [{"name": cloud.cloud_name, "portal": f"{cloud.url}/portal", "resourceManager": f"{cloud.url}/",
          "authentication": {"loginEndpoint": cloud.url, "audiences": [cloud.url, "https://management.azure.com"],
              "tenant": "common"},
          "suffixes": {"storage": "stand-in.invalid", "keyVaultDns": "stand-in.invalid"}}],
    )  # fmt: skip


@operation("Workspaces_Get", "GET", WS, versions=v.WORKSPACES)
def get_workspace(cloud: Cloud, call: Call) -> Answer:
    """Workspaces_Get. `mlFlowTrackingUri` and `workspaceId` stand in the real answer, not in the published example."""
    w = space(cloud, call)
    host = cloud.url.removeprefix("https://")
    properties = {
        "description": f"{w.env} of the test estate", "friendlyName": w.name, "hbiWorkspace": False,
        "publicNetworkAccess": "Enabled",
        "storageAccount": w.scope(f"Microsoft.Storage/storageAccounts/{w.account}"),
        "keyVault": w.scope(f"Microsoft.KeyVault/vaults/{w.vault}"),
        "containerRegistry": w.scope("Microsoft.ContainerRegistry/registries/crstandin"),
        "applicationInsights": w.scope(f"microsoft.insights/components/appi-{w.env}"), "discoveryUrl": f"{cloud.url}/discovery",
        "mlFlowTrackingUri": f"azureml://{host}/mlflow/v1.0{w.id}", "workspaceId": w.guid,
    }  # fmt: skip
    return Answer(
        200,
        {"id": w.id, "name": w.name, "type": "Microsoft.MachineLearningServices/workspaces", "location": w.region, "tags": {},
         "identity": identity_of(w), "properties": properties,
         "systemData": {"createdAt": "2026-01-01T00:00:00.0Z", "createdBy": "stand-in", "createdByType": "User",
                        "lastModifiedAt": "2026-01-01T00:00:00.0Z", "lastModifiedBy": "stand-in", "lastModifiedByType": "User"}},
    )  # fmt: skip


@operation("Workspaces.Discovery", "GET", "/discovery", versions=None, audience="")
def discovery(cloud: Cloud, call: Call) -> Answer:
    """Workspaces.Discovery: addresses of the region's services (keys as the client reads them)."""
    return Answer(
        200,
        {
            k: cloud.url
            for k in ("api", "history", "experimentation", "execution", "mlflow", "modelmanagement")
        },
    )


@operation("Datastores_Get", "GET", WS + "/datastores/{name}", versions=v.DATASTORES)
def get_datastore(cloud: Cloud, call: Call) -> Answer:
    """Datastores_Get."""
    return Answer(200, _there(cloud, f"{space(cloud, call).id}/datastores/{call['name']}", call["name"]))


@operation("Datastores_List", "GET", WS + "/datastores", versions=v.DATASTORES)
def list_datastores(cloud: Cloud, call: Call) -> Answer:
    """Datastores_List."""
    found = cloud.resources.below(f"{space(cloud, call).id}/datastores")
    return Answer(
        200,
        {
            "value": [
                d for d in found if call.query.get("isDefault") != "true" or d["properties"]["isDefault"]
            ]
        },
    )


@operation("Datastores_ListSecrets", "POST", WS + "/datastores/{name}/listSecrets", versions=v.DATASTORES)
def datastore_secrets(cloud: Cloud, call: Call) -> Answer:
    """Datastores_ListSecrets: the account's key (Azurite's)."""
    return Answer(200, {"secretsType": "AccountKey", "key": cloud.azurite.keys[space(cloud, call).account]})


@operation("Compute_Get", "GET", WS + "/computes/{name}", versions=v.COMPUTES)
def get_compute(cloud: Cloud, call: Call) -> Answer:
    """Compute_Get."""
    found = cloud.resources.get(f"{space(cloud, call).id}/computes/{call['name']}")
    if found is None:
        raise Refusal(404, "NotFound", f"Requested compute {call['name']} not found.")
    return Answer(200, found)


@operation("Compute_List", "GET", WS + "/computes", versions=v.COMPUTES)
def list_computes(cloud: Cloud, call: Call) -> Answer:
    """Compute_List."""
    return Answer(200, {"value": cloud.resources.below(f"{space(cloud, call).id}/computes")})


@operation("Compute_CreateOrUpdate", "PUT", WS + "/computes/{name}", versions=v.COMPUTES)
def make_compute(cloud: Cloud, call: Call) -> Answer:
    """Compute_CreateOrUpdate: 201 and a status to poll (recording R5)."""
    w = space(cloud, call)
    said = call.json["properties"]
    if said.get("computeType") != "AmlCompute":
        raise Refusal(400, "UserError", f"the stand-in makes AmlCompute only, not {said.get('computeType')}")
    made = put_compute(
        cloud,
        w,
        call,
        call["name"],
        {k: x for k, x in said.get("properties", {}).items() if x is not None},
        call.json.get("tags"),
    )
    id = str(uuid.uuid4())
    cloud.operations[id] = {"status": "Succeeded", "percentComplete": 100.0}
    where = f"{cloud.url}{_at(LOCATION, w)}/computeOperationsStatus/{id}?api-version={call.query['api-version']}&service=new"
    return Answer(
        201,
        made | {"properties": made["properties"] | {"provisioningState": "Creating"}},
        {"Azure-AsyncOperation": where},
    )


@operation(
    "RoleAssignments_ListForScope",
    "GET",
    "/{scope*}/providers/Microsoft.Authorization/roleAssignments",
    versions=v.ROLES,
)
def role_assignments(cloud: Cloud, call: Call) -> Answer:
    """RoleAssignments_ListForScope (Microsoft.Authorization; no example in the folder: shape after its public reference)."""
    from tests.azure.cloud.stand_in import ROLES

    rows = []
    for w in cloud.workspaces.values():
        if f"/{call['scope']}".lower().startswith(f"/subscriptions/{w.subscription}".lower()):
            for service, role in ROLES.items():
                if (service, w.env) not in cloud.missing_roles:
                    name = str(uuid.uuid5(uuid.NAMESPACE_URL, w.id + role))
                    kind = f"/subscriptions/{w.subscription}/providers/Microsoft.Authorization/roleDefinitions/{ROLE_IDS[role]}"
                    rows.append(
                        {"id": f"{w.scope()}/providers/Microsoft.Authorization/roleAssignments/{name}", "name": name,
                         "type": "Microsoft.Authorization/roleAssignments",
                         "properties": {"roleDefinitionId": kind, "principalId": w.principal, "principalType": "ServicePrincipal",
                             "scope": w.scope()}}
                    )  # fmt: skip
    return Answer(200, {"value": rows})


ROLE_IDS = {
    "AzureML Data Scientist": "f6c7c914-8db3-469d-8ca1-694a8f32e121",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Key Vault Secrets Officer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "Cost Management Reader": "72fafb9e-0641-4937-9268-a91bfd8191a3",
}


def begin(
    cloud: Cloud, ws: Workspace, call: Call, mark: str, name: str, work: Callable[[], None]
) -> tuple[str, dict[str, str]]:
    """Start a long operation in the background; returns its id and the headers that name where to poll.

    A late fault of operation `name` makes it end Failed after it was accepted, with the code and message of its body; so does
    an exception of `work`.
    """
    id = f"{mark}:{ws.guid}:{uuid.uuid4()}"
    path = f"{cloud.url}{_at(LOCATION, ws)}"
    version = call.query["api-version"]
    about = {"id": f"{_at(LOCATION, ws)}/mfeOperationsStatus/{id}", "name": id, "startTime": now()}
    cloud.operations[id] = {**about, "percentComplete": 0.0, "status": "Updating"}
    fault = cloud.faults.take(name, call.path, late=True)

    def run() -> None:
        end: dict[str, Any] = {"status": "Succeeded", "percentComplete": 100.0}
        try:
            if fault is not None:  # what failed has not been done
                said = (fault.body or {}).get("error", {})
                raise Refusal(
                    fault.status or 400,
                    said.get("code", "ResourceOperationFailure"),
                    said.get("message", "The operation failed late, as scheduled."),
                )
            work()
        except Refusal as e:
            end = {
                "status": "Failed",
                "percentComplete": 100.0,
                "error": {"code": e.code, "message": e.message},
            }
        except Exception as e:
            traceback.print_exc()
            cloud.broken.append(f"{name}: {e}")
            end = {"status": "Failed", "error": {"code": "StandInError", "message": str(e)}}
        cloud.finish(id, end["status"])
        cloud.operations[id] = {**about, "endTime": now(), **end}

    threading.Thread(target=run, daemon=True).start()
    return id, {
        "Azure-AsyncOperation": f"{path}/mfeOperationsStatus/{id}?api-version={version}",
        "Location": f"{path}/mfeOperationResults/{id}?api-version={version}",
        "x-ms-async-operation-timeout": "PT30M",
        "retry-after-ms": cloud.pace,
    }


@operation("Operations.Status", "GET", LOCATION + "/{kind}OperationsStatus/{id}", versions=v.STATUS)
def operation_status(cloud: Cloud, call: Call) -> Answer:
    """Operations.Status: mfeOperationsStatus (recording R1) and computeOperationsStatus (R5)."""
    found = cloud.operations.get(call["id"])
    if found is None:
        raise not_found(f"operation {call['id']}")
    return Answer(200, found, {"retry-after-ms": cloud.pace} if found["status"] == "Updating" else {})


@operation("Operations.Result", "GET", LOCATION + "/mfeOperationResults/{id}", versions=v.STATUS)
def operation_result(cloud: Cloud, call: Call) -> Answer:
    """Operations.Result: 202 while it runs (not seen in a recording), then 200 without a body (R4)."""
    found = cloud.operations.get(call["id"])
    if found is None:
        raise not_found(f"operation {call['id']}")
    if found["status"] == "Updating":
        return Answer(202, None, {"Location": f"{cloud.url}{call.target}", "retry-after-ms": cloud.pace})
    return Answer(200)


def _at(text: str, ws: Workspace) -> str:
    return text.format(sub=ws.subscription, loc=ws.region)


def _there(cloud: Cloud, id: str, name: str) -> dict[str, Any]:
    found = cloud.resources.get(id)
    if found is None:
        raise not_found(name)
    return found
