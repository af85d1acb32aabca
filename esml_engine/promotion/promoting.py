"""A promotion after its comparison: decided, copied, crowned. Each step may be repeated after a crash."""

from __future__ import annotations

from typing import Any

from esml_engine.clock import now
from esml_engine.door import audit, requests
from esml_engine.door.facts import Call, Desk
from esml_engine.door.site import Site
from esml_engine.errors import ConflictError, FailedError
from esml_engine.faults import point
from esml_engine.lake.specs import job_spec, model_within_reach
from esml_engine.promotion import evidence, records
from esml_engine.promotion.comparing import KEPT, outdated
from esml_engine.promotion.facts import PROMOTED, REFUSED, STALE, Case, case_from
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobResult, JobSpec
from esml_engine.training import records as models

BY_GATES = "gates"


def standing_answer(site: Site, ref: ModelRef, env: str) -> dict[str, Any]:
    """What the promotion of the present champion answered; a rollback to it since then decided on no gates."""
    row = models.champion(site.store, ref, env)
    line = [h for h in models.history(site.store, ref, env) if row and h["version"] == row["version"]]
    packs = {h["run"]: records.evidence(site.store, records.evidence_id(h["run"], env)) for h in line}
    run = next((h["run"] for h in line if packs[h["run"]]), "")
    asked = records.request_of(site.store, run, env) if run else None
    found = packs.get(run)
    said = found["document"]["sections"] if found else None
    return {
        "request": asked["request"] if asked else None, "state": PROMOTED,
        "decided_by": said["decision"]["decided_by"] if said else BY_GATES, "gates": said["gates"]["gates"] if said else [],
        "champion": row["version"] if row else None, "evidence": found["evidence"] if found else None,
    }  # fmt: skip


def decide(call: Call, desk: Desk) -> dict[str, Any]:
    """Gates first; then, where the policy wants it, the run waits for people, and comes here again when approved."""
    ref, site, target = ModelRef.parse(call.object), desk.site, call.env
    row = _comparison(desk, target)
    said = row["document"]
    asked = records.request_of(site.store, desk.run, target)
    changed = outdated(site, row)
    if changed:
        return end_stale(desk, ref, row, asked, changed)
    if said["verdict"] != "promote":
        wrong = [g for g in said["gates"] if not g["passed"]]
        count = f"{len(wrong)} gate{'s' if len(wrong) != 1 else ''}"
        reason = f"refused by {count}: " + "; ".join(f"{g['gate']}: {g['reason']}" for g in wrong)
        return _end(desk, ref, row, None, REFUSED, BY_GATES, reason)
    needed = int(said["case"]["policy"]["approvals"])
    if needed and asked is None:
        detail = {
            **{k: said[k] for k in KEPT}, "champion": said["champion"], "comparison": row["comparison"],
            "evidence": records.evidence_id(desk.run, target),
            "decided_by": None, "approvals": needed, "sha256": said["case"]["challenger"]["sha256"],
            "cost": {"score_1000_rows": said["cost_1000_rows"], "currency": site.settings.estate.currency},
        }  # fmt: skip
        desk.park(kind=requests.PROMOTION, object_=str(ref), env=target, needed=needed, facts=row["facts"],
            detail=detail)  # fmt: skip
    if needed and (asked is None or asked["state"] != "approved"):
        raise FailedError(
            f"the promotion of {ref} to {target} goes on only when its request is approved",
            hint="ask again: esml promote",
        )
    decided = ", ".join(a["by"] for a in asked["decisions"]) if asked else BY_GATES
    point("promote:decided")
    return desk.commit(lambda c: {"decided_by": decided, "request": asked["request"] if asked else None})


def _comparison(desk: Desk, target: str) -> dict[str, Any]:
    row = records.comparison(desk.site.store, records.comparison_id(desk.run, target))
    if row is None:
        raise FailedError(f"run {desk.run} has no comparison for {target}", hint="start the promotion again")
    return row


