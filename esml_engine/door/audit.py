"""The audit chain: append-only, each event hashed over the one before; the head anchored outside the database."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import logging
import os
import secrets
import threading
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from esml_engine.clock import now
from esml_engine.door.facts import Actor
from esml_engine.faults import point
from esml_engine.store import schema as t
from esml_engine.store.database import Store

ANCHOR, KEY = "audit-head.json", "audit.key"
log = logging.getLogger(__name__)
_ZERO = "0" * 64


def append(
    c: sa.Connection,
    actor: Actor,
    act: str,
    object_: str,
    env: str,
    result: str,
    *,
    run: str | None = None,
    detail: dict[str, Any] | None = None,
) -> int:
    """Append one event; the last statement of a short write transaction. Returns its number."""
    head = c.execute(sa.select(t.audit.c.n, t.audit.c.hash).order_by(t.audit.c.n.desc()).limit(1)).first()
    n, prev = (head.n + 1, head.hash) if head else (1, _ZERO)
    row = {
        "n": n, "at": now(), "actor": actor.name, "as_actor": actor.acting_as, "act": act, "object": object_,
        "env": env or None, "result": result, "run": run, "detail": detail or {}, "prev": prev,
    }  # fmt: skip
    c.execute(t.audit.insert().values(**row, hash=_digest(row)))
    return int(n)


def answered(c: sa.Connection, key: str) -> dict[str, Any] | None:
    """The event of the act at once that an idempotency key named."""
    a = t.audit
    of_key = a.c.detail["once"]["key"].as_string() == key
    row = (
        c.execute(a.select().where(a.c.result == "done", of_key).order_by(a.c.n).limit(1)).mappings().first()
    )
    return dict(row) if row else None


def _digest(row: dict[str, Any]) -> str:
    body = {
        k: row[k]
        for k in ("n", "at", "actor", "as_actor", "act", "object", "env", "result", "run", "detail", "prev")
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()


def anchor(store: Store, folder: Path) -> None:
    """Write the head's number and hash, signed, outside the database: a chain alone misses a cut tail.

    An anchor that the chain does not hold stays: the next event would hide what was cut. Whoever has looked into it,
    and brought the right store back or not, takes `audit-head.json` away; the next event anchors anew, and another says so.
    One that can't be written fails no act, whose event is in the chain already: `verify` says so, and the next event tries again.
    """
    try:
        _anchor(store, folder)
    except OSError as e:
        log.warning(
            "the audit's anchor can't be written: %s; mend %s, then esml audit --verify", e, folder / ANCHOR
        )


def _anchor(store: Store, folder: Path) -> None:
    newest = sa.select(t.audit.c.n, t.audit.c.hash).order_by(t.audit.c.n.desc()).limit(1)
    head = store.first(newest)
    if head is None or _ahead(store, folder, head["n"]):
        return
    unwatched = _unwatched(folder, head["n"])
    _key(folder)  # before the event: what can't be signed is not told again and again
    if unwatched:  # for good: whatever was cut before it, was cut unseen
        with store.write() as c:
            append(c, Actor("esml"), "audit", "estate", "", "anchored anew", detail={"events": head["n"]})
        head = store.first(newest)
        assert head is not None
    point("audit:appended")
    body = {"n": head["n"], "hash": head["hash"]}
    text = json.dumps({**body, "mac": _mac(folder, body)})
    new = (
        folder / f"audit-head.{os.getpid()}-{threading.get_ident()}.tmp"
    )  # a worker anchors in several threads
    new.write_text(text, encoding="utf-8")
    point("audit:written")
    new.replace(folder / ANCHOR)


def _unwatched(folder: Path, events: int) -> bool:
    """Whether an anchor that there was is gone: its key is made with the first one, which the first event has."""
    return not (folder / ANCHOR).exists() and (events > 1 or (folder / KEY).exists())


def _ahead(store: Store, folder: Path, n: int) -> bool:
    """Whether the anchor is to stay as it is: as new as event `n`, or not of this chain."""
    path = folder / ANCHOR
    if not path.exists():
        return False
    said = _read(path)
    if not _signed(said, folder) or said["n"] >= n:
        return True
    known = store.first(sa.select(t.audit.c.hash).where(t.audit.c.n == said["n"]))
    return known is None or known["hash"] != said["hash"]


def _read(path: Path) -> dict[str, Any]:
    """The anchor; one that can't be read is one that nobody signed."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):
        said = None
    known = isinstance(said, dict) and {"n", "hash", "mac"} <= set(said) and isinstance(said["n"], int)
    return said if known else {"n": 0, "hash": "", "mac": ""}


