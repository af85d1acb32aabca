"""The parts of a forecast by hand-computed values: grid, gaps, metrics, intervals, members."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esml_engine.errors import FailedError, SettingsError, UsageError
from esml_engine.training.asking import metrics_of
from esml_engine.training.facts import ESTIMATORS, FORECASTERS, Profile, allowed_forecasters
from esml_engine.training.measuring.answers import Answers
from esml_engine.training.series import measures
from esml_engine.training.series.calibrating import held_out
from esml_engine.training.series.classic import Naive
from esml_engine.training.series.conformal import independent, units, width_at, widths
from esml_engine.training.series.data import Layout, filled, series_of
from esml_engine.training.series.frames import Frame
from esml_engine.training.series.frequency import following, grid, resolve, season_of, seasons_of
from esml_engine.training.series.judging import naive_answers, walked, whole_of
from esml_engine.training.series.lags import Shape, fit_lags
from esml_engine.training.series.search import fit_member

LAYOUT = Layout("day", "y", 3, "D")


def table(y: list[float | None], first: str = "2024-01-01", **more: Any) -> pa.Table:
    days = np.datetime64(first) + np.arange(len(y))
    return pa.table({"day": pa.array(days), "y": pa.array(y, pa.float64()), **more})


def test_the_alias_that_fits_the_timestamps_is_taken() -> None:
    assert (
        resolve("W", grid("W-WED", np.datetime64("2024-01-03"), np.datetime64("2024-03-01")), "t") == "W-WED"
    )
    assert resolve("M", np.array(["2024-01-31", "2024-02-29"], "datetime64[us]"), "t") == "ME"
    assert resolve("", grid("MS", np.datetime64("2024-01-01"), np.datetime64("2024-12-01")), "t") == "MS"
    assert resolve("Q", np.array(["2024-01-01", "2024-07-01"], "datetime64[us]"), "t") == "QS-JAN"
    with pytest.raises(UsageError, match="unknown"):
        resolve("often", np.array(["2024-01-01", "2024-07-01"], "datetime64[us]"), "t")
    odd = np.array(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-06"], "datetime64[us]")
    with pytest.raises(UsageError, match="after 2024-01-03 comes 2024-01-06"):
        resolve("", odd, "t")
    with pytest.raises(UsageError, match="2024-01-02"):
        resolve("MS", odd, "t")


def test_seasons_come_from_the_frequency_when_the_series_is_long_enough() -> None:
    assert season_of("D", 100) == 7 and season_of("D", 20) == 1
    assert seasons_of("D", 1_100) == (7, 365)
    assert season_of("MS", 36) == 12 and season_of("MS", 35) == 1
    assert seasons_of("h", 504) == (24, 168) and season_of("15min", 300) == 96
    assert season_of("W-SUN", 156) == 52 and season_of("QS-OCT", 12) == 4 and season_of("YS", 99) == 1
    assert [str(t)[:10] for t in following("MS", np.datetime64("2024-11-01"), 2)] == [
        "2024-12-01",
        "2025-01-01",
    ]


def test_gaps_are_filled_from_the_past_and_said() -> None:
    np.testing.assert_array_equal(
        filled(np.array([1.0, 2, np.nan, np.nan, 5, np.nan]), 2), [1, 2, 1, 2, 5, 2]
    )
    rows = table([None, 1, 2, None, 4, 5, 6, 7, 8, 9, 10, 11, None])
    without = pa.concat_tables([rows.slice(0, 6), rows.slice(7)])
    series = series_of([without], LAYOUT)
    assert [str(t)[:10] for t in series.absent] == ["2024-01-07"]
    assert len(series.y) == 11 and series.observed.sum() == 9, (
        "leading and trailing rows without a label are left out"
    )
    assert series.y[2] == 2 and series.y[5] == 5, "season 1: the last value"
    first, second = series.messages("day")
    assert (
        "1 timestamps of day have no row (the first: 2024-01-07)" in first
        and "1 rows have no label" in second
    )


def test_wrong_rows_are_named_by_timestamp() -> None:
    good = table([1, 2, 3, 4, 5])
    cases = [
        (pa.concat_tables([good, table([9], "2024-01-03")]), "2024-01-03 stands in day more than once"),
        (pa.concat_tables([good, table([9], "2024-03-01")]), "2024-01-06"),
        (good.set_column(0, "day", pa.array(["a"] * 5)), "is string, not a date"),
        (good.set_column(0, "day", pa.array([dt.date(2024, 1, 1)] + [None] * 4)), "4 rows have no day"),
        (good.rename_columns(["day", "other"]), "no column 'y'"),
        (table([None, None]), "no row has a value"),
        (good.set_column(1, "y", pa.array(["a"] * 5)), "forecasting needs numbers"),
        (good.slice(0, 0), "no row"),
    ]
    for rows, says in cases:
        with pytest.raises(UsageError, match=says):
            series_of([rows], LAYOUT)
    text = table([1, 2, 3], promo=pa.array(["a", "b", "c"]))
    with pytest.raises(UsageError, match="'promo' is string"):
        series_of([text], Layout("day", "y", 1, "D", ("promo",)))
    with pytest.raises(UsageError, match="time column"):
        Layout.parse({}, "y")
    with pytest.raises(UsageError, match="time column or the label"):
        Layout.parse({"time_column": "day", "known": ["y"]}, "y")


def test_metrics_by_hand() -> None:
    history = np.array([1.0, 3, 2, 6, 4, 9])
    assert measures.naive_scale(history, 2) == pytest.approx((1 + 3 + 2 + 3) / 4)
    assert measures.naive_scale(history, 6) is None and measures.naive_scale(np.ones(9), 1) is None
    y, pred = np.array([1.0, 2, 0, 4]), np.array([2.0, 2, 0, 1])
    answers = Answers("forecasting", y, pred, more={"scale": 2.0, "step": np.array([1, 2, 1, 2])})
    said = metrics_of(answers)
    assert said["mae"] == pytest.approx(1.0) and said["rmse"] == pytest.approx(np.sqrt(10 / 4))
    assert said["mase"] == pytest.approx(0.5)
    assert said["smape"] == pytest.approx((2 / 3 + 0 + 0 + 6 / 5) / 4)
    none = metrics_of(Answers("forecasting", y, pred, more={"scale": None}))
    assert none["mase"] is None and none["mae"] == 1.0
    rows = measures.by_horizon(answers, answers)
    assert [(r["step"], r["rows"], r["mae"], r["coverage"]) for r in rows] == [
        (1, 2, 0.5, None),
        (2, 2, 1.5, None),
    ]
    with pytest.raises(UsageError):
        metrics_of(Answers("forecasting", y[:0], pred[:0]))
    with pytest.raises(UsageError):
        metrics_of(Answers("forecasting", y, np.array([1, 2, 3, np.nan])))


def spread(count: int, apart: int) -> np.ndarray:
    return np.arange(count) * apart


def test_widths_by_hand() -> None:
    # of 40 absolute residuals the ceil(41 * 0.8) = 33rd smallest
    assert widths(np.array([1.0] * 32 + [9.0] * 8).reshape(40, 1), spread(40, 1)) == pytest.approx([9.0])
    # of 9 the 8th, wider by Student's t with 9 degrees of freedom, 1.3830, over the normal quantile 1.2816
    assert widths(np.arange(1.0, 10).reshape(9, 1), spread(9, 1)) == pytest.approx([8.6334], abs=1e-4)
    # 9 origins 1 apart hold 9 one-step forecasts, but the 8 steps between first and last only 1 + 8 / 2 of two steps
    assert independent(spread(9, 1), 4) == pytest.approx([9, 5, 1 + 8 / 3, 3])
    # of three equal ones: Student's t with 3 degrees of freedom is 1.6377
    assert widths(np.ones((3, 1)), spread(3, 1)) == pytest.approx([1.6377 / 1.2816], abs=1e-4)
    # each step's own size carries its width, and no later one is narrower
    size = np.array([1.0, 3.0, 2.0])
    found = widths(np.outer(np.tile([1.0, -1.0], 50), size), spread(100, 3))
    assert found == pytest.approx([1.0, 3.0, 3.0], rel=0.01)
    assert widths(np.full((5, 2), np.nan), spread(5, 1)) == pytest.approx([0, 0])
    assert widths(np.zeros((0, 3)), spread(0, 1)) == pytest.approx([0, 0, 0])
    assert widths(np.zeros((9, 2)), spread(9, 1)) == pytest.approx([0, 0])
    assert width_at(np.array([1.0, 2.0]), np.array([1, 2, 8])) == pytest.approx([1.0, 2.0, 4.0])


def test_units_by_hand() -> None:
    y = np.array([5.0, 5, 7, 3, 3])
    assert units(y, np.array([1, 2, 3, 4, 5])) == pytest.approx([1, 1, 1, 2, 1.5])
    long = np.concatenate([np.arange(0, 8_000, 2.0), np.tile([0.0, 1.0], 1_500)])
    assert units(long, np.array([len(long)])) == pytest.approx([1.0]), "the last 3,000 values alone"


@given(st.integers(1, 12), st.integers(1, 40), st.floats(0.1, 10))
def test_widths_cover_the_residuals_that_made_them(steps: int, count: int, scale: float) -> None:
    residuals = np.random.default_rng(count).normal(0, scale, (count, steps))
    found = widths(residuals, spread(count, steps))
    assert (np.diff(found) >= 0).all()
    assert np.mean(np.abs(residuals) <= found * (1 + 1e-9)) >= 0.8 - 1e-9
    assert widths(residuals * 3, spread(count, steps)) == pytest.approx(found * 3)


def calibrated(y: np.ndarray, season: int, horizon: int) -> np.ndarray:
    """Half widths of the seasonal naive forecast on y, in the label's unit at its end."""
    times = np.datetime64("2024-01-01", "us") + np.arange(len(y)).astype("timedelta64[D]")
    frame = Frame(times, y, np.zeros((len(y), 0)))
    past = held_out(
        frame, np.ones(len(y), bool), least=2 * season, horizon=horizon,
        refit=lambda upto: [Naive(season)], until=math.inf,
    )  # fmt: skip
    assert not past.left_out
    unit = units(y, past.origins)
    return widths(past.values / unit[:, None], past.origins) * units(y, np.array([len(y)]))


