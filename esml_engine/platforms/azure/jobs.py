"""Steps as Azure ML command jobs, found again by a name that the specification alone decides."""

from __future__ import annotations

import datetime as dt
import json
import logging
import shlex
import threading
import time
from pathlib import Path
from typing import Any

from esml_engine.errors import ConflictError, EsmlError
from esml_engine.platforms.azure import limits, names
from esml_engine.platforms.azure.clouds import VARIABLE
from esml_engine.platforms.azure.errors import AzureBusyError, AzureDeniedError, AzureMissingError
from esml_engine.platforms.azure.extra import need
from esml_engine.platforms.azure.lake import AzureFiles
from esml_engine.platforms.azure.rest import Rest
from esml_engine.platforms.azure.workspace import Workspace
from esml_engine.platforms.base import JobState
from esml_engine.refs import attempt_name

log = logging.getLogger("esml.azure")

ENVIRONMENT = "esml-cockpit"
WAITS = {"NotStarted", "Starting", "Provisioning", "Preparing", "Queued", "Paused", "Scheduled"}
ENDED = {"Completed", "Failed", "Canceled"}
"""Every other state (Running, Finalizing, CancelRequested, NotResponding, Unknown, what may come): it runs."""
_SILENT = 900.0  # seconds of an unanswering or refusing service after which a job is given up
_LOG_EVERY = 10.0
_MOST_LOG = 2_000_000


