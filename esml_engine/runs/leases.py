"""The worker's lease and the locks of models: held in the store, with an owner and a heartbeat.

A dead local holder (pid and start time gone) is taken over at once, another machine's after 10 s.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from esml_engine.processes import alive, started
from esml_engine.store import schema as t
from esml_engine.store.database import Store, upsert

EXPIRES = 10.0
WORKER = "worker"


@dataclass(frozen=True)
class Holder:
    """Who holds the lease."""

    owner: str
    kind: str  # up | command
    host: str
    pid: int
    alive: bool
    age: float


def holder(store: Store) -> Holder | None:
    """Who holds the worker lease, and whether they live."""
    row = store.first(t.leases.select().where(t.leases.c.name == WORKER))
    return _holder(row) if row else None


def _holder(row: dict) -> Holder:
    age = time.time() - row["heartbeat"]
    same = row["host"] == socket.gethostname()
    living = alive(row["pid"], row["pid_started"]) if same else age < EXPIRES
    return Holder(row["owner"], row["kind"], row["host"], row["pid"], living, age)


def acquire(
    store: Store,
    owner: str,
    kind: str,
    taken_over: Callable[[sa.Connection, float], None] = lambda c, last_seen: None,
) -> bool:
    """Take the lease unless a living holder has it; `taken_over` hears in the same transaction when a dead one was last seen."""
    mine = {
        "name": WORKER,
        "owner": owner,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_started": started(os.getpid()),
        "heartbeat": time.time(),
        "kind": kind,
    }
    with store.write() as c:
        row = c.execute(t.leases.select().where(t.leases.c.name == WORKER)).mappings().first()
        if row is not None and row["owner"] != owner and _holder(dict(row)).alive:
            return False
        if row is not None and row["owner"] != owner:
            taken_over(c, float(row["heartbeat"]))
        upsert(c, t.leases, mine)
        if row is None or row["owner"] != owner:
            c.execute(
                t.locks.delete()
            )  # locks are taken under the lease: those of the former holder are void
    return True


def renew(store: Store, owner: str) -> bool:
    """Heartbeat; False when the lease was lost."""
    with store.write() as c:
        found = c.execute(
            t.leases.update()
            .where(t.leases.c.name == WORKER, t.leases.c.owner == owner)
            .values(heartbeat=time.time())
        )
        return bool(found.rowcount)


def takes(store: Store) -> None:
    """Write to the store what it says already.

    Raises:
        StoreFullError: its disk takes no more.
    """
    with store.write() as c:
        c.execute(t.leases.update().values(kind=t.leases.c.kind))


def release(store: Store, owner: str) -> None:
    """Give the lease back."""
    with store.write() as c:
        c.execute(t.leases.delete().where(t.leases.c.name == WORKER, t.leases.c.owner == owner))


def lock(store: Store, name: str, run: str, owner: str) -> bool:
    """Take a model's lock for a run; True when it is this run's."""
    with store.write() as c:
        row = c.execute(sa.select(t.locks.c.run).where(t.locks.c.name == name)).scalar()
        if row is not None and row != run:
            return False
        upsert(c, t.locks, {"name": name, "run": run, "owner": owner, "heartbeat": time.time()})
    return True