def test_intervals_have_the_width_that_the_known_noise_asks_for() -> None:
    """Of a random walk the error after s steps is normal with deviation sqrt(s); of noise around a level sqrt(2)."""
    at80 = 1.2816
    walk = np.mean(
        [calibrated(np.cumsum(np.random.default_rng(s).normal(0, 1, 600)), 1, 7) for s in range(20)], axis=0
    )
    assert walk == pytest.approx(at80 * np.sqrt(np.arange(1, 8)), rel=0.15)
    level = np.mean([calibrated(np.random.default_rng(s).normal(9, 1, 600), 7, 7) for s in range(20)], axis=0)
    assert level == pytest.approx(np.full(7, at80 * np.sqrt(2)), rel=0.15)


@pytest.mark.parametrize("rows", [40, 80, 300])
@pytest.mark.parametrize("grows", [False, True])
def test_intervals_cover_what_they_aim_at_on_known_noise(rows: int, grows: bool) -> None:
    """Also of a short history, whose origins overlap, and of a series whose noise grows fourfold."""
    inside = []
    for seed in range(150):
        size = np.linspace(1, 4, rows + 7) if grows else np.ones(rows + 7)
        y = np.cumsum(size * np.random.default_rng(seed).normal(0, 1, rows + 7))
        half = calibrated(y[:rows], 1, 7)
        inside.append(np.mean(np.abs(y[rows:] - y[rows - 1]) <= half))
    assert 0.72 <= np.mean(inside) <= 0.9, np.mean(inside)


