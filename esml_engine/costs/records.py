"""Metered costs: one row a step and attempt; history for predictions; money spent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from esml_engine.clock import now
from esml_engine.costs.prediction import HISTORY, Past
from esml_engine.runs.facts import step_env
from esml_engine.store import schema as t
from esml_engine.store.database import Store, upsert


def meter(
    c: sa.Connection,
    *,
    run: str,
    step: str,
    attempt: int,
    object_: str,
    env: str,
    act: str,
    node: str,
    price: float,
    seconds: float,
    size: float,
    nodes: int = 1,
    keep: bool = False,
) -> float:
    """Record what an attempt of a step took; returns its cost.

    Args:
        attempt: as `attempt_key` gives it. The same attempt again replaces what was recorded; with `keep` nothing does.
    """
    cost = nodes * seconds / 3600 * price
    row = {
        "run": run, "step": step, "attempt": attempt, "object": object_, "project": object_.split("/")[0], "env": env, "act": act,
        "node": node, "nodes": nodes, "seconds": seconds, "price": price, "cost": cost, "size": size, "at": now(),
    }  # fmt: skip
    upsert(c, t.meter, row, () if keep else None)
    return cost


def where_of(row: Mapping[str, Any], step: str) -> tuple[str, str, float]:
    """The environment that a step of a run (a row of the store) is counted in, its node type and the price of an hour."""
    predicted = row["predicted"] or {}
    env = step_env(step, row["env"])
    its = (predicted.get("environments") or {}).get(env, predicted)
    return env, its.get("node") or row["node"] or "", float(its.get("price") or 0.0)


def meter_step(c: sa.Connection, row: Mapping[str, Any], step: str, attempt: int, seconds: float) -> None:
    """Record what an attempt (by its key) of a step of a run (a row of the store) used of its node, where it has one."""
    env, node, price = where_of(row, step)
    if price or node:
        meter(
            c, run=row["run"], step=step, attempt=attempt, object_=row["object"], env=env, act=row["act"],
            node=node, price=price, seconds=seconds, size=float((row["predicted"] or {}).get("size", 0.0)),
        )  # fmt: skip


def attempt_key(begun: int, attempt: int) -> int:
    """One number for an attempt of a step: attempts are counted anew each time that its run is begun again."""
    return (begun - 1) * 100 + attempt


def given_back(began: float) -> int:
    """The key of an attempt that a worker gave back when it ended (its number is used again)."""
    return -int(began)


def meter_left(c: sa.Connection, last_seen: float) -> None:
    """Record the attempts that a dead worker left: from their start until it was last seen (seconds since the epoch).

    In the transaction that takes its lease over, so each is recorded once. Where the job's result is found later, it
    replaces this.
    """
    r, s = t.runs, t.run_steps
    left = sa.select(
        r, s.c.step, s.c.work, s.c.attempt.label("step_attempt"), s.c.started.label("step_started")
    )
    of_run = left.join_from(r, s, s.c.run == r.c.run)
    for x in c.execute(of_run.where(r.c.state == "running", s.c.state == "running")).mappings().all():
        if not x["node"] or not x["step_started"] or not x["step_attempt"] or not x["work"]:
            continue  # without a folder of a job it was the worker's own work
        env, node, price = where_of(dict(x), x["step"])
        seconds = last_seen - dt.datetime.fromisoformat(x["step_started"]).timestamp()
        meter(
            c,
            run=x["run"],
            step=x["step"],
            attempt=attempt_key(x["attempt"], x["step_attempt"]),
            object_=x["object"],
            env=env,
            act=x["act"],
            node=node,
            price=price,
            seconds=max(0.0, seconds),
            size=0.0,
            keep=True,
        )


def forget_later(c: sa.Connection, run: str, step: str, after: int, until: int) -> None:
    """Drop what was recorded of attempts that only took up an earlier one's job."""
    m = t.meter
    c.execute(m.delete().where(m.c.run == run, m.c.step == step, m.c.attempt > after, m.c.attempt <= until))


