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

**Readers** (`LedgerReader`) may be in other processes: WAL gives them a snapshot while the server writes.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from esml_engine.errors import ConflictError, FailedError, NotFoundError, disk_full
from esml_engine.scored.facts import Answer, Finished, Reserved, Shape, Slice
from esml_engine.scored.frames import Request, rows_table

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shape (model_version INTEGER PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS request (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    body_hash BLOB NOT NULL,
    answer BLOB NOT NULL,
    caller TEXT NOT NULL,
    model_version INTEGER NOT NULL,
    scored_at INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    frame TEXT
);
"""
_VERSION = "1"
_COLUMNS = 9
_GROUP = 96  # requests in one INSERT; a larger group is several INSERTs in one transaction
_BUSY_SECONDS = 30.0


def _connect(path: Path) -> sqlite3.Connection:
    con = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    con.execute("PRAGMA journal_mode=WAL")
    con.execute("PRAGMA synchronous=FULL")
    return con


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
        self._lock_file = _lock(self.path, wait_seconds)
        self.path.touch(mode=0o600)  # it holds what was asked about people
        self._con = _connect(self.path)
        self._con.executescript(_SCHEMA)
        self._con.execute(
            "INSERT OR IGNORE INTO about VALUES ('ledger', ?), ('version', ?)", (uuid.uuid4().hex, _VERSION)
        )
        self.id = str(self._con.execute("SELECT value FROM about WHERE key = 'ledger'").fetchone()[0])
        version = str(self._con.execute("SELECT value FROM about WHERE key = 'version'").fetchone()[0])
        if version != _VERSION:
            raise ConflictError(
                f"the ledger {self.path.name} has version {version}, this engine writes {_VERSION}",
                hint="run the engine that wrote it, or a newer one",
            )
        self._look = _connect(self.path)  # reads in the callers' threads, beside the writer
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
        with contextlib.closing(_connect(self.path)) as con:
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


class LedgerReader:
    """The reader's side: the worker that drains, the pages that show rows not drained yet. Any number, any process.

    Raises:
        NotFoundError: there is no ledger at `path` (the endpoint never ran).
    """

    def __init__(self, path: str | Path) -> None:
        if not Path(path).exists():
            raise NotFoundError(
                f"there is no ledger {Path(path).name}", hint="the endpoint has not been started yet"
            )
        self._con = _connect(Path(path))
        self._con.executescript(_SCHEMA)

    def __enter__(self) -> LedgerReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        self._con.close()

    @property
    def id(self) -> str:
        """The ledger's identity, for the application transaction (id, last sequence) of a drain."""
        row = self._con.execute("SELECT value FROM about WHERE key = 'ledger'").fetchone()
        return str(row[0]) if row else ""

    def last_seq(self) -> int:
        """The highest sequence number ever given (also when its request is purged); 0: none."""
        row = self._con.execute("SELECT seq FROM sqlite_sequence WHERE name = 'request'").fetchone()
        return int(row[0]) if row else 0

    def request_ids(self, drained_seq: int | None = None, older_than: int | None = None) -> list[str]:
        """Ids of the requests here; as `purge` with both limits: those that it would delete."""
        if drained_seq is None:
            found = self._con.execute("SELECT request_id FROM request")
        else:
            query = "SELECT request_id FROM request WHERE seq <= ? AND scored_at < ?"
            found = self._con.execute(query, (drained_seq, older_than))
        return [str(r[0]) for r in found]

    def undrained(self, seq: int) -> int:
        """How many scored rows come after `seq`."""
        query = "SELECT coalesce(sum(rows), 0) FROM request WHERE seq > ? AND frame IS NOT NULL"
        return int(self._con.execute(query, (seq,)).fetchone()[0])

    def shapes(self) -> dict[int, Shape]:
        """Shape by model version."""
        found = self._con.execute("SELECT model_version, document FROM shape ORDER BY model_version")
        return {version: _shape(json.loads(text)) for version, text in found}

    def rows_after(self, seq: int, limit: int | None = None) -> Slice:
        """Scored rows of the requests after `seq`.

        Args:
            limit: stop before the request that would make it more than this many rows (one request is always taken).
        """
        requests: list[Request] = []
        last, rows = seq, 0
        for request in self._requests(seq):
            count = request.rows if request.frame is not None else 0
            if limit is not None and rows and rows + count > limit:
                break
            last, rows = request.seq, rows + count
            if request.frame is not None:
                requests.append(request)
        return Slice(seq, last, rows_table(requests, self.shapes()))

    def _requests(self, seq: int) -> Iterator[Request]:
        query = """SELECT seq, request_id, caller, model_version, scored_at, rows, frame
                   FROM request WHERE seq > ? ORDER BY seq"""
        with contextlib.closing(self._con.execute(query, (seq,))) as found:
            for row in found:
                yield Request(*row)

    def purge(self, drained_seq: int, older_than: int) -> int:
        """Delete requests that are drained (up to `drained_seq`) and older than `older_than` (microseconds, UTC).

        A purged id is forgotten: a retry of it would be answered anew. Works in small transactions, so that the
        server's commits wait no longer than a few milliseconds.
        """
        deleted = 0
        while True:
            query = """DELETE FROM request WHERE seq IN
                       (SELECT seq FROM request WHERE seq <= ? AND scored_at < ? ORDER BY seq LIMIT 500)"""
            count = self._con.execute(query, (drained_seq, older_than)).rowcount
            deleted += count
            if count < 500:
                return deleted


def _text(value: Any) -> str:
    """A value that JSON lacks, as text; times in ISO 8601."""
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def _shape(raw: dict[str, Any]) -> Shape:
    return Shape(raw["features"], raw["prediction"], tuple(raw["classes"]), raw["interval"])


def _lock(path: Path, wait_seconds: float) -> Any:
    """An exclusive lock beside the ledger, held until the file is closed or the process is dead."""
    handle = path.with_name(path.name + ".lock").open("a+b")
    deadline = time.monotonic() + wait_seconds
    while not _try_lock(handle):
        if time.monotonic() > deadline:
            handle.close()
            raise ConflictError(f"another process writes to the ledger {path.name}", hint="end it first")
        time.sleep(0.05)
    return handle


def _try_lock(handle: Any) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        lock: Callable[[], None] = lambda: msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # noqa: E731
    else:
        lock = lambda: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # noqa: E731
    try:
        lock()
    except OSError:
        return False
    return True
