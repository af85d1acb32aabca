"""The stand-in's jobs, endpoints and costs with the real clients."""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.azure.cloud.costs import HOURLY, Spend
from tests.azure.cloud.processes import Program
from tests.azure.cloud.stand_in import Cloud

CODE = """import json, os, sys
from pathlib import Path
def init():
    print("model folder", sorted(p.name for p in Path(os.environ["AZUREML_MODEL_DIR"]).glob("**/*")), flush=True)
def run(text):
    return {"by": os.environ["AZUREML_DEPLOYMENT_NAME"], "sum": sum(json.loads(text)["data"])}
"""


def until(ready: Callable[[], Any], seconds: float = 180) -> Any:
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


@pytest.fixture
def ml(azure: Cloud) -> Any:
    from azure.ai.ml.entities import Environment

    client = azure.ml_client("dev")
    client.environments.create_or_update(
        Environment(name="esml-cockpit", version="1", image="example.azurecr.io/esml:1")
    )
    return client


def submit(ml: Any, text: str, **more: Any) -> Any:
    from azure.ai.ml import command

    more = {"name": f"j-{uuid.uuid4().hex[:12]}", **more}
    return ml.jobs.create_or_update(
        command(command=text, environment="azureml:esml-cockpit:1", **{"compute": "cpu-cluster", **more})
    )


def end_of(ml: Any, name: str) -> str:
    def look() -> Any:
        said = ml.jobs.get(name).status  # an enumeration's member, or text where the client knows it not
        said = getattr(said, "value", said)
        return said if said in ("Completed", "Failed", "Canceled") else None

    return str(until(look))


def details(azure: Cloud, name: str) -> dict[str, Any]:
    ws = azure.workspaces["dev"]
    token = azure.credential("dev").get_token("https://management.azure.com/.default").token
    got = httpx.get(
        f"{azure.url}/history/v1.0{ws.id}/runs/{name}/details",
        headers={"Authorization": f"Bearer {token}"},
        verify=str(azure.authority.ca_file),
    )
    return dict(got.raise_for_status().json())


def test_a_job_runs(azure: Cloud, ml: Any) -> None:
    text = "python -c \"import os; print('hello', os.environ['WORD'], 'MSI_SECRET' in os.environ, os.environ['AZUREML_RUN_ID'])\""
    job = submit(ml, text, environment_variables={"WORD": "of the node"}, tags={"esml-run": "r-1"})
    assert end_of(ml, job.name) == "Completed"
    said = details(azure, job.name)
    assert said["error"] is None and said["startTimeUtc"] < said["endTimeUtc"]
    log = httpx.get(said["logFiles"]["user_logs/std_log.txt"], verify=str(azure.authority.ca_file)).text
    assert log.strip() == f"hello of the node True {job.name}"
    assert job.name in {j.name for j in ml.jobs.list()}
    again = submit(
        ml, text, environment_variables={"WORD": "of the node"}, tags={"esml-run": "r-1"}, name=job.name
    )
    assert again.status == "Completed" and len(azure.recorder.of("Jobs_CreateOrUpdate")) >= 2
    with pytest.raises(HttpResponseError, match="cannot be changed"):
        submit(ml, "echo other", name=job.name)


def test_a_failed_job_says_why(azure: Cloud, ml: Any) -> None:
    job = submit(ml, "python -c \"raise ValueError('bad rows')\"")
    assert end_of(ml, job.name) == "Failed"
    message = details(azure, job.name)["error"]["error"]["message"]
    assert "status code 1" in message and "ValueError: bad rows" in message


def test_cancel_kills(azure: Cloud, ml: Any, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    job = submit(ml, f"echo $$ > {mark}; sleep 600")
    pid = int(until(lambda: mark.exists() and mark.read_text().strip()))
    ml.jobs.begin_cancel(job.name).wait()
    assert ml.jobs.get(job.name).status == "Canceled"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    limited = submit(ml, "sleep 600", timeout=1)
    assert end_of(ml, limited.name) == "Canceled"


def test_inputs_and_outputs(azure: Cloud, ml: Any) -> None:
    from azure.ai.ml import Input, Output

    account = azure.accounts["stesmldev"]
    account.send("PUT", "lake/in/a.txt", "", {"x-ms-blob-type": "BlockBlob"}, b"three")
    where = "abfss://lake@stesmldev.dfs.core.windows.net"
    job = submit(
        ml, "cp ${{inputs.file}} ${{outputs.out}}/copy.txt && echo ${{inputs.n}} >> ${{outputs.out}}/copy.txt",
        inputs={"file": Input(type="uri_file", path=f"{where}/in/a.txt"), "n": 7},
        outputs={"out": Output(type="uri_folder", path=f"{where}/out")},
    )  # fmt: skip
    assert end_of(ml, job.name) == "Completed"
    assert account.send("GET", "lake/out/copy.txt")[2] == b"three7\n"


def test_local_code_goes_along(azure: Cloud, ml: Any, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "say.py").write_text("print('from my code')")
    job = submit(ml, "python say.py", code=str(tmp_path / "code"))
    assert end_of(ml, job.name) == "Completed"
    assert b"from my code" in azure.runs[job.id.lower()].log.read_bytes()


def test_what_a_job_names_must_exist(azure: Cloud, ml: Any) -> None:
    from azure.ai.ml import command

    with pytest.raises((HttpResponseError, ResourceNotFoundError)):
        ml.jobs.create_or_update(
            command(
                name=f"j-{uuid.uuid4().hex[:12]}",
                command="true",
                environment="azureml:esml-cockpit:1",
                compute="none",
            )
        )


@pytest.fixture
def endpoint(azure: Cloud, ml: Any) -> Any:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    name = f"e-{uuid.uuid4().hex[:12]}"
    made = ml.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=name, auth_mode="key", tags={"esml-env": "dev"})
    ).result()
    yield made
    ml.online_endpoints.begin_delete(name).wait()


