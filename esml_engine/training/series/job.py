"""Training a forecast: the three gold tables in, the result document and the model's folder out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from esml_engine.errors import FailedError, NotYetError, UsageError
from esml_engine.runs.context import JobContext
from esml_engine.training import storage
from esml_engine.training.facts import Profile, loss_of
from esml_engine.training.judging.beside import Ground, beside_champion
from esml_engine.training.measuring.answers import Answers
from esml_engine.training.measuring.bootstrap import intervals_of
from esml_engine.training.measuring.importance import Importance
from esml_engine.training.models.labels import labels
from esml_engine.training.models.preparing import type_name
from esml_engine.training.search.leakage import leaks
from esml_engine.training.series import classic, measures
from esml_engine.training.series.conformal import LEVEL, units, widths
from esml_engine.training.series.data import Layout, Series, series_of, times_of
from esml_engine.training.series.frames import Frame, Member
from esml_engine.training.series.frequency import following, seasons_of, shown
from esml_engine.training.series.judging import answers_of_series, naive_answers, walked, whole_of
from esml_engine.training.series.model import SeriesModel
from esml_engine.training.series.search import Found, search

Floats = NDArray[np.float64]

_REPEATS = 5


def train_series(
    job: JobContext, profile: Profile, tables: Mapping[str, pa.Table], label: str
) -> dict[str, Any]:
    """Choose and fit on gold_train and gold_validate, judge on gold_test, carry the history of all three.

    Parameters of the job besides `steps.train`'s: `forecast`, the `[forecast]` table.

    Returns:
        As a regression's document, and `backtest` (how the model was judged, by horizon), `forecast` (what a forecast
        of it is), `importance_reason` and `warnings`.

    Raises:
        UsageError: settings, columns or timestamps can't be used; the message names the first wrong one.
        NotYetError: several series, or a train.py of one's own.
        FailedError: a leaking label is to stop the run.
    """
    before = pa.concat_tables([tables["gold_train"], tables["gold_validate"]], promote_options="permissive")
    layout, whole, at = _to_judge(job.params, tables["gold_test"], before, label)
    warnings = whole.messages(layout.time_column)
    for message in warnings:
        job.log(f"warning: {message}")
    found_leaks = _leaks(job, tables["gold_train"], layout)
    learned = series_of([before], layout)
    fill = _fill(learned.x)
    frame = Frame(learned.times, learned.y, _with(fill, learned.x))
    seasons = seasons_of(learned.frequency, len(learned.y))
    begin = _begin(learned, tables["gold_validate"], layout)
    found = _searched(job, profile, frame, learned, begin, seasons, layout.horizon)

    job.progress(0.85, "scores on gold_test", now=True)
    past = found.residuals
    half = widths(past.values / units(frame.y, past.origins)[:, None], past.origins)
    made = model_of(found.members, layout, whole, fill, half, tables["gold_train"].schema)
    folder = job.work / "model"
    sha256 = storage.save(made, folder)
    # what is scored is what was stored
    model = storage.load(folder, sha256)
    assert isinstance(model, SeriesModel)
    model.predict_columns({k: [v] for k, v in model.example.items()})
    answers = answers_of_series(model, tables["gold_test"], before)
    naive = naive_answers(whole, at, layout.horizon)
    given = {**(job.params.get("forecast") or {}), "frequency": whole.frequency}
    on = Ground(tables["gold_test"], before, (layout.time_column,), layout.horizon, given)
    beside = beside_champion(job, "forecasting", model, on, answers)
    if beside.error:
        job.log(f"warning: the champion could not be scored: {beside.error}")
    importance = importance_of(model, whole, at, profile)
    metrics = measures.forecasting_metrics(answers)
    return {
        "task": "forecasting",
        "label": label,
        "metrics": metrics,
        "intervals": intervals_of(answers, metrics),
        "baseline": measures.forecasting_metrics(naive),
        "estimator": model.estimator,
        "champion_metrics": beside.champion,
        "champion_error": beside.error,
        "champion_gains": dict(beside.gains),
        "champion_rows": beside.rows,
        "fair": beside.fair,
        "overlap": beside.overlap,
        "trials": [asdict(t) for t in found.trials],
        "families": _families(found, whole, at, fill, layout.horizon),
        "failures": list(found.failures),
        "importance": [asdict(i) for i in importance],
        "importance_sampled_rows": answers.rows if importance else 0,
        "importance_reason": ""
        if importance
        else "no known regressors: the forecast rests on the series' own past alone",
        "model_folder": job.keep(folder),
        "sha256": sha256,
        "signature": model.signature,
        "example": model.example,
        "leakage": found_leaks,
        "warnings": warnings,
        "packages": storage.versions(),
        "backtest": _backtest(answers, naive, found, frame, whole, at),
        "forecast": {
            "time_column": layout.time_column, "frequency": whole.frequency, "season": seasons[0], "horizon": layout.horizon,
            "known": list(layout.known), "training_range": [shown(whole.times[0]), shown(whole.times[-1])],
            "parameters_until": shown(learned.times[-1]),
            "furthest": shown(following(whole.frequency, whole.times[-1], model.furthest)[-1]),
            "members": [{"estimator": m.kind, "params": m.params} for m in model.members],
        },
    }  # fmt: skip


def _to_judge(
    p: Mapping[str, Any], test: pa.Table, before: pa.Table, label: str
) -> tuple[Layout, Series, int]:
    """The layout with the frequency that the rows have, history and test rows as one series, and where the test begins."""
    forecast = p.get("forecast") or {}
    if forecast.get("series"):
        raise NotYetError("many series come later", hint="leave forecast.series empty: one series trains now")
    if p.get("mode", "automl") != "automl":
        raise NotYetError("a forecast by your own train.py comes later", hint='set mode = "automl"')
    layout = Layout.parse(forecast, label)
    whole, at = whole_of(test, before, layout)
    if len(whole.y) - at < layout.horizon:
        raise UsageError(
            f"gold_test holds {len(whole.y) - at} timestamps, fewer than one forecast of {layout.horizon}: its later steps would be measured by nothing",
            hint="set a shorter forecast.horizon, or split more rows into gold_test",
        )
    return replace(layout, frequency=whole.frequency), whole, at


def _searched(
    job: JobContext,
    profile: Profile,
    frame: Frame,
    learned: Series,
    begin: int,
    seasons: tuple[int, ...],
    horizon: int,
) -> Found:
    """The search over the learned series, told in the job's log."""
    found = search(
        frame,
        learned.observed,
        begin,
        seasons=seasons,
        horizon=horizon,
        profile=profile,
        progress=lambda fraction, message: job.progress(0.05 + 0.75 * fraction, message),
        on_trial=lambda t: job.log(
            f"trial {t.estimator}: loss {t.loss} in {t.seconds:.2f} s, {t.folds} origins"
        ),
    )
    for failure in found.failures:
        job.log(f"warning: {failure['estimator']} took no part: {failure['reason']}")
    if found.dropped:
        job.log(f"no better than the seasonal naive forecast, so left out: {', '.join(found.dropped)}")
    return found


