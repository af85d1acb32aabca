"""Permutation importance: how much worse the model gets when one column is shuffled."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from esml_engine.training.measuring.metrics import loss_function
from esml_engine.training.models.class_model import EnsembleClassifier, EstimatorClassifier
from esml_engine.training.models.model import Predictor

Floats = NDArray[np.float64]

MOST_ROWS = 2_000
_ONE_CALL, _MOST_CELLS = 20_000, 4_000_000  # rows, and values: bounds what is held at once
_PATIENCE = 10.0  # seconds that one look at all columns may take in any case
_FEWEST_ROWS = 100


@dataclass(frozen=True)
class Importance:
    """Mean and standard deviation over the repeats of the loss gained by shuffling, in the metric's unit."""

    column: str
    importance: float
    std: float


def permutation_importance(
    model: Predictor,
    table: pa.Table,
    y: NDArray[Any],
    *,
    metric: str,
    seed: int,
    repeats: int = 5,
    seconds: float = 5.0,
) -> tuple[list[Importance], int]:
    """Importance of each feature on a sample of the rows, largest first, and how many rows were sampled.

    None is measured, on no rows, where the columns are so many that one look at all of them would take far too long.

    Source: Breiman 2001, "Random forests", in the model-agnostic form of Fisher, Rudin, Dominici 2019.

    Args:
        y: labels (n,), or places among the model's classes (-1: unknown).
        table: test rows; at most 2,000, drawn by `seed`, are used, fewer where prediction is slow.
        seconds: about how long it may take; whole repeats are left out, never single columns.
    """
    rng = np.random.default_rng(seed)
    loss = loss_function(metric)
    sample = np.sort(rng.permutation(len(y))[:MOST_ROWS])
    begun = time.monotonic()
    _said(model, table.take(pa.array(sample)))
    one = (time.monotonic() - begun) * len(model.features)
    if one > seconds:
        keep = max(_FEWEST_ROWS, int(len(sample) * seconds / one))
        sample = np.sort(rng.permutation(sample)[:keep])
    rows, truth = table.take(pa.array(sample)).select(model.features), y[sample]
    base = loss(truth, _said(model, rows))
    begun = time.monotonic()
    rounds: list[list[float]] = []
    for done in range(repeats):
        if done and (time.monotonic() - begun) * (done + 1) / done > seconds:
            break
        order = pa.array(rng.permutation(len(sample)))
        gained: list[float] = []
        for said in _shuffled(model, rows, order):
            gained.append(loss(truth, said) - base)
            pace = (time.monotonic() - begun) * len(model.features) / len(gained)
            if not done and len(gained) >= _several(rows) and pace > max(_PATIENCE, 4 * seconds):
                return [], 0
        rounds.append(gained)
    gains = np.array(rounds)
    found = [
        Importance(n, float(m), float(s))
        for n, m, s in zip(model.features, gains.mean(axis=0), gains.std(axis=0), strict=True)
        if np.isfinite(m)
    ]
    return sorted(found, key=lambda i: -i.importance), len(sample)


def _shuffled(model: Predictor, rows: pa.Table, order: pa.Array) -> Iterator[Floats]:
    """What the model says when one feature after the other stands in another order.

    Several features are asked about in one call: many rows are shared among threads, and each call costs.
    """
    names = list(model.features)
    several = _several(rows)
    for first in range(0, len(names), several):
        group = range(first, min(first + several, len(names)))
        mixed = [rows.set_column(i, rows.schema.field(i), rows.column(i).take(order)) for i in group]
        yield from np.split(_said(model, pa.concat_tables(mixed)), len(group))


def _several(rows: pa.Table) -> int:
    """How many features are asked about in one call."""
    n, columns = max(1, int(rows.num_rows)), max(1, int(rows.num_columns))
    return max(1, min(_ONE_CALL // n, _MOST_CELLS // (n * columns)))


def _said(model: Predictor, rows: pa.Table) -> Floats:
    """What the loss is made from: predictions (n,), or probabilities (n, k)."""
    if isinstance(model, EnsembleClassifier | EstimatorClassifier):
        return model.predict_proba(rows)
    return model.predict(rows)
