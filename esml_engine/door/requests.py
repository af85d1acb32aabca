"""Requests for another person's decision: a run that waits, who decided what, and exceptions from a policy.

A waiting run does nothing and costs nothing. Its request ends as approved (the run is open again, under its next
attempt), refused, expired or stale (the run ends with that reason). An approved exception from a limit on money also
covers later runs of the same model and environment up to its amount, until its end.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from esml_engine.clock import in_words, new_id, now
from esml_engine.door import audit, talk
from esml_engine.door.facts import Actor
from esml_engine.door.policy import MONEY
from esml_engine.errors import NotFoundError
from esml_engine.runs import records, unended
from esml_engine.store import schema as t
from esml_engine.store.database import Store, upsert

DAYS = 7
WAITING = "waiting"
PROMOTION, EXCEPTION = "promotion", "exception"
AGAINST = ("refused", "expired", "stale")
"""States of a request that ended its run against the requester's wish."""


def ask(
    c: sa.Connection,
    *,
    kind: str,
    object_: str,
    env: str,
    run: str,
    actor: Actor,
    needed: int,
    facts: str,
    detail: dict[str, Any],
    days: float = DAYS,
) -> str:
    """Write a request; `facts` is the hash of what it asks about, `needed` how many other people must approve."""
    at = dt.datetime.now(dt.UTC)
    row = {
        "request": new_id("q-"),
        "kind": kind,
        "object": object_,
        "env": env,
        "run": run,
        "by": actor.rights,
        "person": actor.name,
        "at": at.isoformat(timespec="microseconds"),
        "expires": (at + dt.timedelta(days=days)).isoformat(timespec="microseconds"),
        "state": WAITING,
        "needed": needed,
        "facts": facts,
        "detail": detail,
        "decided": None,
    }
    c.execute(t.requests.insert().values(**row))
    return str(row["request"])


def no_request(request: str) -> NotFoundError:
    """A request that is not there, or that whoever asks has no sight of."""
    return NotFoundError(f"no request {request}", hint="list them: esml requests")


def get(store: Store, request: str) -> dict[str, Any]:
    """One request with its decisions and what was said about it.

    Raises:
        NotFoundError: there is none.
    """
    found = listing(store, request=request)
    if not found:
        raise no_request(request)
    return found[0]


def of_run(store: Store, run: str) -> dict[str, Any] | None:
    """The newest request of a run."""
    found = listing(store, run=run)
    return found[0] if found else None


def listing(
    store: Store, *, state: str = "", request: str = "", run: str = "", objects: list[str] | None = None
) -> list[dict[str, Any]]:
    """Requests, newest first. `state`: waiting, decided, or one state; one past its time is shown as expired."""
    q = t.requests.select().order_by(t.requests.c.request.desc())
    if request:
        q = q.where(t.requests.c.request == request)
    if run:
        q = q.where(t.requests.c.run == run)
    if objects is not None:
        q = q.where(t.requests.c.object.in_(objects))
    at = now()
    if state == WAITING:  # asked on every page, and few of all that there ever were
        q = q.where(t.requests.c.state == WAITING, t.requests.c.expires >= at)
    if not (rows := store.rows(q)):
        return []
    d = t.decisions
    said = store.rows(d.select().where(d.c.request.in_([r["request"] for r in rows])).order_by(d.c.n))
    said_of = talk.of(store, [r["request"] for r in rows])
    for r in rows:
        r["talk"] = said_of[r["request"]]
        if r["state"] == WAITING and r["expires"] < at:
            r["state"] = "expired"
        r["decisions"] = [
            {k: x[k] for k in ("by", "person", "verdict", "reason", "at")}
            for x in said
            if x["request"] == r["request"]
        ]
    if state == "decided":
        return [r for r in rows if r["state"] != WAITING]
    return [r for r in rows if state in ("", r["state"])]


