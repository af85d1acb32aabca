"""TLS servers on loopback ports, one thread a connection: read a call, dispatch it, write the answer."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.azure.cloud.wire import ARM, STORAGE, Answer, Call, Headers, Refusal, arm_headers, find

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud


class Dropped(Exception):
    """The connection is closed without an answer."""


class Listener(ThreadingHTTPServer):
    """One port for one service (or one account of it)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, cloud: Cloud, context: ssl.SSLContext, service: str, account: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cloud, self.context, self.service, self.account = cloud, context, service, account
        self.url = f"https://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread, so that a slow handshake keeps nobody waiting."""
        with contextlib.suppress(OSError, ssl.SSLError):
            request.settimeout(900)
            with self.context.wrap_socket(request, server_side=True) as secure:
                super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the recorder remembers."""

    def setup(self) -> None:
        super().setup()
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except TimeoutError:
            self.close_connection = True

    def _serve(self) -> None:
        split = urlsplit(self.path)
        call = Call(
            self.server.service, self.server.account, self.command, unquote(split.path),
            dict(parse_qsl(split.query, keep_blank_values=True)), Headers(self.headers.items()), self._read(), self.path,
        )  # fmt: skip
        try:
            answer = dispatch(self.server.cloud, call)
        except Dropped:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        content = answer.content()
        headers = {k.lower(): v for k, v in answer.headers.items()}
        self.send_response(answer.status)
        if not isinstance(answer.body, bytes) and answer.body is not None:
            headers.setdefault("content-type", "application/json; charset=utf-8")
        if self.command != "HEAD" and answer.status not in (204, 304):
            headers["content-length"] = str(len(content))
        for k, v in headers.items():
            self.send_header(k, v)
        self.end_headers()
        if self.command != "HEAD" and answer.status not in (204, 304):
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _serve

    def _read(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            out = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                out += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return out
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


def dispatch(cloud: Cloud, call: Call) -> Answer:
    """Find the operation, let a scheduled fault strike, check version and token, carry it out, note it."""
    op = find(call)
    if op is None:
        answer = Refusal(404, "InvalidResourceType", f"no such route: {call.method} {call.path}").answer()
        cloud.recorder.note("unknown", call, answer, bodies=True)
        return answer
    bodies = call.service != STORAGE and not op.name.startswith("MLflow.")
    fault = cloud.faults.take(op.name, call.path)
    if fault is not None and fault.delay:
        time.sleep(fault.delay)  # a slow service, on purpose
    try:
        if fault is not None and not fault.after and (fault.drop or fault.status):
            if fault.drop:
                raise Dropped
            answer = fault.answer()
        else:
            answer = _carry_out(cloud, op, call)
            if fault is not None and fault.after:
                if fault.drop:
                    raise Dropped
                answer = fault.answer()
    except Dropped:
        cloud.recorder.note(op.name, call, Answer(0), bodies=bodies)
        raise
    except Refusal as e:
        answer = e.answer()
    except Exception as e:
        traceback.print_exc()
        answer = Refusal(
            500, "StandInError", f"the stand-in failed at {op.name}: {type(e).__name__}: {e}"
        ).answer()
        cloud.broken.append(f"{op.name}: {type(e).__name__}: {e}")
    if call.service == ARM:
        answer.headers = {**arm_headers(call.method), **answer.headers}
    cloud.recorder.note(op.name, call, answer, bodies=bodies)
    return answer


def _carry_out(cloud: Cloud, op: Any, call: Call) -> Answer:
    if op.audience:
        call.principal = cloud.check_token(op.audience, call)
    if op.versions is not None:
        version = call.query.get("api-version", "")
        if not version:
            raise Refusal(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        if version not in op.versions:
            raise Refusal(
                400,
                "InvalidApiVersionParameter",
                f"The api-version '{version}' is invalid for {op.name}. The supported versions are '{','.join(sorted(op.versions))}'.",
            )
    return op.handler(cloud, call)
