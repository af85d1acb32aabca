"""The job `training.train`: tables in, one scored model folder and one MLflow run out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from esml_engine.errors import FailedError, NotYetError, UsageError
from esml_engine.lake import files
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import TableOut
from esml_engine.training import storage, tracking
from esml_engine.training.asking import answers_of, metrics_of
from esml_engine.training.facts import Profile, Trial, loss_of
from esml_engine.training.judging.beside import Ground, beside_champion
from esml_engine.training.measuring.answers import Answers, agreed
from esml_engine.training.measuring.baselines import baseline_metrics
from esml_engine.training.measuring.bootstrap import intervals_of
from esml_engine.training.measuring.importance import Importance, permutation_importance
from esml_engine.training.measuring.metrics import confusion
from esml_engine.training.models.classes import Classes, classes_of
from esml_engine.training.models.labels import known_rows
from esml_engine.training.models.model import EnsembleModel, Predictor
from esml_engine.training.search.custom import TrainContext, train_custom
from esml_engine.training.search.flaml_search import search_flaml
from esml_engine.training.search.leakage import leaks
from esml_engine.training.search.portfolio import search
from esml_engine.training.series.job import train_series

_DATA = ("gold_train", "gold_validate", "gold_test")


@dataclass(frozen=True)
class _Outcome:
    """A fitted model with what was learned on the way to it."""

    model: Predictor
    estimator: str
    trials: tuple[Trial, ...]
    families: Mapping[str, Predictor]
    failures: tuple[dict[str, str], ...] = ()
    seconds: float = 0.0  # of the search alone


def train(job: JobContext) -> tuple[dict[str, Any], list[TableOut]]:
    """Train on gold_train, choose on gold_validate, score on gold_test, log to MLflow, leave the model's folder.

    Inputs: `gold_train`, `gold_validate`, `gold_test`. Parameters: `task`, `label`, `key`, `ignore`, `profile`
    (see `facts.Profile`), `champion` (`{"folder", "sha256", "version", "missing"}` or None; scored on the same test rows;
    inputs `champion/<table>` are what it was trained on, where that is not what this job trains on),
    `forecast` (the `[forecast]` table, for that task), `experiment`, `tags`, `mode` (`automl` or `custom`), `code` (path of train.py for custom), `leakage` (`warn`,
    the default, or `stop`), `artifacts` (artifact root of the experiment), `cache` (folder of migrated empty
    tracking databases), `params` (what a custom step sees as `ctx.params`).

    Returns:
        The result document, and no tables.

    Raises:
        UsageError: settings, label or features can't be used.
        NotYetError: a task that has no training.
        StepError: the user's train.py raised.
        FailedError: nothing could be fitted, or a leaking label is to stop the run.
    """
    begun = time.monotonic()
    p = job.params
    task, label = p.get("task", "regression"), p["label"]
    if task not in ("regression", "classification", "forecasting"):
        raise NotYetError(f"training for task '{task}' is not built yet")
    profile = Profile.parse(p.get("profile") or {}, task)
    uri = job.spec.tracking
    with tracking.logging_job(job) as logged:
        job.progress(0.02, "reads the gold tables", now=True)
        tables = {name: files.arrow(job.input(name)) for name in _DATA}
        if task == "forecasting":
            value = train_series(job, profile, tables, label)
        else:
            value = _train(job, profile, tables, task, label)
        value |= {"mlflow_run": logged.run_id, "artifact_uri": f"{logged.artifact_uri}/model"}
        value["seconds_used"] = round(time.monotonic() - begun, 3)
        job.progress(0.97, "logs to tracking", now=True)
        _log(job, uri, logged, profile, value)
    job.progress(1.0, "done", now=True)
    return value, []


def _train(
    job: JobContext, profile: Profile, tables: Mapping[str, pa.Table], task: str, label: str
) -> dict[str, Any]:
    p = job.params
    leave_out = {label, *([p["key"]] if p.get("key") else []), *(p.get("ignore") or [])}
    classes = classes_of([tables["gold_train"]], label) if task == "classification" else Classes()
    known, y_train = known_rows(tables["gold_train"], label, classes)
    test, y_test = known_rows(tables["gold_test"], label, classes)
    numbers = y_train.astype(np.float64)
    found = [asdict(leak) for leak in leaks(known, numbers, leave_out=leave_out, classes=bool(classes))]
    for leak in found:
        job.log(f"warning: {leak['message']}")
    if found and p.get("leakage") == "stop":
        raise FailedError(
            f"the label leaks: {found[0]['message']}",
            hint="leave the column out in steps/gold.py or steps/gold.sql",
            leakage=found,
        )

    mode = p.get("mode", "automl")
    if mode not in ("automl", "custom"):
        raise UsageError(f"unknown training mode '{mode}'", hint="automl or custom")
    fitted = (_custom if mode == "custom" else _automl)(job, profile, tables, task, label, leave_out)

    job.progress(0.85, "scores on gold_test", now=True)
    folder = job.work / "model"
    # storing is Python's work, asking the libraries' own: a second core is used
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_insight, fitted, test, known, profile, task)
        if not isinstance(fitted.model, EnsembleModel):
            wait([asked])  # a library of somebody's choice need not bear both at once
        sha256 = storage.save(fitted.model, folder)
        # what is scored is what was stored
        model = storage.load(folder, sha256)
        # as an endpoint will ask it
        alone = pool.submit(_ask_for_one, model)
        answers = answers_of(model, test, known)
        insight, _ = asked.result(), alone.result()
    on = Ground(test, known, (p["key"],) if p.get("key") else ())
    beside = beside_champion(job, task, model, on, answers)
    if beside.error:
        job.log(f"warning: the champion could not be scored: {beside.error}")
    told = beside.answers
    metrics = metrics_of(told)
    return {
        "task": task,
        "label": label,
        "metrics": metrics,
        "intervals": intervals_of(told, metrics),
        "baseline": baseline_metrics(task, y_train, y_test, len(told.classes)),
        "estimator": fitted.estimator,
        "champion_metrics": beside.champion,
        "champion_error": beside.error,
        "champion_gains": dict(beside.gains),
        "champion_rows": beside.rows,
        "fair": beside.fair,
        "overlap": beside.overlap,
        "trials": [asdict(t) for t in fitted.trials],
        "families": [
            _family(k, agreed(told, insight.families[k])[1] if k in insight.families else told)
            for k in fitted.families
        ],
        "failures": list(fitted.failures),
        "search_seconds": fitted.seconds,
        "importance": [asdict(i) for i in insight.importance],
        "importance_sampled_rows": insight.sampled,
        "importance_reason": "" if insight.importance or not model.features else _TOO_WIDE,
        "model_folder": job.keep(folder),
        "sha256": sha256,
        "signature": model.signature,
        "example": model.example,
        "leakage": found,
        "packages": storage.versions(),
        **_of_classes(model, answers),
    }


_TOO_WIDE = "so many columns that shuffling each would take far longer than the search"


def _ask_for_one(model: Predictor) -> None:
    if model.features:
        model.predict_columns({k: [v] for k, v in model.example.items()})


@dataclass(frozen=True)
class _Insight:
    """What is learned of a fitted model in memory while it is being stored.

    `families`: answers of the best of each family, but not of one that is the whole model.
    """

    families: dict[str, Answers]
    importance: list[Importance]
    sampled: int


def _insight(fitted: _Outcome, test: pa.Table, known: pa.Table, profile: Profile, task: str) -> _Insight:
    whole = fitted.model
    _, truth = known_rows(test, whole.label, whole.classes)
    found = permutation_importance(
        whole,
        test,
        truth,
        metric=profile.metric_for(task),
        seed=profile.seed,
        seconds=max(0.5, 0.01 * profile.seconds),
    )
    families = {k: answers_of(m, test, known) for k, m in fitted.families.items() if not same_model(m, whole)}
    return _Insight(families, *found)


def same_model(family: Predictor, model: Predictor) -> bool:
    """Whether the best of a family is the whole model: its answers are at hand then."""
    if not (isinstance(family, EnsembleModel) and isinstance(model, EnsembleModel)):
        return family is model
    return len(model.members) == 1 and model.members[0].parts is family.members[0].parts


def _family(estimator: str, answers: Answers) -> dict[str, Any]:
    metrics = metrics_of(answers)
    return {"estimator": estimator, "metrics": metrics, "intervals": intervals_of(answers, metrics)}


def _of_classes(model: Predictor, answers: Answers) -> dict[str, Any]:
    """What only classification leaves: the classes as labels, and the confusion matrix on gold_test."""
    if not model.classes:
        return {}
    matrix = confusion(answers.truth, answers.prediction, answers.classes)
    return {"classes": list(model.classes.values), "confusion": matrix}


def _automl(
    job: JobContext,
    profile: Profile,
    tables: Mapping[str, pa.Table],
    task: str,
    label: str,
    leave_out: set[str],
) -> _Outcome:
    run = search_flaml if profile.search == "flaml" else search
    found = run(
        tables["gold_train"],
        tables["gold_validate"],
        label=label,
        leave_out=leave_out,
        profile=profile,
        task=task,
        progress=lambda fraction, message: job.progress(0.05 + 0.8 * fraction, message),
        on_trial=lambda t: job.log(
            f"trial {t.estimator}: loss {t.loss} in {t.seconds:.2f} s, {t.folds} folds"
        ),
    )
    for failure in found.failures:
        job.log(f"warning: {failure['estimator']} took no part: {failure['reason']}")
    model = found.model()
    return _Outcome(
        model, model.estimator, found.trials, found.best_of_families(), found.failures, found.seconds
    )


def _custom(
    job: JobContext,
    profile: Profile,
    tables: Mapping[str, pa.Table],
    task: str,
    label: str,
    leave_out: set[str],
) -> _Outcome:
    code = job.file(job.params["code"]) if job.params.get("code") else None
    if code is None:
        raise UsageError(
            "custom training needs a train.py", hint='write steps/train.py, or set mode = "automl"'
        )
    source = tables["gold_train"]
    ctx = TrainContext(
        env=job.spec.env,
        task=task,
        label=label,
        key=job.params.get("key") or "",
        features=tuple(n for n in source.column_names if n not in leave_out),
        seed=profile.seed,
        version=job.input("gold_train").version,
        params=job.params.get("params") or {},
        classes=classes_of([source], label).values if task == "classification" else (),
    )
    at = time.monotonic()
    model = train_custom(code, source, tables["gold_validate"], ctx)
    name = model.class_name.rsplit(".", 1)[-1]
    loss: float | None = None
    if tables["gold_validate"].num_rows:
        held = answers_of(model, tables["gold_validate"], source)
        metric = profile.metric_for(task)
        loss = loss_of(metric, metrics_of(held)[metric])
    trial = Trial(name, {}, loss, time.monotonic() - at, 1)
    return _Outcome(model, name, (trial,), {name: model}, seconds=time.monotonic() - at)


def _log(job: JobContext, uri: str, logged: tracking.Logged, profile: Profile, value: dict[str, Any]) -> None:
    params = {f"profile.{k}": v for k, v in asdict(profile).items()}
    params |= {
        "task": value["task"],
        "label": value["label"],
        "estimator": value["estimator"],
        "sha256": value["sha256"],
    }
    params |= {f"data.{name}": job.input(name).version for name in _DATA}
    scored = dict(value["metrics"])
    scored |= {f"baseline_{k}": v for k, v in value["baseline"].items()}
    scored |= {f"champion_{k}": v for k, v in (value["champion_metrics"] or {}).items()}
    tracking.log(uri, logged.run_id, params=params, metrics=scored)
    tracking.log_json(uri, logged, value["trials"], "trials.json")
    tracking.log_json(uri, logged, value, "training.json")
    tracking.log_folder(uri, logged, job.work / "model", "model")
