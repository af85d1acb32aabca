"""Appends to `scored`: from the endpoints' ledgers and from batch runs, one at a time, each exactly once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import sqlalchemy as sa

from esml_engine.door import skeleton
from esml_engine.door.facts import Actor, Desk
from esml_engine.door.site import Site
from esml_engine.faults import point
from esml_engine.lake.catalogue import Version, latest, listing, made_by, newest_first, put, table_uri
from esml_engine.lake.commit import make_versions
from esml_engine.lake.numbers import numbers_of
from esml_engine.lake.replay import catch_up
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobSpec, TableOut
from esml_engine.scored.collecting import collect, forget
from esml_engine.scored.drain import drain
from esml_engine.scored.ledger_reader import LedgerReader
from esml_engine.scored.widening import fitted

PURGE_AFTER_DAYS = 7  # inside it a retried request id gives the same answer
_nothing_kept: dict[str, int] = {}
_one_at_a_time = threading.Lock()  # within the worker; between workers the table's transaction decides


@dataclass
class DrainDesk:
    """A drain commits like a step of a run that is named by what it drains."""

    site: Site
    run: str
    step: str = "drain"
    attempt: int = 1
    retry: int = 1
    actor: Actor = Actor("worker")  # noqa: RUF009 - frozen
    spec: JobSpec | None = None

    def commit(self, change: Callable[[sa.Connection], dict[str, Any]]) -> dict[str, Any]:
        """The catalogue row."""
        with self.site.store.write() as c:
            return change(c)

    def park(self, **request: Any) -> NoReturn:
        """Not here."""
        raise RuntimeError("a drain asks nobody")

    def want_endpoint(self, name: str) -> None:
        """Not here."""
        raise RuntimeError("a drain wants no endpoint")

    def wait(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Not here."""
        raise RuntimeError("a drain waits for nothing")


def endpoint_name(ref: ModelRef, env: str) -> str:
    """The endpoint of a model in an environment."""
    return f"{ref.project}-{ref.model}-{env}"


def ledger_path(site: Site, ref: ModelRef, env: str) -> Path:
    """The endpoint's ledger."""
    return site.state / "endpoints" / endpoint_name(ref, env) / "ledger.db"


def drained_seq(versions: list[Version], ledger: str) -> int:
    """Up to which sequence number the table holds a ledger's rows: its own commits say it."""
    return max((int(v.facts["last_seq"]) for v in versions if v.facts.get("ledger") == ledger), default=0)


def _drained(site: Site, ref: ModelRef, env: str, ledger: str) -> int:
    """The same of the table as it is now: its newest commit from this ledger, each goes on where the last ended."""
    with contextlib.closing(newest_first(site.store, ref, env, "scored")) as versions:
        return next((int(v["facts"]["last_seq"]) for v in versions if v["facts"].get("ledger") == ledger), 0)


def scored_to(versions: list[Version]) -> int | None:
    """The newest version of to_score that a batch run has scored."""
    return max((int(v.facts["to_score"]) for v in versions if v.facts.get("to_score")), default=None)


def batch_of(site: Site, ref: ModelRef, env: str, request_id: str) -> dict[str, Any] | None:
    """The facts of the batch run that answered a request id; None where there is none."""
    with contextlib.closing(newest_first(site.store, ref, env, "scored")) as versions:
        return next((dict(v["facts"]) for v in versions if v["facts"].get("request_id") == request_id), None)


def batch_ids(site: Site, ref: ModelRef, env: str) -> tuple[str, ...]:
    """The request ids of all batch runs."""
    versions = listing(site.store, ref, env, "scored")
    return tuple(str(v.facts["request_id"]) for v in versions if v.facts.get("request_id"))


def append(
    desk: Desk, ref: ModelRef, env: str, out: TableOut, inputs: list[dict[str, Any]], facts: dict[str, Any]
) -> Version:
    """Append to `scored` on whatever version it has now; the same run's append is found and adopted.

    The table's types are made as wide as table and rows need.
    """
    catch_up(desk.site, ref, env)
    mine = made_by(desk.site.store, ref, env, "scored", desk.run, desk.step)
    if mine is not None:
        return mine
    now = latest(desk.site.store, ref, env, "scored")
    total = (now.rows if now else 0) + sum(f.rows for f in out.add)
    out = fitted(desk.site, ref, env, replace(out, rows=total), desk.run)
    numbers = numbers_of(desk.site, ref, env, ["scored"])
    return make_versions(
        desk, ref, env, [out], numbers=numbers, inputs=inputs, facts=facts, partition_by=("scored_date",)
    )[0]


def append_batch(
    desk: Desk,
    ref: ModelRef,
    env: str,
    out: TableOut,
    inputs: list[dict[str, Any]],
    facts: dict[str, Any],
    answer: dict[str, Any],
) -> dict[str, Any]:
    """A batch run's rows."""
    with _one_at_a_time:
        made = append(desk, ref, env, out, inputs, facts)
        point("store:before")

        def change(c: sa.Connection) -> dict[str, Any]:
            put(c, made)
            return {**answer, "scored_version": made.version}

        return desk.commit(change)


def drain_ledger(site: Site, ref: ModelRef, env: str) -> int:
    """Move what was answered since the last drain into the table; returns rows moved."""
    path = ledger_path(site, ref, env)
    collect(site, ref, env, endpoint_name(ref, env), path, PURGE_AFTER_DAYS)
    if not path.exists():
        return 0
    with _one_at_a_time:
        with LedgerReader(path) as reader:
            ledger, last = reader.id, reader.last_seq()
        done = _drained(site, ref, env, ledger)
        if last <= max(done, _nothing_kept.get(ledger, 0)):
            return 0
        catch_up(site, ref, env)
        now = latest(site.store, ref, env, "scored")
        done = max(_drained(site, ref, env, ledger), _nothing_kept.get(ledger, 0))
        if last <= done:
            return 0
        uri, platform = table_uri(site, ref, env, "scored"), site.platform(env)
        # what was answered waits in the ledger while the lake, or the table, is away
        skeleton.require_there(site, ref, env)
        numbers_of(site, ref, env, ["scored"])
        part = drain(
            path, done, platform.drafts(uri), run=f"drain{done}", table_schema=now.schema if now else ""
        )
        platform.hand_in(uri, [f.path for f in part.files])
        point("drain:written")
        if not part.files:
            _nothing_kept[ledger] = part.last_seq  # save = false: not read again while this worker lives
            return 0
        desk = DrainDesk(site, f"drain-{ledger}-{part.last_seq}")
        made = append(
            desk,
            ref,
            env,
            part.table_out(),
            [{"ledger": ledger, "after": done, "last_seq": part.last_seq}],
            {},
        )
        point("drain:committed")
        with site.store.write() as c:
            put(c, made)
        return part.rows


def purge_ledger(site: Site, ref: ModelRef, env: str) -> int:
    """Drop requests that are drained and older than the promised window; returns how many."""
    path = ledger_path(site, ref, env)
    if not path.exists():
        return 0
    with LedgerReader(path) as reader:
        done = max(_drained(site, ref, env, reader.id), _nothing_kept.get(reader.id, 0))
        until = int((time.time() - PURGE_AFTER_DAYS * 86_400) * 1e6)
        forget(site, env, endpoint_name(ref, env), reader.request_ids(done, until))
        point("purge:forgotten")
        return reader.purge(done, until)
