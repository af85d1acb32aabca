"""Weights for an ensemble from predictions that no member made on rows it had learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.training.measuring.metrics import Loss

Floats = NDArray[np.float64]

_ROUNDS = 40
_LEAST_WEIGHT = 0.05
_LEAST_GAIN = 1e-4
_MOST_ROWS = 20_000


def greedy_weights(predictions: Floats, y: NDArray[Any], loss: Loss, seed: int = 0) -> Floats:
    """Weights (m,) that sum to 1, by greedy forward selection with replacement.

    Source: Caruana, Niculescu-Mizil, Crew, Ksikes 2004, "Ensemble selection from libraries of models": begin with
    the best member, again and again add the one that lowers the loss of the mean most, and stop when none does.
    Members that end below 5 % are dropped, since each costs time at every prediction.

    Args:
        predictions: held-out predictions (m, n), or probabilities (m, n, k).
        y: labels (n,), or places of classes. Above 20,000 rows a sample (by `seed`) decides.
    """
    count, rows = predictions.shape[:2]
    if rows > _MOST_ROWS:
        some = np.sort(np.random.default_rng(seed).choice(rows, _MOST_ROWS, replace=False))
        predictions, y = predictions[:, some], y[some]
    single = [loss(y, p) for p in predictions]
    first = int(np.argmin(single))
    picks = np.zeros(count)
    picks[first] = 1
    total, best = predictions[first].copy(), single[first]
    for size in range(2, _ROUNDS + 1):
        tried = [loss(y, (total + p) / size) for p in predictions]
        at = int(np.argmin(tried))
        if not tried[at] < best - _LEAST_GAIN * abs(best):
            # one pick that does not help may be the way to two that do, but not at the price of a slower model
            break
        picks[at] += 1
        total, best = total + predictions[at], tried[at]
    weights = picks / picks.sum()
    weights[weights < _LEAST_WEIGHT] = 0.0
    return np.asarray(weights / weights.sum())
