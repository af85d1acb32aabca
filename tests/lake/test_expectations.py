"""Expectations: what passes, what fails and by how many rows."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from esml_engine.errors import ExpectationError, SettingsError
from esml_engine.lake.expectations import check

ROWS = "SELECT * FROM (VALUES (1, 'a', 1.0), (2, 'b', 'nan'::DOUBLE), (2, NULL, NULL), (NULL, 'c', 9.0)) t(n, s, x)"


def result(skip: str | None = None, **spec: Any) -> dict[str, Any]:
    con = duckdb.connect()
    (found,) = check(con, con.sql(ROWS), [{"level": "warn", **spec}], layer="ds/silver", skip_column=skip)
    return found


@pytest.mark.parametrize(
    "spec, failed",
    [
        ({"check": "not_null", "column": "n"}, 1),
        ({"check": "not_null", "column": "N"}, 1),
        ({"check": "unique", "column": "n"}, 2),
        ({"check": "unique", "column": "s"}, 0),
        ({"check": "in_range", "column": "n", "min": 1, "max": 2}, 0),
        ({"check": "in_range", "column": "n", "min": 2}, 1),
        ({"check": "in_range", "column": "x", "min": 0}, 1),
        ({"check": "in_range", "column": "x", "max": 5.5}, 2),
        ({"check": "in_set", "column": "s", "values": ["a", "b"]}, 1),
        ({"check": "in_set", "column": "n", "values": [1, 2]}, 0),
        ({"check": "in_set", "column": "n", "values": []}, 3),
        ({"check": "regex", "column": "s", "pattern": "[ab]"}, 1),
        ({"check": "not_null", "column": "nope"}, 4),
    ],
)
def test_failing_rows_are_counted(spec: dict[str, Any], failed: int) -> None:
    found = result(**spec)
    assert (found["failed_rows"], found["rows"], found["passed"]) == (failed, 4, failed == 0)
    assert found["message"]


def test_row_count() -> None:
    assert result(check="row_count", min=1, max=4)["passed"]
    assert result(check="row_count", min=5)["message"] == "4 rows, expected at least 5"


def test_a_comparison_that_makes_no_sense_fails_and_says_so() -> None:
    found = result(check="in_range", column="n", min="abc")
    assert found["passed"] is False and "can't be compared" in found["message"]


def test_the_label_is_skipped_and_said_to_be() -> None:
    found = result(skip="y", check="not_null", column="y", level="error")
    assert found["passed"] is None and "skipped" in found["message"]


def test_an_error_stops_and_names_every_failure() -> None:
    con = duckdb.connect()
    specs = [
        {"check": "not_null", "column": "n"},
        {"check": "unique", "column": "n"},
        {"check": "not_null", "column": "s", "level": "warn"},
    ]
    with pytest.raises(ExpectationError, match="n: 1 of 4 rows null; n: 2 of 4 rows not unique") as caught:
        check(con, con.sql(ROWS), specs, layer="ds/silver")
    assert len(caught.value.details["quality"]) == 3


@pytest.mark.parametrize(
    "spec",
    [
        {"check": "nice", "column": "n"},
        {"check": "in_range", "column": "n"},
        {"check": "not_null"},
        {"check": "unique", "column": "n", "level": "fatal"},
    ],
)
def test_incomplete_specifications(spec: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        result(**spec)
