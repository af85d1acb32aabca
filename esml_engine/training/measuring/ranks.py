"""Rank metrics of weighted rows, exact: for bootstraps of few rows. Weights are (B, n): how often each row was drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from esml_engine.training.measuring.answers import Answers
from esml_engine.training.measuring.sums import two_classes

Floats = NDArray[np.float64]
Weighted = Callable[[Floats], Floats]


class _Order:
    """The order of n values, once for all weights."""

    def __init__(self, values: Floats) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        fresh = np.concatenate(([True], ordered[1:] != ordered[:-1]))
        self.last = np.append(np.flatnonzero(fresh)[1:], len(values)) - 1
        self.tie = np.empty(len(values), dtype=np.int64)
        self.tie[self.order] = np.cumsum(fresh) - 1

    def below(self, weights: Floats) -> Floats:
        """(B, n): the weight below each row's value, ties counting half."""
        upto = np.cumsum(weights[:, self.order], axis=1)[:, self.last]
        before = np.concatenate((np.zeros((len(weights), 1)), upto[:, :-1]), axis=1)
        return np.asarray(((before + upto) / 2)[:, self.tie])


def rank_metrics(answers: Answers) -> dict[str, Weighted]:
    """The task's rank metrics as functions of weights (B, n) to values (B,), NaN where undefined."""
    if answers.task == "regression":
        return {"spearman": _spearman(answers)}
    if answers.task == "classification":
        return {"auc": _auc(answers)}
    return {}


def _spearman(answers: Answers) -> Weighted:
    y, p = (_Order(np.asarray(v, dtype=np.float64)) for v in (answers.truth, answers.prediction))

    def of(w: Floats) -> Floats:
        n = w.sum(axis=1, keepdims=True)
        a, b = y.below(w), p.below(w)
        a, b = a - n / 2, b - n / 2  # a mid-rank's weighted mean is half the weight, whatever the ties
        with np.errstate(invalid="ignore", divide="ignore"):
            top = (w * a * b).sum(axis=1)
            return np.asarray(top / np.sqrt((w * a * a).sum(axis=1) * (w * b * b).sum(axis=1)))

    return of


def _auc(answers: Answers) -> Weighted:
    assert answers.probability is not None
    k = answers.probability.shape[1]
    places = [1] if two_classes(answers) else [*range(k), -1]
    zeros = np.zeros(answers.rows)
    orders = {c: _Order(answers.probability[:, c] if c >= 0 else zeros) for c in places}

    def of(w: Floats) -> Floats:
        total, weight = np.zeros(len(w)), np.zeros(len(w))
        for c, order in orders.items():
            own = answers.truth == c
            ones, others = w[:, own].sum(axis=1), w[:, ~own].sum(axis=1)
            if not own.any() or own.all():
                continue
            pairs = (w[:, own] * order.below(np.where(own, 0.0, w))[:, own]).sum(axis=1)
            fine = (ones > 0) & (others > 0)
            value = np.divide(pairs, ones * others, out=np.zeros(len(w)), where=fine)
            total, weight = total + np.where(fine, ones * value, 0.0), weight + np.where(fine, ones, 0.0)
        return np.asarray(np.divide(total, weight, out=np.full(len(w), np.nan), where=weight > 0))

    return of
