"""Register: what a training left becomes a version, and champion when the gates say so; then MLflow is told."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from esml_engine.clock import now
from esml_engine.door.facts import Call, Desk, Draft, NoJobs
from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError, UsageError
from esml_engine.faults import point
from esml_engine.refs import ModelRef
from esml_engine.runs import records as runs
from esml_engine.runs.facts import JobResult
from esml_engine.store import schema as t
from esml_engine.training import records
from esml_engine.training.judging.verdict import verdict_of

# what a version keeps of its training beside metrics
_DETAIL = (
    "trials", "importance", "importance_sampled_rows", "importance_reason", "signature", "example", "leakage", "packages",
    "seconds_used", "artifact_uri",
    "classes", "confusion", "backtest", "forecast", "warnings",
)  # fmt: skip


def trained_value(site: Site, run: str) -> dict[str, Any]:
    """What a past training run left.

    Raises:
        NotFoundError: that run trained nothing.
    """
    for s in runs.steps(site.store, run):
        if s["step"].rpartition("/")[2] == "train" and s["state"] == "done":
            return dict(s["result"]["trained"])
    raise NotFoundError(f"run {run} trained no model", hint="esml runs --json lists runs and their steps")


def register(call: Call, training_run: str, desk: Desk) -> dict[str, Any]:
    """Reserve the number, find or make the registry's version, then one transaction: version, pins, champion."""
    from esml_engine.training import tracking

    ref, site, env = ModelRef.parse(call.object), desk.site, call.env
    value = trained_value(site, training_run)
    uri, name = site.platform(env).tracking_uri(), f"{ref.project}-{ref.model}"
    # a store may be one that was lost, or an older copy: what the registry has keeps its number
    version = records.reserve(site.store, ref, env, training_run, tracking.highest(uri, name))
    done = next((v for v in records.versions(site.store, ref, env) if v["version"] == version), None)
    if done is not None and training_run != desk.run:  # by its own run, meanwhile: it is not judged again
        mine = next(
            (r for r in records.candidates(site.store, ref) if (r["env"], r["version"]) == (env, version)),
            None,
        )
        first = records.champion(site.store, ref, env)
        said = {
            "model_version": version, "registry_version": done["registry_version"],
            "alias": "champion" if first and first["version"] == version else "challenger",
            "gates": ((mine or {}).get("verdict") or {}).get("gates", []),
        }  # fmt: skip
        return desk.commit(lambda c: said)
    point("register:reserved")
    tags = {
        tracking.RUN_TAG: training_run,
        tracking.VERSION_TAG: str(version),
        "esml.sha256": value["sha256"],
    }
    registry = tracking.register(uri, name, value["mlflow_run"], value["artifact_uri"], tags)
    point("register:created")
    data, sample = value["data"], bool(value.get("rnd"))
    verdict = verdict_of(site, ref, env, value)
    inputs = [{"table": n, "version": v} for n, v in data.items() if v is not None]
    pins = [] if sample else inputs  # R&D tables keep one version: nothing may hold on to it
    row = {
        "object": str(ref), "version": version, "env": env, "registry_version": registry, "run": training_run,
        "mlflow_run": value["mlflow_run"], "task": site.settings.model(ref).task,
        "estimator": value["estimator"], "metrics": value["metrics"], "baseline": value["baseline"], "sha256": value["sha256"],
        "folder": site.inside(value["model_folder"]),
        "inputs": inputs, "at": now(), "by": desk.actor.rights, "rnd": sample,
        "detail": {k: value.get(k) for k in _DETAIL},
    }  # fmt: skip
    gates = [asdict(g) for g in verdict.gates]

    def change(c: Any) -> dict[str, Any]:
        records.put_version(c, row, pins)
        c.execute(
            t.candidates.update()
            .where(
                t.candidates.c.object == str(ref),
                t.candidates.c.env == env,
                t.candidates.c.run == training_run,
                t.candidates.c.estimator == value["estimator"],
            )
            .values(version=version, verdict={"verdict": verdict.verdict, "gates": gates})
        )
        if verdict.verdict == "promote":
            records.crown(
                c,
                ref,
                env,
                version,
                run=desk.run,
                by=desk.actor.rights,
                why=f"passed {len(gates)} of {len(gates)} gates",
            )
        alias = "champion" if verdict.verdict == "promote" else "challenger"
        return {"model_version": version, "registry_version": registry, "alias": alias, "gates": gates}

    return desk.commit(change)


def write_aliases(call: Call, desk: Desk) -> dict[str, Any]:
    """Tell MLflow: `challenger`, `previous`, then `champion`. Nothing of ours reads them; other clients do.

    The challenger is the newest version that came after the champion, in R&D mode or not; there is none where the champion is the newest.
    """
    from esml_engine.training import tracking

    ref, site, env = ModelRef.parse(call.object), desk.site, call.env
    row = records.champion(site.store, ref, env)
    uri, name = site.platform(env).tracking_uri(), f"{ref.project}-{ref.model}"

    def point_at(alias: str, version: int | None) -> None:
        if version is not None:
            found = records.get_version(site.store, ref, env, version)
            tracking.set_alias(uri, name, alias, found["registry_version"])

    newest = max((v["version"] for v in records.standing(site.store, ref, env)), default=0)
    if newest > (row["version"] if row else 0):
        point_at("challenger", newest)
    else:
        tracking.drop_alias(uri, name, "challenger")
    if row is None:
        return desk.commit(lambda c: {})
    point_at("previous", row["previous"])
    point("alias:previous")
    point_at("champion", row["version"])
    point("alias:written")

    def change(c: Any) -> dict[str, Any]:
        k = t.champions
        c.execute(
            k.update()
            .where(k.c.object == str(ref), k.c.env == env, k.c.revision == row["revision"])
            .values(aliased=row["revision"])
        )
        return {}

    return desk.commit(change)


class Register(NoJobs):
    """A past run's model as a version. `params`: run."""

    name = "register"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """Nothing to do when that run's model is a version already."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        site.settings.require_training(ref)
        row = runs.get(site.store, call.params["run"])
        if row["object"] != str(ref) or row["env"] != call.env:
            raise UsageError(
                f"run {row['run']} belongs to {row['object']} in {row['env']}",
                hint="name the model and environment of that run",
            )
        trained_value(site, row["run"])
        done = [v["version"] for v in records.versions(site.store, ref, call.env) if v["run"] == row["run"]]
        return Draft(
            will=(f"register the model of run {row['run']}",), inputs=({"run": row["run"]},),
            makes=(f"a model version of {ref}",), steps=("register", "alias"), params={"run": row["run"]},
            nothing_to_do=f"run {row['run']} is version {done[0]} already" if done else "",
            answer={"model_version": done[0]} if done else {}, bound_seconds=60.0,
        )  # fmt: skip

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """As after a training."""
        return (
            register(call, draft.params["run"], desk)
            if desk.step == "register"
            else write_aliases(call, desk)
        )
