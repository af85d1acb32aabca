"""Command jobs: created, listed, cancelled. A job's PUT is no long operation (recording R3): 201 at once."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from tests.azure.cloud import versions as v
from tests.azure.cloud.execution import Run, arm, execute
from tests.azure.cloud.manage import LOCATION, space
from tests.azure.cloud.resources import Workspace
from tests.azure.cloud.wire import WS, Answer, Call, Refusal, not_found, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

ENDED = ("Completed", "Failed", "Canceled")
MAY_CHANGE = ("description", "tags", "displayName", "properties", "isArchived", "services", "status")


@operation("Jobs_CreateOrUpdate", "PUT", WS + "/jobs/{name}", versions=v.JOBS_PUT)
def put_job(cloud: Cloud, call: Call) -> Answer:
    """Jobs_CreateOrUpdate: 201 the first time; the same again is 200 and starts nothing; another body under the name is refused.

    That refusal's words were seen in a public issue, its status (400) is uncertain.
    """
    ws, said = space(cloud, call), {k: x for k, x in call.json["properties"].items() if x is not None}
    id = f"{ws.id}/jobs/{call['name']}"
    with cloud.resources.lock:
        old = cloud.resources.get(id)
        if old is not None:
            asked = cloud.asked[id.lower()]
            for k in sorted({*asked, *said} - set(MAY_CHANGE)):
                if asked.get(k) != said.get(k):
                    raise Refusal(
                        400,
                        "UserError",
                        f"A job with this name already exists. If you are trying to create a new job, use a different name. If you are trying to update an existing job, the existing job's {k} cannot be changed. Only description, tags, displayName, properties, and isArchived can be updated.",
                    )
            old["properties"].update(
                {
                    k: said[k]
                    for k in ("description", "tags", "displayName", "properties", "isArchived")
                    if k in said
                }
            )
            return Answer(200, old)
        if said.get("jobType") != "Command":
            raise Refusal(400, "UserError", f"the stand-in executes command jobs, not {said.get('jobType')}")
        _must_exist(cloud, ws, said)
        cloud.asked[id.lower()] = said
        made, _ = cloud.resources.put(id, "jobs", call, _shown(ws, call["name"], said))
    run = cloud.runs[id.lower()] = Run(ws, id, cloud.folder / "jobs" / ws.env / call["name"])
    run.folder.mkdir(parents=True)
    fault = cloud.faults.take("Jobs_CreateOrUpdate", call.path, late=True)
    answer = Answer(
        201,
        json.loads(json.dumps(made)),
        {"Location": f"{cloud.url}{id}?api-version={call.query['api-version']}"},
    )
    threading.Thread(
        target=execute, args=(cloud, run, made["properties"], fault is not None), daemon=True
    ).start()
    return answer


def _must_exist(cloud: Cloud, ws: Workspace, said: dict[str, Any]) -> None:
    for word, collection in (
        ("environmentId", "environments"),
        ("computeId", "computes"),
        ("codeId", "codes"),
    ):
        id = said.get(word)
        if id and cloud.resources.get(arm(ws, id, collection)) is None:
            raise Refusal(404, "UserError", f"The specified resource was not found: {word} {id}")
    if not said.get("environmentId") or not said.get("command"):
        raise Refusal(400, "UserError", "a command job needs a command and an environmentId")


def _shown(ws: Workspace, name: str, said: dict[str, Any]) -> dict[str, Any]:
    """A job as the service shows it, with what it adds (recording R3)."""
    services = {
        "Tracking": {"jobServiceType": "Tracking", "port": None,
            "endpoint": f"azureml://{ws.region}.api.azureml.ms/mlflow/v1.0{ws.id}?", "status": None, "errorMessage": None,
            "properties": None},
        "Studio": {"jobServiceType": "Studio", "port": None, "endpoint": f"https://ml.azure.com/runs/{name}?wsid={ws.id}",
            "status": None, "errorMessage": None, "properties": None},
    }  # fmt: skip
    default = {
        "default": {
            "description": None,
            "jobOutputType": "uri_folder",
            "mode": "ReadWriteMount",
            "uri": f"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.{name}",
        }
    }
    return {
        "description": None, "tags": {}, "properties": {}, "displayName": name, "experimentName": "Default", "isArchived": False,
        "identity": None,
        "codeId": None, "distribution": None, "environmentVariables": {}, "inputs": {}, "limits": None, "parameters": {}, **said,
        "status": "Starting", "services": services, "outputs": {**default, **said.get("outputs", {})},
        "resources": {"instanceCount": 1, "instanceType": None, "properties": {}, "shmSize": "2g",
            **{k: x for k, x in said.get("resources", {}).items() if x is not None}},
    }  # fmt: skip


@operation("Jobs_Get", "GET", WS + "/jobs/{name}", versions=v.JOBS_READ)
def getjob_of(cloud: Cloud, call: Call) -> Answer:
    """Jobs_Get: the state; no error, which only the run history has."""
    return Answer(200, job_of(cloud, call))


def job_of(cloud: Cloud, call: Call) -> dict[str, Any]:
    """The job that a call names; 404 when there is none."""
    found = cloud.resources.get(f"{space(cloud, call).id}/jobs/{call['name']}")
    if found is None:
        raise not_found(f"Job {call['name']}", "JobNotFound")
    return found


@operation("Jobs_List", "GET", WS + "/jobs", versions=v.JOBS_READ)
def list_jobs(cloud: Cloud, call: Call) -> Answer:
    """Jobs_List: newest first; `tag` and `jobType` filter; pages of 50 by `$skip`."""
    rows = cloud.resources.below(f"{space(cloud, call).id}/jobs")[::-1]
    if tag := call.query.get("tag"):
        key, _, value = tag.partition("=")
        rows = [
            r for r in rows if key in r["properties"]["tags"] and value in ("", r["properties"]["tags"][key])
        ]
    first = int(call.query.get("$skip", "0"))
    more = f"{cloud.url}{call.path}?api-version={call.query['api-version']}&$skip={first + 50}"
    return Answer(
        200, {"value": rows[first : first + 50], "nextLink": more if first + 50 < len(rows) else None}
    )


@operation("Jobs_Cancel", "POST", WS + "/jobs/{name}/cancel", versions=v.JOBS_CANCEL)
def canceljob_of(cloud: Cloud, call: Call) -> Answer:
    """Jobs_Cancel: 202 and a Location that answers 200 when it is through (recording R4); an ended job: 200.

    What the service says to the cancel of an ended job was not seen.
    """
    found, ws = job_of(cloud, call), space(cloud, call)
    run = cloud.runs[found["id"].lower()]
    if found["properties"]["status"] in ENDED:
        return Answer(200)
    found["properties"]["status"] = "CancelRequested"
    run.cancelled.set()
    id = f"jc:{ws.guid}:{call['name']}"
    cloud.operations[id] = {"status": "Updating"}

    def wait() -> None:
        run.done.wait()
        cloud.operations[id] = {"status": "Succeeded"}

    threading.Thread(target=wait, daemon=True).start()
    where = f"{cloud.url}{LOCATION.format(sub=ws.subscription, loc=ws.region)}/mfeOperationResults/{id}?api-version={call.query['api-version']}"
    return Answer(
        202,
        b"null",
        {"Location": where, "x-ms-async-operation-timeout": "PT1H", "retry-after-ms": cloud.pace},
    )