def decide(c: sa.Connection, row: dict[str, Any], actor: Actor, verdict: str, reason: str) -> str:
    """Write one decision (`approve` or `refuse`); returns the request's state, and settles it where that ends it."""
    d, at = t.decisions, now()
    n = c.execute(sa.select(sa.func.count()).where(d.c.request == row["request"])).scalar_one()
    c.execute(
        d.insert().values(
            request=row["request"],
            n=n,
            by=actor.rights,
            person=actor.name,
            verdict=verdict,
            reason=reason,
            at=at,
        )
    )
    if verdict == "refuse":
        return settle(c, row, "refused", reason=f"refused by {actor.rights}: {reason}")
    yes = c.execute(
        sa.select(sa.func.count(sa.distinct(d.c.by))).where(
            d.c.request == row["request"], d.c.verdict == "approve"
        )
    ).scalar_one()
    if yes < row["needed"]:
        return WAITING
    if row["kind"] == EXCEPTION and row["detail"].get("key") in MONEY:
        upsert(
            c,
            t.exceptions,
            {
                "request": row["request"],
                "object": row["object"],
                "env": row["env"],
                "amount": float(row["detail"]["amount"]),
                "until": row["detail"].get("until") or row["expires"],
                "by": row["by"],
                "approved_by": actor.rights,
            },
        )
    return settle(c, row, "approved")


def settle(c: sa.Connection, row: dict[str, Any], state: str, *, reason: str = "") -> str:
    """End a request: approved opens its run again, anything else ends the run with the reason."""
    q, r = t.requests, t.runs
    done = c.execute(
        q.update()
        .where(q.c.request == row["request"], q.c.state == WAITING)
        .values(state=state, decided=now())
    )
    if done.rowcount != 1 or not row["run"]:
        return state
    run = c.execute(r.select().where(r.c.run == row["run"])).mappings().one()
    if run["state"] != WAITING:
        return state
    if state == "approved":
        c.execute(
            r.update()
            .where(r.c.run == row["run"])
            .values(state="queued", attempt=run["attempt"] + 1, message=f"request {row['request']} approved")
        )
        return state
    error = {
        "code": state,
        "message": reason or f"its request {state}",
        "hint": "ask again when it is due",
        "id": "",
    }
    result = {**(run["result"] or {}), "request": row["request"], "state": state}
    records.end(c, dict(run), "cancelled", result=result, error=error, message=unended.message(c, run["run"]))
    actor = Actor(run["actor"], run["as_actor"])
    audit.append(c, actor, run["act"], run["object"], run["env"], state, run=row["run"], detail=error)
    return state


def outdated(c: sa.Connection, request: str) -> None:
    """An approved request whose facts changed before its run could act on it."""
    q = t.requests
    c.execute(
        q.update().where(q.c.request == request, q.c.state.in_((WAITING, "approved"))).values(state="stale")
    )


def late(store: Store) -> list[dict[str, Any]]:
    """Waiting requests whose time is over."""
    return store.rows(t.requests.select().where(t.requests.c.state == WAITING, t.requests.c.expires < now()))


def expire(store: Store) -> list[dict[str, Any]]:
    """Settle every request whose time is over; returns them."""
    over = late(store)
    for row in over:
        with store.write() as c:
            settle(
                c,
                row,
                "expired",
                reason=f"nobody decided on {row['request']} until {in_words(row['expires'])}",
            )
    return [get(store, row["request"]) for row in over]


def exceptions_in_force(store: Store, object_: str, env: str) -> list[dict[str, Any]]:
    """Approved exceptions of a model in an environment, largest first, each with the `key` of the limit that it is from, and `since`."""
    e, q = t.exceptions, t.requests
    rows = store.rows(
        sa.select(e, q.c.detail, q.c.at)
        .join_from(e, q, q.c.request == e.c.request)
        .where(e.c.object == object_, e.c.env == env, e.c.until >= now())
        .order_by(e.c.amount.desc())
    )
    return [{**r, "key": r["detail"].get("key"), "since": r["at"]} for r in rows]