def deploy(azure: Cloud, ml: Any, endpoint: str, slot: str, code: str = CODE) -> Any:
    from azure.ai.ml.entities import CodeConfiguration, ManagedOnlineDeployment, Model

    account, ws = azure.accounts["stesmldev"], azure.workspaces["dev"]
    tag = uuid.uuid4().hex
    for path, text in (("score.py", code), ("model/weights.txt", "1")):
        account.send("PUT", f"lake/{tag}/{path}", "", {"x-ms-blob-type": "BlockBlob"}, text.encode())
    where = f"abfss://lake@{ws.account}.dfs.core.windows.net/{tag}"
    code_id = f"{ws.id}/codes/{tag}/versions/1"
    body = {"properties": {"codeUri": f"{ws.storage_url}/lake/{tag}", "isAnonymous": True}}
    token = azure.credential("dev").get_token("https://management.azure.com/.default").token
    httpx.put(
        f"{azure.url}{code_id}?api-version=2023-04-01",
        json=body,
        headers={"Authorization": f"Bearer {token}"},
        verify=str(azure.authority.ca_file),
    ).raise_for_status()
    model = ml.models.create_or_update(
        Model(name=f"m-{tag[:8]}", version="1", path=f"{where}/model", type="custom_model")
    )
    return ml.online_deployments.begin_create_or_update(
        ManagedOnlineDeployment(
            name=slot, endpoint_name=endpoint, model=model.id, environment="azureml:esml-cockpit:1",
            instance_type="Standard_DS3_v2", instance_count=1,
            code_configuration=CodeConfiguration(code=code_id, scoring_script="score.py"),
        )
    )  # fmt: skip


def test_endpoint_blue_green(azure: Cloud, ml: Any, endpoint: Any) -> None:
    for slot in ("blue", "green"):
        assert deploy(azure, ml, endpoint.name, slot).result().provisioning_state == "Succeeded"
    endpoint.traffic = {"blue": 100, "green": 0}
    endpoint = ml.online_endpoints.begin_create_or_update(endpoint).result()
    assert endpoint.provisioning_state == "Succeeded" and endpoint.traffic["blue"] == 100
    key = ml.online_endpoints.get_keys(endpoint.name).primary_key

    def score(**headers: str) -> httpx.Response:
        return httpx.post(
            endpoint.scoring_uri,
            json={"data": [1, 2]},
            headers={"Authorization": f"Bearer {key}", **headers},
            verify=str(azure.authority.ca_file),
        )

    assert (
        score().json() == {"by": "blue", "sum": 3} and score().headers["azureml-model-deployment"] == "blue"
    )
    assert score(**{"azureml-model-deployment": "green"}).json()["by"] == "green"
    assert score(Authorization="Bearer wrong").status_code == 401
    endpoint.traffic = {"blue": 0, "green": 100}
    ml.online_endpoints.begin_create_or_update(endpoint).wait()
    assert score().json()["by"] == "green"
    assert "weights.txt" in ml.online_deployments.get_logs("green", endpoint.name, 50)
    bad = httpx.post(
        endpoint.scoring_uri,
        content="no json",
        headers={"Authorization": f"Bearer {key}"},
        verify=str(azure.authority.ca_file),
    )
    assert bad.status_code == 424 and bad.headers["ms-azureml-model-error-statuscode"] == "500"
    with pytest.raises(HttpResponseError):
        ml.online_deployments.begin_delete("green", endpoint.name)
    ml.online_deployments.begin_delete("blue", endpoint.name).wait()
    assert [d.name for d in ml.online_deployments.list(endpoint.name)] == ["green"]
    ml.online_endpoints.begin_regenerate_keys(endpoint.name, key_type="primary").wait()
    assert score().status_code == 401


