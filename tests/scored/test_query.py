"""Filters, pages, counts, histograms and exports of scored rows."""

from __future__ import annotations

import csv
import datetime as dt
import operator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esml_engine.errors import FailedError, UsageError
from esml_engine.scored.drain import write_days
from esml_engine.scored.export import export
from esml_engine.scored.facts import ScoredFilter, ScoredSource, Shape
from esml_engine.scored.frames import Request, assembled
from esml_engine.scored.query import histogram, query

DAY = 86_400_000_000
START = 20_000 * DAY  # 2024-10-04
SHAPE = Shape({"age": "int64", "bmi": "double", "a name": "string", "ill": "bool", "row": "string"})


def table(requests: list[tuple[str, str, int, int, list[dict[str, Any]]]]) -> pa.Table:
    """(request id, caller, model version, microseconds after the start, rows)."""
    heads = [
        Request(n, i, caller, v, START + at, len(rows), None)
        for n, (i, caller, v, at, rows) in enumerate(requests)
    ]
    frames = [
        {
            "features": {f: [r.get(f) for r in rows] for f in SHAPE.features},
            "prediction": [r["p"] for r in rows],
        }
        for *_, rows in requests
    ]
    return assembled(heads, frames, SHAPE)


def stored(rows: pa.Table, folder: Path) -> ScoredSource:
    files = write_days(rows, str(folder), "run", 1)
    return ScoredSource(
        [(f"{folder}/{f.path}", dt.date.fromisoformat(f.partition["scored_date"])) for f in files]
    )


@pytest.fixture
def source(tmp_path: Path) -> ScoredSource:
    """Three days on disk, one more request in the ledger only."""
    requests = [
        ("r1", "web", 1, 0, [{"p": 1.0, "age": 50, "bmi": 20.5, "a name": "O'Hara", "ill": True}]),
        (
            "r2",
            "app",
            1,
            DAY - 1,
            [{"p": 2.0, "age": None, "a name": "=1+1"}, {"p": 3.0, "age": 61, "a name": "a,b"}],
        ),
        ("r3", "web", 2, DAY, [{"p": 4.0, "age": 70, "bmi": 30.0, "ill": False, "row": "north"}]),
        ("r4", "web", 2, 2 * DAY + 5, [{"p": 5.0, "age": 80}]),
    ]
    fresh = table([("r5", "app", 2, 2 * DAY + 9, [{"p": 6.0, "age": 90, "a name": "new"}])])
    return ScoredSource(stored(table(requests), tmp_path / "scored").files, fresh)


def ids(answer: dict[str, Any]) -> list[tuple[str, int]]:
    return [(r["request_id"], r["row"]) for r in answer["rows"]]


def test_newest_first_with_counts_and_the_contracts_columns(source: ScoredSource) -> None:
    answer = query(source, ScoredFilter())
    assert (answer["total"], answer["calls"]) == (6, 5)
    assert ids(answer) == [("r5", 0), ("r4", 0), ("r3", 0), ("r2", 0), ("r2", 1), ("r1", 0)]
    assert [c["name"] for c in answer["columns"]] == [
        "request_id",
        "row",
        "scored_at",
        "scored_date",
        "caller_id",
        "model_version",
        "prediction",
        "age",
        "bmi",
        "a name",
        "ill",
        "feature_row",
    ]
    assert {c["name"]: c["type"] for c in answer["columns"]}["scored_at"] == "timestamp[us, tz=UTC]"
    assert answer["by_day"] == [
        {"day": "2024-10-04", "rows": 3, "calls": 2},
        {"day": "2024-10-05", "rows": 1, "calls": 1},
        {"day": "2024-10-06", "rows": 2, "calls": 2},
    ]
    first = answer["rows"][-1]
    assert first["scored_at"] == "2024-10-04T00:00:00.000000Z"
    assert (first["scored_date"], first["ill"], first["feature_row"]) == ("2024-10-04", True, None)


def test_days_are_whole_and_inclusive_moments_are_exact(source: ScoredSource) -> None:
    day = dt.date(2024, 10, 4)
    assert len(query(source, ScoredFilter(since=day, until=day))["rows"]) == 3
    assert query(source, ScoredFilter(since=dt.date(2024, 10, 5)))["total"] == 3
    at = dt.datetime(2024, 10, 5)
    assert ids(query(source, ScoredFilter(since=at, until=at))) == [("r3", 0)]
    zone = dt.timezone(dt.timedelta(hours=2))
    assert ids(query(source, ScoredFilter(since=at.replace(tzinfo=zone), until=at))) == [
        ("r3", 0),
        ("r2", 0),
        ("r2", 1),
    ]


