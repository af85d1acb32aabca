"""The only place that knows DBOS: a disposable cursor over the store's intents, in a database of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_QUEUE = "esml-acts"
_LOOK = 0.02
_UNDER_WAY = ("ENQUEUED", "PENDING", "DELAYED")
_body: Callable[[str], None] | None = None
_registered: dict[str, Any] = {}


class Durable:
    """Queue with one run at a time per model and environment, models side by side within the cores."""

    def __init__(self, state: Path, body: Callable[[str], None], *, cores: int, quiet: bool = False) -> None:
        """`quiet`: its cursor's own troubles are nobody's on a terminal; what they mean for a run the store says."""
        self.state, self.cores = state, cores
        self.log_level = "CRITICAL" if quiet else "ERROR"
        global _body
        _body = body

    def launch(self) -> None:
        """Open the cursor's database (made when absent) and begin to take runs."""
        from dbos import DBOS, SetEnqueueOptions, SetWorkflowID
        from dbos import error as dbos_error

        self._options, self._id, self._errors = SetEnqueueOptions, SetWorkflowID, dbos_error
        url = os.environ.get("ESML_DBOS_URL") or f"sqlite:///{self.state / 'dbos.db'}"
        if url.startswith("sqlite:///"):
            with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as c:
                c.execute("PRAGMA journal_mode=WAL")
        logging.getLogger("dbos").setLevel(self.log_level)
        DBOS(config={
            "name": "esml", "system_database_url": url, "application_version": "1", "executor_id": "esml-worker",
            "log_level": self.log_level,
            "run_admin_server": False, "enable_otlp": False,
            "notification_listener_polling_interval_sec": 0.2,  # nothing is listened for; closing waits for one round of it
        })  # fmt: skip
        if "run" not in _registered:

            @DBOS.step(name="esml_steps")  # type: ignore[untyped-decorator]
            def steps(run: str) -> None:
                assert _body is not None
                _body(run)

            @DBOS.workflow(name="esml_run_v1", max_recovery_attempts=20)  # type: ignore[untyped-decorator]
            def workflow(run: str) -> None:
                steps(run)

            _registered["run"] = workflow
        DBOS.launch()
        DBOS.register_queue(
            _QUEUE, partition_concurrency=1, worker_concurrency=self.cores, polling_interval_sec=0.1
        )
        self._dbos = DBOS

    def enqueue(self, run: str, attempt: int, *, partition: str) -> None:
        """Hand one intent over; the workflow's id is run and attempt, so repeating is harmless."""
        name = f"{run}.{attempt}"
        found = self._dbos.get_workflow_status(name)
        if found is not None and found.status not in _UNDER_WAY:
            # a worker that was ending gave the run back: the store says that it is open, and the store is right
            self._dbos.delete_workflow(name)
        with self._id(name), self._options(queue_partition_key=partition):
            self._dbos.enqueue_workflow(_QUEUE, _registered["run"], run)

    def close(self) -> None:
        """Stop taking runs; those under way have a second to end, and the queue to write that down.

        DBOS's own wait takes a whole second also where nothing is under way. What was not written down is handed out
        again at the next launch, and found ended or taken up.
        """
        until = time.monotonic() + 1.0
        while time.monotonic() < until and self._dbos.list_workflows(
            status="PENDING", limit=1, load_input=False, load_output=False
        ):
            time.sleep(_LOOK)
        self._dbos.destroy(workflow_completion_timeout_sec=0)
