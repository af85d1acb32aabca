"""The jobs of a promotion: both models asked about the same rows, and a model's folder copied to another environment."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from esml_engine.errors import EsmlError, FailedError, UsageError
from esml_engine.lake import files
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import TableOut
from esml_engine.training import storage, tracking
from esml_engine.training.asking import answers_of, baseline_of, metrics_of
from esml_engine.training.facts import RESAMPLES
from esml_engine.training.judging.overlap import trained_on
from esml_engine.training.measuring.answers import Answers, agreed
from esml_engine.training.measuring.bootstrap import differences, intervals_of
from esml_engine.training.models.classes import classes_of
from esml_engine.training.models.model import Predictor

_HISTORY = ("gold_train", "gold_validate")


def compare(job: JobContext) -> tuple[dict[str, Any], list[TableOut]]:
    """Score challenger and champion on the same rows (kind `promotion.compare`).

    Inputs: `gold_test`; `gold_train`, `gold_validate` of the same environment (baseline, history);
    `challenger/<table>`, `champion/<table>`: what each was trained on.
    Parameters: `task`, `label`, `key` (columns that name a row), `primary`, `challenger` and `champion` (or None):
    `{"folder", "sha256", "version", "task", "signature"}`, `resamples`.

    Returns:
        `{"rows", "trained_on": {who: {"rows", "examples", "by", "error"}}, "challenger": {"metrics", "signature",
        "seconds", "rows", "error"}, "champion": the same or None, "baseline", "baseline_error", "difference",
        "difference_error"}` and no tables. What goes wrong with a model is its `error`: the gates refuse by it.
    """
    p = job.params
    job.progress(0.02, "looks for rows that a model was trained on", now=True)
    test_in = job.input("gold_test")
    seen = {who: _seen(job, who) for who in ("challenger", "champion") if p.get(who)}
    job.progress(0.1, "reads the test rows", now=True)
    test = files.arrow(test_in)
    history = _history(job)
    said: dict[str, tuple[dict[str, Any], Answers | None]] = {}
    for n, who in enumerate(("challenger", "champion")):
        if p.get(who):
            job.progress(0.15 + 0.3 * n, f"asks the {who}, v{p[who]['version']}", now=True)
            said[who] = _ask(job, p[who], test, history)
    said = _measured(said, _classes_behind(job))
    mine, theirs = said["challenger"], said.get("champion", (None, None))
    value: dict[str, Any] = {
        "rows": test.num_rows if mine[1] is None else mine[1].rows,  # those with a known label
        "trained_on": seen,
        "challenger": mine[0],
        "champion": theirs[0],
    }
    value |= _baseline(job, test, mine[1])
    job.progress(0.75, "resamples the difference", now=True)
    value |= _difference(p, mine[1], theirs[1], value)
    job.progress(1.0, "compared", now=True)
    return value, []


def _seen(job: JobContext, who: str) -> dict[str, Any]:
    tables = [t for name, t in job.spec.inputs.items() if name.startswith(f"{who}/")]
    try:
        found = trained_on(job.work / f"seen-{who}", job.input("gold_test"), tables, job.params["key"])
    except EsmlError as e:
        return {"rows": None, "examples": [], "by": "", "error": e.message}
    return {**found, "error": ""}


def _history(job: JobContext) -> pa.Table | None:
    """The rows that lie before the test rows, for tasks that need them."""
    if job.params["task"] != "forecasting":
        return None
    parts = [files.arrow(job.input(n)) for n in _HISTORY if n in job.spec.inputs]
    return pa.concat_tables(parts, promote_options="default") if parts else None


def _ask(
    job: JobContext, one: Mapping[str, Any], test: pa.Table, history: pa.Table | None
) -> tuple[dict[str, Any], Answers | None]:
    """One model's answers, or why there are none; `_measured` adds its metrics."""
    out: dict[str, Any] = {
        "metrics": None,
        "intervals": None,
        "signature": None,
        "classes": None,
        "seconds": None,
        "rows": 0,
        "error": "",
    }
    answers: Answers | None = None
    p = job.params
    try:
        model = storage.load((job.model(one) or one)["folder"], one["sha256"])
        _as_registered(model, one, p)
        out["signature"], out["classes"] = model.signature, list(model.classes.names)
        at = time.monotonic()
        horizon = (p.get("forecast") or {}).get("horizon") if p["task"] == "forecasting" else None
        answers = answers_of(model, test, history, horizon)
        out |= {"seconds": time.monotonic() - at, "rows": answers.rows}
    except EsmlError as e:
        out["error"], answers = e.message, None
    except MemoryError:
        raise
    except Exception as e:  # noqa: BLE001 - whatever a model does while scoring is a refusal with its reason
        out["error"], answers = f"{type(e).__name__}: {e}", None
    return out, answers


def _classes_behind(job: JobContext) -> tuple[str, ...]:
    """The classes of gold_train, which the baseline knows; none where there are no classes or no such rows."""
    if job.params["task"] != "classification" or "gold_train" not in job.spec.inputs:
        return ()
    label = job.params["label"]
    try:
        return classes_of([files.arrow(job.input("gold_train"), [label])], label).names
    except (EsmlError, KeyError, ValueError, TypeError):
        return ()  # then there is no baseline either, and it says why


