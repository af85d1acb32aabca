"""A new model beside the champion of its environment: both on the rows of gold_test that the champion did not learn from.

Splits are stable, so that is all of them, until somebody splits otherwise (decision 5: such rows are dropped and counted).
A forecast is judged from origins, and one is fair only where all that it is asked about lies after every row that the
champion learned: an earlier row helped to learn the later ones, whose past it is. So the rows after the last such row are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from esml_engine.errors import EsmlError
from esml_engine.runs.context import JobContext
from esml_engine.training import storage
from esml_engine.training.asking import answers_of, baseline_of, metrics_of
from esml_engine.training.judging.overlap import BY_ROW, learned_rows
from esml_engine.training.measuring.answers import Answers, agreed
from esml_engine.training.measuring.bootstrap import differences
from esml_engine.training.measuring.metrics import Metrics
from esml_engine.training.models.model import Predictor
from esml_engine.training.models.preparing import numbers_of
from esml_engine.training.series.data import times_of

FEWEST = 20
"""Rows that must be left to judge two models by: fewer say nothing."""


@dataclass(frozen=True)
class Beside:
    """What the gates of an environment are told of a model and its champion.

    Args:
        answers: the new model's answers to all of gold_test, told among the classes of both models.
        champion: the champion's metrics; None with an `error`, or where none stands.
        fair: `{"rows", "left_out", "metrics", "baseline", "windows"}` of the new model on the rows that were left, where
            some were left out; the champion's metrics are of the same rows then. `windows`: of a forecast, else None.
        overlap: `{"learned", "left", "fewest", "by"}` where some were left out and the rest can't be judged, `fewest` None
            where more rows would not help; `by`: key or row.
        gains: the interval of the gain over the champion, turned so that positive = better, of each metric whose gate asks
            for one, on the rows that both are judged on.
        rows: how many these are.
    """

    answers: Answers
    champion: Metrics | None = None
    error: str = ""
    fair: dict[str, Any] | None = None
    overlap: dict[str, Any] | None = None
    gains: Mapping[str, list[float]] = field(default_factory=dict)
    rows: int = 0


@dataclass(frozen=True)
class _Champion:
    """How the champion did on the same rows, the answers that it stands beside (told among the same classes), and the gains."""

    told: Answers
    metrics: Metrics | None = None
    error: str = ""
    gains: Mapping[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ground:
    """The rows that two models are judged on, and what lies before them.

    Args:
        test: gold_test. before: rows with a known label that the baseline is made from; for a forecast all that lies
            before `test`, its history.
        key: columns that name a row; empty: all of them.
        horizon, forecast: of a forecast: steps of a window, and the `[forecast]` table with its frequency.
    """

    test: pa.Table
    before: pa.Table
    key: tuple[str, ...] = ()
    horizon: int | None = None
    forecast: Mapping[str, Any] = field(default_factory=dict)

    def without(self, learned: NDArray[np.bool_]) -> Ground:
        """What is left to judge by where the champion learned these rows (n,) of `test`."""
        if not self.forecast:
            return replace(self, test=self.test.filter(pa.array(~learned)))
        name = str(self.forecast["time_column"])
        times = times_of(self.test.column(name), name)
        after = times > times[learned].max()
        # what was learned is past by then: both models may look back on it, neither is asked about it
        past = [self.before, self.test.filter(pa.array(~after))]
        before = pa.concat_tables(past, promote_options="permissive")
        return replace(self, test=self.test.filter(pa.array(after)), before=before)

    def rows(self, label: str) -> int:
        """How many rows of `test` can be judged: a series keeps those without a label as gaps."""
        return (
            int(np.isfinite(numbers_of(self.test.column(label))).sum())
            if self.forecast
            else self.test.num_rows
        )

    @property
    def fewest(self) -> int:
        """Rows that must be left: of a forecast a whole window at least."""
        return max(FEWEST, self.horizon or 0)


def beside_champion(job: JobContext, task: str, model: Predictor, on: Ground, answers: Answers) -> Beside:
    """Measure both; what goes wrong with the champion is the `error`, by which the gates refuse.

    Args:
        answers: the new model's to `on.test`.
    """
    champion = job.model(job.params.get("champion"))
    if champion is None:
        return Beside(answers)
    learned, by, error = learned_of(job, on.test, on.key)
    if error:
        return Beside(answers, error=error)
    if not learned.any():
        found = _of_champion(job, champion, task, on, answers)
        return Beside(found.told, found.metrics, found.error, gains=found.gains, rows=found.told.rows)
    counted = f"the champion was trained on {int(learned.sum())} of the {len(learned)} rows of gold_test"
    if by == "row":
        counted += f" ({BY_ROW})"
    left = on.without(learned)
    rows = left.rows(job.params["label"])
    if rows < on.fewest:
        overlap = {"learned": int(learned.sum()), "left": rows, "fewest": on.fewest, "by": by}
        said = f"{counted}, {rows} {_after(on)}are left to judge by, at least {on.fewest} are needed"
        return Beside(answers, error=said, overlap=overlap)
    try:
        own = answers_of(model, left.test, left.before, left.horizon)
        found = _of_champion(job, champion, task, left, own)
        told = found.told
        baseline = baseline_of(
            task, job.params["label"], left.test, left.before, forecast=left.forecast, beside=told
        )
        fair = {
            "rows": told.rows, "left_out": len(learned) - left.test.num_rows, "by": by, "metrics": metrics_of(told),
            "baseline": baseline,
            "windows": None if told.block is None else len(np.unique(told.block)),
        }  # fmt: skip
    except EsmlError as e:
        overlap = {"learned": int(learned.sum()), "left": rows, "fewest": None, "by": by}
        said = f"{counted}, and the rest can't be judged: {e.message}"
        return Beside(answers, error=said, overlap=overlap)
    job.log(f"warning: {counted}: both are judged by the other {told.rows}")
    return Beside(answers, found.metrics, found.error, fair, gains=found.gains, rows=told.rows)


def _of_champion(
    job: JobContext, champion: Mapping[str, Any], task: str, on: Ground, beside: Answers
) -> _Champion:
    """The champion (`{"folder", "sha256"}` of a stored model) on the same rows, windows and history."""
    try:
        model = storage.load(champion["folder"], champion["sha256"])
        if model.task != task:
            return _Champion(beside, error=f"the champion's task is {model.task}, this model's {task}")
        told, its = agreed(beside, answers_of(model, on.test, on.before, on.horizon))
        mine, theirs = metrics_of(told), metrics_of(its)
        asked = [m for m in (job.params.get("gates") or {}).get("interval") or () if m in mine]
        gains: dict[str, list[float]] = {}
        if asked:
            both = ({m: mine[m] for m in asked}, {m: theirs.get(m) for m in asked})
            gains = differences(told, its, both, primary=asked[0])["intervals"]
        return _Champion(told, theirs, gains=gains)
    except EsmlError as e:
        # the new model is not lost by it: the gates refuse where a champion stands without metrics
        return _Champion(beside, error=e.message)


def _after(on: Ground) -> str:
    return "later ones " if on.forecast else ""


def learned_of(job: JobContext, test: pa.Table, key: Sequence[str]) -> tuple[NDArray[np.bool_], str, str]:
    """Which rows of `test` the champion was trained on, as a mask (n,), told by `key` or `row`, and why that is not known.

    The job's inputs `champion/<table>` are what it was trained on, where that is not what this job trains on.
    """
    none = np.zeros(test.num_rows, dtype=bool)
    missing = (job.params.get("champion") or {}).get("missing")
    if missing:
        return none, "", f"{missing}, which the champion was trained on, is not recorded or no longer there"
    tables = [t for name, t in job.spec.inputs.items() if name.startswith("champion/")]
    try:
        learned, by = learned_rows(job.work / "seen", test, tables, key)
        return learned, by, ""
    except EsmlError as e:
        return none, "", f"what the champion was trained on: {e.message}"
