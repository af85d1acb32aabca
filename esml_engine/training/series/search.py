"""Which members a series gets: each setting is fitted on the past, back-tested on what follows, and the better ones blend.

Parameters are fitted before the first origin of the back-test and stay; at each origin the truth up to it is the
history. The same holds on gold_test and in production, so the back-test says what serving will be like.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import EsmlError, UsageError
from esml_engine.training.causes import cause
from esml_engine.training.facts import Profile, Trial, allowed_forecasters, loss_of
from esml_engine.training.models import learners
from esml_engine.training.series import classic, lags, measures
from esml_engine.training.series.calibrating import Residuals, held_out
from esml_engine.training.series.frames import Frame, Member
from esml_engine.training.series.judging import MOST_WINDOWS

Floats = NDArray[np.float64]
Progress = Callable[[float, str], None]
OnTrial = Callable[[Trial], None]

MOST_ORIGINS = 24
_RESERVE = 0.15
# a further member may cost this much of the back-test's loss: blends of unlike members hold better on new windows
_TOLERANCE = 0.02
_MOST_MEMBERS = 5


@dataclass(frozen=True)
class Backtest:
    """What was asked: origins (k,), truth (k, h) with NaN where none is, and the seasonal naive answer (k, h)."""

    origins: NDArray[np.int64]
    truth: Floats
    naive: Floats
    scale: float | None
    metric: str

    def loss(self, forecast: Floats) -> float:
        """The primary metric over all origins and steps, as a loss; infinite where undefined."""
        at = np.isfinite(self.truth)
        if not np.isfinite(forecast[at]).all():
            return math.inf
        value = loss_of(self.metric, measures.one(self.metric, self.truth[at], forecast[at], self.scale))
        return math.inf if value is None else value


@dataclass(frozen=True)
class Tried:
    """One setting, its trial, and its forecasts on the back-test (k, h)."""

    kind: str
    params: dict[str, Any]
    trial: Trial
    forecast: Floats
    loss: float


@dataclass(frozen=True)
class Found:
    """The blend: members refitted on the whole series, all with the same weight; residuals that intervals are made of."""

    members: tuple[Member, ...]
    trials: tuple[Trial, ...]
    families: tuple[tuple[str, Member], ...]
    failures: tuple[dict[str, str], ...]
    backtest: Backtest
    residuals: Residuals
    loss: float
    naive_loss: float
    dropped: tuple[str, ...]


def least_history(season: int) -> int:
    """Values before the first forecast that anything is judged by."""
    return max(2 * season, 8)


def backtest_of(
    frame: Frame, observed: NDArray[np.bool_], begin: int, horizon: int, season: int, metric: str
) -> Backtest:
    """At most 24 origins from `begin` on, evenly spread, the last one `horizon` steps before the end.

    Raises:
        UsageError: the series is too short.
    """
    end = len(frame.y)
    least = least_history(season)
    last = end - horizon
    if last < least:
        raise UsageError(
            f"the series has {end} values before gold_test; a horizon of {horizon} needs at least {least + horizon}",
            hint="bring a longer history, or set a shorter forecast.horizon",
        )
    first = max(least, min(begin, last))
    origins = np.unique(
        np.linspace(first, last, min(MOST_ORIGINS, last - first + 1)).round().astype(np.int64)
    )
    at = origins[:, None] + np.arange(horizon)
    truth = np.where(observed[at], frame.y[at], np.nan)
    naive = classic.Naive(season).forecast(frame, origins, horizon)
    return Backtest(origins, truth, naive, measures.naive_scale(frame.y[:first], season), metric)


def settings_for(
    y: Floats, seasons: tuple[int, ...], allowed: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """The settings to try, in order: one of each kind, then further ones; logarithms only for positive series."""
    base = "season" if seasons[0] > 1 else "last"
    found: list[tuple[str, dict[str, Any]]] = [
        ("theta", {"log": False}),
        ("ets", {"log": False}),
        ("linear", {"base": "last", "log": False}),
        ("lightgbm", {"base": base, "log": False}),
        ("mstl", {"log": False}),
    ]
    if y.min() > 0:
        found += [
            ("ets", {"log": True}),
            ("linear", {"base": "last", "log": True}),
            ("mstl", {"log": True}),
            ("lightgbm", {"base": base, "log": True}),
        ]
    found += [("linear", {"base": base, "log": False})] if base == "season" else []
    found += [("lightgbm", {"base": "last", "log": False})] if base == "season" else []
    found += [("lightgbm", {"base": base, "log": False, "num_leaves": 7, "learning_rate": 0.03})]
    return [(k, p) for k, p in found if k in allowed and (k != "mstl" or seasons != (1,))]


def fit_member(
    kind: str, params: dict[str, Any], frame: Frame, end: int, seasons: tuple[int, ...], seed: int
) -> Member:
    """Fit one setting on y[:end].

    Raises:
        FailedError: the method can't be used on this series.
    """
    if kind in ("linear", "lightgbm"):
        return lags.fit_lags(kind, params, frame, end, seasons, seed)
    if kind == "seasonal_naive":
        return classic.Naive(seasons[0])
    fit: dict[str, Callable[..., Member]] = {
        "theta": classic.fit_theta, "ets": classic.fit_ets, "mstl": classic.fit_mstl
    }  # fmt: skip
    return fit[kind](frame.y[:end], seasons, params["log"])


def search(
    frame: Frame,
    observed: NDArray[np.bool_],
    begin: int,
    *,
    seasons: tuple[int, ...],
    horizon: int,
    profile: Profile,
    progress: Progress = lambda fraction, message: None,
    on_trial: OnTrial = lambda trial: None,
) -> Found:
    """Try settings within the profile's seconds and trials, blend the best, refit them on the whole series.

    Args:
        frame: times, y and x of the series that may be learned from, all (n, …).
        observed: (n,) rows with a truth.
        begin: where the back-test may begin (the first row of gold_validate).

    Raises:
        UsageError: the series is too short.
        SettingsError: the profile allows no member.
    """
    classic.load_libraries()
    learners.load_libraries()
    begun = time.monotonic()
    test = backtest_of(frame, observed, begin, horizon, seasons[0], profile.metric)
    end = int(test.origins[0])
    wanted = settings_for(frame.y[:end], seasons, allowed_forecasters(profile.estimators))[: profile.trials]
    tried, failures = _tried(wanted, frame, test, seasons, horizon, profile, begun, progress, on_trial)
    naive_loss = test.loss(test.naive)
    good = sorted((t for t in tried if t.loss < naive_loss), key=lambda t: t.loss)
    chosen = blend(good, test)
    progress(0.9, "fits the chosen members on the whole series")
    members = tuple(fit_member(t.kind, t.params, frame, len(frame.y), seasons, profile.seed) for t in chosen)
    mean = np.mean([t.forecast for t in chosen], axis=0) if chosen else test.naive
    families = _families(tried, chosen, members, frame, seasons, profile.seed)
    progress(0.95, "forecasts again from the past, for the intervals")
    residuals = held_out(
        frame,
        observed,
        least=least_history(seasons[0]),
        horizon=horizon,
        refit=lambda upto: (
            [fit_member(t.kind, t.params, frame, upto, seasons, profile.seed) for t in chosen]
            or [classic.Naive(seasons[0])]
        ),
        until=begun + profile.seconds,
        expected=sum(t.trial.seconds for t in chosen),
    )
    if not residuals.fits:
        residuals = Residuals(test.origins, test.truth - mean, 0, residuals.left_out)
    kept = {id(t) for t in good}
    return Found(
        members or (classic.Naive(seasons[0]),),
        tuple(t.trial for t in tried),
        families,
        tuple(failures),
        test,
        residuals,
        test.loss(mean),
        naive_loss,
        tuple(dict.fromkeys(t.kind for t in tried if id(t) not in kept)),
    )


def _tried(
    wanted: Sequence[tuple[str, dict[str, Any]]],
    frame: Frame,
    test: Backtest,
    seasons: tuple[int, ...],
    horizon: int,
    profile: Profile,
    begun: float,
    progress: Progress,
    on_trial: OnTrial,
) -> tuple[list[Tried], list[dict[str, str]]]:
    """Each wanted setting back-tested while there is time, and why others took no part."""
    end = int(test.origins[0])
    tried: list[Tried] = []
    failures: list[dict[str, str]] = []
    for n, (kind, params) in enumerate(wanted):
        at = time.monotonic()
        if n and at - begun > (1 - _RESERVE) * profile.seconds:
            break
        progress(n / len(wanted), f"back-tests {kind}")
        try:
            member = fit_member(kind, params, frame, end, seasons, profile.seed)
            one = time.monotonic()
            member.forecast(frame, test.origins[:1], horizon)
            needs = (time.monotonic() - one) * (len(test.origins) + MOST_WINDOWS)
            if time.monotonic() - begun + needs > profile.seconds:
                failures.append(
                    {"estimator": kind, "reason": f"its back-test would take about {needs:.0f} s more"}
                )
                continue
            forecast = member.forecast(frame, test.origins, horizon)
        except EsmlError as e:
            failures.append({"estimator": kind, "reason": e.message})
            continue
        except Exception as e:  # noqa: BLE001 - a library that can't cope with this series takes no part; the reason is shown
            failures.append({"estimator": kind, "reason": cause(e)})
            continue
        loss = test.loss(forecast)
        trial = Trial(
            kind, params, loss if math.isfinite(loss) else None, time.monotonic() - at, len(test.origins)
        )
        tried.append(Tried(kind, params, trial, forecast, loss))
        on_trial(trial)
    return tried, failures


def blend(good: Sequence[Tried], test: Backtest) -> list[Tried]:
    """From the best on, each further setting (one of a kind) whose equal share leaves the loss within 2 %."""
    chosen: list[Tried] = []
    best = math.inf
    for t in good:
        if len(chosen) == _MOST_MEMBERS or any(c.kind == t.kind for c in chosen):
            continue
        loss = test.loss(np.mean([c.forecast for c in [*chosen, t]], axis=0))
        if not chosen or loss <= best * (1 + _TOLERANCE):
            chosen.append(t)
            best = min(best, loss)
    return chosen


def _families(
    tried: Sequence[Tried],
    chosen: Sequence[Tried],
    members: Sequence[Member],
    frame: Frame,
    seasons: tuple[int, ...],
    seed: int,
) -> tuple[tuple[str, Member], ...]:
    """The best setting of each kind, fitted on the whole series."""
    best: dict[str, Tried] = {}
    for t in tried:
        if math.isfinite(t.loss) and (t.kind not in best or t.loss < best[t.kind].loss):
            best[t.kind] = t
    have = {id(t): m for t, m in zip(chosen, members, strict=True)}
    return tuple(
        (k, have.get(id(t)) or fit_member(k, t.params, frame, len(frame.y), seasons, seed))
        for k, t in best.items()
    )