def test_no_match_is_empty_never_the_latest(source: ScoredSource) -> None:
    for nothing in (
        ScoredFilter(callers=("nobody",)),
        ScoredFilter(since=dt.date(2030, 1, 1)),
        ScoredFilter(until=dt.date(2020, 1, 1), where=("age > 1",)),
        ScoredFilter(model_versions=(9,)),
    ):
        answer = query(source, nothing)
        assert (answer["total"], answer["calls"], answer["rows"], answer["by_day"]) == (0, 0, [], [])
    assert query(ScoredSource(), ScoredFilter())["rows"] == []


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (("age >= 61",), ["r5", "r4", "r3", "r2"]),
        (("age>60.5", "age < 75"), ["r3", "r2"]),
        (("age in 50, 61",), ["r2", "r1"]),
        (("a name in \"a,b\",'O''Hara'",), ["r2", "r1"]),
        (("a name = O'Hara",), ["r1"]),
        (("\"a name\" contains '''H'",), ["r1"]),
        (("a name contains =",), ["r2"]),
        (("age is-null",), ["r2"]),
        (("bmi is-null false",), ["r3", "r1"]),
        (("ill = true",), ["r1"]),
        (("ill != true",), ["r3"]),
        (("scored_at >= 2024-10-06T00:00:00.000006",), ["r5"]),
        (("scored_date = 2024-10-05",), ["r3"]),
        (("caller_id = app", "prediction > 2.5"), ["r5", "r2"]),
        (("feature_row = north",), ["r3"]),
    ],
)
def test_where(source: ScoredSource, where: tuple[str, ...], found: list[str]) -> None:
    answer = query(source, ScoredFilter(where=where))
    assert [r["request_id"] for r in answer["rows"]] == found
    assert answer["calls"] == len(set(found))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("agee > 1", "nearest: age"),
        ("age >", "is not a value for column 'age'"),
        ("age > old", "is not a value for column 'age'"),
        ("age like 1", "no operator"),
        ("age contains 1", "text only"),
        ("ill = perhaps", "is not a value"),
        ("", "is not a condition"),
        ("age = 1; DROP TABLE x", "is not a value"),
        ("a name in 'open", "is not a list"),
    ],
)
def test_wrong_conditions_are_named(source: ScoredSource, where: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        query(source, ScoredFilter(where=(where,)))
    assert said in caught.value.message + caught.value.hint


def test_values_are_never_sql(source: ScoredSource) -> None:
    assert query(source, ScoredFilter(where=("a name = x' OR '1'='1",)))["total"] == 0
    assert query(source, ScoredFilter(callers=("' OR true --",)))["total"] == 0
    with pytest.raises(UsageError):
        query(source, ScoredFilter(order_by='age" ; --'))


def test_order_and_pages(source: ScoredSource) -> None:
    assert ids(query(source, ScoredFilter(order_by="age:desc", limit=2))) == [("r5", 0), ("r4", 0)]
    assert ids(query(source, ScoredFilter(order_by="prediction", limit=2, offset=1))) == [
        ("r2", 0),
        ("r2", 1),
    ]
    whole = ids(query(source, ScoredFilter()))
    for offset in range(8):
        for limit in (1, 2, 5):
            assert (
                ids(query(source, ScoredFilter(limit=limit, offset=offset))) == whole[offset : offset + limit]
            )
    answer = query(source, ScoredFilter(count_only=True, by="caller"))
    assert answer["rows"] == []
    assert answer["by_caller"] == [
        {"caller_id": "app", "rows": 3, "calls": 2},
        {"caller_id": "web", "rows": 3, "calls": 3},
    ]
    assert [c["rows"] for c in query(source, ScoredFilter(by="model_version"))["by_model_version"]] == [3, 3]
    for wrong in (ScoredFilter(by="week"), ScoredFilter(offset=-1), ScoredFilter(limit=-1)):
        with pytest.raises(UsageError):
            query(source, wrong)


def test_days_with_other_columns_and_types(tmp_path: Path, source: ScoredSource) -> None:
    """A page of a day that lacks a column shows it as null, and a retyped column is widened."""
    rows = table([("r0", "web", 1, -DAY, [{"p": 0.5, "age": 5}])]).drop_columns(["bmi", "scored_date"])
    rows = rows.set_column(rows.schema.get_field_index("age"), "age", pa.array([5.5]))
    pq.write_table(rows, tmp_path / "old.parquet")
    both = ScoredSource([*source.files, (str(tmp_path / "old.parquet"), dt.date(2024, 10, 3))], source.fresh)
    answer = query(both, ScoredFilter(order_by="scored_at:asc", limit=2))
    assert [(r["request_id"], r["bmi"], r["age"]) for r in answer["rows"]] == [
        ("r0", None, 5.5),
        ("r1", 20.5, 50.0),
    ]
    assert (
        query(both, ScoredFilter(where=("bmi is-null",), order_by="scored_at:asc", limit=1))["rows"][0]["age"]
        == 5.5
    )


def test_a_file_that_is_gone_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="could not be read"):
        query(ScoredSource([(str(tmp_path / "gone.parquet"), dt.date(2024, 10, 4))]), ScoredFilter())


