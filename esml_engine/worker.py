"""The worker: holds the estate's lease, runs acts, commits results, keeps endpoints up. The only one that makes facts."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from typing import Any

from esml_engine.costs import records as costs
from esml_engine.door import audit
from esml_engine.door.site import Site
from esml_engine.ending import Ending
from esml_engine.executor import Executor
from esml_engine.loops import outlives
from esml_engine.processes import ProcessTable
from esml_engine.runs import leases, records
from esml_engine.runs.durable import Durable

log = logging.getLogger("esml.worker")
_BEAT, _SWEEP = 0.1, 5.0
_one = threading.Lock()  # one worker in a process: DBOS is one object there, the lease names the process


class Worker:
    """One estate's worker. `kind` is `up` for the long-lived one, `command` for a command that works for itself."""

    def __init__(self, site: Site, kind: str = "command", *, warm: bool = False) -> None:
        self.site = site
        self.kind = kind
        self.warm = warm
        self.wanted: set[str] = set()
        self.stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._given: set[tuple[str, int]] = set()  # runs handed over, each with its attempt
        self._durable: Durable | None = None
        self._jobs: Any = None
        self._executor = Executor(site, self._name(), site.platform, self.wanted, self.stopping)

    # life
    def start(self) -> bool:
        """Take the lease and begin; False when a living worker has it, or another thread of this process."""
        if not _one.acquire(blocking=False):
            return False
        try:
            if leases.acquire(self.site.store, self._name(), self.kind, costs.meter_left):
                self._begin()
                return True
        except BaseException:
            _one.release()
            raise
        _one.release()
        return False

    def _begin(self) -> None:
        table = ProcessTable(self.site.state)
        table.end(("job", "endpoint"))  # a dead holder's children, by pid and start time
        audit.tidy(self.site.state)
        if self.kind == "up":
            table.add("worker", "worker", os.getpid())
        if self.warm:
            from esml_engine.platforms.local.jobs import Jobs

            self._jobs = Jobs(table, warm=True)
            self._jobs.warm_up()
            self.site.close_platforms()  # opened for planning: from now on with warm children
            self.site.warm = self._jobs
        self._durable = Durable(
            self.site.state,
            self._executor.execute,
            cores=self.site.settings.estate.worker.jobs,
            quiet=self.kind == "command",
        )
        self._durable.launch()
        for target in (self._beat, self._dispatch, self._keep, self._end_jobs):
            thread = threading.Thread(target=target, name=f"esml-{target.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _name(self) -> str:
        return f"{socket.gethostname()}:{os.getpid()}"

    def stop(self) -> None:
        """End children and give the lease back."""
        self.stopping.set()
        try:
            for thread in self._threads:
                thread.join(10)
            if self._durable:
                self._durable.close()
            if self._jobs is not None:
                self._jobs.close()
            self.site.close_platforms()
            self.site.warm = None
            with outlives("giving the lease back"):  # else the next worker sees that this process is gone
                leases.release(self.site.store, self._name())
        finally:
            _one.release()

    # loops
    def _beat(self) -> None:
        while not self.stopping.wait(1.0):
            with outlives("heartbeat"):
                if not leases.renew(self.site.store, self._name()):
                    log.error("the lease was lost: another worker took over; ending")
                    self.stopping.set()

    def _dispatch(self) -> None:
        """Enqueue each open intent under its run's id (repeating that is harmless); end requests past their time."""
        swept = -_SWEEP
        while not self.stopping.is_set():
            with outlives("dispatch", self.site.disks()):
                for row in records.open_runs(self.site.store):
                    self._hand_out(row)
                if time.monotonic() > swept + _SWEEP:
                    swept = time.monotonic()
                    self._settle_late()
            self.stopping.wait(_BEAT)

    def _settle_late(self) -> None:
        from esml_engine.promotion import evidence

        evidence.settle_late(self.site)

    def _hand_out(self, row: dict[str, Any]) -> None:
        given = (row["run"], row["attempt"])
        if row["state"] == "queued" and row["cancel"]:
            error = {"code": "cancelled", "message": "cancelled before it began", "hint": "", "id": ""}
            self._executor.end(records.get(self.site.store, row["run"]), "cancelled", None, error)
        elif given not in self._given and self._durable:
            self._durable.enqueue(*given, partition=f"{row['env']}:{row['object']}")
            self._given.add(given)

    def _end_jobs(self) -> None:
        """Ask for the end of jobs whose runs have ended, until it is heard."""
        ending = Ending(self.site, self.site.platform, self.stopping)
        while not self.stopping.is_set():
            with outlives("jobs of ended runs", self.site.disks()):
                ending.turn()
            self.stopping.wait(1.0)

    def _keep(self) -> None:
        """Make deployments run as wanted, and drain their ledgers."""
        from esml_engine.serving.keeper import Keeper

        keeper = Keeper(self.site, self.site.platform)
        while not self.stopping.is_set():
            with outlives("endpoints", self.site.disks()):
                keeper.turn(None if self.kind == "up" else frozenset(self.wanted))
            self.stopping.wait(0.2)
        keeper.close()
