"""A walk through every operation that the clients of the platform use, with the real clients."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import Any

import httpx

from tests.azure.cloud.stand_in import Cloud


def walk(cloud: Cloud) -> None:
    """Use each client once over everything."""
    tag = uuid.uuid4().hex[:10]
    ml = cloud.ml_client("dev")
    _assets(cloud, ml, tag)
    _jobs(cloud, ml, tag)
    _serving(cloud, ml, tag)
    _others(cloud, tag)


def manage(cloud: Cloud, method: str, path: str, version: str, body: Any = None) -> Any:
    """A management call without a client: for what the clients have no method for."""
    token = cloud.credential("dev").get_token("https://management.azure.com/.default").token
    got = httpx.request(
        method, f"{cloud.url}{path}?api-version={version}", json=body, headers={"Authorization": f"Bearer {token}"},
        verify=str(cloud.authority.ca_file)
    )  # fmt: skip
    return got.raise_for_status()


def _assets(cloud: Cloud, ml: Any, tag: str) -> None:
    from azure.ai.ml.entities import AmlCompute, Data, Environment, Model

    ws = cloud.workspaces["dev"]
    where = f"abfss://lake@{ws.account}.dfs.core.windows.net/{tag}"
    ml.workspaces.get(ws.name)
    ml.datastores.get("lake")
    list(ml.datastores.list())
    ml.datastores.get("workspaceblobstore", include_secrets=True)
    manage(cloud, "POST", f"{ws.id}/datastores/lake/listSecrets", "2025-12-01")
    ml.compute.begin_create_or_update(
        AmlCompute(name=f"c-{tag}", size="Standard_DS2_v2", max_instances=2)
    ).result()
    ml.compute.get(ws.compute)
    list(ml.compute.list())
    for _ in (1, 2):
        data = ml.data.create_or_update(
            Data(
                name=f"d-{tag}", version="1", path=where, type="uri_folder", tags={"a": "b"}, description="x"
            )
        )
    ml.data.create_or_update(Data(name=f"d-{tag}", path=where, type="uri_folder"))
    ml.data.get(data.name, "1")
    ml.data.get(data.name, label="latest")
    list(ml.data.list(data.name))
    list(ml.data.list())
    ml.models.create_or_update(Model(name=f"m-{tag}", path=where, type="custom_model", tags={"a": "b"}))
    ml.models.get(f"m-{tag}", "1")
    list(ml.models.list(f"m-{tag}"))
    list(ml.models.list())
    manage(cloud, "GET", f"{ws.id}/models/m-{tag}", "2025-09-01")
    routes = {"liveness_route": {"port": 5001, "path": "/metrics"}, "readiness_route": {"port": 5001, "path": "/health"},
        "scoring_route": {"port": 5001, "path": "/score"}}  # fmt: skip
    ml.environments.create_or_update(
        Environment(
            name=f"env-{tag}", version="1", image="example.azurecr.io/esml:1", inference_config=routes
        )
    )
    ml.environments.get(f"env-{tag}", "1")
    list(ml.environments.list(f"env-{tag}"))
    list(ml.environments.list())
    manage(cloud, "GET", f"{ws.id}/environments/env-{tag}", "2025-09-01")


def _codes(cloud: Cloud) -> list[Any]:
    return list(manage(cloud, "GET", f"{cloud.workspaces['dev'].id}/codes", "2025-09-01").json()["value"])


def _jobs(cloud: Cloud, ml: Any, tag: str) -> None:
    from azure.ai.ml import command

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.py").write_text("import time; time.sleep(600)")
        job = command(
            name=f"j-{tag}", command="python a.py", code=folder, environment=f"azureml:env-{tag}:1", compute="cpu-cluster",
            tags={"a": "b"},
            environment_variables={"A": "b"}, timeout=60, instance_count=1, inputs={"n": 3}, description="x", display_name="y",
            experiment_name="z",
        )  # fmt: skip
        ml.jobs.create_or_update(job)
    # the job's code lies in a container that the client has no method for
    code = next(r for r in _codes(cloud) if r["properties"]["latestVersion"])
    manage(cloud, "GET", code["id"], "2025-09-01")
    ml.jobs.get(f"j-{tag}")
    list(ml.jobs.list(max_results=1))
    ml.jobs.begin_cancel(f"j-{tag}").wait()
    ml.jobs.begin_cancel(f"j-{tag}").wait()


def _serving(cloud: Cloud, ml: Any, tag: str) -> None:
    from azure.ai.ml.entities import CodeConfiguration, ManagedOnlineDeployment, ManagedOnlineEndpoint

    ws, name = cloud.workspaces["dev"], f"e-{tag}"
    code = b"def init():\n    pass\ndef run(text):\n    return text\n"
    cloud.accounts[ws.account].send("PUT", f"lake/{tag}/code/s.py", "", {"x-ms-blob-type": "BlockBlob"}, code)
    id = f"{ws.id}/codes/{tag}/versions/1"
    manage(
        cloud,
        "PUT",
        id,
        "2023-04-01",
        {"properties": {"codeUri": f"{ws.storage_url}/lake/{tag}/code", "isAnonymous": True}},
    )
    endpoint = ml.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=name, auth_mode="key", tags={"a": "b"})
    ).result()
    ml.online_deployments.begin_create_or_update(
        ManagedOnlineDeployment(
            name="blue", endpoint_name=name, environment=f"azureml:env-{tag}:1", instance_type="Standard_DS3_v2",
            instance_count=1, tags={"a": "b"},
            code_configuration=CodeConfiguration(code=id, scoring_script="s.py"), environment_variables={"A": "b"},
        )
    ).result()  # fmt: skip
    endpoint.traffic = {"blue": 100}
    ml.online_endpoints.begin_create_or_update(endpoint).result()
    ml.online_endpoints.get(name)
    list(ml.online_endpoints.list())
    ml.online_endpoints.get_keys(name)
    ml.online_endpoints.begin_regenerate_keys(name).wait()
    ml.online_deployments.get("blue", name)
    list(ml.online_deployments.list(name))
    ml.online_deployments.get_logs("blue", name, 10)
    endpoint.traffic = {"blue": 0}
    ml.online_endpoints.begin_create_or_update(endpoint).result()
    ml.online_deployments.begin_delete("blue", name).wait()
    ml.online_endpoints.begin_delete(name).wait()


def _others(cloud: Cloud, tag: str) -> None:
    from azure.keyvault.secrets import SecretClient
    from azure.mgmt.costmanagement import CostManagementClient

    ws = cloud.workspaces["dev"]
    safe = SecretClient(ws.vault_url, cloud.credential("dev"), verify_challenge_resource=False)
    safe.set_secret(f"s-{tag}", "value", tags={"a": "b"}, content_type="text/plain")
    safe.get_secret(f"s-{tag}")
    list(safe.list_properties_of_secrets())
    safe.begin_delete_secret(f"s-{tag}").wait()
    money = CostManagementClient(
        cloud.credential("dev"), base_url=cloud.url, credential_scopes=[f"{cloud.url}/.default"]
    )
    asked: Any = {
        "type": "Usage", "timeframe": "TheLastMonth",
        "dataset": {"granularity": "Daily", "aggregation": {"totalCost": {"name": "PreTaxCost", "function": "Sum"}},
                    "grouping": [{"type": "Dimension", "name": "ResourceGroup"}, {"type": "TagKey", "name": "esml-project"}]},
    }  # fmt: skip
    money.query.usage(f"/subscriptions/{ws.subscription}", asked)
    manage(cloud, "GET", f"{ws.scope()}/providers/Microsoft.Authorization/roleAssignments", "2022-04-01")
