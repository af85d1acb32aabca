"""The bootstrap of one model's metrics, and the paired one of the difference between two on the same rows.

Up to `UNITS` rows (or blocks) are drawn one by one, with replacement (Efron 1979). More rows are first dealt at random
into `UNITS` cells of equal size, and cells are drawn: a mean's variance over cells is its variance over rows, estimated
with a relative error of sqrt(2 / UNITS), 2 % at 4,000 (the interval's width: 1 %). Both models see the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.training.facts import DIRECTION, RESAMPLES
from esml_engine.training.measuring.answers import Answers
from esml_engine.training.measuring.ranks import rank_metrics
from esml_engine.training.measuring.sums import RANK_METRICS, Summed, summed

Floats = NDArray[np.float64]

SEED = 20_101
UNITS = 4_000
EXACT_RANKS = 1_000  # rows × classes up to which rank metrics are resampled exactly
BINS = 40
LEVEL = 0.95
_BLOCK = 4_000_000  # counts in memory at a time
_LEAST_UNITS = 5  # fewer say nothing about chance
_UNDEFINED = 0.05  # of the resamples, at most
_AGREE = 1e-9


def differences(
    challenger: Answers,
    champion: Answers,
    metrics: tuple[Mapping[str, float | None], Mapping[str, float | None]],
    *,
    primary: str,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """Intervals of challenger − champion for each metric, turned so that positive = better.

    Args:
        challenger, champion: their answers to the same rows, in the same order.
        metrics: both models' values as `metrics_of` gave them; a metric that the sums here don't reproduce gets no
            interval (its definition is another one).

    Returns:
        `{"intervals": {metric: [low, high]}, "method": {metric: plain|cells|projection}, "units", "unit", "resamples",
        "level", "seed", "without": {metric: reason}, "distribution": {"metric", "edges" (41), "counts" (40)} or None}`.
    """
    n = challenger.rows
    unit, of_row, count = _units(n, challenger.block, seed)
    classes = max(len(challenger.classes), len(champion.classes), 1)
    exact = n * classes <= EXACT_RANKS
    both = [summed(a, ranks=not exact) for a in (challenger, champion)]
    weighted = [rank_metrics(a) if exact else {} for a in (challenger, champion)]
    without: dict[str, str] = {}
    wanted = []
    for m in metrics[0]:
        reason = _unusable(m, both, weighted, metrics, n)
        if count < _LEAST_UNITS:
            reason = reason or f"{count} {unit}s are too few for an interval"
        if reason:
            without[m] = reason
        else:
            wanted.append(m)
    values = _draw(both, weighted, wanted, of_row, count, resamples, seed)
    drawn = {m: DIRECTION[m] * (mine - theirs) for m, (mine, theirs) in values.items()}
    intervals: dict[str, list[float]] = {}
    for m, gains in drawn.items():
        middle, reason = _middle(gains)
        if middle is None:
            without[m] = reason
        else:
            intervals[m] = middle
    method = {m: _method(m, unit, exact) for m in intervals}
    return {
        "intervals": intervals, "method": method, "units": count, "unit": unit, "resamples": resamples, "level": LEVEL,
        "seed": seed,
        "without": without, "distribution": _histogram(primary, drawn.get(primary)),
    }  # fmt: skip


def intervals_of(
    answers: Answers, metrics: Mapping[str, float | None], *, resamples: int = 1_000, seed: int = SEED
) -> dict[str, list[float]]:
    """95 % intervals of one model's metrics on its rows: `{metric: [low, high]}`; a metric for which none can be said is left out."""
    n = answers.rows
    _, of_row, count = _units(n, answers.block, seed)
    if count < _LEAST_UNITS:
        return {}
    exact = n * max(len(answers.classes), 1) <= EXACT_RANKS
    made, weighted = [summed(answers, ranks=not exact)], [rank_metrics(answers) if exact else {}]
    wanted = [m for m in metrics if not _unusable(m, made, weighted, (metrics,), n)]
    values = _draw(made, weighted, wanted, of_row, count, resamples, seed)
    found = {m: _middle(v[0])[0] for m, v in values.items()}
    return {m: i for m, i in found.items() if i is not None}


