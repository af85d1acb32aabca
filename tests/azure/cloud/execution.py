"""What happens to a submitted command job: a free node, a child process, states that follow it, its outputs and its bill."""

from __future__ import annotations

import re
import subprocess
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.azure.cloud import nodes
from tests.azure.cloud.costs import charge
from tests.azure.cloud.processes import Program
from tests.azure.cloud.resources import Workspace, now
from tests.azure.cloud.wire import Refusal

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud


@dataclass
class Run:
    """What executes behind a job."""

    ws: Workspace
    id: str
    folder: Path
    cancelled: threading.Event = field(default_factory=threading.Event)
    process: Program | None = None
    begun: str | None = None
    ended: str | None = None
    error: str | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder / "std_log.txt"


def arm(ws: Workspace, id: str, collection: str) -> str:
    """An ARM id from one, or from a short name (`azureml:name:version`, `name`)."""
    if id.startswith("/subscriptions"):
        return id
    name, _, version = id.removeprefix("azureml:").partition(":")
    return f"{ws.id}/{collection}/{name}" + (f"/versions/{version}" if version else "")


def execute(cloud: Cloud, run: Run, shown: dict[str, Any], fail_late: bool) -> None:
    """Wait for a node, run the command there, and write the job's states as the process makes them."""
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
            _billed_tags(cloud, run.ws, shown),
            run.begun,
            run.ended,
            int(shown["resources"].get("instanceCount") or 1),
        )
        shown["status"] = end
        run.done.set()


def _billed_tags(cloud: Cloud, ws: Workspace, shown: dict[str, Any]) -> dict[str, str]:
    """A node is billed by its cluster's tags; a job's own do not reach the bill (docs/azure.md)."""
    cluster = cloud.resources.get(arm(ws, str(shown.get("computeId") or ""), "computes"))
    return dict((cluster or {}).get("tags") or {})


def _on_node(cloud: Cloud, run: Run, shown: dict[str, Any]) -> tuple[str, int]:
    ws, name = run.ws, run.folder.name
    shown["status"] = "Preparing"
    place = run.folder / "wd"
    place.mkdir()
    if code_id := shown.get("codeId"):
        code = cloud.resources.get(arm(ws, code_id, "codes"))
        nodes.bring(cloud, ws, code["properties"]["codeUri"], place) if code else None
    command, outputs = nodes.fill_in(cloud, ws, shown, run.folder)
    facts = {
        "AZUREML_RUN_ID": name, "AZUREML_ARM_SUBSCRIPTION": ws.subscription, "AZUREML_ARM_RESOURCEGROUP": ws.resource_group,
        "AZUREML_ARM_WORKSPACE_NAME": ws.name, "AZUREML_EXPERIMENT_NAME": shown["experimentName"],
        "MLFLOW_TRACKING_URI": f"azureml://{cloud.url.removeprefix('https://')}/mlflow/v1.0{ws.id}",
    }  # fmt: skip
    env = nodes.environment(cloud, ws, {**facts, **(shown.get("environmentVariables") or {})})
    run.begun = now()
    run.process = cloud.run(command, env=env, cwd=place, log=run.log)
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