ENDPOINT = "endpoint"
"""What an endpoint's hours are metered as, in the place of an act."""


def meter_endpoint(
    c: sa.Connection,
    *,
    endpoint: str,
    object_: str,
    env: str,
    node: str,
    price: float,
    since: dt.datetime,
    until: dt.datetime,
    nodes: int = 1,
) -> None:
    """Add the time that an endpoint ran to the rows of its hours, one row each.

    A row remembers until when it was counted (`at`), so an interval told again, or one that overlaps, adds only what
    is new: nothing is counted twice, whoever was killed. What is new costs the price of now, what was metered stays;
    likewise `nodes`. The seconds are the endpoint's, not the nodes'.
    """
    m, run = t.meter, f"{ENDPOINT}:{endpoint}"
    start = since.astimezone(dt.UTC)
    while start < until:
        hour = start.replace(minute=0, second=0, microsecond=0)
        end = min(until, hour + dt.timedelta(hours=1))
        key = (m.c.run == run, m.c.step == hour.isoformat()[:13], m.c.attempt == 1)
        found = c.execute(m.select().where(*key)).mappings().first()
        counted = dt.datetime.fromisoformat(found["at"]) if found else hour
        new = max(0.0, (end - max(start, counted)).total_seconds())
        seconds, cost = (float(found["seconds"]), float(found["cost"])) if found else (0.0, 0.0)
        at = max(counted, min(end, hour + dt.timedelta(hours=1, microseconds=-1)))  # within its month
        row = {
            "run": run, "step": hour.isoformat()[:13], "attempt": 1, "object": object_, "project": object_.split("/")[0],
            "env": env, "act": ENDPOINT,
            "node": node, "nodes": nodes, "seconds": seconds + new, "price": price, "cost": cost + nodes * new / 3600 * price,
            "size": 0.0, "at": at.isoformat(timespec="microseconds"),
        }  # fmt: skip
        upsert(c, m, row)
        start = end


def endpoint_begins(c: sa.Connection, *, endpoint: str, object_: str, env: str, at: str, nodes: int) -> None:
    """Mark that an endpoint is wanted from `at` on, where none was: a row of no seconds, beside those of its hours.

    In the transaction that wants it, so that a worker which is killed before it meters first takes nothing with it.
    """
    row = {
        "run": f"{ENDPOINT}:{endpoint}", "step": "begins", "attempt": 1, "object": object_, "project": object_.split("/")[0],
        "env": env,
        "act": ENDPOINT, "node": "", "nodes": nodes, "seconds": 0.0, "price": 0.0, "cost": 0.0, "size": 0.0, "at": at,
    }  # fmt: skip
    upsert(c, t.meter, row)


def endpoint_metered(store: Store, endpoint: str) -> tuple[dt.datetime, int] | None:
    """Until when an endpoint was metered last, or when it began if that is later, and at how many nodes; None: never."""
    m = t.meter
    found = store.first(
        m.select().where(m.c.run == f"{ENDPOINT}:{endpoint}").order_by(m.c.at.desc()).limit(1)
    )
    return (dt.datetime.fromisoformat(found["at"]), int(found["nodes"])) if found else None


_MAY_BE_SHORT = ("compare", "promote")
"""Acts that end early where a gate needs no rows to refuse: a run without a job, or with steps left out, says nothing of a whole one."""


