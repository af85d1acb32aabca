"""What a model said about rows whose truth is known: the one thing that metrics, gates and comparisons are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """Truth and answer of n rows, as arrays.

    Args:
        task: the model's task.
        truth: (n,) the label's values; for classification the place of the true class in `classes`, -1 for a class
            that the model does not know.
        prediction: (n,) the predicted values; for classification the place of the predicted class.
        probability: (n, k) for classification, else None.
        classes: names of the k classes.
        block: (n,) rows that stand or fall together (windows of a back-test); a bootstrap draws whole blocks. None:
            each row for itself.
        low, high: (n,) the prediction interval, where the model gives one.
        more: further arrays (n,) or numbers that the task's metrics need (forecasting: the scale of MASE).
    """

    task: str
    truth: NDArray[Any]
    prediction: NDArray[Any]
    probability: Floats | None = None
    classes: tuple[str, ...] = ()
    block: NDArray[Any] | None = None
    low: Floats | None = None
    high: Floats | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows were judged."""
        return len(self.truth)


def agreed(*given: Answers, more: Sequence[str] = ()) -> tuple[Answers, ...]:
    """Answers of classifiers to the same rows, told among the same classes: all that one of them, or `more`, knows.

    Measures of two classes are others than those of many: without this, a model that knows two is measured otherwise
    than one that knows three. Answers that know the same already, and those of other tasks, stay as they are.
    """
    first = given[0]
    names = tuple(dict.fromkeys([n for a in given for n in a.classes] + [*more]))
    if first.task != "classification" or all(len(a.classes) == len(names) for a in given):
        return given
    place = {n: i for i, n in enumerate(names)}
    truth = np.full(first.rows, -1, dtype=np.int64)
    told = []
    for a in given:
        here = np.array([*(place[n] for n in a.classes), -1], dtype=np.int64)
        truth = np.where(truth < 0, here[a.truth], truth)
        assert a.probability is not None
        wide = np.zeros((a.rows, len(names)))
        wide[:, here[:-1]] = a.probability
        told.append(replace(a, prediction=here[a.prediction], probability=wide, classes=names))
    return tuple(replace(a, truth=truth) for a in told)
