"""The cockpit's server: Streamlit's pages, health, metrics and streaming exports in one ASGI app (`python -m cockpit.server ESTATE PORT [HOST]`)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cockpit import places
from cockpit.frame.addressing import Several
from esml_engine.errors import EsmlError, NotAllowedError, NotFoundError

log = logging.getLogger("esml.cockpit")
_CHUNK = 1 << 20
_warming: asyncio.Task[None] | None = None  # what is loaded behind the start; none where nothing was started
_MEDIA = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


def _store() -> Any:
    """The estate's store alone: health and figures do not hang on a settings file that somebody mends."""
    from cockpit.frame.opening import root

    return _store_of(str(root()))


@cache
def _store_of(folder: str) -> Any:
    from esml_engine.errors import NotFoundError
    from esml_engine.store.database import Store

    if not (Path(folder) / "estate.toml").is_file():
        raise NotFoundError(f"no estate at {folder}", hint=f"make one: esml init {folder}")
    state = Path(folder) / ".esml"
    state.mkdir(exist_ok=True)
    return Store.at(state)


def _answers() -> str:
    """'' when the store answers, else why not."""
    try:
        with _store().read() as c:
            c.exec_driver_sql("SELECT 1 FROM runs LIMIT 1")
    except EsmlError as e:
        return e.message
    except Exception as e:  # noqa: BLE001 - whatever it is, the store does not answer
        log.warning("the store does not answer: %r", e)
        return f"the store does not answer ({type(e).__name__})"
    return ""


async def healthz(_: Request) -> Response:
    """200 when the store answers and the first page can be drawn."""
    if _warming is not None:
        await asyncio.wait({_warming})
    why = await run_in_threadpool(_answers)
    if not why:
        return JSONResponse({"status": "ok"})
    from cockpit.frame.opening import root
    from cockpit.words import tidy

    return JSONResponse({"status": "unavailable", "reason": tidy(why, root())}, 503)


def _warm() -> None:
    """Open the store (its first use migrates it) and import what the first page is made of.

    What is loaded by then stays: it is left out of each later look for garbage, which cost a large page half of its time.
    """
    _answers()
    for name in (
        "cockpit.frame.navigation",
        "cockpit.overview",
        "cockpit.acts.deciding",
        "streamlit.elements.arrow",
    ):
        importlib.import_module(name)
    settle()


def settle() -> None:
    """Leave what is loaded out of looks for garbage, and look less often: a large page makes a hundred thousand objects that stay."""
    gc.freeze()
    gc.set_threshold(50_000, *gc.get_threshold()[1:])


def _metrics() -> str:
    import sqlalchemy as sa

    from esml_engine.runs import leases, records
    from esml_engine.store import schema as t

    store = _store()
    with store.read() as c:
        states = {
            s: int(n)
            for s, n in c.execute(sa.select(t.runs.c.state, sa.func.count()).group_by(t.runs.c.state)).all()
        }
    holder = leases.holder(store)
    names = (*records.OPEN, *records.ENDED)
    lines = ["# HELP esml_runs Runs by state.", "# TYPE esml_runs gauge"]
    lines += [f'esml_runs{{state="{s}"}} {states.get(s, 0)}' for s in names]
    lines += [
        "# HELP esml_open_runs Runs that are queued, waiting or running.",
        "# TYPE esml_open_runs gauge",
    ]
    lines += [f"esml_open_runs {sum(states.get(s, 0) for s in records.OPEN)}"]
    lines += [
        "# HELP esml_worker_alive Whether a worker holds the estate's lease and lives.",
        "# TYPE esml_worker_alive gauge",
    ]
    lines += [f"esml_worker_alive {int(bool(holder and holder.alive))}"]
    return "\n".join(lines) + "\n"


async def metrics(_: Request) -> Response:
    """Prometheus text."""
    try:
        text = await run_in_threadpool(_metrics)
    except EsmlError as e:
        return PlainTextResponse(f"# {e.code} {e.id}\n", 503)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _number(text: str) -> int:
    from esml_engine.errors import UsageError

    try:
        return int(text)
    except ValueError as e:
        raise UsageError(f"{text!r} is no model version", hint="a version is a number") from e


def _export(request: Request, folder: str) -> Path:
    from cockpit.frame.opening import estate_as

    q, p = request.query_params, request.path_params
    out = Path(folder) / f"scored.{p['kind']}"
    estate = estate_as(q.get("as") or None)
    estate.require("read_scored", p["project"])  # before anything is said of what there is
    model = estate.model(f"{p['project']}/{p['model']}", q.get("env") or "dev")
    versions = [_number(v) for v in q.getlist("version")]
    rows = model.scored(
        q.get("from", ""), q.get("to", ""), q.getlist("caller"), versions, where=tuple(q.getlist("where"))
    )
    rows.export(out)
    return out


