"""Run history: what a job's own resource does not say, its error, times and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.azure.cloud.jobs import job_of
from tests.azure.cloud.wire import WS, Answer, Call, Refusal, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

HISTORY = "/history/v1.0" + WS


@operation("RunHistory.Details", "GET", HISTORY + "/runs/{name}/details", versions=None, audience="data")
def details(cloud: Cloud, call: Call) -> Answer:
    """RunHistory.Details (Runs_GetDetails of run history; no published example): error, times and log files."""
    found = job_of(cloud, call)
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
        error = {"error": inner, "correlation": None, "environment": run.ws.region, "location": run.ws.region, "time": run.ended,
            "componentName": "execution-worker"}  # fmt: skip
    return Answer(
        200,
        {"runId": call["name"], "target": str(shown.get("computeId") or "").rsplit("/", 1)[-1], "status": shown["status"],
         "startTimeUtc": run.begun, "endTimeUtc": run.ended, "error": error, "warnings": [], "tags": shown.get("tags") or {},
         "properties": shown.get("properties") or {}, "inputDatasets": [], "outputDatasets": [], "logFiles": logs,
         "submittedBy": "stand-in"},
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
