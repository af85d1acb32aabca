"""Comparisons and evidence packs in the store. Their ids follow from the run: repeating a step makes no second one."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from esml_engine.clock import now
from esml_engine.door import requests
from esml_engine.refs import ModelRef
from esml_engine.runs import records as runs
from esml_engine.runs.facts import step_env
from esml_engine.store import schema as t
from esml_engine.store.database import Store, upsert


def comparison_id(run: str, target: str) -> str:
    """The comparison that a run makes for an environment."""
    return f"c-{run.removeprefix('r-')}-{target}"


def evidence_id(run: str, target: str) -> str:
    """The evidence pack of a run's promotion into an environment."""
    return f"v-{run.removeprefix('r-')}-{target}"


def run_of_evidence(id_: str) -> tuple[str, str]:
    """Run and target that an evidence id names."""
    body, _, target = id_.removeprefix("v-").rpartition("-")
    return f"r-{body}", target


def put_comparison(c: sa.Connection, ref: ModelRef, run: str, document: dict[str, Any]) -> str:
    """Note what a run measured; said again (a step repeated after a crash) it replaces itself."""
    made = comparison_id(run, document["to"])
    upsert(c, t.comparisons, {
        "comparison": made, "object": str(ref), "version": document["challenger"], "source": document["from"],
        "target": document["to"],
        "facts": document["facts"], "verdict": document["verdict"], "document": document, "run": run, "at": now(),
    })  # fmt: skip
    return made


def comparison(store: Store, id_: str) -> dict[str, Any] | None:
    """One comparison's row."""
    return store.first(t.comparisons.select().where(t.comparisons.c.comparison == id_))


def comparisons(
    store: Store, ref: ModelRef, *, source: str = "", target: str = "", version: int | None = None
) -> list[dict[str, Any]]:
    """Comparisons of a model, newest first."""
    k = t.comparisons
    q = k.select().where(k.c.object == str(ref)).order_by(k.c.at.desc())
    for column, value in ((k.c.source, source), (k.c.target, target), (k.c.version, version)):
        if value not in ("", None):
            q = q.where(column == value)
    return store.rows(q)


def comparison_facts(store: Store, ref: ModelRef, source: str, target: str) -> list[tuple[int, str, str]]:
    """(version, comparison, facts) of a way's comparisons without their documents, newest first."""
    k = t.comparisons
    q = sa.select(k.c.version, k.c.comparison, k.c.facts).order_by(k.c.at.desc())
    with store.read() as c:
        found = c.execute(q.where(k.c.object == str(ref), k.c.source == source, k.c.target == target))
        return [(int(r[0]), r[1], r[2]) for r in found]


def comparison_gates(store: Store, ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    """The gates of comparisons, read out of their documents by the store."""
    k = t.comparisons
    out: dict[str, list[dict[str, Any]]] = {}
    with store.read() as c:
        for n in range(0, len(ids), 500):
            q = sa.select(k.c.comparison, k.c.document["gates"]).where(k.c.comparison.in_(ids[n : n + 500]))
            out |= {r[0]: r[1] for r in c.execute(q)}
    return out


def put_evidence(
    c: sa.Connection, id_: str, ref: ModelRef, env: str, run: str, document: dict[str, Any]
) -> None:
    """Keep an evidence pack; one that is there stays as it is."""
    row = {"evidence": id_, "object": str(ref), "env": env, "run": run, "sha256": document["sha256"], "document": document,
        "at": now()}  # fmt: skip
    upsert(c, t.evidence, row, ())


def evidence(store: Store, id_: str) -> dict[str, Any] | None:
    """One evidence pack's row."""
    return store.first(t.evidence.select().where(t.evidence.c.evidence == id_))


def evidence_asked(store: Store, ref: ModelRef, env: str) -> list[str]:
    """Ids of the evidence that promotions into an environment rest on which wait for a decision, newest first."""
    waiting = requests.listing(store, state=requests.WAITING, objects=[str(ref)])
    return [
        str(r["detail"]["evidence"]) for r in waiting if r["kind"] == requests.PROMOTION and r["env"] == env
    ]


def evidence_of(
    store: Store, ref: ModelRef, env: str = "", version: int | None = None
) -> list[dict[str, Any]]:
    """Evidence packs of a model without their documents, newest first; `version`: those about it as the challenger."""
    e = t.evidence
    q = sa.select(e.c.evidence, e.c.object, e.c.env, e.c.run, e.c.sha256, e.c.at).where(
        e.c.object == str(ref)
    )
    if env:
        q = q.where(e.c.env == env)
    if version is not None:
        q = q.where(e.c.document["sections", "models", "challenger", "version"].as_integer() == version)
    return store.rows(q.order_by(e.c.at.desc()))


def request_of(store: Store, run: str, env: str) -> dict[str, Any] | None:
    """A run's request for the promotion into an environment."""
    found = [r for r in requests.listing(store, run=run) if r["kind"] == requests.PROMOTION]
    return next((r for r in found if r["env"] == env), None)


def step_result(store: Store, run: str, name: str, env: str, default: str) -> dict[str, Any]:
    """What a run's step of this name left for an environment; empty where it did not end."""
    for s in runs.steps(store, run):
        if step_name(s["step"]) == name and step_env(s["step"], default) == env and s["state"] == "done":
            return dict(s["result"] or {})
    return {}


def step_name(step: str) -> str:
    """A step's own name: pipelines put their environment and a word of theirs before it."""
    return step.rpartition("@")[2].rpartition("/")[2]
