"""What a model, or the seasonal naive forecast, says about rows with a known truth, window after window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import UsageError
from esml_engine.training.measuring.answers import Answers
from esml_engine.training.series import measures
from esml_engine.training.series.classic import Naive
from esml_engine.training.series.conformal import width_at
from esml_engine.training.series.data import Layout, Series, series_of, times_of
from esml_engine.training.series.frames import Frame
from esml_engine.training.series.frequency import season_of, shown

if TYPE_CHECKING:
    import pyarrow as pa

    from esml_engine.training.series.model import SeriesModel

Floats = NDArray[np.float64]
MOST_WINDOWS = 60
Forecast = Callable[[Frame, NDArray[np.int64], int], Floats]
Unit = Callable[[Floats, NDArray[np.int64]], Floats]


def whole_of(test: pa.Table, train: pa.Table | None, layout: Layout) -> tuple[Series, int]:
    """History and test rows as one series, and the row where the test begins.

    Raises:
        UsageError: there is no history, or a test row is not later than all of it.
    """
    if train is None or not train.num_rows:
        raise UsageError("a forecast is judged from the rows that lie before gold_test, and there are none")
    if not test.num_rows:
        raise UsageError("gold_test has no row")
    name = layout.time_column
    for table in (train, test):
        if name not in table.column_names:
            raise UsageError(f"column '{name}' is missing")
    last, first = times_of(train.column(name), name).max(), times_of(test.column(name), name).min()
    if first <= last:
        raise UsageError(
            f"gold_test begins {shown(first)}, not after the rows before it, which end {shown(last)}",
            hint='split by time: split.by = "time" in model.toml',
        )
    series = series_of([train, test], layout)
    at = int(np.searchsorted(series.times, first))
    if at >= len(series.y):
        raise UsageError("no row of gold_test has a label")
    return series, at


def answers_of_series(
    model: SeriesModel, test: pa.Table, train: pa.Table | None, horizon: int | None = None
) -> Answers:
    """Ask a model about every row of `test` that has a label; see `walked`.

    Args:
        horizon: steps of a window, the model's own when None; two models are compared at one horizon.

    Raises:
        UsageError: as `whole_of`, or the rows do not fit the model's columns and frequency.
    """
    series, at = whole_of(test, train, replace(model.layout, frequency=model.history.frequency))
    return walked(
        series,
        at,
        horizon or model.layout.horizon,
        model.forecast,
        x=model.with_fill(series.x),
        widths=model.widths,
        unit=model.unit,
    )


def naive_answers(series: Series, at: int, horizon: int) -> Answers:
    """The seasonal naive forecast on the same windows, with the season that the rows before the test hold."""
    season = season_of(series.frequency, at)
    return walked(series, at, horizon, Naive(season).forecast, x=series.x)


def walked(
    series: Series,
    at: int,
    horizon: int,
    forecast: Forecast,
    *,
    x: Floats,
    widths: Floats | None = None,
    unit: Unit = lambda y, origins: np.ones(len(origins)),
) -> Answers:
    """Forecast `horizon` steps from the end of what lies before row `at`; the truth joins the history; and so on.

    Of more than 60 windows 60 are judged, evenly spread from the first to the last, chosen by their number alone.
    Rows in the order of time, those without a label left out. `block` is the window's number from 0, `more["step"]`
    the 1-based step within it, `more["scale"]` MASE's: the one-step error of the seasonal naive forecast over the rows
    before `at`, so it depends on the rows alone and is the same for any two models. Intervals are `widths` times the
    `unit` at each window's origin.
    """
    origins = np.arange(at, len(series.y), horizon)
    window = np.arange(len(origins))
    if len(origins) > MOST_WINDOWS:
        window = np.linspace(0, len(origins) - 1, MOST_WINDOWS).round().astype(np.int64)
    frame = Frame(series.times, series.y, x)
    whole = window[origins[window] + horizon <= len(series.y)]
    parts = [forecast(frame, origins[whole], horizon).ravel()] if len(whole) else []
    rest = len(series.y) - int(origins[-1])
    if rest < horizon:
        parts.append(forecast(frame, origins[-1:], rest)[0])
    said = np.concatenate(parts)
    rows = (origins[window][:, None] + np.arange(horizon)).ravel()
    rows = rows[rows < len(series.y)]
    step = ((rows - at) % horizon + 1).astype(np.int64)
    keep = series.observed[rows]
    half = None if widths is None else width_at(widths, step) * unit(series.y, rows - (step - 1))
    scale = measures.naive_scale(series.y[:at], season_of(series.frequency, at))
    return Answers(
        "forecasting",
        series.y[rows][keep],
        said[keep],
        block=((rows - at) // horizon)[keep],
        low=None if half is None else (said - half)[keep],
        high=None if half is None else (said + half)[keep],
        more={"scale": scale, "step": step[keep]},
    )
