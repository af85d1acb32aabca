"""A model of one series: members, the history they forecast from, and the widths of its intervals."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import EsmlError, FailedError, UsageError
from esml_engine.training.causes import cause
from esml_engine.training.models.classes import Classes
from esml_engine.training.models.preparing import as_table
from esml_engine.training.models.signature import Columns, coerce
from esml_engine.training.series.conformal import units, width_at
from esml_engine.training.series.data import Layout, Series
from esml_engine.training.series.frames import Frame, Member
from esml_engine.training.series.frequency import following, shown

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Floats = NDArray[np.float64]

FURTHEST_HORIZONS = 10
"""Timestamps up to this many horizons after the history are answered; beyond, the model must be trained again."""


class SeriesModel:
    """The mean of its members.

    Args:
        members: with fixed parameters.
        layout: columns and horizon.
        history: what it forecasts from (at the end of all gold rows).
        begins: the first timestamp of the training range (the history may be cut to what is needed).
        widths: (horizon,) half widths of the intervals, in `conformal.units` of the history forecast from.
        fill: (q,) what stands for a regressor that is not given.
        types: signature types of the time column and the regressors.
        relative: False for a model of before widths had units: they are in the label's own.
    """

    kind = "series"
    task = "forecasting"
    classes = Classes()
    # answers depend on all rows asked together (a regressor's past): requests of several callers stay apart
    joins_requests = False

    def __init__(
        self,
        members: Sequence[Member],
        layout: Layout,
        history: Series,
        begins: np.datetime64,
        widths: Floats,
        fill: Floats,
        types: Mapping[str, str],
        example: Mapping[str, Any],
        relative: bool = True,
    ) -> None:
        self.members, self.layout, self.history = tuple(members), layout, history
        self.begins, self.widths, self.fill, self.example = begins, widths, fill, dict(example)
        self.relative = relative
        self.label = layout.label
        self.features = [layout.time_column, *layout.known]
        self.signature = [{"name": n, "type": types[n]} for n in self.features]
        self.furthest = FURTHEST_HORIZONS * layout.horizon
        self._coming = following(history.frequency, history.times[-1], self.furthest)
        self._step = {t: i + 1 for i, t in enumerate(self._coming.tolist())}
        self._kept: dict[int, Floats] = {}
        self._lock = threading.Lock()

    @property
    def estimator(self) -> str:
        """A short name: the member's kind, or `ensemble`."""
        return self.members[0].kind if len(self.members) == 1 else "ensemble"

    def forecast(self, frame: Frame, origins: NDArray[np.int64], steps: int) -> Floats:
        """Forecasts (k, steps) from any history of this frequency; see `frames.Member`.

        Raises:
            FailedError: a member can't forecast from this history.
        """
        return np.asarray(np.mean([_asked(m, frame, origins, steps) for m in self.members], axis=0))

    def unit(self, y: Floats, origins: NDArray[np.int64]) -> Floats:
        """What a width is to be multiplied by, (k,), for forecasts from y[:origin] each."""
        return units(y, origins) if self.relative else np.ones(len(origins))

    def with_fill(self, x: Floats) -> Floats:
        """Regressors (n, q) with what stands for the missing ones."""
        return np.where(np.isfinite(x), x, self.fill) if x.shape[1] else x

    def coerce(self, columns: Mapping[str, Sequence[Any]]) -> Columns:
        """Values checked against the signature, as plain Python values."""
        return coerce(self.signature, columns)

    def predict(self, frame: pa.Table | pd.DataFrame) -> Floats:
        """Forecasts (n,) for a table of timestamps and regressors, in its order."""
        table = as_table(frame)
        missing = [n for n in self.features if n not in table.column_names]
        if missing:
            raise UsageError(f"column '{missing[0]}' is missing")
        return self.predict_columns({n: table.column(n).to_pylist() for n in self.features})

    def predict_columns(self, columns: Mapping[str, Sequence[Any]]) -> Floats:
        """Forecasts (n,) for lists of values by column."""
        return np.asarray(self.predict_all(self.coerce(columns))["prediction"])

    def predict_all(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Forecasts with intervals, one a row in the order asked, for columns that `coerce` returned.

        Returns:
            `prediction`, `low`, `high` (n,); where timestamps between the history's end and the first (or between two)
            were not asked for, `more` says so: `{"stale": True, "filled_steps": how many, "history_until": timestamp}`.
            For them regressors are taken to be at their training median.

        Raises:
            UsageError: a timestamp is missing, lies within the training range or before it, beside the frequency, or
                too far ahead; one that stands twice has other regressors each time.
        """
        moments = columns[self.layout.time_column]
        if not len(moments):
            return {"prediction": np.zeros(0), "low": np.zeros(0), "high": np.zeros(0)}
        steps = np.array([self._step_of(m, row) for row, m in enumerate(moments)], dtype=np.int64)
        most = int(steps.max())
        path = self._path(self._regressors(columns, steps, most))
        prediction = path[steps - 1]
        half = width_at(self.widths, steps) * self.unit(self.history.y, np.array([len(self.history.y)]))
        said: dict[str, Any] = {"prediction": prediction, "low": prediction - half, "high": prediction + half}
        filled = most - len(np.unique(steps))
        if filled:
            said["more"] = {
                "stale": True, "filled_steps": filled, "history_until": shown(self.history.times[-1])
            }  # fmt: skip
        return said

    def _regressors(
        self, columns: Mapping[str, Sequence[Any]], steps: NDArray[np.int64], most: int
    ) -> Floats:
        x = np.full((most, len(self.layout.known)), np.nan)
        if not self.layout.known:
            return x
        given = np.array(
            [[np.nan if v is None else v for v in columns[n]] for n in self.layout.known], np.float64
        ).T
        seen: dict[int, int] = {}
        for row, step in enumerate(steps):
            before = seen.setdefault(int(step), row)
            if before != row and not np.array_equal(given[before], given[row], equal_nan=True):
                raise UsageError(
                    f"rows {before} and {row} ask for {shown(self._coming[step - 1])} with other regressors",
                    hint="ask for each scenario in a request of its own",
                )
            x[step - 1] = given[row]
        return x

    def _path(self, x: Floats) -> Floats:
        """Forecasts (s,) of the s steps after the history, with their regressors (s, q)."""
        h = self.history
        frame = Frame(
            np.concatenate([h.times, self._coming[: len(x)]]), h.y, self.with_fill(np.vstack([h.x, x]))
        )
        paths = []
        for i, member in enumerate(self.members):
            if member.reads_regressors and self.layout.known:
                paths.append(_asked(member, frame, np.array([len(h.y)]), len(x))[0])
                continue
            # the same for every request: made once, again only when a longer one is asked for
            with self._lock:
                if len(self._kept.get(i, ())) < len(x):
                    self._kept[i] = _asked(member, frame, np.array([len(h.y)]), len(x))[0]
                paths.append(self._kept[i][: len(x)])
        return np.asarray(np.mean(paths, axis=0))

    def _step_of(self, moment: dt.datetime | None, row: int) -> int:
        name, last = self.layout.time_column, self.history.times[-1]
        if moment is None:
            raise UsageError(f"column '{name}' has no timestamp (row {row})")
        step = self._step.get(moment)
        if step is not None:
            return step
        at = np.datetime64(moment, "us")
        if self.begins <= at <= last:
            raise UsageError(
                f"{shown(at)} lies within the training range, {shown(self.begins)} to {shown(last)} (row {row})",
                hint=f"ask for timestamps after {shown(last)}",
            )
        if at < self.begins:
            raise UsageError(
                f"{shown(at)} lies before the training range, which begins {shown(self.begins)} (row {row})"
            )
        if at > self._coming[-1]:
            raise UsageError(
                f"{shown(at)} lies more than {self.furthest} steps after {shown(last)}, where the history ends (row {row})",
                hint=f"ask for timestamps up to {shown(self._coming[-1])}, or train on newer data",
            )
        raise UsageError(
            f"{shown(at)} is no timestamp of the frequency {self.history.frequency} (row {row})",
            hint=f"the next ones are {', '.join(shown(t) for t in self._coming[:3])}",
        )


def _asked(member: Member, frame: Frame, origins: NDArray[np.int64], steps: int) -> Floats:
    """A member's forecasts; a library's error names the member."""
    try:
        return member.forecast(frame, origins, steps)
    except EsmlError:
        raise
    except Exception as e:
        raise FailedError(f"{member.kind} can't forecast from this history: {cause(e)}") from e
