"""The trivial baseline that every model is shown beside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import NotYetError
from esml_engine.training.measuring.metrics import Metrics, classification_metrics, regression_metrics


def baseline_metrics(task: str, y_train: NDArray[Any], y_test: NDArray[Any], among: int = 0) -> Metrics:
    """Metrics of one answer for every test row, made from the training labels alone.

    Regression: their mean. Classification: their most frequent class (the first of equal ones), with the frequencies
    as probabilities; labels are places among the classes of the training rows then, -1 for another class. `among`: how
    many classes the models that it is shown beside know, where that is more.

    Raises:
        NotYetError: another task.
    """
    if task == "regression":
        return regression_metrics(y_test, np.full(len(y_test), float(np.mean(y_train))))
    if task == "classification":
        return classification_metrics(y_test, *most_frequent(y_train, len(y_test), among))
    raise NotYetError(f"the baseline of task '{task}' is not built yet")


def most_frequent(
    y_train: NDArray[Any], rows: int, among: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The place (rows,) of the most frequent class of `y_train`, and the shares (rows, k) of at least `among` classes."""
    shares = np.bincount(y_train, minlength=among) / len(y_train)
    return np.full(rows, int(shares.argmax())), np.tile(shares, (rows, 1))