def test_residuals_are_of_rows_that_no_member_was_fitted_on() -> None:
    fitted: list[int] = []

    class Marked(Naive):
        def forecast(self, frame: Frame, origins: np.ndarray, steps: int) -> np.ndarray:
            assert origins.min() >= fitted[-1] and origins.max() + steps <= len(frame.y)
            return super().forecast(frame, origins, steps)

    def refit(upto: int) -> list[Marked]:
        if upto < 70:
            raise FailedError("too few")
        fitted.append(upto)
        return [Marked(1)]

    y = np.arange(200.0)
    frame = Frame(np.datetime64("2024-01-01", "us") + np.arange(200), y, np.zeros((200, 0)))
    observed = y != 150
    past = held_out(frame, observed, least=8, horizon=5, refit=refit, until=math.inf)
    assert fitted == sorted(fitted, reverse=True) and past.fits == len(fitted) == 7
    assert past.left_out == ("too few",)
    assert (np.diff(past.origins) > 0).all() and past.origins[-1] == 195
    truth = past.origins[:, None] + np.arange(5) == 150
    np.testing.assert_array_equal(np.isnan(past.values), truth)
    assert (past.values[:, 0][~truth[:, 0]] == 1).all()
    none = held_out(frame, observed, least=8, horizon=5, refit=refit, until=-math.inf)
    assert none.fits == 0 and none.left_out == ("the seconds were over",)


