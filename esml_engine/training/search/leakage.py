"""Columns that give the label away: the label under another name or scale, or one that determines it alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from esml_engine.training.models.preparing import factors_of, kind_of, numbers_of, type_name

Floats = NDArray[np.float64]

_LINE = 1 - 1e-9
_DETERMINES = 0.999
_FEWEST = 20
_FEWEST_OTHERS = 10


@dataclass(frozen=True)
class Leak:
    """One suspicious column. `kind`: equal, scaled (a straight line of the label), determines.

    `strength`: the share of the label's variance that the column explains by itself (0 to 1); for classes the share
    of the rows outside the most frequent class that it tells.
    """

    column: str
    kind: str
    strength: float
    message: str


def leaks(table: pa.Table, y: Floats, *, leave_out: Iterable[str] = (), classes: bool = False) -> list[Leak]:
    """Suspicious feature columns of the training rows, in column order.

    A numeric column determines the label when each row's label is the mean of those of its two neighbours in the
    column's order (R² above 0.999, each row left out of its own guess); a column with repeating values when rows
    that share a value share the label. Columns with fewer than 20 known values are passed over.

    Args:
        y: labels (n,), or with `classes` their places. A numeric column determines those when in its order each class
            is one unbroken stretch, with at least ten rows outside the most frequent class.
    """
    out = set(leave_out)
    if len(y) < _FEWEST or np.ptp(y) == 0:
        return []
    found = [_leak(n, table.column(n), y, classes) for n in table.column_names if n not in out]
    return [leak for leak in found if leak is not None]


def _leak(name: str, column: pa.ChunkedArray, y: Floats, classes: bool) -> Leak | None:
    kind = kind_of(type_name(column.type))
    if kind == "category":
        index, _ = factors_of(column)
        known = index >= 0
        values = index.astype(np.float64)
    elif kind in ("number", "date"):
        values = numbers_of(column if kind == "number" else column.cast(pa.timestamp("us")).cast(pa.int64()))[
            :, 0
        ]
        known = np.isfinite(values)
    else:
        return None
    values, truth = values[known], y[known]
    if len(truth) < _FEWEST or np.ptp(values) == 0 or np.ptp(truth) == 0:
        return None
    if kind != "category":
        if np.array_equal(values, truth):
            return Leak(name, "equal", 1.0, f"column '{name}' equals the label in every row")
        line = float(np.corrcoef(values, truth)[0, 1]) ** 2
        if line > _LINE:
            return Leak(name, "scaled", line, f"column '{name}' is the label on another scale")
        strength = (_by_stretches if classes else _by_neighbours)(values, truth)
        if strength > _DETERMINES:
            said = f"column '{name}' determines the label alone ({_by(classes)} {strength:.4f})"
            return Leak(name, "determines", strength, said)
    strength = _by_group(values, truth)
    if strength > _DETERMINES:
        said = f"the values of column '{name}' determine the label alone ({_by(classes)} {strength:.4f})"
        return Leak(name, "determines", strength, said)
    return None


def _by(classes: bool) -> str:
    return "share told" if classes else "R²"


def _by_stretches(values: Floats, y: Floats) -> float:
    """Share of the rows outside the most frequent class that are told when every class is one stretch of the values.

    0 where fewer than ten rows are outside: so few lie side by side by chance.
    """
    _, place = np.unique(y, return_inverse=True)
    distinct, index = np.unique(values, return_inverse=True)
    counts = np.zeros((len(distinct), int(place.max()) + 1))
    np.add.at(counts, (index, place), 1)
    others = len(y) - counts.sum(axis=0).max()
    if others < _FEWEST_OTHERS:
        return 0.0
    mixed = len(y) - counts.max(axis=1).sum()
    breaks = np.count_nonzero(np.diff(counts.argmax(axis=1))) - (counts.shape[1] - 1)
    return float(1 - (mixed + max(0, breaks)) / others)


def _by_neighbours(values: Floats, y: Floats) -> float:
    """R² of guessing each label as the line between its two neighbours; the ends are left out."""
    order = np.argsort(values, kind="stable")
    x, t = values[order], y[order]
    span = x[2:] - x[:-2]
    part = np.where(span > 0, (x[1:-1] - x[:-2]) / np.where(span > 0, span, 1.0), 0.5)
    return _r2(t[1:-1], t[:-2] + part * (t[2:] - t[:-2]))


def _by_group(values: Floats, y: Floats) -> float:
    """R² of guessing each label as the mean of the other rows with the same value; 0 where values hardly repeat."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared = counts[index] > 1
    if shared.mean() < 0.5:
        return 0.0
    sums = np.bincount(index, weights=y)
    others = (sums[index] - y)[shared] / (counts[index] - 1)[shared]
    return _r2(y[shared], others)


def _r2(y: Floats, guess: Floats) -> float:
    total = float(np.sum((y - y.mean()) ** 2))
    return 0.0 if total == 0 else 1.0 - float(np.sum((y - guess) ** 2)) / total
