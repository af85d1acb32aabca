"""Regression on the series' own past, one step ahead, repeated for more: a linear model and boosted trees.

The target is the change against a base value (the last one, or that of one season before), so that trees, which can't
go beyond what they saw, follow a trend. With `log` the same on the logarithm, for series whose swing grows with the level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import FailedError, UsageError
from esml_engine.training.models.learners import threads_for
from esml_engine.training.series.frames import Frame
from esml_engine.training.series.frequency import Times

Floats = NDArray[np.float64]

_MOST_NEAR = 25
_FEWEST_ROWS = 12
_MOST_ROWS = 100_000
_ALPHAS = np.logspace(-3, 4, 15)
_ROUNDS = 250
_YEARLY = np.timedelta64(365, "D")  # in less a yearly wave is fitted to what may be a trend


@dataclass(frozen=True)
class Shape:
    """How a row of features is made.

    `lags`: steps back, ascending; `base`: the lag that the target is a change against; `window`: length of the rolling
    mean; `floor`: with it, values are max(value, floor) before their logarithm is taken (None: no logarithm); `waves`:
    how many rounds a year are read, none where the history is too short to tell a year from a trend.
    """

    lags: tuple[int, ...]
    base: int
    window: int
    floor: float | None = None
    waves: int = 2

    @property
    def reach(self) -> int:
        """How many past values a row needs."""
        return max(*self.lags, self.base, self.window)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "lags": list(self.lags),
            "base": self.base,
            "window": self.window,
            "floor": self.floor,
            "waves": self.waves,
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Shape:
        """Inverse of `to_json`."""
        return cls(tuple(raw["lags"]), raw["base"], raw["window"], raw["floor"], raw.get("waves", 2))


def shape_for(y: Floats, times: Times, seasons: tuple[int, ...], base: str, log: bool) -> Shape:
    """Lags for a history (n,) at these times (n,) with these seasons, none longer than a third of it; `base` is `last` or `season`."""
    season = seasons[0]
    wanted = set(range(1, min(max(season + 1, 6), _MOST_NEAR) + 1))
    for s in seasons:
        wanted |= {s, 2 * s} if s > 1 else set()
    wanted |= {season + 1, 3 * season} if 1 < season <= 12 else set()
    most = max(2, len(y) // 3)
    lags = tuple(sorted(k for k in wanted if k <= most))
    window = season if 1 < season <= most else min(4, most)
    floor = float(y.min()) / 2 if log else None
    waves = 2 if times[-1] - times[0] >= _YEARLY else 0
    return Shape(lags, season if base == "season" and season <= most else 1, window, floor, waves)


def calendar(times: Times, waves: int) -> Floats:
    """(n, 8 + 2 waves): sine and cosine of 1 to `waves` rounds a year and of one a day; Monday to Saturday as 0 or 1."""
    day = times.astype("datetime64[D]")
    year = times.astype("datetime64[Y]")
    length = (
        ((year + 1).astype("datetime64[D]") - year.astype("datetime64[D]")).astype("int64").astype(np.float64)
    )
    part_of_year = (times - year.astype("datetime64[us]")).astype("int64") / (length * 86_400e6)
    part_of_day = (times - day.astype("datetime64[us]")).astype("int64") / 86_400e6
    rounds = [k * part_of_year for k in range(1, waves + 1)] + [part_of_day]
    turns = [f(2 * np.pi * part) for part in rounds for f in (np.sin, np.cos)]
    weekday = (day.astype("int64") + 3) % 7  # 1970-01-01 was a Thursday
    return np.column_stack([*turns, *[(weekday == d).astype(np.float64) for d in range(6)]])


def _features(shape: Shape, past: Floats, moment: Floats, x: Floats, x_base: Floats) -> tuple[Floats, Floats]:
    """Features (r, f) and base values (r,) from the last `reach` values (r, reach), oldest first."""
    base = past[:, -shape.base]
    lagged = past[:, [-k for k in shape.lags]] - base[:, None]
    mean = past[:, -shape.window :].mean(axis=1) - base
    return np.column_stack([lagged, mean, moment, x, x - x_base]), base


def training_rows(shape: Shape, frame: Frame, end: int) -> tuple[Floats, Floats]:
    """Features (r, f) and targets (r,) of the rows of y[:end] that have enough past, the latest 100,000 at most.

    Raises:
        FailedError: there are fewer than 12.
    """
    y = _inner(shape, frame.y[:end])
    reach = shape.reach
    rows = end - reach
    if rows < _FEWEST_ROWS:
        raise FailedError(f"{end} values are too few for {reach} values of past a row")
    at = np.arange(end - min(rows, _MOST_ROWS), end)
    past = np.lib.stride_tricks.sliding_window_view(y, reach)[at - reach]
    x, base = _features(
        shape, past, calendar(frame.times[at], shape.waves), frame.x[at], frame.x[at - shape.base]
    )
    return x, y[at] - base


def _inner(shape: Shape, y: Floats) -> Floats:
    return y if shape.floor is None else np.log(np.maximum(y, shape.floor))


class LagMember:
    """A fitted one-step regression, applied to its own answers for further steps.

    Args:
        kind: `linear` or `lightgbm`.
        part: (mean (f,), scale (f,), coefficients (f,), intercept) or LightGBM's booster.
    """

    reads_regressors = True

    def __init__(self, kind: str, params: dict[str, Any], shape: Shape, part: Any) -> None:
        self.kind, self.params, self.shape, self.part = kind, params, shape, part

    def forecast(self, frame: Frame, origins: NDArray[np.int64], steps: int) -> Floats:
        """See `frames.Member`; all origins go forward together.

        Raises:
            UsageError: the history is shorter than a row's past.
        """
        shape, reach = self.shape, self.shape.reach
        if int(origins.min()) < reach:
            raise UsageError(f"the history has {int(origins.min())} values, the model looks {reach} back")
        y = _inner(shape, frame.y[: int(origins.max())])
        known = np.empty((len(origins), reach + steps))
        known[:, :reach] = np.stack([y[o - reach : o] for o in origins])
        moments = calendar(frame.times, shape.waves)
        for step in range(steps):
            at = origins + step
            past = known[:, step : step + reach]
            x, base = _features(shape, past, moments[at], frame.x[at], frame.x[at - shape.base])
            known[:, reach + step] = base + self._predict(x)
        out = known[:, reach:]
        return out if shape.floor is None else np.exp(out)

    def _predict(self, x: Floats) -> Floats:
        if self.kind == "linear":
            mean, scale, weights, constant = self.part
            return np.asarray((x - mean) / scale @ weights + constant)
        return np.asarray(self.part.predict(x, num_threads=1))

    def to_json(self) -> dict[str, Any]:
        """Without the booster, which has a file of its own."""
        out: dict[str, Any] = {"kind": self.kind, "params": self.params, "shape": self.shape.to_json()}
        if self.kind == "linear":
            mean, scale, weights, constant = self.part
            out["part"] = {
                "mean": mean.tolist(), "scale": scale.tolist(), "weights": weights.tolist(), "constant": constant
            }  # fmt: skip
        return out

    @classmethod
    def from_json(cls, raw: dict[str, Any], booster: Any = None) -> LagMember:
        """Inverse of `to_json`."""
        part = booster
        if raw["kind"] == "linear":
            given = raw["part"]
            part = (*(np.array(given[k]) for k in ("mean", "scale", "weights")), float(given["constant"]))
        return cls(raw["kind"], raw["params"], Shape.from_json(raw["shape"]), part)


def fit_lags(
    kind: str, params: dict[str, Any], frame: Frame, end: int, seasons: tuple[int, ...], seed: int
) -> LagMember:
    """Fit on y[:end]. `params`: `base` (last or season), `log`, and LightGBM's own."""
    own = {k: v for k, v in params.items() if k not in ("base", "log")}
    shape = shape_for(frame.y[:end], frame.times[:end], seasons, params["base"], params["log"])
    x, target = training_rows(shape, frame, end)
    part = _fit_linear(x, target) if kind == "linear" else _fit_lightgbm(x, target, own, seed)
    return LagMember(kind, params, shape, part)


def _fit_linear(x: Floats, target: Floats) -> tuple[Floats, Floats, Floats, float]:
    from sklearn.linear_model import RidgeCV

    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-12 * np.maximum(1.0, np.abs(x).max(axis=0))] = 1.0
    model = RidgeCV(alphas=_ALPHAS).fit((x - mean) / scale, target)
    return mean, scale, np.asarray(model.coef_, dtype=np.float64), float(model.intercept_)


def _fit_lightgbm(x: Floats, target: Floats, own: dict[str, Any], seed: int) -> Any:
    import lightgbm as lgb

    settings = {
        "objective": "regression", "verbose": -1, "deterministic": True, "force_row_wise": True, "seed": seed,
        "num_threads": threads_for(len(x)), "learning_rate": 0.05, "num_leaves": 15, "feature_pre_filter": False,
        "min_data_in_leaf": int(np.clip(len(x) // 20, 3, 20)), "feature_fraction": 0.8, **own,
    }  # fmt: skip
    return lgb.train(settings, lgb.Dataset(x, target, params=settings), _ROUNDS)