class Jobs:
    """Submits, follows and cancels the jobs of one workspace.

    Args:
        mirror: folder of this machine that gets each job's log, where faces look for it.
    """

    def __init__(self, workspace: Workspace, files: AzureFiles, mirror: Path) -> None:
        self.workspace, self.files, self.mirror = workspace, files, mirror
        self._names: dict[str, str] = {}
        self._silent: dict[str, float] = {}
        self._logged: dict[str, float] = {}
        self._unread: set[tuple[str, str]] = set()  # job and what of it could not be read: said once
        self.closing = threading.Event()

    def _name(self, handle: str, content: bytes | None = None) -> str | None:
        """The job's name; None where there is no specification."""
        if content is not None or handle not in self._names:
            content = self.files.read_file(handle) if content is None else content
            if content is None:
                return None
            run, step, attempt = handle.rpartition("/")[0].split("/")[-3:]
            self._names[handle] = names.job(run, step, attempt, content)
        return self._names[handle]

    def submit(self, handle: str) -> str:
        """Start the job of the specification at an address; one that is there under its name is taken over.

        Where neither the start's answer came nor a look for the job, it may run: it is followed, which finds it or not.
        """
        content = self.files.read_file(handle)
        if content is None:
            raise AzureMissingError(f"there is no specification at {handle}", hint="retry the run")
        spec, name = json.loads(content), self._name(handle, content)
        ws = self.workspace
        environment = ws.environment(ENVIRONMENT, ws.image())
        job = self._job(spec, str(name), handle, environment)
        with ws.asking(f"job {name}"):
            try:
                ws.client.jobs.create_or_update(job)
            except need("azure.core.exceptions").AzureError as e:
                # 409, 400 for what may not change, or an answer that was lost: it is there when it can be read
                if not self._may_be_there(str(name), e):
                    raise
        return handle

    def _may_be_there(self, name: str, refused: Any) -> bool:
        """Whether a job stands under a name whose start failed; where that can't be seen, whether the start may have been heard."""
        try:
            return self._get(name) is not None
        except EsmlError as e:
            status = getattr(refused, "status_code", None) or 500  # none: the connection broke
            if 400 <= status < 500 and status not in (408, 429):
                return False  # the refusal says more
            log.warning("whether job %s was started can't be seen, it is followed: %s", name, e.message)
            return True

    def _job(self, spec: dict[str, Any], name: str, handle: str, environment: str) -> Any:
        ml, settings = need("azure.ai.ml"), self.workspace.settings
        job = ml.command(
            name=name, display_name=f"{spec['step']} of {spec['project']}/{spec['model']}",
            experiment_name=f"{spec['project']}-{spec['model']}",
            command=f"python -m esml_engine.job {shlex.quote(handle)}", environment=environment, compute=settings.compute,
            environment_variables=told(self.workspace), identity=need("azure.ai.ml.entities").ManagedIdentityConfiguration(),
            tags={
                "esml-project": spec["project"], "esml-model": spec["model"], "esml-env": spec["env"], "esml-run": spec["run"],
                "esml-step": names.tag(spec["step"]), "esml-attempt": attempt_name(spec["attempt"], spec["retry"]),
            },
        )  # fmt: skip
        if spec["max_seconds"]:
            job.set_limits(timeout=max(60, int(spec["max_seconds"])))
        return job

    def _get(self, name: str) -> Any:
        """The job; None where there is none.

        A 404 alone is not believed, or a job that works would be started twice: run history keeps an account of its own.
        """
        missing = need("azure.core.exceptions").ResourceNotFoundError
        with self.workspace.asking(f"job {name}"):
            try:
                return self.workspace.client.jobs.get(name)
            except missing:
                pass
        try:
            self._history(name)
        except AzureBusyError:
            raise
        except EsmlError:  # it has none either, or tells this process nothing
            return None
        raise AzureBusyError(
            f"job {name} of workspace {self.workspace.settings.workspace} has a history, and can't be read: 404",
            hint="it is looked at again; esml doctor checks the environment",
        )

    def _history(self, name: str) -> dict[str, Any]:
        """Run history's account of a job."""
        url = f"{self.workspace.api}/history/v1.0{self.workspace.path}/runs/{name}/details"
        said: dict[str, Any] = self.workspace.rest.send(f"details of job {name}", "GET", url).json()
        return said

    def follow(self, handle: str) -> JobState:
        """Look at a job; a service that does not answer, or refuses, for a while is no end of it."""
        if self.closing.is_set():
            return JobState("lost", message="this worker is ending; the job goes on")
        try:
            state = self._follow(handle)
        except (AzureBusyError, AzureDeniedError, ConflictError) as e:
            self._silent.setdefault(handle, time.monotonic())
            if self._too_long(handle):
                raise
            refused = not isinstance(e, AzureBusyError)
            said = f"refuses: {e.message}; {e.hint}" if refused else f"does not answer: {e.message}"
            return JobState("running", message=f"Azure ML {said}", waits=False)
        self._silent.pop(handle, None)
        return state

    def _too_long(self, handle: str) -> bool:
        """Whether the service has not answered for a job for longer than is put up with."""
        now = time.monotonic()
        return now - self._silent.get(handle, now) > _SILENT

    def _follow(self, handle: str) -> JobState:
        name = self._name(handle)
        if name is None:
            return JobState("lost", message="there is no specification")
        job = self._get(name)
        if job is None:
            return JobState("lost", message="Azure ML knows no such job")
        status = str(getattr(job.status, "value", job.status) or "Unknown")
        if status in ENDED:
            return self._ended(handle, name, status)
        if status in WAITS:
            return JobState("running", 0.0, f"Azure ML: {status}", waits=True)
        self._copy_log(handle, name)
        said = self.files.read_file(f"{handle.rpartition('/')[0]}/progress.json")
        if said is None:
            return JobState("running", 0.0, f"Azure ML: {status}")
        progress = json.loads(said)
        return JobState("running", float(progress["fraction"]), str(progress["message"]))

    def _ended(self, handle: str, name: str, status: str) -> JobState:
        details = self._details(handle, name, last=True)
        self._copy_log(handle, name, details)
        seconds = _seconds(details)
        result = self.files.read_file(f"{handle.rpartition('/')[0]}/result.json")
        if result is not None:
            return JobState("done", 1.0, "", result.decode(), seconds)
        error = ((details.get("error") or {}).get("error") or {}) if details else {}
        if status == "Canceled":
            message = str(error.get("message") or "it was cancelled in Azure ML")
            return JobState("failed", message=message, seconds=seconds)
        # a killed process, a lost node, an image that could not be fetched: the service tells them apart by words alone
        message = str(error.get("message") or f"the job ended as {status} without a result")
        return JobState("lost", message=message, seconds=seconds)

    def _details(self, handle: str, name: str, *, last: bool = False) -> dict[str, Any]:
        """Run history's account of a job; empty where it gives none: no job ends by what can't be read of it.

        `last`: it says how long the node was used, so that one that is only silent is asked again for a while.
        """
        try:
            return self._history(name)
        except EsmlError as e:
            if last and isinstance(e, AzureBusyError) and not self._too_long(handle):
                raise
            self._note(handle, name, "details", e)
            return {}

    def _note(self, handle: str, name: str, what: str, error: EsmlError) -> None:
        """Say once a job what of it can't be read: in the worker's log, and where its own log would be until that is read."""
        if (name, what) in self._unread:
            return
        self._unread.add((name, what))
        log.warning("%s of job %s can't be read: %s; %s", what, name, error.message, error.hint)
        file = self._mirrored(handle)
        with file.open("a", encoding="utf-8") as f:
            f.write(f"(esml: {what} of job {name} can't be read: {error.message}; {error.hint})\n")

    def _mirrored(self, handle: str) -> Path:
        """The job's log on this machine; its folder is made."""
        folder = self.mirror.joinpath(*handle.rpartition("/")[0].split("/")[-3:])
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "log.txt"

    def _copy_log(self, handle: str, name: str, details: dict[str, Any] | None = None) -> None:
        """The job's log to this machine: always at the end, now and then before."""
        now = time.monotonic()
        if details is None and now - self._logged.get(handle, now - _LOG_EVERY) < _LOG_EVERY:
            return
        self._logged[handle] = now
        found = (details if details is not None else self._details(handle, name)).get("logFiles") or {}
        wanted = [found[k] for k in sorted(found) if k.endswith("std_log.txt")] or list(found.values())[:1]
        text = ""
        for url in wanted:
            try:
                text += str(Rest().send(f"log of job {name}", "GET", url).text())
            except EsmlError as e:
                self._note(handle, name, "log", e)
        if text:
            self._mirrored(handle).write_text(text[-_MOST_LOG:], encoding="utf-8")

    def cancel(self, handle: str) -> None:
        """Ask Azure ML to end a job; one that ended, or never was, is fine."""
        name = self._name(handle)
        if name is None:
            return
        codes = need("azure.core.exceptions").HttpResponseError
        with self.workspace.asking(f"cancelling job {name}"):
            try:
                self.workspace.client.jobs.begin_cancel(name)
            except codes as e:
                if e.status_code not in (400, 404, 409):  # ended, or not there
                    raise

    def wait(self, handle: str, seconds: float) -> None:
        """Until the next look is worth it."""
        self.closing.wait(max(seconds, limits.poll()))


def told(workspace: Workspace) -> dict[str, str]:
    """What a job or a deployment is told by environment variables; never a secret."""
    cloud = {} if workspace.cloud.name == "AzureCloud" else {VARIABLE: workspace.cloud.text()}
    return {**limits.told(), **cloud}


def _seconds(details: dict[str, Any]) -> float | None:
    """How long the job's node was used, by run history."""
    begin, end = details.get("startTimeUtc"), details.get("endTimeUtc")
    if not begin or not end:
        return None
    a, b = (dt.datetime.fromisoformat(str(x).replace("Z", "+00:00")) for x in (begin, end))
    return max(0.0, (b - a).total_seconds())
