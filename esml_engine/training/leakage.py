"""Columns that give the label away: the label under another name or scale, or one that determines it alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from esml_engine.training.preparing import factors_of, kind_of, numbers_of, type_name

Floats = NDArray[np.float64]

_LINE = 1 - 1e-9
_DETERMINES = 0.999
_FEWEST = 20


@dataclass(frozen=True)
class Leak:
    """One suspicious column. `kind`: equal, scaled (a straight line of the label), determines.

    `strength`: the share of the label's variance that the column explains by itself (0 to 1).
    """

    column: str
    kind: str
    strength: float
    message: str


def leaks(table: pa.Table, y: Floats, *, leave_out: Iterable[str] = ()) -> list[Leak]:
    """Suspicious feature columns of the training rows, in column order.

    A numeric column determines the label when each row's label is the mean of those of its two neighbours in the
    column's order (R² above 0.999, each row left out of its own guess); a column with repeating values when rows
    that share a value share the label. Columns with fewer than 20 known values are passed over.
    """
    out = set(leave_out)
    if len(y) < _FEWEST or np.ptp(y) == 0:
        return []
    found = [_leak(n, table.column(n), y) for n in table.column_names if n not in out]
    return [leak for leak in found if leak is not None]


def _leak(name: str, column: pa.ChunkedArray, y: Floats) -> Leak | None:
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
        strength = _by_neighbours(values, truth)
        if strength > _DETERMINES:
            return Leak(
                name,
                "determines",
                strength,
                f"column '{name}' determines the label alone (R² {strength:.4f})",
            )
    strength = _by_group(values, truth)
    if strength > _DETERMINES:
        return Leak(
            name,
            "determines",
            strength,
            f"the values of column '{name}' determine the label alone (R² {strength:.4f})",
        )
    return None


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
