"""Execute one step of a run so that a crash anywhere recovers: adopt what is done, run what is not, record once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from esml_engine.errors import (
    CancelledError,
    EsmlError,
    FailedError,
    LostError,
    PlatformError,
    StoreFullError,
    disk_full,
)
from esml_engine.faults import point
from esml_engine.platforms.base import JobState, Platform
from esml_engine.runs import records
from esml_engine.runs.facts import JobResult, JobSpec
from esml_engine.store.database import Store

MAX_ATTEMPTS = 3
_LOOK = 0.05
_ENDING = 30.0  # seconds for which a cancelled job's end is waited for, to know how long its node was used
log = logging.getLogger("esml.execution")


class JobFailedError(FailedError):
    """A job's own error, with its code and id kept."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"], hint=error.get("hint", ""))
        self.code = error.get("code", "failed")
        self.id = error.get("id", self.id)


@dataclass(frozen=True)
class Attempt:
    """A job that ended well, or still works on (`result` None): its specification and its result."""

    spec: JobSpec
    result: JobResult | None
    handle: str


def earlier(platform: Platform, run: str, step: str, attempt: int, retry: int) -> Attempt | None:
    """What an attempt of this step up to this one left, or still works on: adopted, not done again."""
    for n in range(attempt, 0, -1):
        handle = f"{platform.work_folder(run, step, n, retry)}/spec.json"
        text = platform.read_file(handle)
        if text is None:
            continue
        spec = JobSpec.from_json(text.decode())
        if spec.retry != retry:
            continue
        left = platform.read_file(f"{spec.work}/result.json")
        found = JobResult.from_json(left.decode()) if left else None
        if found and found.ok:
            return Attempt(spec, replace(found, node_seconds=_used(platform, handle)), handle)
        if found is None and platform.follow(handle).state == "running":
            return Attempt(spec, None, handle)
    return None


def _ended(platform: Platform, handle: str, within: float) -> JobState:
    """A job's state once it ended, or after so many seconds."""
    end = time.monotonic() + within
    while (state := platform.follow(handle)).state == "running" and time.monotonic() < end:
        platform.wait(handle, _LOOK)
    return state


def _used(platform: Platform, handle: str) -> float | None:
    """How long an ended job's node was used, where the platform says so."""
    try:
        return platform.follow(handle).seconds
    except PlatformError as e:  # the run's own end matters more: its time is then what its job counted
        log.warning("how long %s used its node can't be had: %s", handle, e.message)
        return None


def run_job(
    store: Store,
    platform: Platform,
    spec: JobSpec,
    *,
    base: float,
    share: float,
    handle: str = "",
    begun: Callable[[], None] = lambda: None,
    used: Callable[[float], None] = lambda seconds: None,
    lives: Callable[[bool], None] = lambda so: None,
) -> JobResult:
    """Submit a job (or take up the one behind `handle`), follow it with progress, honour cancel and the time limit.

    Args:
        begun: called once, when the job is past its start and has said how far it is.
        used: told how long the node was used, where the platform says so, however the job ended.
        lives: told that from now on the job may live, and when it was heard that it does not.

    Raises:
        JobFailedError: the step failed. CancelledError: somebody asked to. LostError: no result was left.
    """
    if not handle:
        for left in ("result.json", "progress.json"):  # of this attempt, given back by an ended worker
            platform.remove_file(f"{spec.work}/{left}")
        platform.write_file(f"{spec.work}/spec.json", spec.to_json().encode())
        point("job:before")
        lives(True)
        try:
            handle = platform.submit(f"{spec.work}/spec.json")
        except EsmlError:
            lives(False)
            raise
        point("job:submitted")
    lives(True)
    began = time.monotonic()
    said: tuple[float, str] = (-1.0, "")
    waits_to_begin = True
    while True:
        state = platform.follow(handle)
        if state.seconds is not None:
            used(state.seconds)
        if state.state != "running":
            lives(False)
        if state.state == "done":
            result = JobResult.from_json(state.result)
            if not result.ok:
                raise JobFailedError(result.error or {"message": f"{spec.step} failed"})
            return replace(result, node_seconds=state.seconds)
        if state.state == "failed":
            raise FailedError(f"{spec.step}: {state.message}", hint="see the run's log")
        if state.state == "lost":
            raise LostError(
                f"{spec.step}: {state.message} (attempt {spec.attempt})",
                hint="see the run's log for what ended its process",
            )
        if records.cancelled(store, spec.run):
            _cancel(platform, handle, state, used, lives)
            raise CancelledError(
                f"{spec.step} was cancelled",
                hint="what the run had finished stays; start it again when you want",
            )
        if state.waits:
            began = time.monotonic()
        if spec.max_seconds and time.monotonic() - began > spec.max_seconds:
            _cancel(platform, handle, state, used, lives)
            raise FailedError(
                f"{spec.step} took more than {spec.max_seconds:g} s",
                hint="raise worker.max_step_seconds in estate.toml, or make the step smaller",
            )
        now_said = (round(state.fraction, 2), state.message)
        if now_said != said:
            said = now_said
            with suppress(
                StoreFullError
            ):  # the job is not lost by it: what it makes is recorded when there is room
                records.progress(
                    store,
                    spec.run,
                    base + share * state.fraction,
                    f"{spec.step}: {state.message}" if state.message else spec.step,
                )
        if waits_to_begin and state.fraction > 0:
            waits_to_begin = False
            begun()
        platform.wait(handle, _LOOK)


def _cancel(
    platform: Platform,
    handle: str,
    state: JobState,
    used: Callable[[float], None],
    lives: Callable[[bool], None],
) -> None:
    """End a job, and tell what its node was used for: nothing where it only waited for one.

    One that the platform does not end, or not in time, lives on as far as is known; the run's own end waits no longer.
    """
    try:
        platform.cancel(handle)
        last = _ended(platform, handle, _ENDING)
    except FailedError as e:
        log.warning("%s can't be cancelled now: %s", handle, e.message)
        return
    if last.state != "running":
        lives(False)
    seconds = last.seconds
    if seconds is None and state.waits and last.state != "running":
        seconds = 0.0
    if seconds is not None:
        used(seconds)


def document(error: BaseException, folders: Sequence[Path] = ()) -> dict[str, Any]:
    """Any error as the contract's inner document; of a full disk with which of these folders' it is."""
    if isinstance(error, EsmlError):
        return dict(error.document()["error"])
    made = disk_full(error, folders=folders) or FailedError(
        f"{type(error).__name__}: {error}", hint="see the worker's log; report it with the id"
    )
    return dict(made.document()["error"])
