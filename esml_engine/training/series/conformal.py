"""Prediction intervals from the errors of held-out forecasts: one width a step, in units of the series' own restlessness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEVEL = 0.8
# what the unit is made of: a model carries at least as much history
UNIT_HISTORY = 3_000
# so many independent residuals of a step tell its size without its neighbours
_ENOUGH = 20


def units(y: Floats, origins: Ints) -> Floats:
    """The unit (k,) of widths at each origin: mean |y_t - y_(t-1)| over the last 3,000 values of y[:origin].

    Residuals over a scale that is known when the forecast is made: normalised conformal prediction (Papadopoulos,
    Gammerman, Vovk 2008; Lei et al. 2018, section 5.2). A series whose swing grows with its level gets wider intervals
    as it grows. 1 where nothing ever changed.
    """
    change = np.concatenate([[0.0, 0.0], np.cumsum(np.abs(np.diff(y)))])
    first = np.maximum(origins - UNIT_HISTORY, 0)
    count = np.maximum(origins - first - 1, 1)
    found = (change[origins] - change[first + 1]) / count
    return np.asarray(np.where(found > 0, found, 1.0), dtype=np.float64)


def independent(origins: Ints, steps: int) -> Floats:
    """How many forecasts (h,) of the steps 1 to h count as independent, of those made at these origins (k,).

    Errors of an s-step forecast at origins less than s apart share shocks (Diebold, Mariano 1995), so of all origins
    only so many count as fit side by side, s apart, into their span.
    """
    span = int(origins.max() - origins.min())
    return np.minimum(len(origins), 1 + span / np.arange(1, steps + 1))


def widths(residuals: Floats, origins: Ints, level: float = LEVEL) -> Floats:
    """Half widths (h,) of symmetric intervals from residuals (k, h) of origins (k,), NaN where there was no truth.

    Each step's residuals are divided by their root mean square (where fewer than 20 count as independent, over a sixth
    of the horizon to either side). Of all of them together two quantiles are taken, with n as `independent` counts it
    for the step, and the larger stands: that of split conformal prediction (Vovk, Gammerman, Shafer 2005; Lei et al.
    2018), the share level * (n + 1) / n, though no farther out than (1 + level) / 2, as there dependent residuals tell
    nothing; and that at `level`, wider by Student's t with n degrees of freedom over the normal quantile (the exact
    allowance for normal errors of unknown size). Widths never fall with the step, since what is farther off is not known
    better. Time series are not exchangeable, so the level is aimed at, not proven: coverage on gold_test is measured.
    """
    from scipy.stats import norm, t

    steps = residuals.shape[1]
    known = np.isfinite(residuals)
    if not known.any():
        return np.zeros(steps)
    n = independent(origins[known.any(axis=1)], steps)
    size = _sizes(residuals, np.where(n < _ENOUGH, max(1, steps // 6), 0))
    relative = np.sort(np.abs(residuals / np.where(size > 0, size, 1.0))[known])
    half = (1 + level) / 2
    far = _quantile(relative, np.minimum(level * (n + 1) / n, half))
    wide = _quantile(relative, np.full(steps, level)) * t.ppf(half, n) / norm.ppf(half)
    return np.asarray(np.maximum.accumulate(np.maximum(far, wide) * size), dtype=np.float64)


def _quantile(ascending: Floats, share: Floats) -> Floats:
    """The smallest values that at least these shares of all do not exceed; the allowance is for rounding alone."""
    rank = np.ceil(share * len(ascending) - 1e-9).astype(np.int64)
    return np.asarray(ascending[np.clip(rank, 1, len(ascending)) - 1])


def _sizes(residuals: Floats, beside: Ints) -> Floats:
    """Root mean squares (h,) over each step and `beside` (h,) more to either side, not falling; 0 where none is known."""
    known = np.isfinite(residuals)
    squares = np.where(known, residuals, 0.0) ** 2
    out = np.zeros(residuals.shape[1])
    for step, more in enumerate(beside):
        near = slice(max(0, step - more), step + more + 1)
        count = known[:, near].sum()
        out[step] = np.sqrt(squares[:, near].sum() / count) if count else 0.0
    return np.asarray(np.maximum.accumulate(out), dtype=np.float64)


def width_at(known: Floats, steps: Ints) -> Floats:
    """Half widths (n,) for 1-based steps; beyond the last known one they grow with the root of the step.

    As those of a random walk would: nothing was measured there.
    """
    last = len(known)
    inside = known[np.minimum(steps, last) - 1]
    return np.asarray(np.where(steps > last, inside * np.sqrt(steps / last), inside), dtype=np.float64)
