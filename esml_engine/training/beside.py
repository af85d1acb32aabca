"""A new model beside the champion of its environment: both on the rows of gold_test that the champion did not learn from.

Splits are stable, so that is all of them, until somebody splits otherwise (decision 5: such rows are dropped and counted).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from esml_engine.errors import EsmlError
from esml_engine.runs.context import JobContext
from esml_engine.training.answers import Answers, answers_of, baseline_of, metrics_of, of_champion
from esml_engine.training.metrics import Metrics
from esml_engine.training.model import Predictor
from esml_engine.training.overlap import learned_rows

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
    job: JobContext, task: str, model: Predictor, test: pa.Table, train: pa.Table, answers: Answers
) -> Beside:
    """Measure both; what goes wrong with the champion is the `error`, by which the gates refuse.

    Args:
        test, train: rows with a known label. answers: the new model's to `test`.
    """
    champion = job.model(job.params.get("champion"))
    if champion is None:
        return Beside(answers)
    learned, error = learned_of(job, test, [job.params["key"]] if job.params.get("key") else [])
    if error:
        return Beside(answers, error=error)
    if not learned.any():
        metrics, error, told = of_champion(champion, task, test, train, beside=answers)
        return Beside(told, metrics, error)
    left = test.filter(pa.array(~learned))
    counted = f"the champion was trained on {int(learned.sum())} of the {len(learned)} rows of gold_test"
    if left.num_rows < FEWEST:
        return Beside(answers, error=f"{counted}, {left.num_rows} are left to judge by")
    try:
        own = answers_of(model, left, train)
        metrics, error, told = of_champion(champion, task, left, train, beside=own)
        baseline = baseline_of(task, job.params["label"], left, train, beside=told)
    except EsmlError as e:
        return Beside(answers, error=f"{counted}, and the rest can't be judged: {e.message}")
    job.log(f"warning: {counted}: both are judged by the other {left.num_rows}")
    fair = {"rows": left.num_rows, "left_out": int(learned.sum()), "metrics": metrics_of(told), "baseline": baseline}  # fmt: skip
    return Beside(answers, metrics, error, fair)


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
