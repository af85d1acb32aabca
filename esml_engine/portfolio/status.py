"""How far gone: derived from evidence in a handful of queries for the whole estate, never typed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from esml_engine.door import talk
from esml_engine.door.requests import EXCEPTION, PROMOTION
from esml_engine.door.site import Site
from esml_engine.portfolio.waiting import waiting_files
from esml_engine.refs import STAGES, ModelRef, TableName
from esml_engine.settings import Settings
from esml_engine.store import schema as t

_TURN = {
    "new": "data_engineer", "in": "data_engineer", "bronze": "data_engineer", "silver": "data_engineer", "gold": "data_scientist",
    "trained": "data_scientist",
    "test": "data_scientist", "prod": "",
}  # fmt: skip
_NEXT = {
    "new": "ingest",
    "in": "refine",
    "bronze": "refine",
    "silver": "refine",
    "gold": "train",
    "trained": "promote",
    "test": "promote",
    "prod": "",
}


AN_EXCEPTION = "an exception"
"""How `blocked_by` begins where one is asked for: an approver or the project manager decides, and `turn` names the first."""

_ON_THE_WAY = ("refine", "split", "train", "pipeline", "promote", "deploy")
"""Acts whose failure blocks a stage: somebody's file that can't be scored, say, blocks none."""


@lru_cache(maxsize=4096)
def _table(name: str) -> TableName:
    """Many models have tables of the same names."""
    return TableName.parse(name)


def status(site: Site, refs: list[ModelRef]) -> list[dict[str, Any]]:
    """The contract's rows, in the order of `refs`."""
    if not refs:
        return []
    settings, store = site.settings, site.store
    names = [str(r) for r in refs]
    every = len(refs) == len(settings.files.models)  # then a list of names would only cost

    def ours(column: Any) -> Any:
        return sa.true() if every else column.in_(names)

    v, m, k, r, f, q = t.versions, t.model_versions, t.champions, t.runs, t.in_files, t.requests
    with store.read() as c:
        tables = c.execute(
            sa.select(
                v.c.object,
                v.c.env,
                v.c.name,
                sa.func.max(v.c.version),
                sa.func.min(v.c.at),
                sa.func.max(v.c.at),
            )
            .where(ours(v.c.object))
            .group_by(v.c.object, v.c.env, v.c.name)
        ).all()
        trained = c.execute(
            sa.select(m.c.object, m.c.env, m.c.version, m.c.metrics, m.c.inputs, m.c.at, m.c.rnd).where(
                ours(m.c.object)
            )
        ).all()
        champions = c.execute(
            sa.select(k.c.object, k.c.env, k.c.version, k.c.at).where(ours(k.c.object))
        ).all()
        last = (
            sa.select(r.c.object, r.c.env, sa.func.max(r.c.run).label("run"))
            .where(ours(r.c.object), r.c.act.in_(_ON_THE_WAY))
            .group_by(r.c.object, r.c.env)
            .subquery()
        )
        ended = c.execute(
            sa.select(r.c.object, r.c.env, r.c.act, r.c.state, r.c.error, r.c.run).join(
                last, r.c.run == last.c.run
            )
        ).all()
        delivered = c.execute(
            sa.select(f.c.object, f.c.env, f.c.dataset, f.c.purpose, sa.func.min(f.c.at), sa.func.max(f.c.at))
            .where(ours(f.c.object))
            .group_by(f.c.object, f.c.env, f.c.dataset, f.c.purpose)
        ).all()
        waits = _waits(c, tables, delivered, settings.in_rnd(refs))
        empty = c.execute(
            sa.select(v.c.object, v.c.env, v.c.version).where(
                ours(v.c.object), v.c.name == "gold", v.c.rows == 0
            )
        ).all()
        asked = c.execute(
            sa.select(q.c.object, q.c.env, q.c.by, q.c.detail, q.c.request, q.c.kind)
            .where(ours(q.c.object), q.c.state == "waiting", q.c.kind.in_((PROMOTION, EXCEPTION)))
            .order_by(q.c.request)
        ).all()
    said = talk.of(site.store, [r.request for r in asked]) if asked else {}
    by: dict[str, dict[str, list[Any]]] = {
        n: {
            "asked": [],
            "tables": [],
            "trained": [],
            "champions": [],
            "runs": [],
            "in": [],
            "waits": [],
            "empty": [],
        }
        for n in names
    }
    for kind, rows in (
        ("tables", tables),
        ("trained", trained),
        ("champions", champions),
        ("runs", ended),
        ("in", delivered),
        ("waits", waits),
        ("empty", empty),
        ("asked", [(*r[:4], talk.askers(said[r.request]), r.kind) for r in asked]),
    ):
        for row in rows:
            if row[0] in by:  # a model whose settings file is gone may still have facts
                by[row[0]][kind].append(row)
    way = settings.environments
    return [_one(ref, settings, way, by[str(ref)]) for ref in refs]


