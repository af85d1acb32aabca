"""The trivial baseline that every model is shown beside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import NotYetError
from esml_engine.training.metrics import Metrics, regression_metrics

Floats = NDArray[np.float64]


def baseline_metrics(task: str, y_train: Floats, y_test: Floats) -> Metrics:
    """Metrics of always answering the training labels' mean, on the test rows.

    Raises:
        NotYetError: another task than regression.
    """
    if task != "regression":
        raise NotYetError(f"the baseline of task '{task}' is not built yet")
    return regression_metrics(y_test, np.full(len(y_test), float(np.mean(y_train))))
