"""The ledger of answered requests: one SQLite file an endpoint, above its blue and green models.

**Exactly once.** A request is in the ledger when, and only when, its answer may go out: answer, body hash, caller and
rows of a request enter in *one* SQLite transaction, and the answer is sent after that transaction is on disk.
The reservation before it lives in the memory of the one process that may write (an operating-system lock on
`<ledger>.lock` sees to that: a second writer waits until the first is dead). Predictions have no effect outside, so
- a crash before the commit leaves nothing answered and nothing logged: a retry starts anew, in the next process too
  (the dead process's reservations died with it, so there is nothing to take over);
- a crash after the commit, before or while answering: the retry finds the stored answer, and sends those bytes;
- a call that fails or is given up releases its reservation: one of those who wait with the same id goes on.
Writing the reservation as well would cost a second commit a request and add only this: a *different* body under an id
whose first call was never answered would be refused. That first call has no answer to contradict.

**Group commit.** One thread writes. What came while it was committing is its next transaction, so the cost of an
fsync is shared by all who wait for it. Sequence numbers are given inside the transaction: consecutive, without gaps,
and a reader that sees n sees all before n. A drain may therefore speak of ranges (a, b].

**Readers** (`ledger_reader`) may be in other processes: WAL gives them a snapshot while the server writes.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from esml_engine.errors import ConflictError, FailedError, disk_full
from esml_engine.scored.facts import Answer, Finished, Reserved, Shape
from esml_engine.scored.ledger_file import SCHEMA, VERSION, connect, locked

_COLUMNS = 9
_GROUP = 96  # requests in one INSERT; a larger group is several INSERTs in one transaction


@dataclass
class _Waiting:
    """A finished request and who is told when it is on disk."""

    finished: Finished
    frame: str | None
    done: Callable[[Answer | Exception], None]


class Ledger:
    """The writer's side; one per ledger file at any time, over all processes. Safe to call from many threads.

    Args:
        path: the SQLite file; made when absent, with its folder.
        deliver: runs the notifications of one committed group (an event loop's `call_soon_threadsafe`, say);
            without it they run in the writer's thread.
        wait_seconds: how long to wait for another writer to end.

    Raises:
        ConflictError: another process still writes to this ledger.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        deliver: Callable[[Callable[[], None]], Any] | None = None,
        wait_seconds: float = 10.0,
    ) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock_file = locked(self.path, wait_seconds)
        self.path.touch(mode=0o600)  # it holds what was asked about people
        self._con = connect(self.path)
        self._con.executescript(SCHEMA)
        self._con.execute(
            "INSERT OR IGNORE INTO about VALUES ('ledger', ?), ('version', ?)", (uuid.uuid4().hex, VERSION)
        )
        self.id = str(self._con.execute("SELECT value FROM about WHERE key = 'ledger'").fetchone()[0])
        version = str(self._con.execute("SELECT value FROM about WHERE key = 'version'").fetchone()[0])
        if version != VERSION:
            raise ConflictError(
                f"the ledger {self.path.name} has version {version}, this engine writes {VERSION}",
                hint="run the engine that wrote it, or a newer one",
            )
        self._look = connect(self.path)  # reads in the callers' threads, beside the writer
        self._deliver = deliver or (lambda run: run())
        self._mutex = threading.Lock()
        self._flying: dict[str, tuple[bytes, list[Future[None]]]] = {}
        self._queue: list[_Waiting] = []
        self._work = threading.Condition()
        self._closing = False
        self._described = {row[0] for row in self._con.execute("SELECT model_version FROM shape")}
        self.commits = 0
        self._writer = threading.Thread(target=self._write_forever, name="ledger", daemon=True)
        self._writer.start()

    def describe(self, model_version: int, shape: Shape) -> None:
        """Say how a model version's rows look, once before its first request (again is harmless)."""
        document = json.dumps(
            {
                "features": dict(shape.features),
                "prediction": shape.prediction,
                "classes": list(shape.classes),
                "interval": shape.interval,
            }
        )
        with contextlib.closing(connect(self.path)) as con:
            con.execute("INSERT OR REPLACE INTO shape VALUES (?, ?)", (model_version, document))
        self._described.add(model_version)

    def reserve(self, request_id: str, body_hash: bytes) -> tuple[Reserved, Answer | Future[None] | None]:
        """Reserve a request id.

        Returns:
            `(NEW, None)`: predict, then `finish` or `release`. `(DONE, answer)`. `(CONFLICT, None)`.
            `(IN_FLIGHT, future)`: wait for the future, then reserve again.
        """
        with self._mutex:
            flying = self._flying.get(request_id)
            if flying is not None:
                if flying[0] != body_hash:
                    return Reserved.CONFLICT, None
                future: Future[None] = Future()
                flying[1].append(future)
                return Reserved.IN_FLIGHT, future
            found = self._look.execute(
                "SELECT seq, body_hash, answer FROM request WHERE request_id = ?", (request_id,)
            ).fetchone()
            if found is None:
                self._flying[request_id] = (body_hash, [])
                return Reserved.NEW, None
        if found[1] != body_hash:
            return Reserved.CONFLICT, None
        return Reserved.DONE, Answer(found[0], found[2])

    def release(self, request_id: str) -> None:
        """Give a reservation back without an answer; who waits for it may reserve."""
        with self._mutex:
            _, waiting = self._flying.pop(request_id, (b"", []))
        for future in waiting:
            if future.set_running_or_notify_cancel():  # who gave up waiting is passed over
                future.set_result(None)

    def finish(self, finished: Finished) -> Answer:
        """Write one answered request and wait until it is on disk."""
        return self._promised(finished).result()

    def _promised(self, finished: Finished) -> Future[Answer]:
        done: Future[Answer] = Future()

        def told(outcome: Answer | Exception) -> None:
            if isinstance(outcome, Exception):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)

        self.finish_soon(finished, told)
        return done

    def finish_soon(self, finished: Finished, done: Callable[[Answer | Exception], None]) -> None:
        """Queue one answered request for the next group.

        Args:
            done: called when the request is on disk, or with why it is not; it must not raise.

        Raises:
            FailedError: the ledger is closed, or nobody described the model version whose rows these are.
        """
        if finished.frame is not None and finished.model_version not in self._described:
            raise FailedError(f"model version {finished.model_version} is not described in the ledger")
        frame = (
            None
            if finished.frame is None
            else json.dumps(finished.frame, separators=(",", ":"), default=_text)
        )
        with self._work:
            if self._closing:
                raise FailedError(f"the ledger {self.path.name} is closed")
            self._queue.append(_Waiting(finished, frame, done))
            self._work.notify()

    def take(self, finished: Finished, *, rows: bool = True) -> Future[Answer] | None:
        """Take a request that was answered elsewhere; `rows` False: without its rows. None where its id is here already."""
        said, _ = self.reserve(finished.request_id, finished.body_hash)
        if said is not Reserved.NEW:
            return None
        return self._promised(finished if rows else replace(finished, frame=None))

    def close(self) -> None:
        """Commit what waits, then let the file go."""
        with self._work:
            self._closing = True
            self._work.notify()
        self._writer.join()
        self._con.close()
        self._look.close()
        self._lock_file.close()

    def _write_forever(self) -> None:
        while True:
            with self._work:
                while not self._queue and not self._closing:
                    self._work.wait()
                group, self._queue = self._queue, []
            if not group:
                return
            outcomes: Sequence[Answer | Exception]
            try:
                outcomes = self._commit(group)
            except sqlite3.Error as error:
                failure = disk_full(error, "the answer can't be kept: ", [self.path.parent]) or FailedError(
                    f"the ledger could not be written: {error}", hint="see the endpoint's log"
                )
                outcomes = [failure] * len(group)
            self._deliver(lambda group=group, outcomes=outcomes: self._tell(group, outcomes))  # type: ignore[misc]

    def _commit(self, group: Sequence[_Waiting]) -> list[Answer | Exception]:
        con = self._con
        con.execute("BEGIN IMMEDIATE")
        try:
            row = con.execute("SELECT seq FROM sqlite_sequence WHERE name = 'request'").fetchone()
            first = seq = (row[0] if row else 0) + 1
            for start in range(0, len(group), _GROUP):
                part = group[start : start + _GROUP]
                values: list[Any] = []
                for waiting in part:
                    f = waiting.finished
                    values += (
                        seq,
                        f.request_id,
                        f.body_hash,
                        f.answer,
                        f.caller,
                        f.model_version,
                        f.scored_at,
                        f.rows,
                    )
                    values.append(waiting.frame)
                    seq += 1
                marks = ",".join(["(" + ",".join("?" * _COLUMNS) + ")"] * len(part))
                con.execute(f"INSERT INTO request VALUES {marks}", values)
            con.execute("COMMIT")
        except sqlite3.Error:
            if con.in_transaction:
                con.execute("ROLLBACK")
            raise
        self.commits += 1
        return [Answer(first + n, w.finished.answer) for n, w in enumerate(group)]

    def _tell(self, group: Sequence[_Waiting], outcomes: Sequence[Answer | Exception]) -> None:
        for waiting, outcome in zip(group, outcomes, strict=True):
            self.release(waiting.finished.request_id)
            waiting.done(outcome)


def _text(value: Any) -> str:
    """A value that JSON lacks, as text; times in ISO 8601."""
    return value.isoformat() if isinstance(value, dt.date) else str(value)
