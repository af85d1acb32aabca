"""What faces show of promotions: comparisons, champions over time, what is ready, the leaderboard with it."""

from __future__ import annotations

from typing import Any

from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.promotion import records
from esml_engine.promotion.cases import case_of, expectations_of, next_env, rnd_of
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
            **{k: r[k] for k in ("revision", "version", "at", "by", "run", "why")}, "until": until, "request": asked["request"] if asked else None,
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
    to = next_env(site, env)
    if to is None:
        return {"ready": None, "to": None, "reason": f"{env} is the last environment", "comparison": None}
    try:
        case = case_of(site, ref, env, to, version)
    except EsmlError as e:
        return {"ready": False, "to": to, "reason": e.message, "comparison": None}
    if case.champion is not None and case.champion.version == version:
        return {"ready": None, "to": to, "reason": f"it is the champion of {to} already", "comparison": None}
    wrong = without_rows(
        case,
        expectations=expectations_of(site, ref, case.challenger),
        rnd=rnd_of(site, ref, case.challenger),
    )
    if wrong:
        return {"ready": False, "to": to, "reason": wrong[0].reason, "comparison": None}
    found = [
        r
        for r in records.comparisons(site.store, ref, source=env, target=to, version=version)
        if r["facts"] == case.facts
    ]
    if not found:
        return {"ready": None, "to": to, "reason": f"not compared with {to} as it is now", "comparison": None}
    said = found[0]["document"]
    failed = [g for g in said["gates"] if not g["passed"]]
    reason = failed[0]["reason"] if failed else f"passed {len(said['gates'])} of {len(said['gates'])} gates"
    return {"ready": not failed, "to": to, "reason": reason, "comparison": found[0]["comparison"]}


def leaderboard(site: Site, ref: ModelRef, env: str = "all") -> list[dict[str, Any]]:
    """Training's leaderboard with `ready`, `ready_to` and `ready_reason`: the gates of the next environment."""
    said: dict[tuple[str, int], dict[str, Any]] = {}
    out = []
    for row in training.leaderboard(site, ref, env):
        if row["model_version"] is None:
            out.append({**row, "ready": False, "ready_to": None, "ready_reason": "it is no registered version"})  # fmt: skip
            continue
        key = (row["env"], int(row["model_version"]))
        if key not in said:
            said[key] = readiness(site, ref, key[1], key[0])
        r = said[key]
        out.append({**row, "ready": r["ready"], "ready_to": r["to"], "ready_reason": r["reason"]})
    return out
