"""Train: split gold -> a registered version, champion when the gates say so."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

from esml_engine.clock import now
from esml_engine.door.facts import Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError, NotYetError, UsageError
from esml_engine.lake.catalogue import Version, all_latest, latest, table_in
from esml_engine.lake.files import columns_of
from esml_engine.lake.specs import archive, code_hash, job_spec, step_file
from esml_engine.refining.staleness import input_version
from esml_engine.refs import ModelRef
from esml_engine.runs import records as runs
from esml_engine.runs.facts import JobResult, JobSpec, TableIn
from esml_engine.settings import ModelSettings, TrainSettings
from esml_engine.training import records
from esml_engine.training.behind import LEARNED, behind, trained_in
from esml_engine.training.facts import Profile, allowed_forecasters
from esml_engine.training.registering import register, write_aliases

OVERHEAD_SECONDS = (
    300.0  # importance, logging, the champion's rows: on top of the profile's seconds, enforced
)
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


def check_settings(settings: ModelSettings, ref: ModelRef) -> None:
    """What a model's settings must say before it can be trained, whatever data there is.

    Raises:
        UsageError: no label, or what `check_forecast` raises. NotYetError: a task whose training is not built.
    """
    if settings.task == "forecasting":
        check_forecast(settings, ref)
    elif settings.task not in ("regression", "classification"):
        raise NotYetError(
            f"training for {settings.task} is not built",
            hint="regression, classification and forecasting are",
        )
    if not settings.label:
        raise UsageError(f"{ref} has no label", hint="set label in model.toml")


def require_flaml(*, here: bool) -> None:
    """Before a training is planned: where jobs run with this machine's packages, the optional one is among them.

    Raises:
        UsageError: it is not.
    """
    if here and find_spec("flaml") is None:
        raise UsageError(
            "the search 'flaml' needs the package flaml, which is not installed",
            hint='pip install "esml-cockpit[flaml]", or set search = "portfolio"',
        )


def members_of(settings: ModelSettings, profile: TrainSettings) -> tuple[str, ...]:
    """Estimators that a training may use, for the plan."""
    if settings.task == "forecasting":
        return allowed_forecasters(profile.estimators)
    return tuple(profile.estimators)


def _other_gold(split_of: int | None, gold: Version | None) -> tuple[str, ...]:
    """What a training should say where the split is of another gold than the one that stands there."""
    if split_of is None or (gold is not None and gold.version == split_of):
        return ()
    if gold is None:
        return (
            f"learn from gold v{split_of}, which is not there any more: esml refine and split make them anew",
        )
    than = "newer" if gold.version > split_of else "older"
    return (
        f"learn from gold v{split_of}, which the split is of, not from the {than} v{gold.version}: esml split takes it in",
    )


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
        check_settings(settings, ref)
        have = all_latest(site.store, ref, call.env)
        lost = [n for n in _SIDES if n not in have]
        if lost:
            what = "split" if "gold_train" in lost else f"{lost[0]} beside its gold_train"
            raise NotFoundError(
                f"{ref} has no {what} in {call.env} yet", hint=f"esml split {ref} --env {call.env}"
            )
        gold, of = have.get("gold"), input_version(have["gold_train"], "gold")
        if gold is not None and not gold.rows:
            raise UsageError(
                f"gold v{gold.version} of {ref} in {call.env} has no row: all were kept out",
                hint=f"see why: esml quarantine {ref} DATASET --env {call.env}; deliver mended files, refine and split again",
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
        if profile.search == "flaml" and profile.mode == "automl" and settings.task != "forecasting":
            require_flaml(here=site.platform(call.env).capabilities.jobs_here)
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
                *_other_gold(of, gold),
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
