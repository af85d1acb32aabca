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

MESSAGE = "may still run: a worker (esml up) asks for its end until it is heard"


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


def message(c: sa.Connection, run: str) -> str | None:
    """What an ended run says of its jobs that may live, of all its beginnings; None where there is none."""
    u = t.unended_jobs
    left = c.execute(sa.select(u.c.step).where(u.c.run == run).order_by(u.c.at, u.c.handle)).scalars()
    names = ", ".join(dict.fromkeys(left))
    return f"the job of {names} {MESSAGE}" if names else None


def listing(store: Store) -> list[dict[str, Any]]:
    """Those that are not heard yet, oldest first."""
    return store.rows(t.unended_jobs.select().order_by(t.unended_jobs.c.at, t.unended_jobs.c.handle))


def heard(c: sa.Connection, row: Mapping[str, Any]) -> bool:
    """Forget one, as its end was heard; False where another worker did already."""
    u = t.unended_jobs
    return bool(c.execute(u.delete().where(u.c.handle == row["handle"])).rowcount)


def recount(c: sa.Connection, run: str) -> None:
    """An ended run's seconds and cost as they are metered now; its message goes with the last of its jobs."""
    r = t.runs
    seconds, cost = records.metered(c, run)
    values = {"seconds": seconds, "cost": cost, "message": message(c, run)}
    c.execute(r.update().where(r.c.run == run, r.c.state.in_(records.ENDED)).values(**values))