def _signed(said: dict[str, Any], folder: Path) -> bool:
    if not _readable(folder / KEY):
        return False
    mac = _mac(folder, {"n": said["n"], "hash": said["hash"]})
    return hmac.compare_digest(str(said["mac"]).encode("utf-8", "surrogatepass"), mac.encode())


def tidy(folder: Path) -> None:
    """Take away what processes that were killed while they anchored left."""
    for left in folder.glob("audit-head.*.tmp"):
        pid = left.name.split(".")[1].partition("-")[0]
        if not (pid.isdigit() and psutil.pid_exists(int(pid))):
            left.unlink(missing_ok=True)


def _key(folder: Path) -> bytes:
    path = folder / KEY
    if not path.exists():
        try:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(fd, "wb") as f:
                f.write(secrets.token_bytes(32))
    return path.read_bytes()


def _mac(folder: Path, body: dict[str, Any]) -> str:
    return hmac.new(_key(folder), json.dumps(body, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def verify(store: Store, folder: Path) -> dict[str, Any]:
    """Walk the chain and hold its head against the anchor: `{"ok", "events", "first_bad"}`."""
    prev, events = _ZERO, 0
    hashes: dict[int, str] = {}
    with store.read() as c:
        for r in c.execute(t.audit.select().order_by(t.audit.c.n)).mappings():
            row = dict(r)
            events += 1
            if row["n"] != events or row["prev"] != prev or row["hash"] != _digest(row):
                return {
                    "ok": False,
                    "events": events,
                    "first_bad": row["n"],
                    "reason": "the event was changed, or one before it removed",
                }
            prev = row["hash"]
            hashes[row["n"]] = prev
    path = folder / ANCHOR
    for part in (path, folder / KEY):
        if not _readable(part) and (part.exists() or path.exists()):
            gone = "can't be read" if part.exists() else "is gone"
            return {
                "ok": False,
                "events": events,
                "first_bad": events + 1,
                "reason": f"{part.name} {gone}: nothing says that the chain's tail is whole",
            }
    if _unwatched(folder, events):
        return {
            "ok": False,
            "events": events,
            "first_bad": events + 1,
            "reason": "the anchor is gone: nothing says that the chain's tail is whole; the next event anchors anew and says so",
        }
    if path.exists():
        said = _read(path)
        if not _signed(said, folder):
            return {"ok": False, "events": events, "first_bad": said["n"], "reason": "the anchor was changed"}
        if hashes.get(said["n"]) != said["hash"]:
            return {
                "ok": False,
                "events": events,
                "first_bad": events + 1,
                "reason": "the chain's tail was cut, or it is another chain than the one that was anchored",
            }
    return {"ok": True, "events": events, "first_bad": None}


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def events(
    store: Store,
    *,
    actor: str = "",
    act: str = "",
    since: str = "",
    until: str = "",
    object_: str = "",
    result: str = "",
    projects: frozenset[str] | None = None,
    limit: int = 1000,
) -> list[dict[str, Any]]:
    """Events, newest first, filtered: `until` is the first moment that is left out, `object_` a model or a project with all of its models; `projects` limits sight."""
    a = t.audit
    q = a.select().order_by(a.c.n.desc())
    if actor:
        q = q.where(sa.or_(a.c.actor == actor, a.c.as_actor == actor))
    if act:
        q = q.where(a.c.act == act)
    if since:
        q = q.where(a.c.at >= since)
    if until:
        q = q.where(a.c.at < until)
    if object_:
        q = q.where(sa.or_(a.c.object == object_, a.c.object.startswith(object_ + "/", autoescape=True)))
    if result:
        q = q.where(a.c.result == result)
    if projects is None:
        keep = store.rows(q.limit(limit))
    else:  # the limit counts what may be seen
        with store.read() as c:
            seen = (r for r in c.execute(q).mappings() if r["object"].split("/")[0] in projects)
            keep = [dict(r) for r in itertools.islice(seen, limit)]
    return [
        {
            "n": r["n"],
            "at": r["at"],
            "actor": r["actor"],
            "as": r["as_actor"],
            "act": r["act"],
            "object": r["object"],
            "env": r["env"],
            "result": r["result"],
            "run": r["run"],
            "detail": r["detail"],
            "prev": r["prev"],
            "hash": r["hash"],
        }
        for r in keep
    ]
