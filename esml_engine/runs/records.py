"""Run records: intent and progress of every piece of work. Intent is the store's; a worker executes it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from esml_engine.clock import now, seconds_since
from esml_engine.errors import NotFoundError
from esml_engine.store import schema as t
from esml_engine.store.database import Store

OPEN = ("queued", "waiting", "running")
GOING = ("queued", "running")  # open, and waiting for no person
ENDED = ("done", "failed", "cancelled")


def insert(c: sa.Connection, row: dict[str, Any], steps: tuple[str, ...]) -> None:
    """One intent: the run and its steps."""
    c.execute(t.runs.insert().values(**row))
    if steps:
        c.execute(
            t.run_steps.insert(),
            [{"run": row["run"], "step": s, "n": n, "state": "queued"} for n, s in enumerate(steps)],
        )


def no_run(run: str) -> NotFoundError:
    """A run that is not there, or that whoever asks has no sight of."""
    return NotFoundError(f"no run {run}", hint="list them: esml runs")


def get(store: Store, run: str) -> dict[str, Any]:
    """One run's row.

    Raises:
        NotFoundError: no such run.
    """
    row = store.first(t.runs.select().where(t.runs.c.run == run))
    if row is None:
        raise no_run(run)
    return row


def open_runs(store: Store) -> list[dict[str, Any]]:
    """Queued and running runs, oldest first."""
    r = t.runs
    return store.rows(
        sa.select(r.c.run, r.c.object, r.c.env, r.c.state, r.c.cancel, r.c.attempt)
        .where(r.c.state.in_(GOING))
        .order_by(r.c.run)
    )


def same_open(c: sa.Connection, plan_hash: str) -> str | None:
    """The open run of the same plan."""
    return c.execute(
        sa.select(t.runs.c.run).where(t.runs.c.plan_hash == plan_hash, t.runs.c.state.in_(OPEN))
    ).scalar()


def still_open(c: sa.Connection, run: str) -> str | None:
    """That run, if it has not ended."""
    return c.execute(sa.select(t.runs.c.run).where(t.runs.c.run == run, t.runs.c.state.in_(OPEN))).scalar()


def by_key(store: Store, key: str) -> dict[str, Any] | None:
    """The run that an idempotency key named."""
    return store.first(t.runs.select().where(t.runs.c.idempotency_key == key))


def steps(store: Store, run: str) -> list[dict[str, Any]]:
    """A run's steps in order."""
    return store.rows(t.run_steps.select().where(t.run_steps.c.run == run).order_by(t.run_steps.c.n))


def set_run(store: Store, run: str, **values: Any) -> None:
    """Update a run outside of a step's commit (progress, state)."""
    with store.write() as c:
        c.execute(t.runs.update().where(t.runs.c.run == run).values(**values))


def set_step(c: sa.Connection, run: str, step: str, **values: Any) -> None:
    """Update one step."""
    c.execute(
        t.run_steps.update().where(t.run_steps.c.run == run, t.run_steps.c.step == step).values(**values)
    )


def progress(store: Store, run: str, fraction: float | None, message: str) -> None:
    """Say how far an open run is (`fraction` None: no farther)."""
    with store.write() as c:
        c.execute(
            t.runs.update()
            .where(t.runs.c.run == run, t.runs.c.state == "running")
            .values(progress=t.runs.c.progress if fraction is None else fraction, message=message)
        )


def cancelled(store: Store, run: str) -> bool:
    """Whether somebody asked to cancel it."""
    with store.read() as c:
        return bool(c.execute(sa.select(t.runs.c.cancel).where(t.runs.c.run == run)).scalar())


def listing(
    store: Store,
    *,
    run: str = "",
    objects: list[str] | None = None,
    state: str = "",
    env: str = "",
    act: str = "",
    limit: int = 200,
) -> list[dict[str, Any]]:
    """Runs, newest first, with their steps, as the contract's rows."""
    r = t.runs
    q = r.select().order_by(r.c.run.desc()).limit(limit)
    if run:
        q = q.where(r.c.run == run)
    if objects is not None:
        q = q.where(r.c.object.in_(objects))
    if state:
        q = q.where(r.c.state == state)
    if env:
        q = q.where(r.c.env == env)
    if act:
        q = q.where(r.c.act == act)
    rows = store.rows(q)
    found = store.rows(
        t.run_steps.select()
        .where(t.run_steps.c.run.in_([x["run"] for x in rows]))
        .order_by(t.run_steps.c.run, t.run_steps.c.n)
    )
    by_run: dict[str, list[dict[str, Any]]] = {}
    for s in found:
        seconds = (
            s["seconds"]
            if s["seconds"] is not None
            else (seconds_since(s["started"]) if s["state"] == "running" else None)
        )
        by_run.setdefault(s["run"], []).append(
            {
                "name": s["step"],
                "state": s["state"],
                "seconds": seconds,
                "attempt": s["attempt"],
                "error": s["error"],
                "work": s["work"],
            }
        )
    return [_row(x, by_run.get(x["run"], [])) for x in rows]


def _row(x: dict[str, Any], its_steps: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = x["seconds"]
    if (
        seconds is None and x["state"] == "running"
    ):  # its steps': what it waited for somebody's decision is no work
        seconds = sum(s["seconds"] or 0.0 for s in its_steps)
    keys = ("run", "act", "object", "env", "state")
    return {
        **{k: x[k] for k in keys}, "steps": its_steps, "progress": x["progress"], "message": x["message"],
        "predicted": x["predicted"], "seconds": seconds,
        "cost": x["cost"], "error": x["error"], "actor": x["actor"], "as": x["as_actor"], "created": x["created"],
        "started": x["started"], "ended": x["ended"],
        "result": x["result"], "cancel": x["cancel"], "plan_hash": x["plan_hash"],
    }  # fmt: skip


def metered(c: sa.Connection, run: str) -> tuple[float, float]:
    """What a run's steps took: seconds and money."""
    m = t.meter.c
    took = (sa.func.coalesce(sa.func.sum(m.seconds), 0.0), sa.func.coalesce(sa.func.sum(m.cost), 0.0))
    seconds, cost = c.execute(sa.select(*took).where(m.run == run)).one()
    return float(seconds), float(cost)


def end(
    c: sa.Connection,
    row: dict[str, Any],
    state: str,
    *,
    result: dict[str, Any] | None,
    error: dict[str, Any] | None,
    message: str | None,
) -> None:
    """A run's end: state, seconds (sum over steps), cost, result or error, what is still to be said of it, its lock released."""
    run = row["run"]
    s = t.run_steps
    seconds, cost = metered(c, run)
    c.execute(
        t.runs.update()
        .where(t.runs.c.run == run)
        .values(
            state=state,
            ended=now(),
            seconds=seconds,
            cost=cost,
            result=result,
            error=error,
            progress=1.0 if state == "done" else t.runs.c.progress,
            message=message,
        )
    )
    if state != "done":
        left = "cancelled" if state == "cancelled" else "failed"
        c.execute(
            s.update()
            .where(s.c.run == run, s.c.state == "running")
            .values(state=left, ended=now(), error=error)
        )
    c.execute(s.update().where(s.c.run == run, s.c.state.in_(("queued", "waiting"))).values(state="skipped"))
    c.execute(t.locks.delete().where(t.locks.c.run == run))