def _middle(values: Floats) -> tuple[list[float] | None, str]:
    """The percentile interval of resampled values, or why there is none."""
    tail = (1 - LEVEL) / 2 * 100
    fine = values[np.isfinite(values)]
    if len(fine) < (1 - _UNDEFINED) * len(values):
        return None, f"undefined in {len(values) - len(fine)} of {len(values)} resamples"
    return [float(v) for v in np.percentile(fine, [tail, 100 - tail])], ""


def _method(metric: str, unit: str, exact: bool) -> str:
    if metric in RANK_METRICS and not exact:
        return "projection"
    return "cells" if unit == "cell" else "plain"


def _units(n: int, block: NDArray[Any] | None, seed: int) -> tuple[str, NDArray[np.int64], int]:
    """What is drawn (row, block or cell), the unit of each row (n,), and how many there are."""
    if block is None:
        name, of_row, count = "row", np.arange(n), n
    else:
        _, of_row = np.unique(np.asarray(block), return_inverse=True)
        name, count = "block", int(of_row.max(initial=-1)) + 1
    if count <= UNITS:
        return name, of_row.astype(np.int64), count
    cell = np.random.default_rng(seed + 1).permutation(count) % UNITS
    return "cell", cell[of_row], UNITS


def _unusable(
    metric: str,
    both: list[Summed],
    weighted: list[dict[str, Any]],
    metrics: Sequence[Mapping[str, float | None]],
    n: int,
) -> str:
    if metric not in DIRECTION:
        return "its direction is not known"
    for made, exact, said in zip(both, weighted, metrics, strict=True):
        value = said.get(metric)
        if value is None:
            return "undefined on these rows"
        if metric in exact:
            mine = float(exact[metric](np.ones((1, n)))[0])
        elif metric in made.metrics:
            mine = float(made.metrics[metric]({k: np.array([c.sum()]) for k, c in made.columns.items()})[0])
        else:
            return "no bootstrap is known for it"
        if not abs(mine - value) <= _AGREE * max(1.0, abs(value)):
            return f"its bootstrap computes {mine:.6g} where the metric is {value:.6g}"
    return ""


def _draw(
    both: list[Summed],
    weighted: list[dict[str, Any]],
    wanted: list[str],
    of_row: NDArray[np.int64],
    count: int,
    resamples: int,
    seed: int,
) -> dict[str, list[Floats]]:
    """Resampled values (resamples,) of each metric, one array a model; all models see the same draws."""
    tables = [
        np.stack([np.bincount(of_row, weights=c, minlength=count) for c in made.columns.values()], axis=1)
        for made in both
    ]
    out: dict[str, list[list[Floats]]] = {m: [[] for _ in both] for m in wanted}
    for counts in _counts(count, resamples, seed) if wanted else ():
        drawn = [
            dict(zip(made.columns, (counts @ table).T, strict=True))
            for made, table in zip(both, tables, strict=True)
        ]
        rows = counts[:, of_row] if any(weighted) else counts
        for m in wanted:
            for parts, made, exact, sums in zip(out[m], both, weighted, drawn, strict=True):
                parts.append(exact[m](rows) if m in exact else made.metrics[m](sums))
    return {m: [np.concatenate(p) for p in parts] for m, parts in out.items() if parts[0]}


def _counts(count: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each unit was drawn, (b, count) at a time, `resamples` rows in all."""
    rng = np.random.default_rng(seed)
    size = max(1, _BLOCK // max(1, count))
    for start in range(0, resamples, size):
        b = min(size, resamples - start)
        picks = rng.integers(0, count, size=(b, count), dtype=np.int64)
        picks += np.arange(b)[:, None] * count
        yield np.bincount(picks.ravel(), minlength=b * count).reshape(b, count).astype(np.float64)


def _histogram(metric: str, values: Floats | None) -> dict[str, Any] | None:
    if values is None or not np.isfinite(values).any():
        return None
    counts, edges = np.histogram(values[np.isfinite(values)], bins=BINS)
    return {"metric": metric, "edges": [float(e) for e in edges], "counts": [int(c) for c in counts]}
