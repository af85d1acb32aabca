"""A call passed on to a real server behind the stand-in: Azurite, an `mlflow server`, a deployment's container."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

HOP = {
    "host", "connection", "content-length", "transfer-encoding", "authorization", "accept-encoding", "keep-alive", "expect",
}  # fmt: skip
"""Headers of one hop: those of the caller's connection are not those of the next, and its token is for us alone."""


def onward(headers: Mapping[str, str]) -> dict[str, str]:
    """What of a call's headers goes along."""
    return {k: v for k, v in headers.items() if k.lower() not in HOP}


def back(headers: Mapping[str, str]) -> dict[str, str]:
    """What of an answer's headers goes back: names in small letters, without the inner server's own."""
    return {k.lower(): v for k, v in headers.items() if k.lower() not in {*HOP, "server", "date"}}


def exchange(
    connection: http.client.HTTPConnection, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    """One request over a connection: status, headers (small letters) and body of its answer."""
    connection.request(method, target, body, dict(headers))
    got = connection.getresponse()
    return got.status, {k.lower(): v for k, v in got.getheaders()}, got.read()


def passed_on(
    port: int, method: str, target: str, headers: Mapping[str, str], body: bytes, seconds: float
) -> tuple[int, dict[str, str], bytes]:
    """The same over a connection of its own to a port of this machine, with `onward` and `back`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        status, said, content = exchange(connection, method, target, onward(headers), body)
        return status, back(said), content
    finally:
        connection.close()
