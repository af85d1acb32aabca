"""Command jobs: created, queued for a node, executed in a child process, cancelled; and their run history.

A job's PUT is no long operation (recording R3): 201 at once, then states come from the process itself.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.azure.cloud import nodes
from tests.azure.cloud import versions as v
from tests.azure.cloud.costs import charge
from tests.azure.cloud.manage import LOCATION, space
from tests.azure.cloud.resources import Workspace, now
from tests.azure.cloud.wire import WS, Answer, Call, Refusal, not_found, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

ENDED = ("Completed", "Failed", "Canceled")
MAY_CHANGE = ("description", "tags", "displayName", "properties", "isArchived", "services", "status")


@dataclass
class Run:
    """What executes behind a job."""

    ws: Workspace
    id: str
    folder: Path
    cancelled: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None
    begun: str | None = None
    ended: str | None = None
    error: str | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder / "std_log.txt"


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
        target=_execute, args=(cloud, run, made["properties"], fault is not None), daemon=True
    ).start()
    return answer


def _must_exist(cloud: Cloud, ws: Workspace, said: dict[str, Any]) -> None:
    for word, collection in (
        ("environmentId", "environments"),
        ("computeId", "computes"),
        ("codeId", "codes"),
    ):
        id = said.get(word)
        if id and cloud.resources.get(_arm(ws, id, collection)) is None:
            raise Refusal(404, "UserError", f"The specified resource was not found: {word} {id}")
    if not said.get("environmentId") or not said.get("command"):
        raise Refusal(400, "UserError", "a command job needs a command and an environmentId")


def _arm(ws: Workspace, id: str, collection: str) -> str:
    """An ARM id from one, or from a short name (`azureml:name:version`, `name`)."""
    if id.startswith("/subscriptions"):
        return id
    name, _, version = id.removeprefix("azureml:").partition(":")
    return f"{ws.id}/{collection}/{name}" + (f"/versions/{version}" if version else "")


def _shown(ws: Workspace, name: str, said: dict[str, Any]) -> dict[str, Any]:
    """A job as the service shows it, with what it adds (recording R3)."""
    services = {
        "Tracking": {"jobServiceType": "Tracking", "port": None, "endpoint": f"azureml://{ws.region}.api.azureml.ms/mlflow/v1.0{ws.id}?", "status": None, "errorMessage": None, "properties": None},
        "Studio": {"jobServiceType": "Studio", "port": None, "endpoint": f"https://ml.azure.com/runs/{name}?wsid={ws.id}", "status": None, "errorMessage": None, "properties": None},
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
        "description": None, "tags": {}, "properties": {}, "displayName": name, "experimentName": "Default", "isArchived": False, "identity": None,
        "codeId": None, "distribution": None, "environmentVariables": {}, "inputs": {}, "limits": None, "parameters": {}, **said,
        "status": "Starting", "services": services, "outputs": {**default, **said.get("outputs", {})},
        "resources": {"instanceCount": 1, "instanceType": None, "properties": {}, "shmSize": "2g", **{k: x for k, x in said.get("resources", {}).items() if x is not None}},
    }  # fmt: skip


def _execute(cloud: Cloud, run: Run, shown: dict[str, Any], fail_late: bool) -> None:
    end, code = "Failed", 1
    slot = cloud.slots(run.ws)
    try:
        shown["status"] = "Queued"
        while not slot.acquire(timeout=0.1):
            if run.cancelled.is_set():
                end = "Canceled"
                return
        try:
            if run.cancelled.is_set():
                end = "Canceled"
                return
            if fail_late:
                run.error = (
                    "AzureMLCompute job failed. JobNodeLost: the node of the job was lost, as scheduled."
                )
                return
            end, code = _on_node(cloud, run, shown)
        finally:
            slot.release()
        if end == "Failed" and run.error is None:
            run.error = f"Execution failed. User process 'python' exited with status code {code}. Please check log file 'user_logs/std_log.txt' for error details. Error: {_tail(run)}"
    except Refusal as e:
        run.error = e.message
    except Exception as e:
        traceback.print_exc()
        cloud.broken.append(f"job {run.id}: {e}")
        run.error = str(e)
    finally:
        run.ended = now()
        charge(
            cloud,
            run.ws,
            shown.get("tags") or {},
            run.begun,
            run.ended,
            int(shown["resources"].get("instanceCount") or 1),
        )
        shown["status"] = end
        run.done.set()


def _on_node(cloud: Cloud, run: Run, shown: dict[str, Any]) -> tuple[str, int]:
    ws, name = run.ws, run.folder.name
    shown["status"] = "Preparing"
    place = run.folder / "wd"
    place.mkdir()
    if code_id := shown.get("codeId"):
        code = cloud.resources.get(_arm(ws, code_id, "codes"))
        nodes.bring(cloud, ws, code["properties"]["codeUri"], place) if code else None
    command, outputs = nodes.fill_in(cloud, ws, shown, run.folder)
    facts = {
        "AZUREML_RUN_ID": name, "AZUREML_ARM_SUBSCRIPTION": ws.subscription, "AZUREML_ARM_RESOURCEGROUP": ws.resource_group,
        "AZUREML_ARM_WORKSPACE_NAME": ws.name, "AZUREML_EXPERIMENT_NAME": shown["experimentName"],
        "MLFLOW_TRACKING_URI": f"azureml://{cloud.url.removeprefix('https://')}/mlflow/v1.0{ws.id}",
    }  # fmt: skip
    env = nodes.environment(cloud, ws, {**facts, **(shown.get("environmentVariables") or {})})
    run.begun = now()
    run.process = cloud.processes.start(["bash", "-c", command], env=env, cwd=place, log=run.log)
    shown["status"] = "Running"
    limit = seconds((shown.get("limits") or {}).get("timeout"))
    until = time.monotonic() + limit if limit else None
    while True:
        try:
            code = run.process.wait(0.1)
            break
        except subprocess.TimeoutExpired:
            over = until is not None and time.monotonic() > until
            if run.cancelled.is_set() or over:
                if over:
                    run.error = f"The job ran longer than its limit of {limit:.0f} s and was canceled."
                cloud.processes.end(run.process)
                return "Canceled", run.process.returncode
    if run.cancelled.is_set():
        return "Canceled", code
    shown["status"] = "Finalizing"
    for folder, uri in outputs.values():
        nodes.put_back(cloud, ws, folder, uri)
    return ("Completed" if code == 0 else "Failed"), code


def seconds(text: str | None) -> float:
    """An ISO 8601 duration of days to seconds; 0 for none."""
    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?", text or "")
    if not found:
        return 0.0
    d, h, m, s = (float(x or 0) for x in found.groups())
    return d * 86400 + h * 3600 + m * 60 + s


def _tail(run: Run) -> str:
    text = run.log.read_text(encoding="utf-8", errors="replace") if run.log.exists() else ""
    return text[-1500:]


@operation("Jobs_Get", "GET", WS + "/jobs/{name}", versions=v.JOBS_READ)
def get_job(cloud: Cloud, call: Call) -> Answer:
    """Jobs_Get: the state; no error, which only the run history has."""
    return Answer(200, _job(cloud, call))


def _job(cloud: Cloud, call: Call) -> dict[str, Any]:
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
def cancel_job(cloud: Cloud, call: Call) -> Answer:
    """Jobs_Cancel: 202 and a Location that answers 200 when it is through (recording R4); an ended job: 200.

    What the service says to the cancel of an ended job was not seen.
    """
    found, ws = _job(cloud, call), space(cloud, call)
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


HISTORY = "/history/v1.0" + WS


@operation("RunHistory.Details", "GET", HISTORY + "/runs/{name}/details", versions=None, audience="data")
def details(cloud: Cloud, call: Call) -> Answer:
    """RunHistory.Details (Runs_GetDetails of run history; no published example): error, times and log files."""
    found = _job(cloud, call)
    run, shown = cloud.runs[found["id"].lower()], found["properties"]
    logs = {}
    if run.log.exists():
        logs["user_logs/std_log.txt"] = (
            f"{cloud.url}/artifacts/{run.ws.env}/{call['name']}/user_logs/std_log.txt?sig={cloud.log_signature}"
        )
    error = None
    if run.error is not None and run.done.is_set():
        inner = {
            "code": "UserError",
            "severity": None,
            "message": run.error,
            "messageFormat": None,
            "messageParameters": {},
            "referenceCode": None,
            "detailsUri": None,
            "target": None,
            "details": [],
            "innerError": None,
        }
        error = {"error": inner, "correlation": None, "environment": run.ws.region, "location": run.ws.region, "time": run.ended, "componentName": "execution-worker"}  # fmt: skip
    return Answer(
        200,
        {"runId": call["name"], "target": str(shown.get("computeId") or "").rsplit("/", 1)[-1], "status": shown["status"],
         "startTimeUtc": run.begun, "endTimeUtc": run.ended, "error": error, "warnings": [], "tags": shown.get("tags") or {},
         "properties": shown.get("properties") or {}, "inputDatasets": [], "outputDatasets": [], "logFiles": logs, "submittedBy": "stand-in"},
    )  # fmt: skip


@operation("RunHistory.Log", "GET", "/artifacts/{env}/{name}/user_logs/{file}", versions=None, audience="")
def log_file(cloud: Cloud, call: Call) -> Answer:
    """RunHistory.Log: a log by its signed address (a blob with a SAS in the service)."""
    run = cloud.runs.get(f"{cloud.workspaces[call['env']].id}/jobs/{call['name']}".lower())
    if call.query.get("sig") != cloud.log_signature:
        raise Refusal(
            403, "AuthenticationFailed", "Server failed to authenticate the request: signature did not match."
        )
    if run is None or not run.log.exists():
        raise Refusal(404, "BlobNotFound", "The specified blob does not exist.")
    return Answer(200, run.log.read_bytes(), {"content-type": "text/plain"})
