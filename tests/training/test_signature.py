"""Values from callers: accepted ones become plain, others are named by column and row."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from esml_engine.errors import UsageError
from esml_engine.training.models.signature import coerce

SIGNATURE = [
    {"name": "age", "type": "double"},
    {"name": "n", "type": "int64"},
    {"name": "city", "type": "string"},
    {"name": "ok", "type": "bool"},
    {"name": "at", "type": "timestamp[us]"},
    {"name": "void", "type": "null"},
]
ROW = {"age": 1.5, "n": 2, "city": "a", "ok": True, "at": "2026-01-31T10:00:00", "void": None}


def columns(**change: Any) -> dict[str, list[Any]]:
    return {k: [v] for k, v in {**ROW, **change}.items()}


@pytest.mark.parametrize(
    ("column", "given", "plain"),
    [
        ("age", 3, 3.0),
        ("age", np.float32(0.5), 0.5),
        ("age", np.int64(4), 4.0),
        ("age", Decimal("2.5"), 2.5),
        ("age", float("nan"), None),
        ("age", float("inf"), None),
        ("age", pd.NA, None),
        ("n", 3.0, 3.0),
        ("city", None, None),
        ("city", float("nan"), None),
        ("ok", np.bool_(False), 0.0),
        ("ok", 1, 1.0),
        ("at", dt.date(2026, 1, 31), dt.datetime(2026, 1, 31)),
        ("at", "2026-01-31T12:00:00+02:00", dt.datetime(2026, 1, 31, 10)),
        ("at", pd.Timestamp("2026-01-31"), dt.datetime(2026, 1, 31)),
        ("at", pd.NaT, None),
        ("void", "whatever", None),
    ],
)
def test_accepted(column: str, given: Any, plain: Any) -> None:
    assert coerce(SIGNATURE, columns(**{column: given}))[column] == [plain]


@pytest.mark.parametrize(
    ("column", "given", "says"),
    [
        ("age", "abc", "column 'age': 'abc' is not a number (row 0)"),
        ("age", True, "column 'age': True is not a number (row 0)"),
        ("age", [1], "column 'age': [1] is not a number (row 0)"),
        ("n", 1.5, "column 'n': 1.5 is not a whole number (row 0)"),
        ("n", float("inf"), "column 'n': inf is not a whole number (row 0)"),
        ("n", 10**30, "is not a whole number (row 0)"),
        ("city", 5, "column 'city': 5 is not a text (row 0)"),
        ("ok", "yes", "column 'ok': 'yes' is not true or false (row 0)"),
        ("at", "soon", "column 'at': 'soon' is not a date or time (row 0)"),
        ("at", 5, "column 'at': 5 is not a date or time (row 0)"),
        ("age", 10**400, "is not a number (row 0)"),
    ],
)
def test_refused(column: str, given: Any, says: str) -> None:
    with pytest.raises(UsageError) as e:
        coerce(SIGNATURE, columns(**{column: given}))
    assert says in e.value.message


def test_the_row_is_named() -> None:
    with pytest.raises(UsageError, match=r"\(row 2\)"):
        coerce([{"name": "a", "type": "double"}], {"a": [1, None, "x"]})


def test_missing_unknown_and_uneven_columns() -> None:
    with pytest.raises(UsageError, match="column 'city' is missing"):
        coerce(SIGNATURE, {k: v for k, v in columns().items() if k != "city"})
    with pytest.raises(UsageError, match="column 'extra' is unknown"):
        coerce(SIGNATURE, columns(extra=1))
    with pytest.raises(UsageError, match="column 'n' has 2 values, column 'age' has 1"):
        coerce(SIGNATURE, {**columns(), "n": [1, 2]})


def test_it_is_idempotent() -> None:
    once = coerce(SIGNATURE, columns())
    assert coerce(SIGNATURE, once) == once
