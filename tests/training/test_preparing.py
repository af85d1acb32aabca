"""Columns to numbers: one row and many give the same, and nothing unusual breaks it."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esml_engine.errors import UsageError
from esml_engine.training.models.preparing import DATE_PARTS, Encoder, Preparing, fit_preparing
from esml_engine.training.models.signature import coerce

N = 40


def mixed() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": pd.array([None if i % 7 == 0 else i for i in range(N)], dtype="Int64"),
            "size": rng.normal(size=N),
            "city": pd.Series(["a", "b", None, "c"] * (N // 4), dtype="str"),
            "grade": pd.Categorical(["low", "high"] * (N // 2)),
            "ok": [True, False] * (N // 2),
            "at": pd.date_range("2025-12-30 21:15", periods=N, freq="7h"),
            "zoned": pd.date_range("2026-01-01", periods=N, freq="D", tz="Europe/Berlin"),
            "day": [dt.date(2024, 2, 28) + dt.timedelta(days=i) for i in range(N)],
            "price": [Decimal(i) / 4 for i in range(N)],
            "nothing": [None] * N,
            "blank": np.full(N, np.nan),
            "flat": np.ones(N),
            "key": np.arange(N),
            "y": rng.normal(size=N),
        }
    )
    return frame


@pytest.fixture(scope="module")
def prepared() -> Preparing:
    frame = mixed()
    return fit_preparing(frame, frame["y"].to_numpy(), leave_out=["y", "key"])


def test_label_and_key_are_no_features(prepared: Preparing) -> None:
    names = [c["name"] for c in prepared.signature]
    assert "y" not in names and "key" not in names
    types = {c["name"]: c["type"] for c in prepared.signature}
    assert types["city"] == types["grade"] == "string"
    assert types["age"] == "int64" and types["ok"] == "bool" and types["nothing"] == "null"


def test_it_survives_json(prepared: Preparing) -> None:
    again = Preparing.from_json(json.loads(json.dumps(prepared.to_json(), allow_nan=False)))
    assert again == prepared


def test_matrices_are_finite_where_they_must_be(prepared: Preparing) -> None:
    encoder, frame = Encoder(prepared), mixed()
    codes = encoder.codes(frame)
    assert codes.shape == (N, 6 * 3 + 7) and np.isnan(codes).any()
    assert np.isfinite(encoder.filled(codes)).all() and np.isfinite(encoder.scaled(codes)).all()
    again = encoder.codes(pa.Table.from_pandas(frame, preserve_index=False))
    np.testing.assert_array_equal(codes, again)


def test_rows_and_tables_give_the_same_codes(prepared: Preparing) -> None:
    encoder = Encoder(prepared)
    table = pa.Table.from_pandas(mixed(), preserve_index=False).select([c.name for c in prepared.columns])
    plain = coerce(prepared.signature, {n: table.column(n).to_pylist() for n in table.column_names})
    np.testing.assert_array_equal(encoder.codes_of_rows(plain, N), encoder.codes(table))


WHEN = st.datetimes(min_value=dt.datetime(1900, 1, 1), max_value=dt.datetime(2200, 1, 1))


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**53), 2**53),
            st.none() | st.sampled_from("abxyz"),
            st.none() | WHEN,
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_any_row_and_table_agree(rows: list[tuple[Any, ...]]) -> None:
    frame = mixed()[["age", "city", "at", "ok"]]
    prepared = fit_preparing(frame, np.arange(N, dtype=np.float64))
    encoder = Encoder(prepared)
    types = [pa.int64(), pa.string(), pa.timestamp("us"), pa.bool_()]
    columns = {n: [r[i] for r in rows] for i, n in enumerate(frame.columns)}
    table = pa.table({n: pa.array(columns[n], t) for n, t in zip(columns, types, strict=True)})
    few = encoder.codes_of_rows(coerce(prepared.signature, columns), len(rows))
    np.testing.assert_array_equal(few, encoder.codes(table))


def test_dates_are_expanded() -> None:
    frame = pd.DataFrame({"at": pd.to_datetime(["1970-01-02 06:00", "2026-11-24 17:30"])})
    codes = Encoder(fit_preparing(frame, np.array([0.0, 1.0]))).codes(frame)
    assert len(DATE_PARTS) == codes.shape[1]
    assert codes.tolist() == [[1970, 1, 2, 4, 6, 1.25], [2026, 11, 24, 1, 17, 20781 + 17.5 / 24]]


def test_categories_stand_in_the_order_of_the_label_and_the_unseen_between() -> None:
    frame = pd.DataFrame({"c": ["hi"] * 20 + ["lo"] * 20 + ["mid"] * 20 + ["once"]})
    y = np.array([9.0] * 20 + [1.0] * 20 + [5.0] * 20 + [5.1])
    prepared = fit_preparing(frame, y)
    assert prepared.columns[0].categories == ("lo", "mid", "hi"), "a single row must not make a category"
    codes = Encoder(prepared).codes(pd.DataFrame({"c": ["lo", "mid", "hi", "once", "never"]}))[:, 0]
    assert codes[0] < codes[1] < codes[2] and codes[3] == codes[4] and 0 < codes[3] < 2


def test_infinite_counts_as_null_and_a_new_null_takes_the_median() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, np.inf], "b": [1.0, 2.0, 9.0]})
    encoder = Encoder(fit_preparing(frame, np.arange(3.0)))
    assert np.isnan(encoder.codes(frame)[2, 0])
    assert encoder.codes(pa.table({"a": pa.nulls(1), "b": pa.nulls(1)}))[0, 1] == 2.0


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame({"a": [1.0]}), "'b' is missing"),
        (pd.DataFrame({"a": ["x"], "b": [1.0]}), "'a' is string"),
    ],
)
def test_an_unfitting_table_is_refused_by_column(frame: pd.DataFrame, says: str) -> None:
    prepared = fit_preparing(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 3.0]}), np.arange(2.0))
    with pytest.raises(UsageError, match=says):
        Encoder(prepared).codes(frame)


def test_no_feature_and_unreadable_features_are_refused() -> None:
    with pytest.raises(UsageError, match="no feature"):
        fit_preparing(pd.DataFrame({"y": [1.0], "n": [None]}), np.ones(1), leave_out=["y"])
    with pytest.raises(UsageError, match="'l' of type list"):
        fit_preparing(pa.table({"l": [[1], [2]]}), np.ones(2))
    with pytest.raises(UsageError, match="can't be read"):
        fit_preparing(pd.DataFrame({"m": [1, "a"]}), np.ones(2))
