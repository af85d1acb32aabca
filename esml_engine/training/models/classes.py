"""The classes of a label: texts, whole numbers or booleans, in sorted order, and the places of rows among them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import UsageError
from esml_engine.training.models.preparing import type_name

if TYPE_CHECKING:
    import pyarrow as pa

Label = str | int | bool
Floats = NDArray[np.float64]
Places = NDArray[np.int64]

MOST_CLASSES = 100


@dataclass(frozen=True)
class Classes:
    """The k classes that a model knows, sorted (False before True, numbers by value, texts by code point).

    Of two classes the second is the positive one. Empty for tasks without classes.
    """

    values: tuple[Label, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes as text: what probabilities and the confusion matrix are named by."""
        return tuple(name_of(v) for v in self.values)

    def labels(self, places: Places) -> NDArray[Any]:
        """The classes (n,) at these places: an integer, boolean or object array."""
        kind = object if isinstance(self.values[0], str) else None
        taken: NDArray[Any] = np.array(self.values, dtype=kind)[places]
        return taken

    def places(self, values: Iterable[Any]) -> Places:
        """The place (n,) of each label; -1 for one that is not among the classes."""
        known: Mapping[Any, int] = {v: i for i, v in enumerate(self.values)}
        return np.array([known.get(v, -1) for v in values], dtype=np.int64)


def name_of(value: Label) -> str:
    """A class as text; booleans as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def classes_of(tables: Sequence[pa.Table], label: str) -> Classes:
    """The distinct labels of some tables' rows.

    Raises:
        UsageError: no such column, a label that is no class (a fraction, a date), fewer than two classes or more than
            100, or two that differ in upper and lower case alone (they would share one column of `scored`).
    """
    found: set[Label] = set()
    for table in tables:
        found.update(v for v in _column(table, label).unique().to_pylist() if v is not None)
    said = ", ".join(repr(v) for v in list(found)[:3])
    if len(found) < 2:
        raise UsageError(
            f"the label '{label}' has {said or 'no value'} only; classification needs two classes"
        )
    if len(found) > MOST_CLASSES:
        raise UsageError(
            f"the label '{label}' has {len(found)} classes, at most {MOST_CLASSES} can be learned",
            hint='join rare ones in a step, or set task = "regression"',
        )
    classes = Classes(tuple(sorted(found)))
    twice = [n for n, count in Counter(n.casefold() for n in classes.names).items() if count > 1]
    if twice:
        raise UsageError(
            f"classes of the label '{label}' differ in upper and lower case alone: {twice[0]}",
            hint="write them alike in a step",
        )
    return classes


def places_of(table: pa.Table, label: str, classes: Classes) -> tuple[pa.Table, Places]:
    """Rows whose label is known, and the places (n,) of their labels; -1 for a class that is not among `classes`.

    Raises:
        UsageError: no such column, no row has a label, or the labels are of another kind than the classes.
    """
    column = _column(table, label)
    if column.null_count == len(column):
        raise UsageError(f"no row has a value in the label '{label}'")
    if column.null_count:
        known = column.is_valid()
        table, column = table.filter(known), column.filter(known)
    coded = column.combine_chunks().dictionary_encode()
    distinct = coded.dictionary.to_pylist()
    given, wanted = type(distinct[0]), type(classes.values[0])
    if given is not wanted:
        raise UsageError(f"the label '{label}' holds {_KIND[given]}, the model's classes are {_KIND[wanted]}")
    return table, classes.places(distinct)[coded.indices.to_numpy(zero_copy_only=False)]


_KIND = {str: "texts", int: "whole numbers", bool: "true and false"}


def _column(table: pa.Table, label: str) -> pa.ChunkedArray:
    """The label as text, int64 or bool; NaN as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if label not in table.column_names:
        raise UsageError(f"the label '{label}' is no column of the table")
    column = table.column(label)
    kind = type_name(column.type)
    if kind == "string":
        return column.cast(pa.string())
    if kind == "bool":
        return column
    if kind.startswith(("int", "uint")):
        return column.cast(pa.int64())
    if kind.startswith(("double", "float", "halffloat", "decimal")):
        # a gap turns a whole column of numbers into floats in many a tool
        numbers = pc.cast(column, pa.float64())
        numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
        if all(v is None or (math.isfinite(v) and v == math.floor(v)) for v in numbers.unique().to_pylist()):
            return numbers.cast(pa.int64())
    raise UsageError(
        f"the label '{label}' is {kind}; classes are texts, whole numbers or true and false",
        hint='set task = "regression" for a number',
    )
