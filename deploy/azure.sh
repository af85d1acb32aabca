#!/usr/bin/env bash
# From an empty subscription to one environment: `deploy/azure.sh ENV NAME REGION`, e.g. `deploy/azure.sh test contoso westeurope`.
# Needs: az, `az login` as a person, Owner or (Contributor and User Access Administrator) on the subscription.
# Everything may be run again: what is there stays as it is, the images are built anew. Prints the environment's tables for estate.toml.
set -Eeuo pipefail
trap '((BASH_SUBSHELL)) || echo "deploy/azure.sh stopped at line $LINENO: $BASH_COMMAND. Mend what is said above and run the same again; what was made stays." >&2' ERR
env=${1:?dev, test or prod} name=${2:?a short name, a-z and 0-9} region=${3:?a region, e.g. westeurope}
[[ $env =~ ^(dev|test|prod)$ && $name =~ ^[a-z][a-z0-9]{1,10}$ ]] || { echo "ENV is dev, test or prod; NAME is 2 to 11 of a-z and 0-9, begins with a letter, and is yours alone in the world" >&2; exit 2; }
command -v az >/dev/null || { echo "the Azure CLI (az) is not installed: https://aka.ms/azure-cli" >&2; exit 2; }
cd "$(dirname "$0")/.."
group=rg-esml-$env account=st${name}esml$env vault=kv-$name-esml-$env registry=cr${name}esml workspace=mlw-esml-$env
identity=id-esml-scoring-$env size=${ESML_NODE:-Standard_DS3_v2}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
subscription=$(az account show --query id --output tsv)
me=$(az ad signed-in-user show --query id --output tsv)

az extension add --name ml --upgrade --yes --only-show-errors
for provider in MachineLearningServices ManagedIdentity Storage KeyVault ContainerRegistry CostManagement Insights OperationalInsights; do
  az provider register --namespace "Microsoft.$provider" --wait
done
az group create --name "$group" --location "$region" --output none
# the lake: hierarchical; the workspace keeps a storage account of its own besides, which may not be so
az storage account create --name "$account" --resource-group "$group" --location "$region" --sku Standard_LRS --kind StorageV2 \
  --hns true --min-tls-version TLS1_2 --allow-blob-public-access false --allow-shared-key-access false --output none
lake=$(az storage account show --name "$account" --resource-group "$group" --query id --output tsv)
# what is refused or written over where it is there already is made only where it is not: vault, registry, workspace, cluster
az keyvault show --name "$vault" --resource-group "$group" --output none 2>/dev/null ||
  az keyvault create --name "$vault" --resource-group "$group" --location "$region" --enable-rbac-authorization true --output none
safe=$(az keyvault show --name "$vault" --query id --output tsv)
# one registry for all environments: the same image in each
az group create --name rg-esml-shared --location "$region" --output none
az acr show --name "$registry" --output none 2>/dev/null ||
  az acr create --name "$registry" --resource-group rg-esml-shared --location "$region" --sku Basic --admin-enabled false --output none
images=$(az acr show --name "$registry" --query id --output tsv)
base=$(az acr show --name "$registry" --query loginServer --output tsv)/esml-cockpit-base:$version
az acr build --registry "$registry" --image "esml-cockpit-base:$version" .
az acr build --registry "$registry" --file deploy/azure.Dockerfile --build-arg "BASE=$base" --target job --image "esml-cockpit:$version" .
az acr build --registry "$registry" --file deploy/azure.Dockerfile --build-arg "BASE=$base" --target scoring --image "esml-scoring:$version" .

az ml workspace show --name "$workspace" --resource-group "$group" --output none 2>/dev/null ||
  az ml workspace create --name "$workspace" --resource-group "$group" --location "$region" --container-registry "$images" --output none
scope=$(az ml workspace show --name "$workspace" --resource-group "$group" --query id --output tsv)
az ml compute show --name cpu-cluster --workspace-name "$workspace" --resource-group "$group" --output none 2>/dev/null ||
  az ml compute create --name cpu-cluster --type AmlCompute --size "$size" --min-instances 0 --max-instances 4 \
    --identity-type SystemAssigned --workspace-name "$workspace" --resource-group "$group" --output none
size_of_jobs=$(az ml compute show --name cpu-cluster --workspace-name "$workspace" --resource-group "$group" --query size --output tsv)
node=$(az ml compute show --name cpu-cluster --workspace-name "$workspace" --resource-group "$group" --query identity.principal_id --output tsv)
[[ -n $node && $node != None ]] || { echo "cpu-cluster has no identity for its jobs: az ml compute update --name cpu-cluster --workspace-name $workspace --resource-group $group --identity-type SystemAssigned, then run this again" >&2; exit 1; }
az identity create --name "$identity" --resource-group "$group" --location "$region" --output none
scorer=$(az identity show --name "$identity" --resource-group "$group" --query principalId --output tsv)
scorer_id=$(az identity show --name "$identity" --resource-group "$group" --query id --output tsv)

grant() { # PRINCIPAL TYPE ROLE SCOPE
  az role assignment create --assignee-object-id "$1" --assignee-principal-type "$2" --role "$3" --scope "$4" --output none
}
# the person (or the worker's identity: --assignee-principal-type ServicePrincipal)
grant "$me" User "Storage Blob Data Contributor" "$lake"
grant "$me" User "Key Vault Secrets Officer" "$safe"
grant "$me" User "AzureML Data Scientist" "$scope"
grant "$me" User "Cost Management Reader" "/subscriptions/$subscription/resourceGroups/$group"
grant "$me" User "Managed Identity Operator" "$scorer_id"
# jobs: the lake and tracking, no vault
grant "$node" ServicePrincipal "Storage Blob Data Contributor" "$lake"
grant "$node" ServicePrincipal "AzureML Data Scientist" "$scope"
grant "$node" ServicePrincipal "AcrPull" "$images"
# endpoints: the lake
grant "$scorer" ServicePrincipal "Storage Blob Data Contributor" "$lake"
grant "$scorer" ServicePrincipal "AcrPull" "$images"
# by the management plane: the right on the lake's data, given above, may take minutes to be in force
az storage container-rm create --name lake --storage-account "$account" --resource-group "$group" --output none

cat <<TABLE

[environments.$env]
platform = "azure"
subscription = "$subscription"
resource_group = "$group"
workspace = "$workspace"
storage_account = "$account"
file_system = "lake"
key_vault = "$vault"
region = "$region"
compute = "cpu-cluster"
identity = "$scorer_id"
serving_node = "$size"

[policy.$env]
nodes = ["$size_of_jobs"]
TABLE
