"""The trivial baseline that every model is shown beside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import NotYetError
from esml_engine.training.metrics import Metrics, classification_metrics, regression_metrics


def baseline_metrics(task: str, y_train: NDArray[Any], y_test: NDArray[Any]) -> Metrics:
    """Metrics of one answer for every test row, made from the training labels alone.

    Regression: their mean. Classification: their most frequent class (the first of equal ones), with the frequencies
    as probabilities; labels are places among the classes of the training rows then, -1 for another class.

    Raises:
        NotYetError: another task.
    """
    if task == "regression":
        return regression_metrics(y_test, np.full(len(y_test), float(np.mean(y_train))))
    if task == "classification":
        shares = np.bincount(y_train) / len(y_train)
        answer = np.full(len(y_test), int(shares.argmax()))
        return classification_metrics(y_test, answer, np.tile(shares, (len(y_test), 1)))
    raise NotYetError(f"the baseline of task '{task}' is not built yet")
