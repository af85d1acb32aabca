"""What goes over the wire: calls, answers, refusals, and the table of operations that handlers enter themselves into."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

ARM, VAULT, STORAGE = "arm", "vault", "storage"


class Headers(dict[str, str]):
    """Header names are compared without case."""

    def __init__(self, pairs: Any = ()) -> None:
        super().__init__({k.lower(): v for k, v in dict(pairs).items()})

    def get(self, name: str, default: Any = "") -> Any:
        return super().get(name.lower(), default)


@dataclass
class Call:
    """One request. `service` is arm, vault or storage; `account` which vault or storage account."""

    service: str
    account: str
    method: str
    path: str
    query: dict[str, str]
    headers: Headers
    body: bytes
    target: str  # path and query as they were sent
    parts: dict[str, str] = field(default_factory=dict)
    principal: str = ""

    @cached_property
    def json(self) -> Any:
        """The body's document; {} when empty."""
        return json.loads(self.body) if self.body.strip() else {}

    def __getitem__(self, part: str) -> str:
        return self.parts[part]


@dataclass
class Answer:
    """One response. `body`: a document, bytes, or None for no body at all."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The bytes that are sent."""
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Refusal(Exception):
    """An error answer in ARM's form: `{"error": {"code", "message"}}`."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}

    def answer(self) -> Answer:
        """As sent."""
        return Answer(self.status, {"error": {"code": self.code, "message": self.message}}, self.headers)


def not_found(what: str, inner: str = "NotFound") -> Refusal:
    """A 404 in the service's own words (recording R6)."""
    return Refusal(404, "UserError", f"Error when parsing request; {what} was not found ({inner})")


Handler = Callable[["Cloud", Call], Answer]


@dataclass(frozen=True)
class Operation:
    """One operation of a service. `versions` None: the service's own default applies, no api-version is sent."""

    name: str
    service: str
    method: str
    pattern: re.Pattern[str]
    handler: Handler
    versions: frozenset[str] | None
    audience: str  # "" when no token is needed


OPERATIONS: list[Operation] = []
WS = "/subscriptions/{sub}/resourceGroups/{rg}/providers/Microsoft.MachineLearningServices/workspaces/{ws}"


def operation(
    name: str, method: str, path: str, *, versions: str | None = "", service: str = ARM, audience: str = ARM
) -> Callable[[Handler], Handler]:
    """Enter a handler into the table.

    Args:
        name: the operation's id in Microsoft's specification, or a word of ours with a dot where it has none.
        path: `{part}` matches one segment, `{part*}` the rest.
        versions: the api-versions that it knows, separated by spaces; None when it takes none.
    """
    text = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
    pattern = re.compile(re.sub(r"\\\{(\w+)\\\*\\\}", r"(?P<\1>.*)", text) + "/?", re.IGNORECASE)
    known = None if versions is None else frozenset(versions.split())

    def enter(handler: Handler) -> Handler:
        OPERATIONS.append(Operation(name, service, method, pattern, handler, known, audience))
        return handler

    return enter


def find(call: Call) -> Operation | None:
    """The operation of a call; fills `call.parts`."""
    for op in OPERATIONS:
        if op.service == call.service and op.method in (call.method, "*"):
            match = op.pattern.fullmatch(call.path)
            if match:
                call.parts = match.groupdict()
                return op
    return None


def arm_headers(method: str) -> dict[str, str]:
    """What every management answer carries (seen on all recordings read)."""
    correlation = str(uuid.uuid4())
    verb = {"GET": "reads", "DELETE": "deletes"}.get(method, "writes")
    return {
        "Cache-Control": "no-cache",
        "Pragma": "no-cache",
        "Expires": "-1",
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
        "x-ms-correlation-request-id": correlation,
        "x-ms-request-id": correlation,
        f"x-ms-ratelimit-remaining-subscription-{verb}": "11999",
    }
