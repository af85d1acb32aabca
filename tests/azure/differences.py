"""Which published example belongs to an operation, which has none, and where the wire differs from it, with the reason.

A reason about the published specification ends with the definition and the api-version where it was read, the one that the
client asks for. `test_shapes` holds it to the clients' own models, which are made from that specification (2025-12-01).
"""

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
    "Query_Usage": ("Query_Usage_SubscriptionQuery", "Query_Usage_SubscriptionQueryGrouping", "Query_Usage_ResourceGroupQuery",
        "Query_Usage_ResourceGroupQueryGrouping"),
}  # fmt: skip

# operations without an example in the folder -> the one whose answer has the same form: containers differ by their type alone
# (AssetContainer, 2023-04-01-preview; so do the published examples CodeContainer/get and EnvironmentContainer/list)
LIKE: dict[str, str] = {
    "EnvironmentContainers_Get": "ModelContainers_Get",
    "CodeContainers_Get": "ModelContainers_Get",
}

# lists without an example in the folder -> the operation whose answer shows one of their items
LISTS: dict[str, str] = {
    "Compute_List": "Compute_Get",
    "DataContainers_List": "DataContainers_Get",
    "EnvironmentContainers_List": "ModelContainers_Get",
    "EnvironmentVersions_List": "EnvironmentVersions_Get",
    "CodeContainers_List": "ModelContainers_Get",
    "CodeVersions_List": "CodeVersions_CreateOrUpdate",
    "OnlineDeployments_List": "OnlineDeployments_Get",
}