def test_a_deployment_that_crashes_fails_late(azure: Cloud, ml: Any, endpoint: Any) -> None:
    with pytest.raises(HttpResponseError, match="no such weights"):
        deploy(
            azure, ml, endpoint.name, "blue", "def init():\n    raise OSError('no such weights')\n"
        ).result()
    assert ml.online_deployments.get("blue", endpoint.name).provisioning_state == "Failed"


def test_costs(azure: Cloud, ml: Any) -> None:
    from azure.ai.ml.entities import AmlCompute
    from azure.mgmt.costmanagement import CostManagementClient

    ws = azure.workspaces["dev"]
    project = f"p-{uuid.uuid4().hex[:8]}"
    cluster = AmlCompute(
        name=project, size="Standard_DS3_v2", max_instances=1, tags={"esml-project": project}
    )
    ml.compute.begin_create_or_update(cluster).result()
    assert ml.compute.get(project).tags == {"esml-project": project}
    end_of(ml, submit(ml, "sleep 0.3", compute=project).name)
    before = len(azure.spend)
    end_of(ml, submit(ml, "sleep 0.3", tags={"esml-project": project}).name)
    assert len(azure.spend) == before + 1 and azure.spend[-1].tags == {}, "a job's tags do not reach the bill"
    azure.spend.append(
        Spend(ws.subscription, ws.resource_group, datetime.now(UTC).date(), 2.5, {"esml-project": project})
    )
    client = CostManagementClient(
        azure.credential("dev"), base_url=azure.url, credential_scopes=[f"{azure.url}/.default"]
    )
    asked: Any = {
        "type": "ActualCost", "timeframe": "MonthToDate",
        "dataset": {"granularity": "None", "aggregation": {"totalCost": {"name": "Cost", "function": "Sum"}},
                    "grouping": [{"type": "TagKey", "name": "esml-project"}],
                    "filter": {"tags": {"name": "esml-project", "operator": "In", "values": [project]}}},
    }  # fmt: skip
    said = client.query.usage(ws.scope(), asked)
    assert [c.name for c in said.columns] == ["Cost", "TagKey", "TagValue", "Currency"]
    [[amount, key, value, currency]] = said.rows
    assert (key, value, currency) == ("esml-project", project, "EUR") and 2.5 < amount < 2.6
    url = f"{azure.url}/api/retail/prices?currencyCode='EUR'&$filter=armRegionName eq 'westeurope' and armSkuName eq 'Standard_DS3_v2' and priceType eq 'Consumption'"
    items = httpx.get(url, verify=str(azure.authority.ca_file)).json()["Items"]
    assert len(items) == 4 and [
        i["retailPrice"]
        for i in items
        if "Spot" not in i["meterName"] and "Low" not in i["meterName"] and "Windows" not in i["productName"]
    ] == [HOURLY["Standard_DS3_v2"]]
    assert json.dumps(items)


def test_a_warm_node_runs_the_same(azure: Cloud, ml: Any, tmp_path: Path) -> None:
    fifo = tmp_path / "spec.json"
    os.mkfifo(fifo)
    submit(ml, f"python -m esml_engine.job {tmp_path}/cold.json")  # has the warm server started
    until(lambda: (azure.folder / "warm.sock").exists())
    failed = submit(
        ml,
        f"python -m esml_engine.job {tmp_path}/none.json",
        environment_variables={"PYTHONWARNINGS": "ignore"},
    )
    assert end_of(ml, failed.name) == "Failed"
    assert "none.json" in details(azure, failed.name)["error"]["error"]["message"]
    waiting = submit(ml, f"python -m esml_engine.job {fifo}")
    pid = until(lambda: (p := azure.runs[waiting.id.lower()].process) and p.pid)
    os.kill(pid, 0)
    ml.jobs.begin_cancel(waiting.name).wait()
    assert ml.jobs.get(waiting.name).status == "Canceled"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_two_who_wait_for_one_warm_child_both_hear_its_end(azure_cloud: Cloud, tmp_path: Path) -> None:
    """A later child must not hold the first one's line open, nor one waiter take the other's answer."""
    warm = azure_cloud.warm
    env = {**os.environ, **azure_cloud.environ("dev")}

    def start(name: str) -> Program:
        argv = ["esml_engine.serving.managed"]  # without a document it ends by itself, with code 1
        end = time.monotonic() + 120
        while (made := warm.start(argv, env=env, cwd=tmp_path, log=tmp_path / f"{name}.txt")) is None:
            assert time.monotonic() < end
            time.sleep(0.05)  # until it has imported everything
        return made

    children = [start(f"log{n}") for n in range(4)]
    codes: list[int] = []
    waiting = [
        threading.Thread(target=lambda c=c: codes.append(c.wait(60))) for c in children for _ in range(3)
    ]
    for t in waiting:
        t.start()
    for t in waiting:
        t.join(60)
    assert codes == [1] * 12
    children[0].terminate()  # it is gone: nothing to end
    assert [c.poll() for c in children] == [1] * 4
