"""Prediction intervals from the errors of a back-test, one width a step."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEVEL = 0.8


def widths(residuals: Floats, level: float = LEVEL) -> Floats:
    """Half widths (h,) of symmetric intervals from residuals (k, h), NaN where there was no truth.

    Split conformal (Vovk, Gammerman, Shafer 2005; Lei et al. 2018): of k absolute residuals of a step the
    ceil((k + 1) * level)-th smallest. Where k is too few for that rank, the residuals of all steps up to this one are
    taken together; where those are too few as well, their largest. Widths never fall with the step, since what is
    farther off is not known better. Origins that overlap are not independent, so the level is aimed at, not proven.
    """
    size = np.abs(residuals)
    out = np.zeros(size.shape[1])
    for step in range(size.shape[1]):
        own = size[:, step]
        own = own[np.isfinite(own)]
        if math.ceil((len(own) + 1) * level) > len(own):
            own = size[:, : step + 1].ravel()
            own = own[np.isfinite(own)]
        if len(own):
            rank = min(len(own), math.ceil((len(own) + 1) * level))
            out[step] = np.sort(own)[rank - 1]
    return np.asarray(np.maximum.accumulate(out), dtype=np.float64)


def width_at(known: Floats, steps: NDArray[np.int64]) -> Floats:
    """Half widths (n,) for 1-based steps; beyond the last known one they grow with the root of the step.

    As those of a random walk would: nothing was measured there.
    """
    last = len(known)
    inside = known[np.minimum(steps, last) - 1]
    return np.asarray(np.where(steps > last, inside * np.sqrt(steps / last), inside), dtype=np.float64)
