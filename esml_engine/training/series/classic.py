"""Members that read the series alone: the seasonal naive forecast, and statsmodels' theta, ETS and MSTL.

None keeps a state of its own: smoothing parameters are fitted once and stored, states follow from the history given.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import FailedError
from esml_engine.training.series.frames import Frame

Floats = NDArray[np.float64]

# older values change a forecast by less than rounding, and would cost time at each
MOST_HISTORY = 3_000
# seasonal states are one a step of the season: beyond this the decomposition does it better
_LONGEST_ETS = 60
# loess costs history times window: longer rounds are left to the members that read the calendar
_LONGEST_LOESS = 200
_LOESS_HISTORY = 1_500


def load_libraries() -> None:
    """Import statsmodels, so that no trial's seconds pay for it."""
    for name in (
        "statsmodels.tsa.exponential_smoothing.ets",
        "statsmodels.tsa.forecasting.theta",
        "statsmodels.tsa.seasonal",
    ):
        importlib.import_module(name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Convergence warnings say nothing here that the back-test does not judge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Naive:
    """The value of one season before, again and again."""

    kind = "seasonal_naive"
    reads_regressors = False

    def __init__(self, season: int) -> None:
        self.params: dict[str, Any] = {"season": season}

    def forecast(self, frame: Frame, origins: NDArray[np.int64], steps: int) -> Floats:
        """See `frames.Member`."""
        season = self.params["season"]
        back = season - np.arange(steps) % season
        at = origins[:, None] - np.minimum(back[None, :], origins[:, None])
        return np.asarray(frame.y[at])

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": self.kind, "params": self.params}


class Theta:
    """Assimakopoulos, Nikolopoulos 2000, fitted anew from each history (a matter of milliseconds)."""

    kind = "theta"
    reads_regressors = False

    def __init__(self, season: int) -> None:
        self.params: dict[str, Any] = {"season": season}

    def forecast(self, frame: Frame, origins: NDArray[np.int64], steps: int) -> Floats:
        """See `frames.Member`."""
        import pandas as pd
        from statsmodels.tsa.forecasting.theta import ThetaModel

        season = self.params["season"]
        out = np.empty((len(origins), steps))
        with _quiet():
            for i, origin in enumerate(origins):
                history = pd.Series(frame.y[max(0, origin - MOST_HISTORY) : origin])
                model = ThetaModel(history, period=season, deseasonalize=season > 1)
                out[i] = model.fit().forecast(steps).to_numpy()
        return out

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": self.kind, "params": self.params}


class Ets:
    """Exponential smoothing with additive error, trend and season (Hyndman et al. 2008, chapter 2).

    `params`: `trend` (none or damped), `season` (1: none), `floor` (None, or the least value before a logarithm),
    `smoothing`: the fitted parameters in statsmodels' order. First states are statsmodels' heuristic ones.
    """

    kind = "ets"
    reads_regressors = False

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def forecast(self, frame: Frame, origins: NDArray[np.int64], steps: int) -> Floats:
        """See `frames.Member`; one pass over the history serves all origins."""
        first, last = max(0, int(origins.min()) - MOST_HISTORY), int(origins.max())
        y = _logged(frame.y[first:last], self.params["floor"])
        out = np.empty((len(origins), steps))
        with _quiet():
            states = _ets(y, self.params).smooth(np.array(self.params["smoothing"]))
            for i, origin in enumerate(origins):
                at = int(origin) - first
                out[i] = states.predict(start=at, end=at + steps - 1, dynamic=True)
        return out if self.params["floor"] is None else np.exp(out)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": self.kind, "params": self.params}


class Decomposed:
    """Seasons by loess (MSTL: Bandara, Hyndman, Bergmeir 2021), the rest by damped exponential smoothing.

    `params`: `seasons` (steps each), `floor`, `rest`: the parameters of an `Ets` without season.
    """

    kind = "mstl"
    reads_regressors = False

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def forecast(self, frame: Frame, origins: NDArray[np.int64], steps: int) -> Floats:
        """See `frames.Member`; each origin's history is decomposed by itself, since loess looks both ways."""
        out = np.empty((len(origins), steps))
        rest = Ets(self.params["rest"])
        for i, origin in enumerate(origins):
            y = _logged(frame.y[max(0, origin - _LOESS_HISTORY) : origin], self.params["floor"])
            seasonal = _decompose(y, self.params["seasons"])
            plain = Frame(frame.times, y - seasonal.sum(axis=1), frame.x)
            out[i] = rest.forecast(plain, np.array([len(y)]), steps)[0]
            for season, column in zip(self.params["seasons"], seasonal.T, strict=True):
                out[i] += column[-season:][np.arange(steps) % season]
        return out if self.params["floor"] is None else np.exp(out)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kind": self.kind, "params": self.params}


def _logged(y: Floats, floor: float | None) -> Floats:
    return y if floor is None else np.log(np.maximum(y, floor))


def _ets(y: Floats, params: dict[str, Any]) -> Any:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    damped, season = params["trend"] == "damped", params["season"]
    return ETSModel(
        y, trend="add" if damped else None, damped_trend=damped, seasonal="add" if season > 1 else None,
        seasonal_periods=season if season > 1 else None, initialization_method="heuristic",
    )  # fmt: skip


def _fit_ets(y: Floats, season: int) -> dict[str, Any]:
    """Of no trend and a damped one, that with the lower corrected information criterion (AICc)."""
    best: tuple[float, dict[str, Any]] | None = None
    for trend in ("none", "damped"):
        params: dict[str, Any] = {"trend": trend, "season": season, "floor": None}
        with _quiet():
            fitted = _ets(y, params).fit(disp=False, maxiter=300)
        score = float(fitted.aicc)
        if np.isfinite(score) and (best is None or score < best[0]):
            best = (score, {**params, "smoothing": [float(p) for p in fitted.params]})
    if best is None:
        raise FailedError("exponential smoothing found no finite likelihood")
    return best[1]


def _decompose(y: Floats, seasons: list[int]) -> Floats:
    """The seasonal components (n, s) of y.

    Raises:
        FailedError: y holds not more than two of the longest season.
    """
    from statsmodels.tsa.seasonal import MSTL

    if len(y) <= 2 * max(seasons):
        raise FailedError(f"{len(y)} values are too few for a season of {max(seasons)}")

    with _quiet():
        # loess on every k-th point, straight lines between: the trend moves little within a tenth of a season
        jump = max(1, min(seasons) // 10)
        model = MSTL(y, periods=tuple(seasons), stl_kwargs={"trend_jump": jump, "low_pass_jump": jump})
        found = np.asarray(model.fit().seasonal, dtype=np.float64)
    return found.reshape(len(y), len(seasons))


def fit_theta(y: Floats, seasons: tuple[int, ...], log: bool) -> Theta:
    """Nothing is learned beforehand; `y` and `log` are not used."""
    return Theta(seasons[0])


def fit_ets(y: Floats, seasons: tuple[int, ...], log: bool) -> Ets:
    """Fit on y (n,).

    Raises:
        FailedError: the season is too long, or nothing finite was found.
    """
    if seasons[0] > _LONGEST_ETS:
        raise FailedError(f"a season of {seasons[0]} steps is too long for exponential smoothing")
    floor = float(y.min()) / 2 if log else None
    return Ets({**_fit_ets(_logged(y[-MOST_HISTORY:], floor), seasons[0]), "floor": floor})


def fit_mstl(y: Floats, seasons: tuple[int, ...], log: bool) -> Decomposed:
    """Fit on y (n,).

    Raises:
        FailedError: there is no season to take out.
    """
    if seasons == (1,):
        raise FailedError("there is no season to decompose")
    floor = float(y.min()) / 2 if log else None
    inner = _logged(y[-_LOESS_HISTORY:], floor)
    held = [s for s in seasons if s <= _LONGEST_LOESS and len(inner) > 2 * s]
    if not held:
        raise FailedError(f"a season of {seasons[0]} steps is too long to decompose {len(inner)} values")
    seasonal = _decompose(inner, held)
    return Decomposed({"seasons": held, "floor": floor, "rest": _fit_ets(inner - seasonal.sum(axis=1), 1)})
