"""Train: split gold -> a registered version, champion when the gates say so. Register: a past run's model as a version."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from esml_engine.clock import now
from esml_engine.door.facts import Call, Desk, Draft, NoJobs
from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError, NotYetError, UsageError
from esml_engine.faults import point
from esml_engine.lake.catalogue import all_latest, latest, table_in
from esml_engine.lake.files import columns_of
from esml_engine.lake.specs import archive, code_hash, job_spec, step_file
from esml_engine.refs import ModelRef
from esml_engine.runs import records as runs
from esml_engine.runs.facts import JobResult, JobSpec, TableIn
from esml_engine.settings import ModelSettings, TrainSettings
from esml_engine.store import schema as t
from esml_engine.training import records
from esml_engine.training.behind import LEARNED, behind, trained_in
from esml_engine.training.facts import Profile, allowed_forecasters
from esml_engine.training.verdict import verdict_of

OVERHEAD_SECONDS = (
    300.0  # importance, logging, the champion's rows: on top of the profile's seconds, enforced
)
# what a version keeps of its training beside metrics
_DETAIL = (
    "trials", "importance", "importance_sampled_rows", "importance_reason", "signature", "example", "leakage", "packages",
    "seconds_used", "artifact_uri",
    "classes", "confusion", "backtest", "forecast", "warnings",
)  # fmt: skip
_SIDES = ("gold_train", "gold_validate", "gold_test")


def profile_of(site: Site, ref: ModelRef, env: str, asked: dict[str, Any]) -> TrainSettings:
    """The environment's profile, or the named one, with the asked budget.

    Raises:
        SettingsError: an estimator, a number or the metric does not suit the model's task.
    """
    settings = site.settings
    name = asked.get("profile") or env
    if asked.get("profile") and name not in settings.model(ref).train:
        raise NotFoundError(
            f"{ref} has no training profile {name!r}",
            hint=f"it has {', '.join(settings.model(ref).train) or 'none'}",
        )
    profile = settings.profile(ref, name)
    if profile.mode == "auto":
        own = step_file(site.root, ref, "train") is not None
        profile = profile.model_copy(update={"mode": "custom" if own else "automl"})
    if asked.get("budget") is not None:
        number = isinstance(asked["budget"], int | float) and not isinstance(asked["budget"], bool)
        if not number or not 0 < asked["budget"] < math.inf:
            raise UsageError("a budget is a number of seconds above 0", hint="--budget 60, or none")
        profile = profile.model_copy(update={"seconds": float(asked["budget"])})
    Profile.parse(profile.model_dump(exclude={"mode"}), settings.model(ref).task)
    return profile


def check_forecast(settings: ModelSettings, ref: ModelRef) -> None:
    """What a forecasting model must say before it trains.

    Raises:
        UsageError: the time column is missing, or the frequency unknown. NotYetError: several series, or custom training.
    """
    if not settings.forecast.time_column:
        raise UsageError(f"{ref} has no time column", hint="set forecast.time_column in model.toml")
    if settings.forecast.series:
        raise NotYetError(
            "many series come later", hint="leave forecast.series empty: one row per timestamp trains now"
        )
    if settings.forecast.frequency:
        from esml_engine.training.series.frequency import check_alias

        check_alias(settings.forecast.frequency)


def members_of(settings: ModelSettings, profile: TrainSettings) -> tuple[str, ...]:
    """Estimators that a training may use, for the plan."""
    if settings.task == "forecasting":
        return allowed_forecasters(profile.estimators)
    return tuple(profile.estimators)


class Train:
    """`params`: profile, budget (seconds)."""

    name = "train"
    durable = True
    steps = ("train", "register", "alias")

    def plan(self, call: Call, site: Site) -> Draft:
        """On the current split."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        settings = site.settings.model(ref)
        site.settings.require_training(ref)
        if settings.task == "forecasting":
            check_forecast(settings, ref)
        elif settings.task not in ("regression", "classification"):
            raise NotYetError(
                f"training for {settings.task} is not built",
                hint="regression, classification and forecasting are",
            )
        if not settings.label:
            raise UsageError(f"{ref} has no label", hint="set label in model.toml")
        have = all_latest(site.store, ref, call.env)
        if "gold_train" not in have:
            raise NotFoundError(
                f"{ref} has no split in {call.env} yet", hint=f"esml split {ref} --env {call.env}"
            )
        if "gold_test" in have and not have["gold_test"].rows:
            raise UsageError(
                f"gold_test of {ref} in {call.env} is empty: no model could be judged",
                hint=f"esml split {ref} --env {call.env} --test 0.2",
            )
        columns = [c["name"] for c in columns_of(have["gold_train"].schema)]
        if settings.label not in columns:
            raise UsageError(
                f"gold_train has no column {settings.label!r}, the label of {ref}",
                hint=f"it has {', '.join(columns)}; correct label in model.toml",
            )
        profile = profile_of(site, ref, call.env, call.params)
        if profile.mode == "custom" and settings.task == "forecasting":
            raise NotYetError("a forecast by your own train.py comes later", hint='set mode = "automl"')
        custom = step_file(site.root, ref, "train") if profile.mode == "custom" else None
        if profile.mode == "custom" and custom is None:
            raise NotFoundError(
                f"mode is custom but {ref} has no steps/train.py", hint='write it, or set mode = "automl"'
            )
        rows = have["gold_train"].rows
        return Draft(
            will=(
                f"train {'steps/train.py' if custom else ', '.join(members_of(settings, profile))} on gold_train v{have['gold_train'].version} ({rows} rows), at most {profile.seconds:g} s and {profile.trials} trials",
                f"score on gold_test v{have['gold_test'].version} ({have['gold_test'].rows} rows) beside the baseline",
                "register the model; make it champion when it passes the gates",
            ),
            inputs=tuple({"table": n, "version": have[n].version} for n in _SIDES),
            makes=(f"a model version of {ref}",),
            steps=self.steps,
            params={"profile": profile.model_dump(), "train_seconds": profile.seconds},
            code=code_hash(custom, "automl-1"),
            settings={
                "gates": settings.gates.model_dump(),
                "label": settings.label,
                "key": settings.key,
                "task": settings.task,
                **({"forecast": settings.forecast.model_dump()} if settings.task == "forecasting" else {}),
            },
            size=float(rows),
            bound_seconds=profile.seconds + OVERHEAD_SECONDS,
        )

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """The training job; registering is the worker's."""
        if desk.step.rpartition("/")[2] != "train":
            return None
        ref, site, env = ModelRef.parse(call.object), desk.site, call.env
        settings = site.settings.model(ref)
        profile = draft.params.get("profile") or profile_of(site, ref, env, {}).model_dump()
        head = latest(site.store, ref, env, "gold_train")
        if head is None:
            raise NotFoundError(f"{ref} has no split in {env} yet", hint=f"esml split {ref} --env {env}")
        wanted = {"gold_train": head.version, **head.siblings}
        inputs = {n: table_in(site, ref, env, n, wanted[n]) for n in _SIDES}
        now_champion = records.champion(site.store, ref, env)
        old = records.get_version(site.store, ref, env, now_champion["version"]) if now_champion else None
        behind, missing = _behind(site, ref, env, old, inputs)
        params = {
            "task": settings.task, "label": settings.label, "key": settings.key, "ignore": [],
            "forecast": settings.forecast.model_dump(), "profile": {k: v for k, v in profile.items() if k != "mode"},
            "gates": settings.gates.model_dump(),
            "champion": {"folder": site.outside(old["folder"]), "sha256": old["sha256"], "version": old["version"],
                "missing": missing} if old else None,
            "experiment": f"{ref.project}-{ref.model}", "mode": profile.get("mode", "automl"),
            "code": (archive(desk, env, step_file(site.root, ref,
                "train")) or {}).get("path") if profile.get("mode") == "custom" else None,
            "tags": {"esml.project": ref.project, "esml.model": ref.model, "esml.env": env, "esml.actor": desk.actor.rights},
            "cache": str(site.state / "cache"), "artifacts": site.platform(env).artifact_root(),
        }  # fmt: skip
        spec = job_spec(
            desk, ref, env, "training.train", inputs={**inputs, **behind}, outputs={}, params=params
        )
        return JobSpec(**{**spec.__dict__, "max_seconds": float(profile["seconds"]) + OVERHEAD_SECONDS})

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """train: leaderboard rows · register: a version and perhaps a champion · alias: MLflow told."""
        step = desk.step.rpartition("/")[2]
        if step == "train":
            return self._trained(call, result, desk)
        if step == "register":
            return register(call, desk.run, desk)
        return write_aliases(call, desk)

    def _trained(self, call: Call, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        assert result is not None and desk.spec is not None
        ref, value = ModelRef.parse(call.object), result.value
        gold = latest(desk.site.store, ref, call.env, "gold_train")
        data = {n: desk.spec.inputs[n].version for n in _SIDES}
        if gold is not None:
            data["gold"] = next((int(i["version"]) for i in gold.inputs if i.get("table") == "gold"), None)
        value["data"], value["rnd"] = data, gold is not None and gold.rnd
        value["champion_version"] = (desk.spec.params["champion"] or {}).get("version")
        at = now()
        price = float((runs.get(desk.site.store, desk.run)["predicted"] or {}).get("price") or 0.0)
        rows = [
            {
                "estimator": value["estimator"],
                "metrics": value["metrics"],
                "intervals": value.get("intervals"),
            }
        ]
        rows += [f for f in value.get("families", []) if f["estimator"] != value["estimator"]]

        def change(c: Any) -> dict[str, Any]:
            for r in rows:
                records.put_candidate(c, {
                    "object": str(ref), "env": call.env, "run": desk.run, "estimator": r["estimator"], "version": None,
                    "metrics": r["metrics"], "baseline": value["baseline"],
                    "data": data, "cost": result.seconds / 3600 * price, "at": at, "verdict": None,
                    "intervals": r.get("intervals"),
                })  # fmt: skip
            return {
                "task": desk.spec.params["task"] if desk.spec else "", "estimator": value["estimator"],
                "metrics": value["metrics"], "baseline": value["baseline"],
                "data_version": data.get("gold"), "trained": value,
            }  # fmt: skip

        return desk.commit(change)


def _behind(
    site: Site, ref: ModelRef, env: str, champion: dict[str, Any] | None, ours: dict[str, TableIn]
) -> tuple[dict[str, TableIn], str]:
    """What the champion was trained on, as `champion/<table>`, where that is not what this run trains on; and the name of one that is gone."""
    if champion is None:
        return {}, ""
    there = trained_in(champion)
    known = {i["table"]: int(i["version"]) for i in champion["inputs"] if "table" in i}
    unknown = next((n for n in LEARNED if n not in known), "")
    if unknown:
        return {}, unknown
    others = {n: known[n] for n in LEARNED if there != env or known[n] != ours[n].version}
    found = behind(site, ref, "champion", there, others)
    gone = next((f"{n} v{v}" for n, v in others.items() if f"champion/{n}" not in found), "")
    return ({}, gone) if gone else (found, "")


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
    version = records.reserve(site.store, ref, env, training_run)
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
    tags = {"esml.run": training_run, "esml.version": str(version), "esml.sha256": value["sha256"]}
    registry = tracking.register(
        site.platform(env).tracking_uri(),
        f"{ref.project}-{ref.model}",
        value["mlflow_run"],
        value["model_folder"],
        tags,
    )
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
    """Tell MLflow: `previous` first, then `champion`. Nothing of ours reads them; other clients do."""
    from esml_engine.training import tracking

    ref, site, env = ModelRef.parse(call.object), desk.site, call.env
    row = records.champion(site.store, ref, env)
    if row is None:
        return desk.commit(lambda c: {})
    uri, name = site.platform(env).tracking_uri(), f"{ref.project}-{ref.model}"
    for alias, version in (("previous", row["previous"]), ("champion", row["version"])):
        if version is not None:
            found = records.get_version(site.store, ref, env, version)
            tracking.set_alias(uri, name, alias, found["registry_version"])

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
