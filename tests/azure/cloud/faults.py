"""Faults by schedule, and the record of what was said."""

from __future__ import annotations

import fnmatch
import json
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.azure.cloud.wire import Answer, Call


@dataclass
class Fault:
    """One scheduled fault. `drop`: the connection is closed without an answer; `late`: a long operation that was accepted
    ends Failed; `after`: the operation is carried out first, then the fault answers (a lost answer)."""

    operation: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    delay: float = 0.0
    drop: bool = False
    late: bool = False
    after: bool = False
    skip: int = 0
    path: str = "*"
    seen: int = 0

    def answer(self) -> Answer:
        """The error in the service's form."""
        status = self.status or 500
        code, words = CODES.get(status, ("InternalServerError", "The service failed."))
        return Answer(status, self.body or {"error": {"code": code, "message": words}}, dict(self.headers))


CODES = {
    401: ("InvalidAuthenticationToken", "The access token is invalid."),
    403: ("AuthorizationFailed", "The client does not have authorization to perform action over scope."),
    404: ("ResourceNotFound", "The Resource was not found."),
    408: ("RequestTimeout", "The request timed out."),
    409: ("Conflict", "Another operation is in progress on this resource."),
    412: ("PreconditionFailed", "The condition specified using HTTP conditional header(s) is not met."),
    429: ("TooManyRequests", "The request was throttled."),
    503: ("ServiceUnavailable", "The service is unavailable."),
    504: ("GatewayTimeout", "The gateway did not receive a response in time."),
}


class Faults:
    """The schedule. Operations may be named with wildcards (`OnlineEndpoints_*`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[Fault] = []

    def add(self, operation: str, **what: Any) -> Fault:
        """Schedule a fault; see `Fault` for the words. Returns it: `seen` counts how often it struck."""
        fault = Fault(operation, **what)
        with self._lock:
            self._all.append(fault)
        return fault

    def clear(self) -> None:
        """No more faults."""
        with self._lock:
            self._all.clear()

    def take(self, operation: str, path: str, *, late: bool = False) -> Fault | None:
        """The fault that strikes now, if any; counts it."""
        with self._lock:
            for f in self._all:
                if (
                    f.late is late
                    and fnmatch.fnmatch(operation, f.operation)
                    and fnmatch.fnmatch(path, f.path)
                ):
                    if f.skip > 0:
                        f.skip -= 1
                        return None
                    if f.seen < f.times:
                        f.seen += 1
                        return f
        return None


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as they went over the wire."""

    operation: str
    method: str
    path: str
    query: dict[str, str]
    request: Any
    status: int
    response: Any
    response_headers: dict[str, str]
    principal: str


class Recorder:
    """Remembers every exchange of the management, vault and cost services (lake traffic: without bodies)."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def note(self, name: str, call: Call, answer: Answer, *, bodies: bool) -> None:
        """One exchange."""
        self.exchanges.append(
            Exchange(
                name, call.method, call.path, call.query, _document(call.body) if bodies else None,
                answer.status, answer.body if bodies and not isinstance(answer.body, bytes) else None, answer.headers,
                call.principal,
            )
        )  # fmt: skip

    def of(self, operation: str) -> list[Exchange]:
        """The exchanges of an operation (wildcards may be used)."""
        return [e for e in list(self.exchanges) if fnmatch.fnmatch(e.operation, operation)]


def _document(body: bytes) -> Any:
    try:
        return json.loads(body) if body.strip() else None
    except ValueError:
        return None
