"""The endpoint process: `python -m esml_engine.serving.server CONFIG.json`.

It holds the models of an endpoint's slots (`slots`), answers `POST /score`, and writes each answered request to the
ledger before the answer goes out (`esml_engine.scored.ledger` says why that is exactly once). Configuration and control
file: `facts.Config`, `facts.Control`. It ends with its parent.

`x-esml-slot: green` aims a request at a slot without traffic (the smoke test before traffic shifts); such a request
leaves nothing in the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import hmac
import json
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from esml_engine.errors import ConflictError, DiskError, EsmlError, FailedError, NotYetError, UsageError
from esml_engine.faults import point
from esml_engine.scored.answered import SharedLedger
from esml_engine.scored.facts import Answer, Finished, Reserved
from esml_engine.scored.ledger import Ledger
from esml_engine.serving.batching import Batcher
from esml_engine.serving.counting import Publisher
from esml_engine.serving.facts import LONGEST_NAME, Config, Slot
from esml_engine.serving.metrics import Metrics
from esml_engine.serving.scorer import Predicted, Scorer, columns_of, load
from esml_engine.serving.slots import Slots
from esml_engine.serving.tally import Tally, path_of

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

log = logging.getLogger("esml.serving")
_JSON = (b"content-type", b"application/json")
_PATIENCE = 8  # a body that is too large is read (and dropped) up to this many times the limit


class HttpError(Exception):
    """A refusal with its HTTP status; the body is the product's error document."""

    def __init__(self, status: int, error: EsmlError, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = headers


class Endpoint:
    """Everything that one endpoint process holds; made inside its event loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        loop = asyncio.get_running_loop()
        self.ledger: Ledger | SharedLedger = (
            SharedLedger(config.answered, Path(config.ledger).parent, deliver=loop.call_soon_threadsafe)
            if config.answered
            else Ledger(config.ledger, deliver=loop.call_soon_threadsafe)
        )
        self.slots = Slots(config.control, self._load)
        self.batcher = Batcher()
        tally = Tally(path_of(config.ledger))
        tally.save()  # from now on no calls are zero calls, and not unknown ones
        self.metrics = Metrics(config.endpoint, self.ledger, tally)
        self.publisher = (
            Publisher(config.answered, Path(config.ledger).parent, tally) if config.answered else None
        )
        self._under_way = 0

    def _load(self, slot: Slot) -> Scorer:
        scorer = load(slot.folder, slot.sha256, slot.model_version, self.config.loader)
        self.ledger.describe(slot.model_version, scorer.shape())
        return scorer

    def check_key(self, headers: dict[bytes, bytes]) -> None:
        """Raise 401 unless the bearer key is one of the endpoint's (or somebody in front has looked at it)."""
        if self.config.smoke_sha256:
            return
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        given = hashlib.sha256(key.strip()).hexdigest()
        known = self.slots.control.key_sha256 or ((self.config.key_sha256,) if self.config.key_sha256 else ())
        # every key is compared, so that the time says nothing
        fits = [hmac.compare_digest(given, one) for one in known]
        if scheme.lower() != b"bearer" or not any(fits):
            error = UsageError("the key is missing or wrong", hint="send Authorization: Bearer KEY")
            raise HttpError(401, error, (b"www-authenticate", b"Bearer"))

    async def score(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /score` as a bare ASGI application: the hot path."""
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"").decode("latin-1") or uuid.uuid4().hex
        extra: tuple[tuple[bytes, bytes], ...] = ()
        rows = 0
        self._under_way += 1
        try:
            self.check_key(headers)
            if self._under_way > self.config.queue:
                busy = FailedError("too many requests are under way", hint="try again in a second")
                raise HttpError(429, busy, (b"retry-after", b"1"))
            if len(request_id) > LONGEST_NAME or len(headers.get(b"x-caller-id", b"")) > LONGEST_NAME:
                raise UsageError(f"x-request-id and x-caller-id have at most {LONGEST_NAME} characters")
            body = await self._body(headers, receive)
            answer, rows = await self._answer(request_id, headers, body)
            status = 200
        except HttpError as refusal:
            status, extra = refusal.status, refusal.headers
            answer = _document(refusal.error, status)
        except UsageError as error:
            status, answer = 400, _document(error, 400)
        except ConflictError as error:
            status, answer = 409, _document(error, 409)
        except EsmlError as error:
            log.error("request %s: %s", request_id, error.message)
            status = 507 if isinstance(error, DiskError) else 500
            answer = _document(error, status)
        except Exception:
            failure = FailedError("the model failed on these rows", hint="the endpoint's log has the details")
            log.exception("request %s (%s)", request_id, failure.id)
            status, answer = 500, _document(failure, 500)
        finally:
            self._under_way -= 1
        head = [
            _JSON,
            (b"content-length", b"%d" % len(answer)),
            (b"x-request-id", request_id.encode("latin-1")),
            *extra,
        ]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": answer})
        if b"x-esml-slot" not in headers:  # a smoke test is nobody's call
            self.metrics.answered(status, rows, time.perf_counter() - started)

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        limit = self.config.max_body_bytes
        if b"arrow" in headers.get(b"content-type", b""):
            raise HttpError(415, NotYetError("Arrow bodies come later", hint="send application/json"))
        message = await receive()
        body: bytes = message.get("body", b"")
        size = len(body)
        if message.get("more_body"):
            parts = [body]
            while message.get("more_body"):
                message = await receive()
                part = message.get("body", b"")
                size += len(part)
                if size <= limit:
                    parts.append(part)
                elif size > _PATIENCE * limit:
                    break
            body = b"".join(parts)
        if message["type"] == "http.disconnect":
            raise HttpError(400, UsageError("the caller left before the body was complete"))
        if size > limit:  # said after the body was read: a caller who still sends would not hear it
            large = UsageError(f"the body is larger than {limit} bytes", hint="send fewer rows a request")
            raise HttpError(413, large)
        return body

    async def _answer(self, request_id: str, headers: dict[bytes, bytes], body: bytes) -> tuple[bytes, int]:
        slot = headers.get(b"x-esml-slot", b"").decode("latin-1")
        if slot:
            if self.config.smoke_sha256:
                self._check_smoke(headers)
            elif self.slots.has_traffic(slot):
                raise UsageError(
                    f"slot {slot!r} has traffic", hint="leave x-esml-slot out: what it answers is logged"
                )
            scorer = self.slots.named(slot)
            if scorer is None:
                raise HttpError(503, FailedError(f"slot {slot!r} is not ready", hint="GET /health says why"))
            answer, _, predicted = await self._predict(scorer, request_id, body)
            return answer, len(predicted.prediction)
        body_hash = hashlib.sha256(body).digest()
        while True:
            said, found = self.ledger.reserve(request_id, body_hash)
            if said is Reserved.NEW:
                point("serve:reserved")
                return await self._fresh(request_id, headers, body, body_hash)
            if said is Reserved.CONFLICT:
                error = UsageError(
                    f"request id {request_id!r} belongs to another body", hint="take a new id for new rows"
                )
                raise HttpError(409, error)
            if isinstance(found, Answer):
                return found.body, 0
            if found is not None:
                await asyncio.wrap_future(found)

    def _check_smoke(self, headers: dict[bytes, bytes]) -> None:
        """Which slot has traffic is known in front alone: whoever aims, and so leaves nothing, must be a worker."""
        given = hashlib.sha256(headers.get(b"x-esml-smoke", b"")).hexdigest()
        if not hmac.compare_digest(given, self.config.smoke_sha256):
            raise HttpError(
                401, UsageError("only a smoke test may aim at a slot", hint="leave x-esml-slot out")
            )

    async def _fresh(
        self, request_id: str, headers: dict[bytes, bytes], body: bytes, body_hash: bytes
    ) -> tuple[bytes, int]:
        """Answer a request that holds its id's reservation."""
        handed_over = False
        try:
            scorer = self.slots.choose(request_id)
            if scorer is None:
                raise HttpError(
                    503,
                    FailedError("no model is ready yet", hint="GET /health says why"),
                    (b"retry-after", b"1"),
                )
            answer, features, predicted = await self._predict(scorer, request_id, body)
            rows = len(predicted.prediction)
            point("serve:predicted")
            finished = Finished(
                request_id,
                body_hash,
                answer,
                _said(headers.get(b"x-caller-id", b"")) or "unknown",
                scorer.model_version,
                time.time_ns() // 1000,
                rows,
                predicted.frame(features) if self.slots.control.save else None,
            )
            on_disk: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

            def told(outcome: Answer | Exception) -> None:
                if on_disk.done():
                    return
                if isinstance(outcome, Exception):
                    on_disk.set_exception(outcome)
                else:
                    on_disk.set_result(outcome.body)

            self.ledger.finish_soon(finished, told)
            handed_over = True
        finally:
            if not handed_over:
                self.ledger.release(request_id)
        body_told = await on_disk  # another process may have answered this id before: then its answer
        point("serve:logged")
        return body_told, rows

    async def _predict(
        self, scorer: Scorer, request_id: str, body: bytes
    ) -> tuple[bytes, dict[str, list[Any]], Predicted]:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"the body is not JSON: {error}", hint='send {"input_data": {"columns", "data"}}'
            ) from error
        columns, rows = columns_of(document)
        if rows > self.config.max_rows:
            many = UsageError(
                f"{rows} rows are more than {self.config.max_rows}", hint="send fewer rows a request"
            )
            raise HttpError(413, many)
        features = scorer.coerce(columns)
        predicted = await self.batcher.predict(scorer, features, rows)
        answer = {**predicted.document(), "model_version": scorer.model_version, "request_id": request_id}
        return json.dumps(answer, separators=(",", ":")).encode(), features, predicted


def _document(error: EsmlError, status: int) -> bytes:
    """The error with its status inside: what stands in front of this process may answer with another of its own."""
    return json.dumps({**error.document(), "status": status}).encode()


def create_app(config: Config) -> FastAPI:
    """The ASGI application; the endpoint itself is made when it starts."""
    endpoint: Endpoint

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal endpoint
        endpoint = Endpoint(config)
        watches = [asyncio.create_task(w) for w in (endpoint.slots.watch(), endpoint.metrics.tally.keep())]
        if endpoint.publisher is not None:
            watches.append(asyncio.create_task(endpoint.publisher.keep()))
        if config.parent:
            watches.append(asyncio.create_task(_follow(config.parent)))
        log.info("endpoint %s on port %s, ledger %s", config.endpoint, config.port, endpoint.ledger.id)
        try:
            yield
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            endpoint.metrics.tally.save()
            if endpoint.publisher is not None:
                await asyncio.to_thread(endpoint.publisher.publish)
            await asyncio.to_thread(endpoint.ledger.close)

    class Score:
        """`POST /score` without the framework's per-request work."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await endpoint.score(scope, receive, send)

    async def health(_: Request) -> Response:
        """What is live, and how far each slot is; 503 while nothing answers."""
        document = {"endpoint": config.endpoint, "instance": config.instance, **endpoint.slots.document()}
        return JSONResponse(document, 200 if document["status"] == "ok" else 503)

    async def reload(request: Request) -> Response:
        """Look at the control file now."""
        if request.client is None or request.client.host not in ("127.0.0.1", "::1"):
            return JSONResponse(UsageError("only from this machine").document(), 403)
        try:
            endpoint.check_key(dict(request.scope["headers"]))
        except HttpError as refusal:
            return JSONResponse(refusal.error.document(), refusal.status)
        endpoint.slots.look()
        return JSONResponse(endpoint.slots.document())

    async def metrics(_: Request) -> Response:
        """Prometheus."""
        return Response(endpoint.metrics.text(), media_type="text/plain; version=0.0.4")

    app = FastAPI(title=config.endpoint, version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.router.routes.insert(0, Route("/score", Score(), methods=["POST"]))
    app.add_api_route("/health", health, methods=["GET"])
    app.add_api_route("/control/reload", reload, methods=["POST"])
    app.add_api_route("/metrics", metrics, methods=["GET"])
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        from esml_engine.serving.openapi import with_score

        scorer = endpoint.slots.choose("")
        return with_score(plain(), scorer)

    app.openapi = openapi  # type: ignore[method-assign]
    return app


async def _follow(parent: int) -> None:
    """End this process when its parent is gone (where the kernel does not do it)."""
    while os.getppid() == parent:
        await asyncio.sleep(0.5)
    log.info("parent %s is gone", parent)
    signal.raise_signal(signal.SIGTERM)


def _die_with_parent(parent: int) -> None:
    """Let the kernel end this process when the one that started it ends (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(1)


def _said(header: bytes) -> str:
    """A header's text: UTF-8 as our clients send it, else Latin-1 as HTTP has it."""
    try:
        return header.decode("utf-8")
    except UnicodeDecodeError:
        return header.decode("latin-1")


def main(path: str) -> None:
    """Run the endpoint until it is told to end."""
    import uvicorn

    config = Config.read(path)
    kept: dict[str, Any] = {"filename": config.log} if config.log else {"stream": sys.stderr}
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", **kept)
    if config.parent:
        _die_with_parent(config.parent)
    uvicorn.run(
        create_app(config),
        host=config.host,
        port=config.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        server_header=False,
    )


if __name__ == "__main__":
    main(sys.argv[1])
