"""The caller's side of an endpoint: one call, or many rows cut into requests that go side by side.

A request is repeated by its id until it is answered or refused for good: the endpoint answers an id once, whatever was
lost on the way, so repeating is safe.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from esml_engine.errors import (
    ConflictError,
    DiskError,
    EsmlError,
    FailedError,
    NotAllowedError,
    PlatformError,
    UsageError,
)

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
CHUNK_ROWS = 1_000
_KEY_TOLD, _KEY_TOLD_HERE, _KEY_AGAIN = 90.0, 10.0, 0.3
"""Seconds for which a refused key is tried again where it is ours and right: elsewhere, on this machine; and between."""
_ATTEMPTS = 8
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
_AGAIN = (408, 429, 500, 502, 503, 504)
_REFUSALS: dict[int, type[EsmlError]] = {
    400: UsageError,
    401: NotAllowedError,
    409: ConflictError,
    413: UsageError,
    507: DiskError,
}


_HINTS = {
    401: "a key that was changed a moment ago may take a minute to be in force: try again",
    403: "esml keys shows the endpoint's key; a network rule in front of it may refuse this machine",
    404: "esml deploy makes the endpoint; a moment ago it may have been taken away",
    408: "it took too long: send fewer rows at once, or try again",
    424: "the model's container refused or failed: see the endpoint's log",
    429: "the endpoint takes no more at present: try again later, send less at once, or deploy it with more instances",
}
"""What to do about an answer that does not say it itself."""


@dataclass(frozen=True)
class Scored:
    """Answers in the order of the rows.

    Args:
        request_id: of the whole call.
        request_ids: that its rows stand under: itself and, for a call of more rows than one request takes, `<request_id>-<n>`.
        model_versions: that answered, ascending; more than one when traffic shifted or is split.
        stale: a forecast filled timestamps between its history and the first one asked, or between two.
    """

    request_id: str
    predictions: list[Any]
    model_versions: tuple[int, ...]
    probabilities: dict[str, list[Any]] = field(default_factory=dict)
    low: list[Any] | None = None
    high: list[Any] | None = None
    stale: bool = False
    request_ids: tuple[str, ...] = ()


def key_seconds(here: bool) -> float:
    """Seconds within which an endpoint has been told its new key: on this machine, or elsewhere."""
    return _KEY_TOLD_HERE if here else _KEY_TOLD


class Asking(Generic[T]):
    """A call with a key that is ours and right, made again while the endpoint has not been told it yet.

    To be waited for in turns: true once the call was answered.
    """

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask, self._next = ask, 0.0
        self._refused: NotAllowedError | None = None
        self._answers: list[T] = []

    def __call__(self) -> bool:
        """Ask, if it is time to; whether there is an answer.

        Raises:
            EsmlError: what the call raised, but for a key that was not taken.
        """
        if time.monotonic() < self._next:
            return False
        try:
            self._answers, self._refused = [self._ask()], None
        except NotAllowedError as e:
            if e.details.get("status") != 401:
                raise
            self._refused, self._next = e, time.monotonic() + _KEY_AGAIN
        return self._refused is None

    def answer(self) -> T:
        """What was answered.

        Raises:
            NotAllowedError: the key was not taken.
        """
        if self._refused:
            raise self._refused
        return self._answers[0]


def score(
    url: str,
    key: str,
    rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]],
    caller: str = "unknown",
    request_id: str | None = None,
    parallel: int = 1,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    chunk_rows: int = CHUNK_ROWS,
    timeout: float = 60.0,
    attempts: int = _ATTEMPTS,
) -> Scored:
    """Score rows at an endpoint.

    Args:
        url: ends in `/score`.
        rows: dictionaries by column name, or columns by name.
        request_id: the same id and rows (and `chunk_rows`) give the same answer; made up when None.
        parallel: how many requests are under way at once.
        headers: sent besides, such as a platform's that aim at a slot without traffic (then nothing is logged).
        chunk_rows: rows of one request; how rows are cut depends on nothing else, so that a repeated call is the same requests.

    Raises:
        UsageError: rows are not shaped as the model's signature, or too many.
        NotAllowedError: the key is wrong.
        ConflictError: the request id belongs to other rows.
        PlatformError: the endpoint could not be reached.
        DiskError: it can't keep an answer.
        FailedError: it answered with an error each time.
    """
    import httpx

    columns = _columns(rows)
    names = list(columns)
    data = [list(values) for values in zip(*columns.values(), strict=True)]
    name = request_id or uuid.uuid4().hex
    if not data:
        return Scored(name, [], ())
    size = max(1, chunk_rows)
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    ids = [name, *(f"{name}-{n}" for n in range(1, len(parts)))]
    sent = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    who = {b"x-caller-id": caller.encode()}  # UTF-8, which the endpoint reads
    whole = {"rows": len(data)} if len(parts) > 1 else {}  # a call of other rows differs in its first request
    bodies = [
        json.dumps({"input_data": {"columns": names, "data": part}, **whole}, default=_plain).encode()
        for part in parts
    ]
    limits = httpx.Limits(max_connections=max(parallel, 1), max_keepalive_connections=max(parallel, 1))
    with httpx.Client(timeout=timeout, headers=_headers({**sent, **headers}, who), limits=limits) as client:
        answers = [_ask(client, url, ids[0], bodies[0], attempts)]  # refused: nothing of the rest is kept
        if len(parts) > 1:
            with ThreadPoolExecutor(max(parallel, 1), thread_name_prefix="score") as pool:
                jobs = [
                    pool.submit(_ask, client, url, i, b, attempts)
                    for i, b in zip(ids[1:], bodies[1:], strict=True)
                ]
                try:
                    answers += [job.result() for job in jobs]
                except EsmlError:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
    return replace(_joined(name, answers), request_ids=tuple(ids))


def _headers(plain: Mapping[str, str], raw: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [*((k.encode("ascii"), v.encode("latin-1")) for k, v in plain.items()), *raw.items()]


def _ask(client: httpx.Client, url: str, request_id: str, body: bytes, attempts: int) -> dict[str, Any]:
    import httpx

    wait = _FIRST_WAIT
    for attempt in range(1, attempts + 1):
        pause = wait * random.uniform(0.5, 1.5)
        try:
            reply = client.post(url, content=body, headers={"x-request-id": request_id})
        except httpx.TransportError as error:
            if attempt == attempts:
                message = f"the endpoint can't be reached: {type(error).__name__}"
                raise PlatformError(message, hint="is `esml up` running?", request_id=request_id) from error
        else:
            if reply.status_code == 200:
                return _answer(reply, request_id)
            if _status(reply) not in _AGAIN or attempt == attempts:
                raise _refusal(reply, request_id)
            pause = max(pause, _retry_after(reply))
        time.sleep(min(pause, _LONGEST_WAIT))
        wait *= 2
    raise UsageError(f"attempts must be at least 1, not {attempts}")


def _answer(reply: httpx.Response, request_id: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = reply.json()
    except ValueError as e:
        raise FailedError(
            "the endpoint answered 200 with something that is no JSON",
            hint="a proxy or a sign-in page may answer in its place: look at its address, then try again",
            request_id=request_id,
        ) from e
    return answer


def _retry_after(reply: httpx.Response) -> float:
    """Seconds; 0 where none are said, or a date: the own pause counts then."""
    try:
        return float(reply.headers.get("retry-after", 0))
    except ValueError:
        return 0.0


def _status(reply: httpx.Response) -> int:
    """The endpoint's own status, where its answer says it: what stands in front of it may have another."""
    try:
        return int(reply.json()["status"])
    except (ValueError, KeyError, TypeError):
        return int(reply.status_code)