def history(store: Store, object_: str, env: str, act: str) -> list[Past]:
    """Ended runs of an act on an object, newest last, and the parts of its pipelines that did the same there.

    A part's own size is not recorded: it counts as of the size that is asked about (0 here).
    """
    r = t.runs
    q = (
        sa.select(r.c.run, r.c.created, r.c.predicted, r.c.seconds, search_of(r.c.plan))
        .where(
            r.c.object == object_,
            r.c.env == env,
            r.c.act == act,
            r.c.state == "done",
            r.c.seconds.is_not(None),
        )
        .order_by(r.c.created.desc())
        .limit(HISTORY)
    )
    if act in _MAY_BE_SHORT:
        s = t.run_steps
        of = sa.select(s.c.run).where(s.c.run == r.c.run)
        q = q.where(of.where(s.c.work.is_not(None)).exists(), ~of.where(s.c.state == "skipped").exists())
    found = [
        (
            x["created"],
            Past(
                x["run"],
                float((x["predicted"] or {}).get("size", 0)),
                float(x["seconds"]),
                float(x["search"] or 0),
            ),
        )
        for x in store.rows(q)
    ]
    found += parts(store, env, (act,), [object_]).get((object_, act), [])
    return [past for _, past in sorted(found, key=lambda x: x[0])][-HISTORY:]


def search_of(plan: Any) -> Any:
    """The column `search`: the seconds that a run's training was allowed, out of its plan; NULL where it trained nothing."""
    return plan["params"]["train_seconds"].as_float().label("search")


_IN_PIPELINES = {a: a for a in ("refine", "split", "train", "promote")} | {"score": "score_batch"}
"""An act's name in a pipeline's steps -> the act."""


def parts(
    store: Store, env: str, acts: Iterable[str], objects: Sequence[str] | None = None
) -> dict[tuple[str, str], list[tuple[str, Past]]]:
    """What pipelines took for acts in an environment, where all steps of the act ended well: (when, what) by (object, act).

    Args:
        objects: models that are asked about; None: all.
    """
    r, s, wanted = t.runs, t.run_steps, set(_IN_PIPELINES.values()) & set(acts)
    if not wanted:
        return {}
    q = (
        sa.select(r.c.object, r.c.run, r.c.env, r.c.created, s.c.step, s.c.state, s.c.seconds, search_of(r.c.plan))
        .join_from(r, s, s.c.run == r.c.run)
        .where(r.c.act == "pipeline", *(() if objects is None else (r.c.object.in_(objects),)))
    )  # fmt: skip
    took: dict[tuple[str, str, str, str], float | None] = {}
    search: dict[str, float] = {}
    for x in store.rows(q):
        act = _IN_PIPELINES.get(x["step"].rpartition("@")[2].split("/")[0], "")
        if act not in wanted or step_env(x["step"], x["env"]) != env:
            continue
        key = (x["object"], act, x["created"], x["run"])
        before = took.get(key, 0.0)
        well = x["state"] == "done" and x["seconds"] is not None and before is not None
        took[key] = before + float(x["seconds"]) if well and before is not None else None
        search[x["run"]] = float(x["search"] or 0)
    out: dict[tuple[str, str], list[tuple[str, Past]]] = {}
    for (object_, act, at, run), seconds in took.items():
        if seconds is not None:
            past = Past(run, 0.0, seconds, search[run] if act == "train" else 0.0)
            out.setdefault((object_, act), []).append((at, past))
    return out


def spent(
    store: Store, *, project: str = "", object_: str = "", env: str = "", since: str = "", act: str = ""
) -> float:
    """Metered money, filtered: runs and endpoints together unless `act` names one."""
    m = t.meter
    q = sa.select(sa.func.coalesce(sa.func.sum(m.c.cost), 0.0))
    if project:
        q = q.where(m.c.project == project)
    if object_:
        q = q.where(m.c.object == object_)
    if env:
        q = q.where(m.c.env == env)
    if since:
        q = q.where(m.c.at >= since)
    if act:
        q = q.where(m.c.act == act)
    with store.read() as c:
        return float(c.execute(q).scalar_one())


def month_start() -> str:
    """First instant of this UTC month."""
    t_ = dt.datetime.now(dt.UTC)
    return t_.replace(day=1, hour=0, minute=0, second=0, microsecond=0).isoformat(timespec="microseconds")