def test_histograms(source: ScoredSource) -> None:
    said = histogram(source, ScoredFilter(), "age", bins=4)
    assert said["nulls"] == 1
    assert [(b["low"], b["rows"]) for b in said["bins"]] == [(50.0, 1), (60.0, 1), (70.0, 1), (80.0, 2)]
    said = histogram(source, ScoredFilter(callers=("web",)), "caller_id")
    assert (said["values"], said["others"]) == ([{"value": "web", "rows": 3}], 0)
    few = histogram(source, ScoredFilter(), "request_id", 1)
    assert (few["values"], few["others"]) == ([{"value": "r2", "rows": 2}], 4)
    assert histogram(source, ScoredFilter(callers=("none",)), "age")["bins"] == []
    assert sum(b["rows"] for b in histogram(source, ScoredFilter(), "scored_date", 2)["bins"]) == 6
    with pytest.raises(UsageError):
        histogram(source, ScoredFilter(), "aeg")


def test_exports_hold_every_row_and_no_formula(source: ScoredSource, tmp_path: Path) -> None:
    assert export(source, ScoredFilter(limit=1), tmp_path / "it's.csv") == 6
    with (tmp_path / "it's.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [r["a name"] for r in rows if r["request_id"] == "r2"] == ["'=1+1", "a,b"]
    assert [r["request_id"] for r in rows] == ["r5", "r4", "r3", "r2", "r2", "r1"]
    assert export(source, ScoredFilter(callers=("web",)), tmp_path / "out.parquet") == 3
    back = pq.read_table(tmp_path / "out.parquet")
    assert back.column("prediction").to_pylist() == [5.0, 4.0, 1.0]
    assert back.schema.field("scored_at").type == pa.timestamp("us", tz="UTC")
    with pytest.raises(UsageError):
        export(source, ScoredFilter(), tmp_path / "out.xlsx")


@pytest.mark.parametrize("order", ["", "scored_at:asc", "age"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "since",
    [None, dt.date(2024, 10, 5), dt.datetime(2024, 10, 4, 23, 59, 59, 999_999, tzinfo=dt.UTC)],
    ids=str,
)
def test_an_export_in_parts_is_the_export_at_once(
    source: ScoredSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, order: str, since: Any
) -> None:
    wanted = ScoredFilter(order_by=order, since=since)
    whole, parts = tmp_path / f"whole.{kind}", tmp_path / f"parts.{kind}"
    written = export(source, wanted, whole)
    monkeypatch.setattr("esml_engine.scored.export._SLICE", 1)
    assert export(source, wanted, parts) == written
    if kind == "csv":
        assert parts.read_bytes() == whole.read_bytes()
    else:
        assert pq.read_table(parts).equals(pq.read_table(whole))
    assert sorted(f.name for f in tmp_path.iterdir() if f.is_file()) == sorted([whole.name, parts.name])


def test_an_export_that_fails_leaves_what_was_there(source: ScoredSource, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("kept", encoding="utf-8")
    Path(source.files[0][0]).unlink()
    with pytest.raises(FailedError):
        export(source, ScoredFilter(), target)
    assert target.read_text() == "kept" and [f.name for f in tmp_path.iterdir() if f.is_file()] == ["out.csv"]


def test_another_engines_file_may_hold_the_partitions_column(tmp_path: Path) -> None:
    rows = table([("r0", "web", 1, 0, [{"p": 0.5, "age": 5}])])
    pq.write_table(rows, tmp_path / "spark.parquet")
    answer = query(ScoredSource([(str(tmp_path / "spark.parquet"), dt.date(2024, 10, 4))]), ScoredFilter())
    assert [c["name"] for c in answer["columns"]].count("scored_date") == 1
    assert answer["rows"][0]["scored_date"] == "2024-10-04"


def test_questions_at_once_do_not_mix(source: ScoredSource) -> None:
    def ask(n: int) -> tuple[int, int]:
        fresh = table([(f"n{k}", "many", 1, 0, [{"p": 0.0}]) for k in range(n)])
        return query(ScoredSource(source.files, fresh), ScoredFilter(callers=("many",)))["total"], n

    with ThreadPoolExecutor(8) as pool:
        for total, n in pool.map(ask, range(1, 60)):
            assert total == n


TEXTS = st.text("ab'\",=%_ \\é", max_size=4).map(str.strip)
ROW = st.fixed_dictionaries(
    {
        "p": st.floats(-5, 5),
        "age": st.none() | st.integers(-3, 3),
        "bmi": st.none() | st.sampled_from([-1.5, 0.0, 1.5]),
        "a name": st.none() | TEXTS,
    }
)
REQUEST = st.tuples(
    st.sampled_from(["web", "app"]),
    st.integers(1, 2),
    st.integers(0, 3 * DAY),
    st.lists(ROW, min_size=1, max_size=3),
)
OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
CONDITION = st.one_of(
    st.tuples(st.just("age"), st.sampled_from(sorted(OPERATORS)), st.integers(-3, 3)),
    st.tuples(st.just("bmi"), st.sampled_from(sorted(OPERATORS)), st.sampled_from([-1.5, 0.0, 1.5])),
    st.tuples(st.just("a name"), st.sampled_from(sorted(OPERATORS)), TEXTS),
    st.tuples(st.just("a name"), st.just("contains"), TEXTS),
    st.tuples(st.just("a name"), st.just("in"), st.lists(TEXTS, min_size=1, max_size=3)),
    st.tuples(st.sampled_from(["age", "bmi", "a name"]), st.just("is-null"), st.none()),
)


def spelled(name: str, op: str, value: Any) -> str:
    if op == "is-null":
        return f"{name} is-null"
    items = value if isinstance(value, list) else [value]
    texts = ['"' + v.replace('"', '""') + '"' if isinstance(v, str) else str(v) for v in items]
    return f"{name} {op} {','.join(texts)}"


def holds(frame: pd.DataFrame, name: str, op: str, value: Any) -> pd.Series:
    cells = frame[name]
    if op == "is-null":
        return cells.map(lambda c: c is None)
    if op == "in":
        return cells.map(lambda c: c is not None and c in value)
    if op == "contains":
        return cells.map(lambda c: c is not None and value in c)
    return cells.map(lambda c: c is not None and OPERATORS[op](c, value))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(REQUEST, max_size=8),
    st.integers(0, 8),
    st.lists(CONDITION, max_size=2),
    st.none() | st.integers(-1, 3),
    st.none() | st.integers(-1, 3),
    st.none() | st.sampled_from(["web", "app"]),
    st.integers(0, 4),
    st.sampled_from(["", "age:desc", "prediction", "scored_at:asc"]),
)
def test_as_pandas_would(
    tmp_path_factory: pytest.TempPathFactory,
    requests: list[tuple[str, int, int, list[dict[str, Any]]]],
    cut: int,
    conditions: list[tuple[str, str, Any]],
    since: int | None,
    until: int | None,
    caller: str | None,
    offset: int,
    order: str,
) -> None:
    """Any filter over any split between files and ledger finds what pandas finds, in the same order."""
    named = [(f"r{n}", *request) for n, request in enumerate(requests)]
    first = dt.date(2024, 10, 4)
    wanted = ScoredFilter(
        since=None if since is None else first + dt.timedelta(days=since),
        until=None if until is None else first + dt.timedelta(days=until),
        callers=(caller,) if caller else (),
        where=tuple(spelled(*c) for c in conditions),
        order_by=order,
        limit=3,
        offset=offset,
    )
    drained, fresh = named[:cut], named[cut:]
    files = stored(table(drained), tmp_path_factory.mktemp("scored")).files if drained else []
    answer = query(ScoredSource(files, table(fresh)), wanted)

    frame = pd.DataFrame(table(named).to_pylist(), columns=table([]).column_names, dtype=object)
    keep = pd.Series(True, index=frame.index)
    for condition in conditions:
        keep &= holds(frame, *condition).astype(bool)
    if wanted.since is not None:
        keep &= frame["scored_date"].map(lambda d: d >= wanted.since).astype(bool)
    if wanted.until is not None:
        keep &= frame["scored_date"].map(lambda d: d <= wanted.until).astype(bool)
    if caller:
        keep &= (frame["caller_id"] == caller).astype(bool)
    left = frame[keep]
    rows = left.to_dict("records")
    rows.sort(key=lambda r: (r["request_id"], r["row"]))
    rows.sort(key=lambda r: r["scored_at"], reverse=order != "scored_at:asc")
    if order == "age:desc":
        rows.sort(key=lambda r: (r["age"] is None, -(r["age"] or 0)))
    if order == "prediction":
        rows.sort(key=lambda r: r["prediction"])
    assert (answer["total"], answer["calls"]) == (len(rows), len({r["request_id"] for r in rows}))
    assert ids(answer) == [(r["request_id"], r["row"]) for r in rows[offset : offset + 3]]
    days = left.groupby("scored_date").size() if len(left) else {}
    assert {d["day"]: d["rows"] for d in answer["by_day"]} == {
        k.isoformat(): v for k, v in dict(days).items()
    }