def end_stale(
    desk: Desk, ref: ModelRef, row: dict[str, Any], asked: dict[str, Any] | None, reason: str
) -> dict[str, Any]:
    """End the run: its evidence is no longer what it would be decided on."""
    return _end(desk, ref, row, asked, STALE, BY_GATES, reason)


def _end(
    desk: Desk, ref: ModelRef, row: dict[str, Any], asked: dict[str, Any] | None, state: str, decided_by: str, reason: str
) -> dict[str, Any]:  # fmt: skip
    said, target = row["document"], row["target"]
    pack = evidence.made(desk.site, row, run=desk.run, state=state, decided_by=decided_by, reason=reason)
    now_champion = models.champion(desk.site.store, ref, target)

    def change(c: Any) -> dict[str, Any]:
        records.put_evidence(c, pack["evidence"], ref, target, desk.run, pack)
        if asked is not None:
            requests.outdated(c, asked["request"])
        _audit(c, desk, ref, target, state, pack, reason)
        return {
            "request": asked["request"] if asked else None, "state": state, "decided_by": decided_by, "gates": said["gates"],
            "reason": reason,
            "champion": now_champion["version"] if now_champion else None, "evidence": pack["evidence"], "ends_run": True,
        }  # fmt: skip

    return desk.commit(change)


def _audit(
    c: Any, desk: Desk, ref: ModelRef, target: str, state: str, pack: dict[str, Any], reason: str
) -> None:
    """The evidence's hash stands in the audit chain, where nobody can change it with the pack."""
    said = {"evidence": pack["evidence"], "sha256": pack["sha256"], "reason": reason}
    audit.append(c, desk.actor, "promote", str(ref), target, state, run=desk.run, detail=said)


def copy_job(call: Call, desk: Desk) -> JobSpec:
    """The folder's copy; a version that the target has already is only looked at."""
    ref, site, target = ModelRef.parse(call.object), desk.site, call.env
    said = _comparison(desk, target)["document"]
    new = case_from(said["case"]).challenger
    have = [v for v in models.versions(site.store, ref, target) if v["version"] == new.version]
    existing = site.outside(have[0]["folder"]) if have and have[0]["sha256"] == new.sha256 else ""
    metrics = {k: v for k, v in (said["metrics"]["challenger"] or {}).items() if v is not None}
    metrics |= {f"champion_{k}": v for k, v in (said["metrics"]["champion"] or {}).items() if v is not None}
    params = {
        "source": "" if existing else model_within_reach(site, target, new.env, new.folder, new.sha256), "sha256": new.sha256,
        "existing": existing, "experiment": f"{ref.project}-{ref.model}", "metrics": metrics, "evidence": said,
        "params": {"version": new.version, "from": said["from"], "trained_in": new.trained_in, "training_run": new.run,
            "sha256": new.sha256, "estimator": new.estimator},
        "tags": {"esml.project": ref.project, "esml.model": ref.model, "esml.env": target, "esml.actor": desk.actor.rights,
            "esml.version": new.version, "esml.promoted_from": said["from"]},
        "cache": str(site.state / "cache"), "artifacts": site.platform(target).artifact_root(),
    }  # fmt: skip
    return job_spec(desk, ref, target, "promotion.copy", inputs={}, outputs={}, params=params)


def copied(call: Call, result: JobResult, desk: Desk) -> dict[str, Any]:
    """Note the copy; bytes that are not the registered ones end the run."""
    ref, value = ModelRef.parse(call.object), dict(result.value)
    if value["changed"]:
        row = _comparison(desk, call.env)
        asked = records.request_of(desk.site.store, desk.run, call.env)
        return end_stale(desk, ref, row, asked, value["changed"])
    point("promote:copied")
    return desk.commit(lambda c: {"copied": value})


