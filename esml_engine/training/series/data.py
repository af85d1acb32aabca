"""Gold's rows as one series on a regular grid: what is wrong is named by timestamp, what is filled is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from esml_engine.errors import UsageError
from esml_engine.training.models.preparing import kind_of, numbers_of, type_name
from esml_engine.training.series.frequency import Times, grid, resolve, season_of, shown

Floats = NDArray[np.float64]
MOST_MISSING = 0.2


@dataclass(frozen=True)
class Layout:
    """Which column is what, and how far one forecast goes.

    `frequency`: a pandas offset alias, empty to infer it; `horizon`: steps of one window; `known`: numeric columns
    whose future is known when a forecast is asked for.
    """

    time_column: str
    label: str
    horizon: int = 1
    frequency: str = ""
    known: tuple[str, ...] = ()

    @classmethod
    def parse(cls, forecast: Mapping[str, Any], label: str) -> Layout:
        """From the `[forecast]` table.

        Raises:
            UsageError: the time column is not named, or a column has two meanings.
        """
        time_column = str(forecast.get("time_column") or "")
        if not time_column:
            raise UsageError(
                "forecasting needs the time column", hint="set forecast.time_column in model.toml"
            )
        known = tuple(str(k) for k in forecast.get("known") or ())
        both = [k for k in known if k in (time_column, label)]
        if both or len(set(known)) < len(known):
            said = f"'{both[0]}' is the time column or the label" if both else "a column is named twice"
            raise UsageError(f"forecast.known: {said}", hint="name each regressor once")
        horizon = int(forecast.get("horizon") or 1)
        return cls(time_column, label, horizon, str(forecast.get("frequency") or ""), known)


@dataclass(frozen=True)
class Series:
    """One series on the grid of its frequency.

    Args:
        times: (n,) datetime64[us], each one step after the one before.
        y: (n,) the label; where it was missing, the value one season before (else the last one).
        x: (n, q) known regressors, NaN where missing.
        observed: (n,) whether the label was there.
        frequency: the complete alias.
        absent: timestamps of the grid without a row.
    """

    times: Times
    y: Floats
    x: Floats
    observed: NDArray[np.bool_]
    frequency: str
    absent: tuple[np.datetime64, ...] = ()

    @property
    def season(self) -> int:
        """Steps of the main season."""
        return season_of(self.frequency, len(self.y))

    def messages(self, time_column: str) -> list[str]:
        """What was filled, in words."""
        said = []
        if self.absent:
            said.append(
                f"{len(self.absent)} timestamps of {time_column} have no row (the first: {shown(self.absent[0])}): filled by the season before"
            )
        lost = int((~self.observed).sum()) - len(self.absent)
        if lost > 0:
            said.append(f"{lost} rows have no label: filled by the season before, and not judged")
        return said


def series_of(tables: Sequence[pa.Table], layout: Layout) -> Series:
    """The rows of all tables together as one series; leading and trailing rows without a label are left out.

    Raises:
        UsageError: a column is missing or of a wrong type, a timestamp is missing, stands twice or lies beside the
            frequency, there are too few labels, or more than a fifth of them is missing.
    """
    parts = [_rows(t, layout) for t in tables if t.num_rows]
    if not parts:
        raise UsageError("the series has no row")
    times = np.concatenate([p[0] for p in parts])
    y = np.concatenate([p[1] for p in parts])
    x = np.vstack([p[2] for p in parts])
    order = np.argsort(times, kind="stable")
    times, y, x = times[order], y[order], x[order]
    twice = np.flatnonzero(times[1:] == times[:-1])
    if len(twice):
        raise UsageError(
            f"{shown(times[twice[0]])} stands in {layout.time_column} more than once ({len(twice)} rows too many)",
            hint="one series has one row per timestamp: aggregate in a step",
        )
    known = np.flatnonzero(np.isfinite(y))
    if not len(known):
        raise UsageError(f"no row has a value in the label '{layout.label}'")
    frequency = resolve(layout.frequency, times, layout.time_column)
    span = slice(known[0], known[-1] + 1)
    return _on_grid(times[span], y[span], x[span], frequency, layout)


def _on_grid(times: Times, y: Floats, x: Floats, frequency: str, layout: Layout) -> Series:
    full = grid(frequency, times[0], times[-1])
    at = np.searchsorted(full, times)
    wide, regressors = np.full(len(full), np.nan), np.full((len(full), x.shape[1]), np.nan)
    wide[at], regressors[at] = y, x
    observed = np.isfinite(wide)
    missing = int((~observed).sum())
    if missing > MOST_MISSING * len(full):
        first = full[int(np.argmin(observed))]
        raise UsageError(
            f"{missing} of {len(full)} timestamps have no label (the first: {shown(first)}): too many to fill",
            hint="correct forecast.frequency, or aggregate to a coarser one in a step",
        )
    row = np.zeros(len(full), dtype=bool)
    row[at] = True
    season = season_of(frequency, len(full))
    return Series(
        full, filled(wide, season), regressors, observed, frequency, tuple(full[np.flatnonzero(~row)])
    )


def filled(y: Floats, season: int) -> Floats:
    """`y` (n,) with each gap filled by what lies before it alone: the value one season ago, else the last one.

    From the past only, since a value that comes later would tell a back-test what it is asked. y[0] is never missing.
    """
    out = y.copy()
    for i in np.flatnonzero(~np.isfinite(y)):
        out[i] = out[i - season] if i >= season else out[i - 1]
    return out


def _rows(table: pa.Table, layout: Layout) -> tuple[Times, Floats, Floats]:
    for name in (layout.time_column, layout.label, *layout.known):
        if name not in table.column_names:
            raise UsageError(f"gold has no column '{name}'", hint=f"it has {', '.join(table.column_names)}")
    times = times_of(table.column(layout.time_column), layout.time_column)
    label = table.column(layout.label)
    if kind_of(type_name(label.type)) not in ("number", "empty"):
        raise UsageError(f"the label '{layout.label}' is {type_name(label.type)}; forecasting needs numbers")
    return times, _numbers(label), regressors_of(table, layout.known)


def times_of(column: pa.ChunkedArray, name: str) -> Times:
    """A date or timestamp column as (n,) datetime64[us], UTC.

    Raises:
        UsageError: it is of another type or has a null.
    """
    kind = type_name(column.type)
    if kind_of(kind) != "date":
        raise UsageError(
            f"the time column '{name}' is {kind}, not a date or timestamp",
            hint=f'declare it in the dataset: types = {{ {name} = "timestamp" }}',
        )
    if column.null_count:
        raise UsageError(f"{column.null_count} rows have no {name}", hint="drop or fill them in a step")
    plain = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
    return np.asarray(plain.cast(pa.int64()).to_numpy()).astype("datetime64[us]")


def regressors_of(table: pa.Table, known: Sequence[str]) -> Floats:
    """(n, q) in the order of `known`; null is NaN.

    Raises:
        UsageError: one is no number.
    """
    for name in known:
        if kind_of(type_name(table.column(name).type)) not in ("number", "empty"):
            raise UsageError(
                f"the regressor '{name}' is {type_name(table.column(name).type)}; forecasting takes numbers",
                hint="make it a number in a step, or leave it out of forecast.known",
            )
    if not known:
        return np.zeros((table.num_rows, 0))
    return np.column_stack([_numbers(table.column(n)) for n in known])


def _numbers(column: pa.ChunkedArray) -> Floats:
    if kind_of(type_name(column.type)) == "empty":
        return np.full(len(column), np.nan)
    return numbers_of(column)[:, 0]