def _waits(
    c: sa.Connection,
    tables: Iterable[Sequence[Any]],
    delivered: Iterable[Sequence[Any]],
    rnd: set[tuple[str, str]],
) -> list[tuple[str, str]]:
    """(model, environment) whose IN files bronze does not hold. Only where one is newer than bronze, or R&D mode is or was, are all looked at."""
    bronze = {(o, env, name): at for o, env, name, _, _, at in tables if name.endswith("/bronze")}
    newer = {
        o
        for o, env, dataset, purpose, _, at in delivered
        if purpose == "train" and at > bronze.get((o, env, f"{dataset}/bronze"), "")
    }
    there = {o for o, *_ in delivered}
    v = t.versions
    was = c.execute(sa.select(v.c.object).where(v.c.rnd, v.c.name.like("%/bronze")).distinct()).scalars()
    newer |= there & ({o for o, _ in rnd} | set(was))
    if not newer:
        return []
    found = waiting_files(c, sorted(newer), rnd)
    return [(o, env) for o, its in found.items() for env, side in its.files if side == "train"]


def _one(
    ref: ModelRef, settings: Settings, way: tuple[str, ...], facts: dict[str, list[Any]]
) -> dict[str, Any]:
    task = settings.task(ref)
    reached: dict[str, str] = {}
    if facts["in"]:
        reached["in"] = min(row[4] for row in facts["in"])
    fresh = None
    for _, _, name, _, first, newest in facts["tables"]:
        table = _table(name)
        if table.purpose == "train" and table.layer in ("bronze", "silver", "gold"):
            reached[table.layer] = min(first, reached.get(table.layer, first))
            if table.layer == "bronze":
                fresh = max(newest, fresh or newest)
    for row in facts["trained"]:
        reached["trained"] = min(row[5], reached.get("trained", row[5]))
    for row in facts["champions"]:
        if row[1] in ("test", "prod"):
            reached[row[1]] = row[3]
    stage = max(reached, key=STAGES.index) if reached else "new"
    envs = {e: _environment(e, ref, settings, facts) for e in way}
    turn, next_, blocked = _TURN[stage], _NEXT[stage], None
    ends = task == "analytics" and stage == "gold"
    if ends or stage == "prod" or (stage == "trained" and way == ("dev",)):
        turn, next_ = "", ""
    if stage == "new":
        blocked = "no IN file was delivered yet"
    first = way[0]
    if stage == "trained" and not any(row[1] == first for row in facts["champions"]):
        every = all(row[6] for row in facts["trained"])
        turn, next_ = "data_scientist", "train"
        blocked = (
            f"only R&D mode has trained in {first}" if every else f"no version of {first} passed its gates"
        )
    gold_at, split_at = (
        {row[1]: row[5] for row in facts["tables"] if row[2] == n} for n in ("gold", "gold_train")
    )
    at = first if first in gold_at else next(iter(gold_at), first)
    stale = split_at.get(at, "") <= gold_at.get(at, "")  # there is none, or gold is newer
    if task != "analytics" and stale and (next_ == "train" or (not next_ and gold_at)):
        turn, next_ = "data_scientist", "split"
    if first not in gold_at and any(row[1] == first for row in facts["trained"]):
        again = any(row[1] == first and row[3] == "train" for row in facts["in"])
        turn, next_ = "data_engineer", "refine" if again else "ingest"
        blocked = f"gold in {first}, which models were trained on, is not there any more"
    if facts["waits"]:
        turn, next_ = "data_engineer", "refine"
    current = {row[1]: row[3] for row in facts["tables"] if row[2] == "gold"}
    bare = next((row for row in facts["empty"] if current.get(row[1]) == row[2]), None)
    if bare is not None:
        turn, next_ = "data_engineer", "refine"
        blocked = f"gold v{bare[2]} in {bare[1]} has no row: all were kept out"
    failed = [row for row in facts["runs"] if row[3] == "failed"]
    if failed:
        error = failed[0][4] or {}
        blocked = f"{failed[0][2]} failed in {failed[0][1]}: {error.get('message', '')}"
        turn = "data_engineer" if failed[0][2] in ("refine", "split") else "data_scientist"
    if facts["asked"] and not failed:
        _, env, who, detail, askers, kind = facts["asked"][0]
        subject = f"v{detail.get('challenger')}" if kind == PROMOTION else AN_EXCEPTION
        waits = f"{subject} waits for"
        if askers:
            turn, next_ = "data_scientist", "answer"
            blocked = f"{waits} an answer: {askers} asked {who} before deciding on {env}"
        else:
            turn, next_ = "approver", "approve"
            blocked = f"{waits} a decision: {who} asked for {env}"
    return {
        "model": str(ref), "task": task, "stage": stage, "since": reached.get(stage), "fresh": fresh, "next": next_ or None,
        "blocked_by": blocked, "turn": turn or None,
        "environments": envs,
    }  # fmt: skip


def _environment(env: str, ref: ModelRef, settings: Settings, facts: dict[str, list[Any]]) -> dict[str, Any]:
    champion = next((row[2] for row in facts["champions"] if row[1] == env), None)
    metric = settings.metric(ref, env)
    value = gold = None
    if champion is not None:
        found = next((row for row in facts["trained"] if row[1] == env and row[2] == champion), None)
        if found is not None:
            value = found[3].get(metric)
            gold = next(
                (i["version"] for i in found[4] if i.get("table") == "gold" and i.get("env", env) == env),
                None,
            )
    if gold is None:
        gold = next((row[3] for row in facts["tables"] if row[1] == env and row[2] == "gold"), None)
    return {
        "champion": champion,
        "metric": metric if settings.task(ref) != "analytics" else None,
        "value": value,
        "gold": gold,
    }
