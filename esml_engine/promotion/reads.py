"""What faces show of promotions: comparisons, champions over time, what is ready, the leaderboard with it."""

from __future__ import annotations

from typing import Any

from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.promotion import records
from esml_engine.promotion.cases import (
    Ground,
    all_looked_up,
    case_of,
    expectations_of,
    looked_up,
    next_env,
    rnd_of,
)
from esml_engine.promotion.judging import without_rows
from esml_engine.refs import ModelRef
from esml_engine.training import reads as training
from esml_engine.training import records as models


def timeline(site: Site, ref: ModelRef, env: str) -> list[dict[str, Any]]:
    """Who was champion when, newest first.

    Returns:
        `[{"revision", "version", "at", "until", "by", "run", "why", "request", "decided_by", "evidence"}]`; `until` is
        None for the present one, `request` and `evidence` where a promotion made it champion.
    """
    rows = models.history(site.store, ref, env)
    packs = {e["run"]: e["evidence"] for e in records.evidence_of(site.store, ref, env)}
    out = []
    until: str | None = None
    for r in rows:
        asked = records.request_of(site.store, r["run"], env) if r["run"] in packs else None
        out.append({
            **{k: r[k] for k in ("revision", "version", "at", "by", "run", "why")}, "until": until,
            "request": asked["request"] if asked else None,
            "decided_by": ", ".join(d["by"] for d in asked["decisions"]) if asked else None, "evidence": packs.get(r["run"]),
        })  # fmt: skip
        until = r["at"]
    return out


def comparisons(
    site: Site, ref: ModelRef, *, source: str = "", target: str = "", version: int | None = None
) -> list[dict[str, Any]]:
    """Comparisons, newest first, each with `current`: whether what it rested on is still so.

    Returns:
        `[{"comparison", "run", "at", "from", "to", "version", "verdict", "current", …the contract's answer}]`.
    """
    out = []
    facts: dict[tuple[str, str, int], str | None] = {}
    for r in records.comparisons(site.store, ref, source=source, target=target, version=version):
        way = (r["source"], r["target"], int(r["version"]))
        if way not in facts:
            facts[way] = _facts(site, ref, *way)
        said = {k: v for k, v in r["document"].items() if k != "case"}
        keys = ("comparison", "run", "at", "version", "verdict")
        out.append({**said, **{k: r[k] for k in keys}, "current": facts[way] == r["facts"]})
    return out


def _facts(site: Site, ref: ModelRef, source: str, target: str, version: int) -> str | None:
    try:
        return case_of(site, ref, source, target, version).facts
    except EsmlError:
        return None  # a version or environment that is no longer there: no comparison of it is current


def readiness(site: Site, ref: ModelRef, version: int, env: str) -> dict[str, Any]:
    """Whether a version of an environment may be promoted to the next one.

    From the newest comparison whose facts still hold; what needs no rows (R&D, signature, expectations, no gold_test)
    is judged at once.

    Returns:
        `{"ready": True | False | None, "to", "reason", "comparison"}`; None: there is no next environment, or nobody
        compared yet.
    """
    try:
        rows = [models.get_version(site.store, ref, env, version)]
    except EsmlError as e:
        return _ready(False, next_env(site, env), e.message)
    return _readiness(Ground(site, ref), env, rows)[version]


def _ready(ready: bool | None, to: str | None, reason: str, comparison: str | None = None) -> dict[str, Any]:
    return {"ready": ready, "to": to, "reason": reason, "comparison": comparison}


def _readiness(ground: Ground, env: str, rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """`readiness` of versions of one environment by their rows, with queries for all of them together."""
    site, ref, to = ground.site, ground.ref, next_env(ground.site, env)
    if to is None:
        return {int(r["version"]): _ready(None, to, f"{env} is the last environment") for r in rows}
    look = looked_up(site, ref) if len(rows) == 1 else all_looked_up(site, ref)
    made: dict[int, list[tuple[str, str]]] = {}
    for version, id_, facts in records.comparison_facts(site.store, ref, env, to):
        made.setdefault(version, []).append((id_, facts))
    out: dict[int, dict[str, Any]] = {}
    current: dict[str, int] = {}  # comparison whose facts still hold -> its version, the newest last
    for row in rows:
        version = int(row["version"])
        try:
            case = ground.case(env, to, row)
        except EsmlError as e:
            out[version] = _ready(False, to, e.message)
            continue
        if case.champion is not None and case.champion.version == version:
            out[version] = _ready(None, to, f"champion of {to} already")
            continue
        new = case.challenger
        wrong = without_rows(case, expectations=expectations_of(new, look), rnd=rnd_of(new, look))
        if wrong:
            out[version] = _ready(False, to, wrong[0].reason)
            continue
        out[version] = _ready(None, to, f"compare with {to} as it is now")
        if version in made:
            facts = case.facts
            current |= {i: version for i, f in made[version][::-1] if f == facts}
    newest = {version: id_ for id_, version in current.items()}
    for id_, gates in records.comparison_gates(site.store, list(newest.values())).items():
        failed = [g for g in gates if not g["passed"]]
        reason = failed[0]["reason"] if failed else f"passed {len(gates)} of {len(gates)} gates"
        out[current[id_]] = _ready(not failed, to, reason, id_)
    return out


def leaderboard(site: Site, ref: ModelRef, env: str = "all") -> list[dict[str, Any]]:
    """Training's leaderboard with `ready`, `ready_to` and `ready_reason`: the gates of the next environment."""
    ground = Ground(site, ref)
    board = training.leaderboard(site, ref, env)
    wanted = {(r["env"], r["model_version"]) for r in board}
    said: dict[tuple[str, int], dict[str, Any]] = {}
    for e in {e for e, version in wanted if version is not None}:
        rows = [v for v in models.standing(site.store, ref, e) if (e, v["version"]) in wanted]
        said |= {(e, n): r for n, r in _readiness(ground, e, rows).items()}
    unknown = _ready(False, None, "it is no registered version")
    for row in board:
        r = said.get((row["env"], row["model_version"]), unknown)
        row |= {"ready": r["ready"], "ready_to": r["to"], "ready_reason": r["reason"]}
    return board