def _chunks(path: Path, folder: tempfile.TemporaryDirectory[str]) -> Iterator[bytes]:
    try:
        with path.open("rb") as f:
            while chunk := f.read(_CHUNK):
                yield chunk
    finally:
        folder.cleanup()


async def scored(request: Request) -> Response:
    """The whole filtered result as csv or parquet; written to disk first, so that an error is an answer and not half a file."""
    folder = tempfile.TemporaryDirectory(prefix="esml-scored-")
    try:
        path = await run_in_threadpool(_export, request, folder.name)
    except EsmlError as e:
        folder.cleanup()
        status = (
            404
            if isinstance(e, NotFoundError)
            else 403
            if isinstance(e, NotAllowedError)
            else 400
            if e.exit_code == 2
            else 500
        )
        from cockpit.frame.opening import root
        from cockpit.words import tidy

        return JSONResponse(
            {
                "error": {
                    "code": e.code,
                    "message": tidy(e.message, root()),
                    "hint": tidy(e.hint, root()),
                    "id": e.id,
                }
            },
            status,
        )
    except BaseException:
        folder.cleanup()
        raise
    p = request.path_params
    name = f"{p['project']}-{p['model']}-{request.query_params.get('env') or 'dev'}-scored.{p['kind']}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(path.stat().st_size),
    }
    return StreamingResponse(_chunks(path, folder), media_type=_MEDIA[p["kind"]], headers=headers)


def on_script_error(error: Exception) -> bool:
    """One sentence with an id in the page; the trace in the log only."""
    import streamlit as st

    id_ = f"e-{secrets.token_hex(4)}"
    log.error("uncaught in a page (%s)", id_, exc_info=error)
    st.error(
        f"This page could not be shown ({id_}). Load it again; if it stays so, give this id to whoever runs the cockpit: the log holds the details.",
        icon=":material/error:",
    )
    return True


def told(request: Request, error: Exception) -> Response:
    """An uncaught error outside of a page: its id; the trace goes to the log."""
    id_ = f"e-{secrets.token_hex(4)}"
    log.error("uncaught at %s (%s)", request.url.path, id_, exc_info=error)
    return JSONResponse(
        {
            "error": {
                "code": "failed",
                "message": "this request failed",
                "hint": "the cockpit's log holds the details",
                "id": id_,
            }
        },
        500,
    )


@contextlib.asynccontextmanager
async def _lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
    """Open the store and load what pages need before the first one asks, without holding up the start."""
    global _warming
    _warming = asyncio.create_task(run_in_threadpool(_warm))
    try:
        yield {}
    finally:
        _warming.cancel()
        _warming = None


def make_app() -> Any:
    """The ASGI app; the estate is the environment's `ESML_ESTATE`."""
    import streamlit as st

    return st.App(
        places.APP,
        routes=routes(),
        middleware=[Middleware(Several)],
        lifespan=_lifespan,
        on_script_error=on_script_error,
        exception_handlers={Exception: told},
    )


def routes() -> list[Route]:
    """What the server answers beside Streamlit's own."""
    return [
        Route("/healthz", healthz),
        Route("/metrics", metrics),
        Route("/api/v1/scored/{project}/{model}.csv", _kind("csv")),
        Route("/api/v1/scored/{project}/{model}.parquet", _kind("parquet")),
        Route("/api/{rest:path}", no_route),
    ]


async def no_route(request: Request) -> Response:
    """An address below `/api` that nothing answers: a document, never a page."""
    error = {"code": "not_found", "message": f"nothing answers at {request.url.path}",
        "hint": "/api/v1/scored/PROJECT/MODEL.csv or .parquet", "id": ""}  # fmt: skip
    return JSONResponse({"error": error}, 404)


def _kind(kind: str) -> Any:
    async def endpoint(request: Request) -> Response:
        request.path_params["kind"] = kind
        return await scored(request)

    return endpoint


async def _watch(parent: int, server: Any) -> None:
    while parent and not server.should_exit:
        if os.getppid() != parent:
            server.should_exit = True
        await asyncio.sleep(0.5)


async def _serve(host: str, port: int, parent: int) -> None:
    import uvicorn

    config = uvicorn.Config(
        make_app(),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    watch = asyncio.create_task(_watch(parent, server))
    try:
        await server.serve()
    finally:
        watch.cancel()


def main() -> int:
    """Serve until told to end, or until the process that started this one is gone (`ESML_PARENT`)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if len(sys.argv) not in (3, 4) or not sys.argv[2].isdigit():
        sys.stderr.write("usage: python -m cockpit.server ESTATE PORT [HOST]\n")
        return 2
    os.environ["ESML_ESTATE"] = str(Path(sys.argv[1]).resolve())
    os.chdir(places.home())  # Streamlit reads .streamlit/config.toml of the working directory
    host = sys.argv[3] if len(sys.argv) == 4 else "127.0.0.1"
    asyncio.run(_serve(host, int(sys.argv[2]), int(os.environ.get("ESML_PARENT", "0"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