def _leaks(job: JobContext, train: pa.Table, layout: Layout) -> list[dict[str, Any]]:
    """Regressors that give the label away; other columns are not read at all."""
    if not layout.known:
        return []
    rows, y = labels(train, layout.label)
    found = [asdict(leak) for leak in leaks(rows.select(list(layout.known)), y)]
    for leak in found:
        job.log(f"warning: {leak['message']}")
    if found and job.params.get("leakage") == "stop":
        raise FailedError(
            f"the label leaks: {found[0]['message']}",
            hint="take the column out of forecast.known",
            leakage=found,
        )
    return found


def _fill(x: Floats) -> Floats:
    """The median of each regressor (q,), 0 where none is known."""
    return np.array([float(np.median(c[np.isfinite(c)])) if np.isfinite(c).any() else 0.0 for c in x.T])


def _with(fill: Floats, x: Floats) -> Floats:
    return np.where(np.isfinite(x), x, fill) if x.shape[1] else x


def _begin(learned: Series, validate: pa.Table, layout: Layout) -> int:
    """Where the back-test begins: with gold_validate, or with the last quarter where there is none."""
    if not validate.num_rows:
        return len(learned.y) - max(layout.horizon, len(learned.y) // 4)
    name = layout.time_column
    return int(np.searchsorted(learned.times, times_of(validate.column(name), name).min()))


def model_of(
    members: tuple[Member, ...], layout: Layout, whole: Series, fill: Floats, half: Floats, schema: pa.Schema
) -> SeriesModel:
    """The model with as much of the history as its members look at, at most what the classic ones do."""
    keep = max([classic.MOST_HISTORY, *(m.shape.reach for m in members if hasattr(m, "shape"))])
    tail = slice(max(0, len(whole.y) - keep), None)
    history = Series(whole.times[tail], whole.y[tail], whole.x[tail], whole.observed[tail], whole.frequency)
    types = {n: type_name(schema.field(n).type) for n in (layout.time_column, *layout.known)}
    first = following(whole.frequency, whole.times[-1], 1)[0]
    latest = _with(fill, whole.x)[-1] if layout.known else ()
    example: dict[str, Any] = {layout.time_column: first.item().isoformat()}
    for name, value in zip(layout.known, latest, strict=True):
        whole_number = types[name].startswith(("int", "uint"))
        example[name] = (
            bool(value) if types[name] == "bool" else round(value) if whole_number else float(value)
        )
    return SeriesModel(members, layout, history, whole.times[0], half, fill, types, example)


def _families(found: Found, whole: Series, at: int, fill: Floats, horizon: int) -> list[dict[str, Any]]:
    x = _with(fill, whole.x)
    return [
        {
            "estimator": kind,
            "metrics": measures.forecasting_metrics(walked(whole, at, horizon, member.forecast, x=x)),
        }
        for kind, member in found.families
    ]


def _backtest(
    answers: Answers, naive: Answers, found: Found, frame: Frame, whole: Series, at: int
) -> dict[str, Any]:
    """How the model was judged (rolling windows of gold_test), chosen and its intervals made (origins before it)."""
    assert answers.block is not None
    chosen, past = found.backtest, found.residuals
    return {
        "windows": len(np.unique(answers.block)), "rows": answers.rows, "scale": answers.more["scale"],
        "from": shown(whole.times[at]), "until": shown(whole.times[-1]),
        "level": LEVEL, "coverage": measures.coverage(answers), "mean_width": measures.mean_width(answers),
        "by_horizon": measures.by_horizon(answers, naive),
        "calibrated_by": {
            "origins": len(past.origins), "fits": past.fits, "from": shown(frame.times[past.origins[0]]),
            "left_out": list(past.left_out),
        },
        "chosen_by": {
            "origins": len(chosen.origins), "from": shown(frame.times[chosen.origins[0]]), "loss": _number(found.loss),
            "baseline_loss": _number(found.naive_loss), "metric": chosen.metric, "left_out": list(found.dropped),
        },
    }  # fmt: skip


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def importance_of(model: SeriesModel, whole: Series, at: int, profile: Profile) -> list[Importance]:
    """The loss gained over the test windows when one regressor's test values change places; largest first.

    Source: Fisher, Rudin, Dominici 2019, "All models are wrong, but many are useful".
    """
    rng = np.random.default_rng(profile.seed)
    x = model.with_fill(whole.x)

    def loss(given: Floats) -> float:
        said = walked(whole, at, model.layout.horizon, model.forecast, x=given)
        value = loss_of(profile.metric, measures.forecasting_metrics(said)[profile.metric])
        return np.nan if value is None else value

    base = loss(x)
    found = []
    for i, name in enumerate(model.layout.known):
        gains = []
        for _ in range(_REPEATS):
            shuffled = x.copy()
            shuffled[at:, i] = rng.permutation(shuffled[at:, i])
            gains.append(loss(shuffled) - base)
        if np.isfinite(gains).all():
            found.append(Importance(name, float(np.mean(gains)), float(np.std(gains))))
    return sorted(found, key=lambda i: -i.importance)
