"""The worker's desk: where one step of one run stands, and what its commit writes in one transaction."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import sqlalchemy as sa

from esml_engine.clock import now
from esml_engine.costs import records as costs
from esml_engine.door import audit, requests
from esml_engine.door.facts import Actor
from esml_engine.door.site import Site
from esml_engine.errors import CancelledError, FailedError
from esml_engine.faults import point
from esml_engine.runs import records
from esml_engine.runs.facts import JobResult, JobSpec, step_env
from esml_engine.store import schema as t


class ParkedError(Exception):
    """The run waits for somebody's decision."""


class StoppedError(Exception):
    """This worker is ending while a run is under way: the next one goes on with it."""


class StepDesk:
    """Where one step of one run stands; its commit ends the step, meters it and audits a run's end."""

    def __init__(
        self,
        wanted: set[str],
        stopping: threading.Event,
        site: Site,
        row: dict[str, Any],
        step: str,
        attempt: int,
        last: bool,
    ) -> None:
        self.wanted, self.stopping, self.site, self.row = wanted, stopping, site, row
        self.run, self.step, self.attempt, self.last = row["run"], step, attempt, last
        self.retry = int(row["attempt"])
        self.actor = Actor(row["actor"], row["as_actor"])
        self.spec: JobSpec | None = None
        self.result: JobResult | None = None
        self.adopted = False  # an earlier attempt's result: its own seconds count
        self.began = time.monotonic()
        self.stopped = 0.0
        self.used: float | None = None  # of its node, by the platform's word

    def commit(self, change: Callable[[sa.Connection], dict[str, Any]]) -> dict[str, Any]:
        """The change, the step's end and its cost: one transaction."""
        done, begun = self.spec.attempt if self.spec else self.attempt, self.retry
        with self.site.store.write() as c:
            answer = change(c)
            records.set_step(
                c, self.run, self.step, state="done", ended=now(), seconds=self.seconds(), result=answer
            )
            self.meter(c, costs.attempt_key(begun, done))
            if (
                done < self.attempt
            ):  # its job was taken up: what was noted of it in between is in its own seconds
                costs.forget_later(
                    c,
                    self.run,
                    self.step,
                    costs.attempt_key(begun, done),
                    costs.attempt_key(begun, self.attempt),
                )
        return answer

    def seconds(self) -> float:
        """How long a node was used for this step: the platform's word, else its job's own, else this process's."""
        if self.result and self.result.node_seconds is not None:
            return self.result.node_seconds
        if self.used is not None:
            return self.used
        if self.result and self.adopted:
            return self.result.seconds
        return (self.stopped or time.monotonic()) - self.began

    def use(self, seconds: float) -> None:
        """The platform's word of how long the step's node was used, however its job ended."""
        self.used = seconds

    def stop(self) -> None:
        """The job is gone; what follows is no longer its time."""
        self.stopped = time.monotonic()

    def meter(self, c: sa.Connection, attempt: int) -> None:
        """Record what this step used, under an attempt's key; what the worker does itself uses no node of another place."""
        env = step_env(self.step, self.row["env"])
        if self.spec is not None or not env or self.site.platform(env).capabilities.jobs_here:
            costs.meter_step(c, self.row, self.step, attempt, self.seconds())

    def park(self, **request: Any) -> NoReturn:
        """The request, the waiting run and its released locks: one transaction."""
        run, s = self.run, t.run_steps
        with self.site.store.write() as c:
            asked = requests.ask(c, run=run, actor=self.actor, **request)
            c.execute(
                s.update()
                .where(s.c.run == run, s.c.step == self.step)
                .values(state="waiting", attempt=self.attempt - 1)
            )
            c.execute(
                t.runs.update()
                .where(t.runs.c.run == run)
                .values(state="waiting", message=f"waits for a decision on {asked}")
            )
            c.execute(t.locks.delete().where(t.locks.c.run == run))
            audit.append(
                c, self.actor, self.row["act"], self.row["object"], self.row["env"], "waiting",
                run=run, detail={"request": asked, "step": self.step},
            )  # fmt: skip
        audit.anchor(self.site.store, self.site.state)
        point("park:waits")
        raise ParkedError(run)

    def want_endpoint(self, name: str) -> None:
        """Have this worker keep the endpoint up."""
        self.wanted.add(name)

    def wait(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait for another part of the worker, watching for cancel."""
        end = time.monotonic() + seconds
        while not ready():
            if records.cancelled(self.site.store, self.run):
                raise CancelledError(f"{self.step} was cancelled", hint="start it again when you want")
            if time.monotonic() > end:
                raise FailedError(
                    f"{what} did not happen within {seconds:g} s",
                    hint="the page Deployments and esml doctor say what the endpoint lacks",
                )
            if self.stopping.wait(0.05):
                raise StoppedError(self.run)
