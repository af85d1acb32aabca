"""A ledger read while its server writes: the worker that drains, and pages that show what is not drained yet."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from esml_engine.errors import NotFoundError
from esml_engine.scored.facts import Shape, Slice
from esml_engine.scored.frames import Request, rows_table
from esml_engine.scored.ledger_file import SCHEMA, connect


class LedgerReader:
    """The reader's side; any number, in any process: WAL gives each a snapshot while the server writes.

    Raises:
        NotFoundError: there is no ledger at `path` (the endpoint never ran).
    """

    def __init__(self, path: str | Path) -> None:
        if not Path(path).exists():
            raise NotFoundError(
                f"there is no ledger {Path(path).name}", hint="the endpoint has not been started yet"
            )
        self._con = connect(Path(path))
        self._con.executescript(SCHEMA)

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


def _shape(raw: dict[str, Any]) -> Shape:
    return Shape(raw["features"], raw["prediction"], tuple(raw["classes"]), raw["interval"])