def crown(call: Call, desk: Desk) -> dict[str, Any]:
    """Look at the facts again, register, then one transaction: version, pins, champion, evidence, leaderboard, audit."""
    ref, site, target = ModelRef.parse(call.object), desk.site, call.env
    row = _comparison(desk, target)
    said, case = row["document"], case_from(row["document"]["case"])
    asked = records.request_of(site.store, desk.run, target)
    changed = outdated(site, row)
    if changed:
        return end_stale(desk, ref, row, asked, changed)
    point("promote:rechecked")
    new, by = case.challenger, desk.actor.rights
    value = records.step_result(site.store, desk.run, "copy", target, call.env)["copied"]
    version = _version_row(site, ref, case, said, value, desk)
    point("promote:registered")
    decided = ", ".join(a["by"] for a in asked["decisions"]) if asked else BY_GATES
    gates = len(said["gates"])
    why = f"promoted from {case.source}: passed {gates} of {gates} gates" + (f", approved by {decided}" if asked else "")  # fmt: skip
    pack = evidence.made(site, row, run=desk.run, state=PROMOTED, decided_by=decided, reason=why)
    pins = [{**d, "env": new.trained_in} for d in new.data]

    def change(c: Any) -> dict[str, Any]:
        models.put_version(c, version, pins)
        models.crown(c, ref, target, new.version, run=desk.run, by=by, why=why, expected=case.revision)
        records.put_evidence(c, pack["evidence"], ref, target, desk.run, pack)
        models.put_candidate(c, {
            "object": str(ref), "env": target, "run": desk.run, "estimator": new.estimator, "version": new.version,
            "metrics": said["metrics"]["challenger"], "baseline": said["baseline"] or {},
            "data": {**said["data"]["challenger"], "gold_test": case.test["version"] if case.test else None,
                "evidence_from": said["evidence_from"]}, "cost": None, "at": now(),
            "verdict": {"verdict": said["verdict"], "gates": said["gates"]},
            "intervals": (said.get("metric_intervals") or {}).get("challenger"),
        })  # fmt: skip
        _audit(c, desk, ref, target, PROMOTED, pack, why)
        return {
            "request": asked["request"] if asked else None, "state": PROMOTED, "decided_by": decided, "gates": said["gates"],
            "champion": new.version,
            "previous": case.champion.version if case.champion else None, "evidence": pack["evidence"],
        }  # fmt: skip

    try:
        return desk.commit(change)
    except ConflictError as e:
        return end_stale(desk, ref, row, asked, e.message)


def _version_row(
    site: Site, ref: ModelRef, case: Case, said: dict[str, Any], value: dict[str, Any], desk: Desk
) -> dict[str, Any]:
    """The version's row in the target: its own when it was there before, else made from the source's."""
    from esml_engine.training import tracking

    new, target = case.challenger, case.target
    have = [v for v in models.versions(site.store, ref, target) if v["version"] == new.version]
    if have and value.get("existing"):
        return {**have[0], "metrics": said["metrics"]["challenger"], "baseline": said["baseline"] or {}}
    tags = {
        "esml.run": new.run, "esml.version": str(new.version), "esml.sha256": new.sha256, "esml.promotion": desk.run,
        "esml.promoted_from": case.source,
        "esml.trained_in": new.trained_in,
    }  # fmt: skip
    registry = tracking.register(
        site.platform(target).tracking_uri(),
        f"{ref.project}-{ref.model}",
        value["mlflow_run"],
        value["artifact_uri"],
        tags,
    )
    source = models.get_version(site.store, ref, new.env, new.version)
    detail = {
        **source["detail"],
        "trained_in": new.trained_in,
        "promoted_from": case.source,
        "promotion": desk.run,
        "artifact_uri": value["artifact_uri"],
        "trained_metrics": source["detail"].get("trained_metrics") or source["metrics"],
    }
    return {
        **source, "env": target, "registry_version": registry, "mlflow_run": value["mlflow_run"],
        "metrics": said["metrics"]["challenger"], "baseline": said["baseline"] or {},
        "folder": site.inside(value["model_folder"]), "inputs": [{**d, "env": new.trained_in} for d in new.data],
        "detail": detail, "at": now(), "by": desk.actor.rights,
    }  # fmt: skip
