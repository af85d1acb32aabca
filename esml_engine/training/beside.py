"""A new model beside the champion of its environment: both on the rows of gold_test that the champion did not learn from.

Splits are stable, so that is all of them, until somebody splits otherwise (decision 5: such rows are dropped and counted).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from esml_engine.errors import EsmlError
from esml_engine.runs.context import JobContext
from esml_engine.training.answers import Answers, answers_of, baseline_of, metrics_of, of_champion
from esml_engine.training.metrics import Metrics
from esml_engine.training.model import Predictor
from esml_engine.training.overlap import learned_rows
from esml_engine.training.series.data import Layout, times_of

FEWEST = 20
"""Rows that must be left to judge two models by: fewer say nothing."""


@dataclass(frozen=True)
class Beside:
    """What the gates of an environment are told of a model and its champion.

    Args:
        answers: the new model's answers to all of gold_test, told among the classes of both models.
        champion: the champion's metrics; None with an `error`, or where none stands.
        fair: `{"rows", "left_out", "metrics", "baseline"}` of the new model on the rows that were left, where some
            were left out; the champion's metrics are of the same rows then.
    """

    answers: Answers
    champion: Metrics | None = None
    error: str = ""
    fair: dict[str, Any] | None = None


def beside_champion(
    job: JobContext,
    task: str,
    model: Predictor,
    test: pa.Table,
    train: pa.Table,
    answers: Answers,
    forecast: Mapping[str, Any] | None = None,
) -> Beside:
    """Measure both; what goes wrong with the champion is the `error`, by which the gates refuse.

    Args:
        test, train: rows with a known label; for forecasting `train` is all that lies before `test`.
        answers: the new model's to `test`.
        forecast: a series' `[forecast]` table: its rows are told apart by their time, and its windows are walked on
            what comes after the last row that the champion learned from.
    """
    champion = job.model(job.params.get("champion"))
    if champion is None:
        return Beside(answers)
    layout = Layout.parse(forecast, job.params["label"]) if forecast else None
    horizon = layout.horizon if layout else None
    name = layout.time_column if layout else job.params.get("key")
    learned, error = learned_of(job, test, [name] if name else [])
    if error:
        return Beside(answers, error=error)
    if not learned.any():
        metrics, error, told = of_champion(champion, task, test, train, horizon, beside=answers)
        return Beside(told, metrics, error)
    left, before = _left(test, train, learned, layout.time_column if layout else "")
    counted = f"the champion was trained on {int(learned.sum())} of the {len(learned)} rows of gold_test"
    if left.num_rows < FEWEST:
        return Beside(answers, error=f"{counted}, {left.num_rows} are left to judge by")
    try:
        own = answers_of(model, left, before, horizon)
        metrics, error, told = of_champion(champion, task, left, before, horizon, beside=own)
        baseline = baseline_of(task, job.params["label"], left, before, forecast=forecast, beside=told)
    except EsmlError as e:
        return Beside(answers, error=f"{counted}, and the rest can't be judged: {e.message}")
    job.log(f"warning: {counted}: both are judged by the other {left.num_rows}")
    out = test.num_rows - left.num_rows
    fair = {"rows": left.num_rows, "left_out": out, "metrics": metrics_of(told), "baseline": baseline}
    return Beside(answers, metrics, error, fair)


def _left(
    test: pa.Table, train: pa.Table, learned: NDArray[np.bool_], time_column: str
) -> tuple[pa.Table, pa.Table]:
    """The rows that are fair to both models, and those that lie before them."""
    if not time_column:
        return test.filter(pa.array(~learned)), train
    times = times_of(test.column(time_column), time_column)
    after = pa.array(times > times[learned].max())
    known = [train, test.filter(pc.invert(after))]
    return test.filter(after), pa.concat_tables(known, promote_options="permissive")


def learned_of(job: JobContext, test: pa.Table, key: Sequence[str]) -> tuple[NDArray[np.bool_], str]:
    """Which rows of `test` the champion was trained on, as a mask (n,), and why that is not known.

    The job's inputs `champion/<table>` are what it was trained on, where that is not what this job trains on.
    """
    missing = (job.params.get("champion") or {}).get("missing")
    if missing:
        return np.zeros(test.num_rows, dtype=bool), f"{missing}, which the champion was trained on, is not recorded or no longer there"  # fmt: skip
    tables = [t for name, t in job.spec.inputs.items() if name.startswith("champion/")]
    try:
        return learned_rows(job.work / "seen", test, tables, key), ""
    except EsmlError as e:
        return np.zeros(test.num_rows, dtype=bool), f"what the champion was trained on: {e.message}"
