"""Answered requests of an endpoint that several processes serve, each of which may vanish with its disk.

One file in the lake a request, named by the request id's hash and **created only if absent**: that one act is the
reservation that counts, the durable answer and the row to be kept. It comes before the answer goes out, so
- a crash before it leaves nothing answered and nothing kept;
- a repetition that reaches another process (blue or green, another instance) finds the file, and sends those bytes;
- a different body under the same id is refused.
A worker collects the files into a ledger of its own (`collecting`), from which they drain as everywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from esml_engine.errors import ConflictError, EsmlError, FailedError
from esml_engine.platforms.base import open_files
from esml_engine.scored.facts import Answer, Finished, Reserved, Shape

_SIDE_BY_SIDE = 32


def file_of(request_id: str) -> str:
    """The name of a request's file."""
    return f"{hashlib.sha256(request_id.encode()).hexdigest()}.json"


def to_json(f: Finished, frame: str | None) -> bytes:
    """A finished request as it lies in the lake."""
    said = {
        "request_id": f.request_id, "body_hash": f.body_hash.hex(), "answer": base64.b64encode(f.answer).decode(),
        "caller": f.caller,
        "model_version": f.model_version, "scored_at": f.scored_at, "rows": f.rows, "frame": frame,
    }  # fmt: skip
    return json.dumps(said, separators=(",", ":")).encode()


def from_json(text: bytes) -> Finished:
    """Inverse of `to_json`."""
    raw = json.loads(text)
    frame: Mapping[str, Any] | None = json.loads(raw["frame"]) if raw["frame"] is not None else None
    return Finished(
        raw["request_id"], bytes.fromhex(raw["body_hash"]), base64.b64decode(raw["answer"]), raw["caller"], raw["model_version"],
        raw["scored_at"], raw["rows"], frame,
    )  # fmt: skip


def shape_json(shape: Shape) -> bytes:
    """A model version's shape."""
    said = {"features": dict(shape.features), "prediction": shape.prediction, "classes": list(shape.classes),
        "interval": shape.interval}  # fmt: skip
    return json.dumps(said).encode()


class SharedLedger:
    """The writer's side; as `ledger.Ledger` to the endpoint's process.

    Args:
        folder: address of the endpoint's folder of answered requests; shapes of models lie beside it.
        scratch: a folder of this machine.
        deliver: runs a notification (an event loop's `call_soon_threadsafe`).
    """

    def __init__(
        self, folder: str, scratch: Path, *, deliver: Callable[[Callable[[], None]], Any] | None = None
    ) -> None:
        self.id, self.folder = folder, folder
        self.commits = 0
        self._files = open_files(f"{folder}/any", scratch)
        self._deliver = deliver or (lambda run: run())
        self._mutex = threading.Lock()
        self._flying: dict[str, tuple[bytes, list[Future[None]]]] = {}
        self._pool = ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="answered")

    def describe(self, model_version: int, shape: Shape) -> None:
        """Say how a model version's rows look, once before its first request (again is harmless)."""
        place = self.folder.rpartition("/")[0]
        self._files.write_file(f"{place}/shapes/{model_version}.json", shape_json(shape))

    def reserve(self, request_id: str, body_hash: bytes) -> tuple[Reserved, Answer | Future[None] | None]:
        """Reserve an id within this process; what others answered is found when the answer is written."""
        with self._mutex:
            flying = self._flying.get(request_id)
            if flying is None:
                self._flying[request_id] = (body_hash, [])
                return Reserved.NEW, None
            if flying[0] != body_hash:
                return Reserved.CONFLICT, None
            future: Future[None] = Future()
            flying[1].append(future)
            return Reserved.IN_FLIGHT, future

    def release(self, request_id: str) -> None:
        """Give a reservation back."""
        with self._mutex:
            _, waiting = self._flying.pop(request_id, (b"", []))
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def finish_soon(self, finished: Finished, done: Callable[[Answer | Exception], None]) -> None:
        """Write one answered request; `done` gets the answer that counts, or why there is none.

        Raises:
            FailedError: the ledger is closed.
        """
        frame = (
            None
            if finished.frame is None
            else json.dumps(finished.frame, separators=(",", ":"), default=_text)
        )
        try:
            self._pool.submit(self._write, finished, frame, done)
        except RuntimeError as e:
            raise FailedError("the endpoint is ending", hint="send the request again") from e

    def _write(self, f: Finished, frame: str | None, done: Callable[[Answer | Exception], None]) -> None:
        outcome: Answer | Exception
        try:
            outcome = Answer(0, self._kept(f, frame))
        except EsmlError as e:
            outcome = e
        except Exception as e:  # noqa: BLE001 - the caller waits: whatever it was, it must hear of it
            outcome = FailedError(
                f"the answer could not be kept: {type(e).__name__}", hint="send the request again"
            )

        def tell() -> None:
            self.release(f.request_id)
            done(outcome)

        self._deliver(tell)

    def _kept(self, f: Finished, frame: str | None) -> bytes:
        """The bytes of the answer that counts: ours, or those of whoever was first."""
        name = f"{self.folder}/{file_of(f.request_id)}"
        if self._files.create_file(name, to_json(f, frame)):
            self.commits += 1
            return f.answer
        found = self._files.read_file(name)
        if found is None:
            raise FailedError("the answer could not be kept", hint="send the request again")
        first = from_json(found)
        if first.body_hash != f.body_hash:
            raise ConflictError(
                f"request id {f.request_id!r} belongs to another body", hint="take a new id for new rows"
            )
        return first.answer

    def close(self) -> None:
        """Write what waits."""
        self._pool.shutdown()


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
