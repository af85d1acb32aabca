"""The label of a table's rows, where it is known: numbers, or the places of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from esml_engine.errors import UsageError
from esml_engine.training.models.classes import Classes, places_of
from esml_engine.training.models.preparing import kind_of, numbers_of, type_name

Floats = NDArray[np.float64]


def labels(table: pa.Table, label: str) -> tuple[pa.Table, Floats]:
    """Rows whose label is known, and the labels (n,) as numbers.

    Raises:
        UsageError: there is no such column, it is no number, or no row has a label.
    """
    if label not in table.column_names:
        raise UsageError(f"the label '{label}' is no column of the table")
    column = table.column(label)
    if kind_of(type_name(column.type)) != "number":
        raise UsageError(f"the label '{label}' is {type_name(column.type)}; regression needs numbers")
    y = numbers_of(column)[:, 0]
    known = np.isfinite(y)
    if not known.any():
        raise UsageError(f"no row has a value in the label '{label}'")
    return (table if known.all() else table.filter(pa.array(known))), y[known]


def known_rows(table: pa.Table, label: str, classes: Classes) -> tuple[pa.Table, NDArray[Any]]:
    """Rows whose label is known, with their labels (n,): numbers, or places among the classes where there are any.

    Raises:
        UsageError: as `labels` and `places_of`.
    """
    return places_of(table, label, classes) if classes else labels(table, label)
