"""Which published example belongs to an operation, which has none, and where the wire differs from it, with the reason."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "Workspaces_Get": ("Workspaces_Get",),
    "Datastores_Get": ("Datastores_Get",),
    "Datastores_List": ("Datastores_List",),
    "Datastores_ListSecrets": ("Datastores_ListSecrets",),
    "Compute_Get": ("Compute_Get_AmlCompute",),
    "Compute_CreateOrUpdate": ("Compute_CreateOrUpdate_AmlCompute",),
    "DataVersions_CreateOrUpdate": ("DataVersions_CreateOrUpdate",),
    "DataVersions_Get": ("DataVersions_Get",),
    "DataVersions_List": ("DataVersions_List",),
    "DataContainers_Get": ("DataContainers_Get",),
    "ModelVersions_CreateOrUpdate": ("ModelVersions_CreateOrUpdate",),
    "ModelVersions_Get": ("ModelVersions_Get",),
    "ModelVersions_List": ("ModelVersions_List",),
    "ModelContainers_Get": ("ModelContainers_Get",),
    "ModelContainers_List": ("ModelContainers_List",),
    "EnvironmentVersions_CreateOrUpdate": ("EnvironmentVersions_CreateOrUpdate",),
    "EnvironmentVersions_Get": ("EnvironmentVersions_Get",),
    "CodeVersions_CreateOrUpdate": ("CodeVersions_CreateOrUpdate",),
    "CodeVersions_CreateOrGetStartPendingUpload": ("CodeVersions_CreateOrGetStartPendingUpload",),
    "Jobs_CreateOrUpdate": ("Jobs_CreateOrUpdate_CommandJob",),
    "Jobs_Get": ("Jobs_Get_CommandJob",),
    "Jobs_List": ("Jobs_List_CommandJob",),
    "Jobs_Cancel": ("Jobs_Cancel",),
    "OnlineEndpoints_CreateOrUpdate": ("OnlineEndpoints_CreateOrUpdate",),
    "OnlineEndpoints_Get": ("OnlineEndpoints_Get",),
    "OnlineEndpoints_List": ("OnlineEndpoints_List",),
    "OnlineEndpoints_ListKeys": ("OnlineEndpoints_ListKeys",),
    "OnlineEndpoints_RegenerateKeys": ("OnlineEndpoints_RegenerateKeys",),
    "OnlineEndpoints_Delete": ("OnlineEndpoints_Delete",),
    "OnlineDeployments_CreateOrUpdate": ("OnlineDeployments_CreateOrUpdate_ManagedOnlineDeployment",),
    "OnlineDeployments_Get": ("OnlineDeployments_Get_ManagedOnlineDeployment",),
    "OnlineDeployments_GetLogs": ("OnlineDeployments_GetLogs",),
    "OnlineDeployments_Delete": ("OnlineDeployments_Delete",),
    "SetSecret": ("SetSecret",),
    "GetSecret": ("GetSecret",),
    "GetSecrets": ("GetSecrets",),
    "DeleteSecret": ("DeleteSecret",),
    "Query_Usage": ("Query_Usage_SubscriptionQuery", "Query_Usage_SubscriptionQueryGrouping", "Query_Usage_ResourceGroupQuery", "Query_Usage_ResourceGroupQueryGrouping"),
}  # fmt: skip

# lists without an example in the folder -> the operation whose answer shows one of their items
LISTS: dict[str, str] = {
    "Compute_List": "Compute_Get",
    "DataContainers_List": "DataContainers_Get",
    "EnvironmentVersions_List": "EnvironmentVersions_Get",
    "CodeVersions_List": "CodeVersions_CreateOrUpdate",
    "OnlineDeployments_List": "OnlineDeployments_Get",
}

# operations without an example in the folder -> after what their shape was made
NO_EXAMPLE: dict[str, str] = {
    "Metadata.Endpoints": "not in the folder; keys as azure-ai-ml reads them",
    "Workspaces.Discovery": "no public specification; keys as azure-ai-ml reads them",
    "EnvironmentContainers_Get": "not in the folder; as ModelContainers_Get",
    "EnvironmentContainers_List": "not in the folder; as ModelContainers_List",
    "CodeContainers_Get": "not in the folder; as ModelContainers_Get",
    "CodeContainers_List": "not in the folder; as ModelContainers_List",
    "CodeVersions_Get": "not in the folder; what CodeVersions_CreateOrUpdate shows",
    "Operations.Status": "no example; recordings R1 and R5 of the real service",
    "Operations.Result": "no example; recording R4 of the real service",
    "RoleAssignments_ListForScope": "Microsoft.Authorization is not in the folder; its public reference",
    "RunHistory.*": "no public specification; keys as azure-ai-ml's run history client reads them",
    "GetSecretVersions": "not in the folder; as GetSecrets",
    "GetDeletedSecret": "not in the folder; what DeleteSecret shows",
    "PurgeDeletedSecret": "not in the folder; 204 without a body",
    "RetailPrices.List": "not in the folder; its public reference",
    "Identity.*": "Entra ID and the node's identity endpoint; as azure-identity reads them",
    "Storage.Any": "Blob answers are Azurite's; DFS as azure-storage-file-datalake reads it",
    "MLflow.Any": "answers of a real MLflow server",
    "Scoring.Call": "the deployment's own answers",
}

ARCHIVED = (
    "in the specification of the asset's base; the client sends and reads it, the example leaves it out"
)
NEXT = "in the specification of containers (read only); the client makes versions from it, the example leaves it out"
VIEW = "in the specification of the list; the client sends it, the example leaves it out"
SPEC = "in the specification; the client sends it and the service shows it, the example leaves it out"
CLUSTER = "in the specification; the example's cluster has none"
SECRET = "in the specification of secrets; the example has none"

# operation -> path in the document (`?name` a query, `!status` a status) -> reason
KNOWN: dict[str, dict[str, str]] = {
    "*Versions_*": {"*.isArchived": ARCHIVED, "?listViewType": VIEW},
    "*Containers_*": {
        "*.isArchived": ARCHIVED,
        "?listViewType": VIEW,
        "*.latestVersion": NEXT,
        "*.nextVersion": NEXT,
    },
    "CodeVersions_CreateOrUpdate": {
        ".properties.properties.*": "the client writes the version of its hash as a number"
    },
    "EnvironmentVersions_*": {"*.osType": SPEC},
    "Jobs_*": {
        "*.isArchived": ARCHIVED,
        "*.properties.inputs.*.uri": "the example's input is a literal; a file or folder has uri and mode instead of value",
        "*.properties.inputs.*.mode": "as uri",
        "*.resources.shmSize": "added by the service (recording R3)",
        "?listViewType": VIEW,
        "?$skip": "the stand-in's own mark of the next page; the service's is opaque",
    },
    "Datastores_*": {
        "*.filesystem": "the example is of a blob datastore; a Data Lake Gen2 one names its file system"
    },
    "Compute_Get": {".identity": "in the specification; the example's cluster has none", ".tags": CLUSTER},
    "Compute_CreateOrUpdate": {
        ".tags": CLUSTER,
        ".identity": "in the specification; the example's cluster has none",
        ".properties.disableLocalAuth": SPEC,
        ".properties.properties.*": "the example changes a cluster; the client sends what a new one needs, keys as in the answer",
    },
    "OnlineEndpoints_*": {"*.mirrorTraffic": SPEC, "*.publicNetworkAccess": SPEC},
    "OnlineDeployments_*": {"*.egressPublicNetworkAccess": SPEC},
    "SetSecret": {".tags": SECRET, ".contentType": SECRET},
    "GetSecret": {".tags": SECRET, ".contentType": SECRET},
    "GetSecrets": {
        "*.tags": SECRET,
        "?$skiptoken": "stands in the example's own nextLink, not among its parameters",
    },
    "DeleteSecret": {".tags": SECRET, ".contentType": SECRET},
    "Query_Usage": {
        "?$skiptoken": "stands in an answer's own nextLink, not among its parameters",
        ".dataset.filter.tags": "a filter may be a single expression; the example nests it in and, or",
    },
    "Workspaces_Get": {
        ".properties.mlFlowTrackingUri": "in the specification (read only); the example leaves it out",
        ".properties.workspaceId": "in the specification (read only); the example leaves it out",
        ".systemData": "every ARM resource has it; the example leaves it out",
        ".tags": "every tracked ARM resource has them; the example leaves them out",
    },
}

SYSTEM = "optional: a system-assigned identity has no list of others"

# keys that every example of an answer has and an answer of the stand-in leaves out: all optional in the specification
ABSENT: dict[str, dict[str, str]] = {
    "Compute_*": {
        "*.subnet": "optional: a cluster without a network of its own",
        "*.virtualMachineImage": "optional: a cluster of the ordinary image",
    },
    "Datastores_*": {
        "*.containerName": "a blob datastore's; a Data Lake Gen2 one has filesystem",
        "*.credentials.secrets": "the service never shows them here; listSecrets does",
        ".nextLink": "optional: the last page",
    },
    "EnvironmentVersions_*": {
        "*.build": "optional: an environment of an image is not built",
        "*.condaFile": "optional: an environment of an image has none",
        "*.inferenceConfig": "optional: an environment that only jobs use has none",
    },
    "GetSecrets": {"*.contentType": "optional: a secret that was set without one"},
    "Jobs_*": {"*.parentJobName": "optional: a job without a parent"},
    "OnlineDeployments_*": {
        ".identity": "optional: the endpoint's identity is used",
        "*.startupProbe": "optional: later than the api-version that the client asks for",
        ".sku.family": "optional: not in recording R1",
        ".sku.size": "optional: not in recording R1",
    },
    "OnlineEndpoints_*": {
        "*.identity.userAssignedIdentities": SYSTEM,
        "*.sku": "optional: a managed endpoint has its nodes in its deployments",
    },
    "Workspaces_Get": {
        ".identity.userAssignedIdentities": SYSTEM,
        ".properties.allowPublicAccessWhenBehindVnet": "optional: the engine asks for no such part of a workspace",
        ".properties.containerRegistry": "optional: the engine asks for no such part of a workspace",
        ".properties.encryption": "optional: the engine asks for no such part of a workspace",
        ".properties.imageBuildCompute": "optional: the engine asks for no such part of a workspace",
        ".properties.managedNetwork": "optional: the engine asks for no such part of a workspace",
        ".properties.privateEndpointConnections": "optional: the engine asks for no such part of a workspace",
        ".properties.privateLinkCount": "optional: the engine asks for no such part of a workspace",
        ".properties.serviceProvisionedResourceGroup": "optional: the engine asks for no such part of a workspace",
        ".properties.sharedPrivateLinkResources": "optional: the engine asks for no such part of a workspace",
    },
}
