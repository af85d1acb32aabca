"""Model versions, candidates and champions: decisions are the store's, bytes and metrics are MLflow's."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from esml_engine.clock import now
from esml_engine.errors import ConflictError, NotFoundError
from esml_engine.refs import ModelRef
from esml_engine.store import schema as t
from esml_engine.store.database import Store, upsert


def reserve(store: Store, ref: ModelRef, env: str, run: str, beyond: int = 0) -> int:
    """The estate-wide version number of a training run, more than `beyond`; asked twice, the same number."""
    r = t.reservations
    with store.write() as c:
        found = c.execute(
            sa.select(r.c.version).where(r.c.object == str(ref), r.c.env == env, r.c.run == run)
        ).scalar()
        if found is not None:
            return int(found)
        top = c.execute(sa.select(sa.func.max(r.c.version)).where(r.c.object == str(ref))).scalar() or 0
        top = max(int(top), beyond)
        c.execute(r.insert().values(object=str(ref), version=top + 1, env=env, run=run))
        return top + 1


def put_version(c: sa.Connection, row: dict[str, Any], pins: list[dict[str, Any]]) -> None:
    """A registered version and the table versions that it stands on (a pin's `env`: where the table is, if elsewhere)."""
    upsert(c, t.model_versions, row)
    for p in pins:
        upsert(
            c,
            t.pins,
            {
                "object": row["object"],
                "env": p.get("env", row["env"]),
                "name": p["table"],
                "version": p["version"],
                "model_version": row["version"],
            },
            (),
        )


def put_candidate(c: sa.Connection, row: dict[str, Any]) -> None:
    """One line of the leaderboard."""
    upsert(c, t.candidates, row)


def champion(store: Store, ref: ModelRef, env: str) -> dict[str, Any] | None:
    """The champion's row of an environment."""
    k = t.champions
    return store.first(k.select().where(k.c.object == str(ref), k.c.env == env))


def crown(
    c: sa.Connection,
    ref: ModelRef,
    env: str,
    version: int,
    *,
    run: str,
    by: str,
    why: str,
    expected: int | None = None,
) -> int:
    """Make `version` the champion, in one statement that fails when somebody else was first; returns the revision.

    `expected` is the revision of the champion that it was decided against (0: there was none).

    Raises:
        ConflictError: another champion stands there by now.
    """
    k = t.champions
    row = c.execute(k.select().where(k.c.object == str(ref), k.c.env == env)).mappings().first()
    at = now()
    if row is None:
        revision = 1
        c.execute(
            k.insert().values(
                object=str(ref), env=env, version=version, previous=None, revision=1, aliased=0, at=at, by=by
            )
        )
    else:
        if row["version"] == version:
            return int(row["revision"])
        revision = row["revision"] + 1
        base = row["revision"] if expected is None else expected
        done = c.execute(
            k.update()
            .where(k.c.object == str(ref), k.c.env == env, k.c.revision == base)
            .values(version=version, previous=row["version"], revision=revision, at=at, by=by)
        )
        if done.rowcount != 1:
            raise ConflictError(f"the champion of {ref} in {env} changed meanwhile", hint="look again")
    c.execute(
        t.champion_history.insert().values(
            object=str(ref), env=env, revision=revision, version=version, at=at, by=by, run=run, why=why
        )
    )
    return int(revision)


def get_version(store: Store, ref: ModelRef, env: str, version: int | None = None) -> dict[str, Any]:
    """A registered version of an environment; None: its champion.

    Raises:
        NotFoundError: with the versions that are there.
    """
    v = t.model_versions
    if version is None:
        found = champion(store, ref, env)
        if found is None:
            raise NotFoundError(f"{ref} has no champion in {env} yet", hint=_no_champion(store, ref, env))
        version = int(found["version"])
    row = store.first(v.select().where(v.c.object == str(ref), v.c.env == env, v.c.version == version))
    if row is None:
        have = [str(x["version"]) for x in versions(store, ref, env)]
        raise NotFoundError(
            f"{ref} has no version {version} in {env}",
            hint=f"it has {', '.join(have)}" if have else "it has none yet",
        )
    return row


def _no_champion(store: Store, ref: ModelRef, env: str) -> str:
    newest = next(iter(versions(store, ref, env)), None)
    if newest is None:
        return f"esml train {ref} --env {env}; a version becomes champion when it passes floors and baseline"
    if newest["rnd"]:
        return (
            f"v{newest['version']} comes from R&D mode, which makes no champion: "
            f"esml set {ref} rnd.{env} false, then esml pipeline {ref} --env {env}"
        )
    return f"v{newest['version']} did not pass floors and baseline: esml leaderboard {ref} says which"


def versions(store: Store, ref: ModelRef, env: str = "") -> list[dict[str, Any]]:
    """Registered versions, newest first."""
    v = t.model_versions
    q = v.select().where(v.c.object == str(ref)).order_by(v.c.version.desc())
    return store.rows(q.where(v.c.env == env) if env else q)


def standing(store: Store, ref: ModelRef, env: str) -> list[dict[str, Any]]:
    """Registered versions of an environment without their metrics: what a promotion looks at before it measures."""
    v = t.model_versions
    q = sa.select(*(c for c in v.c if c.name not in ("metrics", "baseline")))
    return store.rows(q.where(v.c.object == str(ref), v.c.env == env))


def history(store: Store, ref: ModelRef, env: str) -> list[dict[str, Any]]:
    """Who was champion when, newest first."""
    h = t.champion_history
    return store.rows(h.select().where(h.c.object == str(ref), h.c.env == env).order_by(h.c.revision.desc()))


def intervals(store: Store, ref: ModelRef, env: str, version: int) -> dict[str, list[float]]:
    """Metric -> its 95 % interval on gold_test, of a version where it stands; empty where none was made."""
    k = t.candidates
    row = store.first(
        sa.select(k.c.intervals)
        .where(k.c.object == str(ref), k.c.env == env, k.c.version == version)
        .order_by(k.c.at.desc())
        .limit(1)
    )
    return dict(row["intervals"] or {}) if row else {}


def paid(store: Store, ref: ModelRef) -> dict[str, float]:
    """What each ended training of the model was metered, by run; of a pipeline's training its line alone knows."""
    r = t.runs
    q = sa.select(r.c.run, r.c.cost).where(
        r.c.object == str(ref), r.c.act == "train", r.c.state == "done", r.c.cost.is_not(None)
    )
    with store.read() as c:
        return {run: float(cost) for run, cost in c.execute(q).all()}


def candidates(store: Store, ref: ModelRef, env: str = "") -> list[dict[str, Any]]:
    """All lines of the leaderboard."""
    k = t.candidates
    q = k.select().where(k.c.object == str(ref)).order_by(k.c.at.desc())
    return store.rows(q.where(k.c.env == env) if env else q)