def test_windows_walk_over_the_test_rows_and_the_truth_joins_the_history() -> None:
    y = [1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    rows = table([*y[:8], None, *y[9:]])
    whole, at = whole_of(rows.slice(6), rows.slice(0, 6), LAYOUT)
    assert at == 6
    said = naive_answers(whole, at, 3)
    # windows start at 6, 9 and 12; the last value before each is repeated; row 8 has no label
    np.testing.assert_array_equal(said.prediction, [6, 6, 8, 8, 8, 12])
    np.testing.assert_array_equal(said.truth, [7, 8, 10, 11, 12, 13])
    np.testing.assert_array_equal(said.block, [0, 0, 1, 1, 1, 2])
    np.testing.assert_array_equal(said.more["step"], [1, 2, 1, 2, 3, 1])
    assert said.more["scale"] == 1.0 and said.low is None
    half = walked(whole, at, 3, Naive(1).forecast, x=whole.x, widths=np.array([0.5, 1.0, 2.0]))
    assert half.high is not None and half.low is not None
    np.testing.assert_array_equal(half.high - half.low, [1, 2, 1, 2, 4, 1])
    wider = walked(
        whole, at, 3, Naive(1).forecast, x=whole.x, widths=np.array([0.5, 1.0, 2.0]), unit=lambda y, o: o / 6
    )
    assert wider.high is not None and wider.low is not None
    np.testing.assert_allclose(wider.high - wider.low, [1, 2, 1.5, 3, 6, 2])
    with pytest.raises(UsageError, match="split by time"):
        try:
            whole_of(rows.slice(0, 6), rows.slice(6), LAYOUT)
        except UsageError as e:
            raise UsageError(f"{e.message} {e.hint}") from e
    with pytest.raises(UsageError, match="there are none"):
        whole_of(rows, None, LAYOUT)


def wavy(rows: int, seed: int = 3) -> np.ndarray:
    t = np.arange(rows)
    return 20 + 0.1 * t + 5 * np.sin(2 * np.pi * t / 7) + np.random.default_rng(seed).normal(0, 0.5, rows)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("seasonal_naive", {}),
        ("theta", {"log": False}),
        ("ets", {"log": True}),
        ("mstl", {"log": False}),
        ("linear", {"base": "last", "log": True}),
        ("lightgbm", {"base": "season", "log": False}),
    ],
)
def test_no_member_sees_what_lies_after_its_origin(kind: str, params: dict[str, Any]) -> None:
    y = wavy(160)
    times = np.datetime64("2024-01-01", "us") + np.arange(170).astype("timedelta64[D]")
    x = np.zeros((170, 0))
    member = fit_member(kind, params, Frame(times, y, x), 120, (7,), 1)
    origins = np.array([120, 133, 150])
    said = member.forecast(Frame(times, y, x), origins, 10)
    assert said.shape == (3, 10) and np.isfinite(said).all()
    changed = y.copy()
    changed[133:] = 1e3
    again = member.forecast(Frame(times, changed, x), origins, 10)
    np.testing.assert_allclose(again[:2], said[:2], rtol=1e-9)
    alone = member.forecast(Frame(times, y[:133], x), origins[1:2], 10)
    np.testing.assert_allclose(alone[0], said[1], rtol=1e-9)
    assert fit_member(kind, params, Frame(times, changed, x), 120, (7,), 1).to_json() == member.to_json()


def test_profiles_name_forecasters() -> None:
    assert allowed_forecasters(ESTIMATORS) == FORECASTERS
    assert allowed_forecasters(["lightgbm", "theta"]) == ("theta", "lightgbm")
    assert Profile.parse({"estimators": ["theta"]}, "forecasting").metric == "mase"
    with pytest.raises(SettingsError, match="theta"):
        Profile.parse({"estimators": ["theta"]}, "regression")
    with pytest.raises(SettingsError, match="forecasts"):
        allowed_forecasters(["perpetual"])


def test_of_many_windows_sixty_are_judged_from_the_first_to_the_last() -> None:
    rows = table([float(i) for i in range(10 + 3 * 200 + 1)])
    whole, at = whole_of(rows.slice(10), rows.slice(0, 10), LAYOUT)
    said = naive_answers(whole, at, 3)
    assert said.block is not None
    blocks = np.unique(said.block)
    assert len(blocks) == 60 and (blocks[0], blocks[-1]) == (0, 200)
    assert said.rows == 59 * 3 + 1, "the last window has one row"
    np.testing.assert_array_equal(said.truth, 10 + 3 * said.block + said.more["step"] - 1)


@pytest.mark.parametrize(("days", "waves"), [(300, 0), (400, 2)])
def test_a_yearly_wave_is_read_only_after_a_year(days: int, waves: int) -> None:
    times = np.datetime64("2024-01-01", "us") + np.arange(days) * np.timedelta64(1, "D")
    at, noise = np.arange(days), np.random.default_rng(0).normal(0, 3, days)
    y = 100 + 0.3 * at + 10 * np.sin(2 * np.pi * at / 7) + noise
    frame, end = Frame(times, y, np.zeros((days, 0))), days - 28
    member = fit_lags("linear", {"base": "last", "log": False}, frame, end, (7,), 1)
    assert member.shape.waves == waves and Shape.from_json(member.shape.to_json()) == member.shape
    error = np.abs(member.forecast(frame, np.array([end]), 28)[0] - y[end:]).mean()
    naive = np.abs(np.resize(y[end - 7 : end], 28) - y[end:]).mean()
    assert error < naive