def _refusal(reply: httpx.Response, request_id: str) -> EsmlError:
    try:
        said = reply.json()["error"]
        message, hint = str(said["message"]), str(said.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        message, hint = f"the endpoint answered {reply.status_code}", ""
    status = _status(reply)
    hint = hint or _HINTS.get(status) or ("see the endpoint's log, then try again" if status >= 500 else "")
    return _REFUSALS.get(status, FailedError)(message, hint=hint, request_id=request_id, status=status)


def _columns(rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    if isinstance(rows, Mapping):
        columns = {str(name): list(values) for name, values in rows.items()}
        if len({len(values) for values in columns.values()}) > 1:
            raise UsageError("the columns are not of one length")
        return columns
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):  # a NumPy scalar
        return value.item()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise UsageError(f"a value of type {type(value).__name__} can't be sent to an endpoint")


def _joined(request_id: str, answers: Sequence[dict[str, Any]]) -> Scored:
    predictions = [p for answer in answers for p in answer["predictions"]]
    versions = tuple(sorted({int(answer["model_version"]) for answer in answers}))
    classes = list(dict.fromkeys(name for answer in answers for name in answer.get("probabilities", {})))
    probabilities: dict[str, list[Any]] = {
        name: [
            p
            for answer in answers
            for p in answer.get("probabilities", {}).get(name, [None] * len(answer["predictions"]))
        ]
        for name in classes
    }
    low, high = (
        [v for answer in answers for v in answer[side]] if all(side in answer for answer in answers) else None
        for side in ("low", "high")
    )
    stale = any(bool(answer.get("stale")) for answer in answers)
    return Scored(request_id, predictions, versions, probabilities, low, high, stale)
