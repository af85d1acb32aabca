"""Deployments: what is wanted. The worker makes it so."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from esml_engine.errors import ConflictError, FailedError, NotFoundError, PlatformError
from esml_engine.platforms.base import Platform
from esml_engine.processes import ProcessTable, port_free
from esml_engine.refs import ModelRef
from esml_engine.store import schema as t
from esml_engine.store.database import Store

_BEGIN = 1_735_689_600  # 2025-01-01: seconds since then fit an Integer column


def get(store: Store, ref: ModelRef, env: str) -> dict[str, Any] | None:
    """The wanted deployment of a model in an environment."""
    k = t.deployments
    return store.first(k.select().where(k.c.object == str(ref), k.c.env == env))


def require(store: Store, ref: ModelRef, env: str) -> dict[str, Any]:
    """As `get`.

    Raises:
        NotFoundError: nothing is deployed there.
    """
    row = get(store, ref, env)
    if row is None or not row["live"]:
        raise nothing_deployed(ref, env)
    return row


def nothing_deployed(ref: ModelRef, env: str) -> NotFoundError:
    """There is no endpoint that answers."""
    return NotFoundError(f"{ref} is not deployed in {env}", hint=f"esml deploy {ref} --env {env}")


def listing(store: Store) -> list[dict[str, Any]]:
    """All wanted deployments."""
    return store.rows(t.deployments.select().order_by(t.deployments.c.object))


def port_of(c: sa.Connection, row: dict[str, Any] | None, ports: str, state: Path) -> int:
    """The endpoint's own port; another, where nothing is deployed any more and another program has taken it meanwhile."""
    if row is None:
        return free_port(c, ports)
    ending = any(p["kind"] == "endpoint" and p["name"] == row["endpoint"] for p in ProcessTable(state).live())
    kept = row["slots"] or ending or port_free(row["port"])
    return int(row["port"]) if kept else free_port(c, ports)


def free_port(c: sa.Connection, ports: str) -> int:
    """The lowest port of the range that no deployment has; it stays with its endpoint."""
    low, _, high = ports.partition("-")
    taken = set(c.execute(sa.select(t.deployments.c.port)).scalars())
    for port in range(int(low), int(high) + 1):
        if port not in taken and port_free(port):
            return port
    raise PlatformError(f"every port of {ports} is taken", hint="widen serving.ports in estate.toml")


def put(c: sa.Connection, row: dict[str, Any]) -> None:
    """Insert or replace what is wanted.

    The first revision comes from the clock: where an endpoint outlived its estate's store, and with it the old numbers,
    what runs there is never taken for what is wanted now.
    """
    k = t.deployments
    found = c.execute(
        sa.select(k.c.revision).where(k.c.object == row["object"], k.c.env == row["env"])
    ).scalar()
    if found is None:
        c.execute(k.insert().values(**{**row, "revision": int(time.time() - _BEGIN)}))
    else:
        c.execute(
            k.update()
            .where(k.c.object == row["object"], k.c.env == row["env"])
            .values(**{**row, "revision": found + 1})
        )


def want_again(store: Store, ref: ModelRef, env: str) -> None:
    """Want the same under another revision: what its platform refused or did not hear is tried afresh."""
    row = get(store, ref, env)
    if row is not None:
        with store.write() as c:
            put(c, current(c, row))


def move(store: Store, row: dict[str, Any], ports: str) -> dict[str, Any]:
    """A deployment on another port, as it is wanted from then on."""
    with store.write() as c:
        put(c, {**current(c, row), "port": free_port(c, ports)})
    found = get(store, ModelRef.parse(row["object"]), row["env"])
    assert found is not None
    return found


def current(c: sa.Connection, row: dict[str, Any]) -> dict[str, Any]:
    """A deployment as it is wanted now, in this transaction, ready to be put again: without its revision."""
    k = t.deployments
    found = c.execute(k.select().where(k.c.object == row["object"], k.c.env == row["env"])).mappings().one()
    return {key: v for key, v in found.items() if key != "revision"}


def unchanged(c: sa.Connection, row: dict[str, Any]) -> None:
    """Raise unless a deployment is still the one that was read.

    Raises:
        ConflictError: somebody changed it meanwhile.
    """
    k = t.deployments
    now = c.execute(
        sa.select(k.c.revision).where(k.c.object == row["object"], k.c.env == row["env"])
    ).scalar()
    if now != row["revision"]:
        raise ConflictError(f"the deployment of {row['object']} changed meanwhile", hint="look again")


def key_of(platform: Platform, ref: ModelRef, env: str, *, fresh: bool = False) -> str:
    """The endpoint's key; `fresh`: as it is kept now.

    Raises:
        FailedError: it is not in the secret store.
    """
    key = platform.get_secret(secret_name(ref, env), fresh=fresh)
    if not key:
        raise FailedError(
            f"the key of the endpoint of {ref} in {env} is not in the secret store",
            hint=f"esml keys {ref} --env {env} --rotate makes a new one",
        )
    return key


def key_sha256(platform: Platform, ref: ModelRef, env: str, *, fresh: bool = False) -> tuple[str, ...]:
    """Hexadecimal SHA-256 of the endpoint's key, as endpoints and platforms are told it; empty where none is kept."""
    key = platform.get_secret(secret_name(ref, env), fresh=fresh)
    return (hashlib.sha256(key.encode()).hexdigest(),) if key else ()


def secret_name(ref: ModelRef, env: str) -> str:
    """Under which name the endpoint's key is kept."""
    return f"endpoint-{ref.project}-{ref.model}-{env}"
