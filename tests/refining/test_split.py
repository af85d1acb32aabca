"""Splits: exact fractions are not the point; that a row keeps its side is."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esml_engine.errors import StepError, UsageError
from esml_engine.refining.steps import split
from tests.table_kit import TestLake

PARTS = ("gold_train", "gold_validate", "gold_test")


def cut(lake: TestLake, rows: pa.Table, **params: Any) -> dict[str, list[dict[str, Any]]]:
    inputs = {"gold": lake.put("gold", rows), **{t: lake.table(t) for t in PARTS}}
    tables = {t: t for t in PARTS}
    given = {
        "train": 0.6,
        "validate": 0.2,
        "test": 0.2,
        "seed": 1,
        "by": "key",
        "key": "id",
        "tables": tables,
        **params,
    }
    value = lake.run(split, given, inputs, tables)
    sides = {t: lake.rows(t) for t in PARTS}
    assert {t: v["rows"] for t, v in value["tables"].items()} == {t: len(r) for t, r in sides.items()}
    assert sum(len(r) for r in sides.values()) == rows.num_rows
    return sides


def sides_of(parts: dict[str, list[dict[str, Any]]], column: str) -> dict[Any, set[str]]:
    found: dict[Any, set[str]] = {}
    for side, rows in parts.items():
        for row in rows:
            found.setdefault(row[column], set()).add(side)
    return found


keys = st.lists(st.integers(0, 200), min_size=1, max_size=60)


@settings(max_examples=25, deadline=None)
@given(first=keys, more=keys, seed=st.integers(0, 5), stratify=st.sampled_from([None, "y"]))
def test_no_key_on_two_sides_and_every_key_keeps_its_side(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[int],
    more: list[int],
    seed: int,
    stratify: str | None,
) -> None:
    lake = TestLake(tmp_path_factory.mktemp("lake"))
    before_rows = pa.table({"id": first, "y": [k % 3 for k in first]})
    before = sides_of(cut(lake, before_rows, seed=seed, stratify=stratify), "id")
    facts = lake.outs["gold_train"].facts["split"]
    ids = more + first
    rows = pa.table({"id": ids, "y": [(k + n) % 3 for n, k in enumerate(ids)]})
    after = sides_of(cut(lake, rows, seed=seed, stratify=stratify, previous=facts), "id")
    assert all(len(s) == 1 for s in after.values())
    assert {k: after[k] for k in before} == before


@settings(max_examples=20, deadline=None)
@given(groups=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40))
def test_no_group_on_two_sides(tmp_path_factory: pytest.TempPathFactory, groups: list[str]) -> None:
    lake = TestLake(tmp_path_factory.mktemp("lake"))
    parts = cut(lake, pa.table({"id": list(range(len(groups))), "g": groups}), by="group", group="g")
    assert all(len(s) == 1 for s in sides_of(parts, "g").values())


@settings(max_examples=20, deadline=None)
@given(days=st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_time_never_runs_backwards_and_ties_stay_together(
    tmp_path_factory: pytest.TempPathFactory, days: list[int]
) -> None:
    lake = TestLake(tmp_path_factory.mktemp("lake"))
    day = [dt.date(2020, 1, 1 + d) for d in days]
    parts = cut(lake, pa.table({"id": list(range(len(days))), "day": day}), by="time", time_column="day")
    assert all(len(s) == 1 for s in sides_of(parts, "day").values())
    bounds = [(min(r["day"] for r in parts[t]), max(r["day"] for r in parts[t])) for t in PARTS if parts[t]]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(bounds))


@settings(max_examples=20, deadline=None)
@given(
    first=st.lists(st.integers(0, 60), min_size=1, max_size=40),
    more=st.lists(st.integers(0, 60), max_size=60),
)
def test_by_time_no_row_goes_back(
    tmp_path_factory: pytest.TempPathFactory, first: list[int], more: list[int]
) -> None:
    """Rows that come late, with old times, do not bring what was trained on into the test."""
    lake = TestLake(tmp_path_factory.mktemp("lake"))
    before = sides_of(cut(lake, pa.table({"id": first, "t": first}), by="time", time_column="t"), "t")
    facts = lake.outs["gold_train"].facts["split"]
    rows = pa.table({"id": first + more, "t": first + more})
    after = sides_of(cut(lake, rows, by="time", time_column="t", previous=facts), "t")
    assert all(len(s) == 1 for s in after.values())
    place = {t: n for n, t in enumerate(PARTS)}
    assert all(place[max(after[t])] <= place[max(before[t])] for t in before)
    ordered = [place[max(after[t])] for t in sorted(after)]
    assert ordered == sorted(ordered)


def test_time_fractions_are_exact_without_ties(lake: TestLake) -> None:
    day = [dt.date(2020, 1, 1) + dt.timedelta(days=(n * 7) % 100) for n in range(100)]
    parts = cut(lake, pa.table({"day": day}), by="time", time_column="day", key=None)
    assert [len(parts[t]) for t in PARTS] == [60, 20, 20]


def test_fractions_are_met_about(lake: TestLake) -> None:
    parts = cut(lake, pa.table({"id": list(range(10_000))}))
    assert abs(len(parts["gold_train"]) - 6000) < 200 and abs(len(parts["gold_test"]) - 2000) < 200
    assert [r["id"] for r in parts["gold_train"]] == sorted(r["id"] for r in parts["gold_train"])


def test_the_side_is_the_documented_hash(lake: TestLake) -> None:
    import hashlib

    parts = sides_of(cut(lake, pa.table({"id": list(range(200))}), seed=7), "id")
    for key, (side,) in parts.items():
        u = int(hashlib.md5(f"7:{key}".encode()).hexdigest()[:16], 16) / 2**64
        assert side == ("gold_train" if u < 0.6 else "gold_validate" if u < 0.8 else "gold_test")


def test_rows_without_a_key_column_go_by_their_content(lake: TestLake) -> None:
    rows = pa.table({"x": [n % 50 for n in range(200)], "s": ["a", "b"] * 100})
    before = cut(lake, rows, key=None)
    after = cut(lake, rows.select(["s", "x"]), key=None)
    for table in PARTS:
        assert {tuple(sorted(r.items())) for r in before[table]} == {
            tuple(sorted(r.items())) for r in after[table]
        }


@pytest.mark.parametrize("label", ["class", "number"])
def test_strata_have_the_fractions(lake: TestLake, label: str) -> None:
    n = 1000
    rows = pa.table(
        {
            "id": list(range(n)),
            "class": ["rare" if i % 20 == 0 else "common" for i in range(n)],
            "number": [float(i * i) for i in range(n)],
        }
    )
    parts = cut(lake, rows, stratify=label)
    assert [len(parts[t]) for t in PARTS] == [600, 200, 200]
    if label == "class":
        assert [sum(r["class"] == "rare" for r in parts[t]) for t in PARTS] == [30, 10, 10]
    else:
        assert abs(sum(r["number"] > 640_000 for r in parts["gold_test"]) - 40) <= 1


def test_a_stratified_split_with_another_seed_starts_afresh(lake: TestLake) -> None:
    rows = pa.table({"id": list(range(100)), "y": [i % 2 for i in range(100)]})
    before = sides_of(cut(lake, rows, stratify="y"), "id")
    facts = lake.outs["gold_train"].facts["split"]
    assert sides_of(cut(lake, rows, stratify="y", seed=2, previous=facts), "id") != before


@pytest.mark.parametrize(
    "fractions, sizes",
    [((1.0, 0.0, 0.0), [50, 0, 0]), ((0.0, 1.0, 0.0), [0, 50, 0]), ((0.0, 0.0, 1.0), [0, 0, 50])],
)
def test_whole_sides(lake: TestLake, fractions: tuple[float, ...], sizes: list[int]) -> None:
    params = dict(zip(("train", "validate", "test"), fractions, strict=True))
    parts = cut(lake, pa.table({"id": list(range(50))}), **params)
    assert [len(parts[t]) for t in PARTS] == sizes


@pytest.mark.parametrize(
    "params",
    [
        {"train": 0.7},
        {"train": -0.2, "test": 1.0},
        {"by": "luck"},
        {"by": "group"},
        {"by": "time"},
        {"by": "group", "group": "id", "stratify": "id"},
    ],
)
def test_wrong_calls(lake: TestLake, params: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        cut(lake, pa.table({"id": [1]}), **params)


def test_columns_and_times_must_be_there(lake: TestLake) -> None:
    with pytest.raises(StepError, match="gold has no column nope"):
        cut(lake, pa.table({"id": [1]}), key="nope")
    with pytest.raises(StepError, match="1 rows of gold have no t"):
        cut(lake, pa.table({"id": [1, 2], "t": [1, None]}), by="time", time_column="t")