# operations without an example in the folder -> after what their shape was made
NO_EXAMPLE: dict[str, str] = {
    "Metadata.Endpoints": "not in the folder; keys as azure-ai-ml reads them",
    "Workspaces.Discovery": "no public specification; keys as azure-ai-ml reads them",
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

MORE = "the example leaves it out; in the specification"  # so the client or the service may send it
ARCHIVED = f"{MORE} (AssetBase, 2023-04-01-preview)"
VIEW = "in the specification of the list; the client sends it, the example leaves it out"
SECRET = f"{MORE} (SecretBundle, 2026-04-01)"

NEW_CLUSTER = "the example changes a cluster; the client sends what a new one needs, keys as in the answer"
OF_A_CLUSTER = (
    "allocationState", "allocationStateTransitionTime", "currentNodeCount", "enableNodePublicIp", "isolatedNetwork",
    "nodeStateCounts", "osType", "remoteLoginPortPublicAccess", "targetNodeCount", "vmPriority", "vmSize",
)  # fmt: skip

# operation -> path in the document, of an item where it is a list (`[*]` any key of a map, `?name` a query, `!status` a status)
# -> reason; the path names its key
KNOWN: dict[str, dict[str, str]] = {
    "*Versions_*": {".properties.isArchived": ARCHIVED, "?listViewType": VIEW},
    "*Containers_*": {
        ".properties.isArchived": f"{MORE} (AssetContainer, 2023-04-01-preview)",
        "?listViewType": VIEW,
        ".properties.latestVersion": f"{MORE}, read only (AssetContainer, 2023-04-01-preview)",
        ".properties.nextVersion": f"{MORE}, read only; the client makes versions from it (AssetContainer, 2023-04-01-preview)",
    },
    "CodeVersions_CreateOrUpdate": {
        ".properties.properties.[*]": "the client writes the version of its hash as a number"
    },
    "EnvironmentVersions_*": {
        ".properties.osType": f"{MORE}, default Linux (EnvironmentVersionProperties, 2023-04-01-preview)"
    },
    "Jobs_*": {
        ".properties.isArchived": f"{MORE}, default false (JobBaseProperties, 2024-01-01-preview)",
        ".properties.inputs.[*].uri": "the example's input is a literal; a file or folder has uri (UriFolderJobInput, 2025-12-01)",
        ".properties.inputs.[*].mode": "as uri (UriFolderJobInput, 2025-12-01)",
        ".properties.resources.shmSize": "added by the service (recording R3), default 2g (JobResourceConfiguration, 2024-01-01-preview)",
        "?listViewType": VIEW,
        "?$skip": "the stand-in's own mark of the next page; the service's is opaque",
    },
    "Datastores_*": {
        ".properties.filesystem": "the example is of a blob datastore; here it is required (AzureDataLakeGen2Datastore, 2024-10-01-preview)"
    },
    "Compute_Get": {
        ".identity": f"{MORE} (ComputeResource, 2025-12-01)",
        ".tags": f"{MORE} (ComputeResource, 2025-12-01)",
    },
    "Compute_CreateOrUpdate": {
        ".tags": f"{MORE} (ComputeResource, 2025-12-01)",
        ".identity": f"{MORE} (ComputeResource, 2025-12-01)",
        ".properties.disableLocalAuth": f"{MORE} (Compute, 2025-12-01)",
        **{f".properties.properties.{k}": NEW_CLUSTER for k in OF_A_CLUSTER},
    },
    "OnlineEndpoints_*": {
        ".properties.mirrorTraffic": f"{MORE} (OnlineEndpointProperties, 2023-04-01-preview)",
        ".properties.publicNetworkAccess": f"{MORE}, default Enabled (OnlineEndpointProperties, 2023-04-01-preview)",
    },
    "OnlineDeployments_*": {
        ".properties.egressPublicNetworkAccess": f"{MORE}, default Enabled (OnlineDeploymentProperties, 2023-04-01-preview)"
    },
    "SetSecret": {".tags": SECRET, ".contentType": SECRET},
    "GetSecret": {".tags": SECRET, ".contentType": SECRET},
    "GetSecrets": {
        ".tags": f"{MORE} (SecretItem, 2026-04-01)",
        "?$skiptoken": "stands in the example's own nextLink, not among its parameters",
    },
    "DeleteSecret": {".tags": SECRET, ".contentType": SECRET},
    "Query_Usage": {
        "?$skiptoken": "stands in an answer's own nextLink, not among its parameters",
        ".dataset.filter.tags": "a filter may be a single expression; the example nests it in and, or",
    },
    "Workspaces_Get": {
        ".properties.mlFlowTrackingUri": f"{MORE}, read only (WorkspaceProperties, 2024-10-01-preview)",
        ".properties.workspaceId": f"{MORE}, read only (WorkspaceProperties, 2024-10-01-preview)",
        ".systemData": f"{MORE}, read only, of every resource (Resource, v3 of the common types)",
        ".tags": f"{MORE} (Workspace, 2024-10-01-preview)",
    },
}

SYSTEM = "not required: a system-assigned identity has no list of others (ManagedServiceIdentity, v3 of the common types)"
SKU = "not required, name alone is; not in recording R1 (Sku, v3 of the common types)"
IMAGE = "not required, not nullable: left out of an environment of an image (EnvironmentVersionProperties, 2023-04-01-preview)"
CLUSTER = "not required, nullable: a plain Linux cluster has none (AmlComputeProperties, 2023-08-01-preview)"
WORKSPACE = "not required, nothing there is; a plain workspace without a network of its own has none (WorkspaceProperties, 2024-10-01-preview)"
SERVICE = "not required, read only; a plain workspace has none (WorkspaceProperties, 2024-10-01-preview)"

# keys that every example of an answer has and an answer of the stand-in leaves out
ABSENT: dict[str, dict[str, str]] = {
    "Compute_*": {
        ".properties.properties.subnet": CLUSTER,
        ".properties.properties.virtualMachineImage": CLUSTER,
    },
    "Datastores_*": {
        ".properties.containerName": "a blob datastore's alone (AzureDataLakeGen2Datastore, 2024-10-01-preview)",
        ".properties.credentials.secrets": "required to create, never read; listSecrets shows them (CertificateDatastoreCredentials, 2024-10-01-preview)",
        ".nextLink": "not required: null or absent on the last page, as in every list of 2024-10-01-preview",
    },
    "EnvironmentVersions_*": {
        ".properties.build": IMAGE,
        ".properties.condaFile": IMAGE,
        ".properties.inferenceConfig": IMAGE,
    },
    "GetSecrets": {
        ".contentType": "not required: a secret that was set without one (SecretItem, 2026-04-01)"
    },
    "Jobs_*": {
        ".properties.parentJobName": "the example's alone, no definition has it (JobBaseProperties, 2024-01-01-preview)"
    },
    "OnlineDeployments_*": {
        ".identity": "not required: the endpoint's identity is used (OnlineDeployment, 2023-04-01-preview)",
        ".properties.startupProbe": "not in the api-version that the client asks for, not required in later ones (OnlineDeploymentProperties, 2023-04-01-preview)",
        ".sku.family": SKU,
        ".sku.size": SKU,
    },
    "OnlineEndpoints_*": {
        ".identity.userAssignedIdentities": SYSTEM,
        ".sku": "not required: a managed endpoint has its nodes in its deployments (OnlineEndpoint, 2023-04-01-preview)",
    },
    "Workspaces_Get": {
        ".identity.userAssignedIdentities": SYSTEM,
        ".properties.allowPublicAccessWhenBehindVnet": WORKSPACE,
        ".properties.encryption": WORKSPACE,
        ".properties.imageBuildCompute": WORKSPACE,
        ".properties.managedNetwork": WORKSPACE,
        ".properties.privateEndpointConnections": SERVICE,
        ".properties.privateLinkCount": SERVICE,
        ".properties.serviceProvisionedResourceGroup": SERVICE,
        ".properties.sharedPrivateLinkResources": WORKSPACE,
    },
}