def _measured(
    said: Mapping[str, tuple[dict[str, Any], Answers | None]], more: tuple[str, ...]
) -> dict[str, tuple[dict[str, Any], Answers | None]]:
    """Each model's metrics, all of them among the same classes: what any of them or the baseline knows."""
    there = {who: answers for who, (_, answers) in said.items() if answers is not None}
    first = next(iter(there.values()), None)
    if first is not None and all(_same_rows(first, a) for a in there.values()):
        there = dict(zip(there, agreed(*there.values(), more=more), strict=True))
    made: dict[str, tuple[dict[str, Any], Answers | None]] = {}
    for who, (out, _) in said.items():
        answers = there.get(who)
        try:
            if answers is not None:
                metrics = metrics_of(answers)
                out |= {"metrics": metrics, "intervals": intervals_of(answers, metrics)}
        except EsmlError as e:
            out, answers = {**out, "error": e.message}, None
        except MemoryError:
            raise
        except Exception as e:  # noqa: BLE001 - as in `_ask`: answers that can't be measured are a refusal with its reason
            out, answers = {**out, "error": f"{type(e).__name__}: {e}"}, None
        made[who] = (out, answers)
    return made


def _as_registered(model: Predictor, one: Mapping[str, Any], p: Mapping[str, Any]) -> None:
    """Raise when the loaded model is not what its row says."""
    if model.task != one["task"] or model.task != p["task"]:
        raise UsageError(
            f"its task is {model.task}, registered {one['task']}, the model's settings say {p['task']}"
        )
    if model.label != p["label"]:
        raise UsageError(f"it predicts {model.label}, the model's label is {p['label']}")
    if list(model.signature) != list(one["signature"] or []):
        raise UsageError("its signature is not the registered one")


def _baseline(job: JobContext, test: pa.Table, beside: Answers | None) -> dict[str, Any]:
    """The trivial baseline, fitted on gold_train of the environment that the test rows come from."""
    p = job.params
    try:
        if "gold_train" not in job.spec.inputs:
            raise UsageError("there is no gold_train beside the test rows")
        times = (p.get("forecast") or {}).get("time_column")
        wanted = [p["label"], times] if p["task"] == "forecasting" and times else [p["label"]]
        train = files.arrow(job.input("gold_train"), wanted)
        before = _history(job)
        return {
            "baseline": baseline_of(
                p["task"], p["label"], test, train, before, p.get("forecast"), beside=beside
            ),
            "baseline_error": "",
        }
    except EsmlError as e:
        return {"baseline": None, "baseline_error": e.message}
    except (KeyError, ValueError, TypeError) as e:
        return {"baseline": None, "baseline_error": f"{type(e).__name__}: {e}"}


def _difference(
    p: Mapping[str, Any], mine: Answers | None, theirs: Answers | None, value: Mapping[str, Any]
) -> dict[str, Any]:
    if mine is None or theirs is None:
        return {"difference": None, "difference_error": ""}
    if not _same_rows(mine, theirs):
        return {
            "difference": None,
            "difference_error": "the two models were not judged on the same rows with the same truth",
        }
    made = differences(
        mine,
        theirs,
        (value["challenger"]["metrics"], value["champion"]["metrics"]),
        primary=p["primary"],
        resamples=int(p.get("resamples") or RESAMPLES),
    )
    return {"difference": made, "difference_error": ""}


def _same_rows(a: Answers, b: Answers) -> bool:
    """Whether both were held against the same truth, row by row (classes by name: their places may differ)."""
    if a.rows != b.rows or a.task != b.task:
        return False
    if a.task != "classification" or a.classes == b.classes:
        return bool(np.array_equal(a.truth, b.truth))
    # an unknown class of the one may be a known one of the other: then its name is not at hand
    names = [np.array([*x.classes, ""], dtype=object)[x.truth] for x in (a, b)]
    known = (a.truth >= 0) & (b.truth >= 0)
    return bool((names[0][known] == names[1][known]).all())


def copy(job: JobContext) -> tuple[dict[str, Any], list[TableOut]]:
    """Copy a model's folder into this environment and log it to its tracking (kind `promotion.copy`).

    Parameters: `source` (folder), `sha256`, `existing` (a folder that this environment has already, or ""), `experiment`,
    `tags`, `cache`, `artifacts`, `params`, `metrics`, `evidence` (a JSON document).

    Returns:
        `{"model_folder", "sha256", "mlflow_run", "artifact_uri", "changed": ""}`, or `{"changed": reason}` where the
        bytes are not the registered ones: then nothing is logged.
    """
    p, wanted = job.params, job.params["sha256"]
    source = Path(job.files.here(p["existing"] or p["source"]))
    found = storage.content_hash(source) if source.is_dir() else "nothing"
    if found != wanted:
        return {"changed": f"the model's folder has hash {found[:12]}…, registered is {wanted[:12]}…"}, []
    if p["existing"]:
        return {"model_folder": p["existing"], "sha256": wanted, "existing": True, "changed": ""}, []
    folder = job.work / "model"
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(source, folder)
    copied = storage.content_hash(folder)
    if copied != wanted:
        raise FailedError(
            f"the copy has hash {copied[:12]}…, its source {wanted[:12]}…",
            hint="retry the run; check the disk",
        )
    job.progress(0.4, "logs to tracking", now=True)
    uri = job.spec.tracking
    with tracking.logging_job(job) as logged:
        tracking.log(uri, logged.run_id, params=p["params"], metrics=p["metrics"])
        tracking.log_json(uri, logged, p["evidence"], "comparison.json")
        tracking.log_folder(uri, logged, folder, "model")
    job.progress(1.0, "copied", now=True)
    return {
        "model_folder": job.keep(folder), "sha256": copied, "mlflow_run": logged.run_id,
        "artifact_uri": f"{logged.artifact_uri}/model",
        "existing": False, "changed": "",
    }, []  # fmt: skip
