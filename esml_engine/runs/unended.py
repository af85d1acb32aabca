"""Jobs of ended runs whose own end was not heard: what is known of them, until it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from esml_engine.clock import now
from esml_engine.runs import records
from esml_engine.runs.facts import step_env
from esml_engine.store import schema as t
from esml_engine.store.database import Store, upsert

MESSAGE = "its job may still run: a worker asks for its end until it is heard"


def left_of(steps: list[dict[str, Any]], ended: set[str]) -> list[dict[str, Any]]:
    """The steps of a run (rows of the store) whose job may live: begun and not done, and not known to have `ended`.

    One that a worker gave back when it ended is queued again under its own number; its job may go on elsewhere.
    """
    return [
        {**s, "attempt": s["attempt"] + (s["state"] == "queued")}
        for s in steps
        if s["state"] in ("running", "queued") and s["started"] and s["work"] and s["step"] not in ended
    ]


def note(c: sa.Connection, row: Mapping[str, Any], step: Mapping[str, Any], attempt: int) -> None:
    """Keep in mind the job of a run's step, in the transaction that ends the run.

    Args:
        attempt: under which key it is metered.
    """
    upsert(c, t.unended_jobs, {
        "handle": f"{step['work']}/spec.json", "run": row["run"], "step": step["step"], "attempt": attempt,
        "env": step_env(step["step"], row["env"]), "at": now(),
    })  # fmt: skip
    c.execute(t.runs.update().where(t.runs.c.run == row["run"]).values(message=f"{step['step']}: {MESSAGE}"))


def listing(store: Store) -> list[dict[str, Any]]:
    """Those that are not heard yet, oldest first."""
    return store.rows(t.unended_jobs.select().order_by(t.unended_jobs.c.at, t.unended_jobs.c.handle))


def heard(c: sa.Connection, row: Mapping[str, Any]) -> bool:
    """Forget one, as its end was heard; False where another worker did already."""
    u = t.unended_jobs
    return bool(c.execute(u.delete().where(u.c.handle == row["handle"])).rowcount)


def recount(c: sa.Connection, run: str) -> None:
    """An ended run's seconds and cost as they are metered now; its message goes with the last of its jobs."""
    u, r = t.unended_jobs, t.runs
    left = c.execute(sa.select(sa.func.count()).where(u.c.run == run)).scalar_one()
    seconds, cost = records.metered(c, run)
    values: dict[str, Any] = {"seconds": seconds, "cost": cost, **({} if left else {"message": None})}
    c.execute(r.update().where(r.c.run == run, r.c.state.in_(records.ENDED)).values(**values))
