"""What a step or a file brings is either kept as a table can hold it, or refused by column and type: never an internal error."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Schema
from hypothesis import given, settings
from hypothesis import strategies as st

from esml_engine.errors import EsmlError, FailedError, UsageError
from esml_engine.estate import Estate, open_estate
from esml_engine.lake.holding import held_type, require_held
from esml_engine.refining.frames import take_back

NAME = "p1/m1"
_PLAIN = [
    pa.null(), pa.int8(), pa.int64(), pa.uint8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(),
    pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary(3), pa.date32(), pa.date64(),
    pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "Europe/Stockholm"), pa.time32("s"), pa.time64("us"),
    pa.duration("us"), pa.month_day_nano_interval(), pa.decimal128(20, 2), pa.decimal256(60, 2),
]  # fmt: skip
_types = st.recursive(
    st.sampled_from(_PLAIN),
    lambda t: st.one_of(
        t.map(pa.list_), t.map(pa.large_list), t.map(lambda x: pa.struct([("a", x)])),
        t.map(lambda x: pa.map_(pa.string(), x)),
    ),
    max_leaves=3,
)  # fmt: skip


@settings(deadline=None)
@given(kind=_types)
def test_every_type_is_held_or_refused_by_column(kind: pa.DataType) -> None:
    schema = pa.schema([("c", kind)])
    held = held_type(kind)
    if held is None:
        with pytest.raises(UsageError, match=r"column 'c' is .* a table can't hold"):
            require_held(schema)
        return
    require_held(schema)
    assert held_type(held) == held, "what is held stays what it is"
    assert Schema.from_arrow(pa.schema([("c", held)])).fields[0].name == "c"
    assert take_back(schema.empty_table()).schema.field("c").type == held


@pytest.mark.parametrize(
    "name,text,said",
    [
        ("gold.sql", "SELECT * FROM d1 JOIN d1 AS other ON d1.id = other.id", "gold.sql: the column 'id' is there 2 times"),
        ("gold.sql", "SELECT id, id FROM d1", "gold.sql: the column 'id' is there 2 times"),
        ("d1.py", "import pandas as pd\n\n\ndef step(df, ctx):\n    df['late'] = pd.Timedelta(days=1)\n    return df\n",
            "d1.py: column 'late' is a length of time, which a table can't hold"),
        ("d1.py", "def step(df, ctx):\n    df['Z'] = 1\n    df['z'] = 2\n    return df\n", "d1.py: the column 'Z' is there 2 times"),
    ],
)  # fmt: skip
def test_a_step_that_makes_no_table_is_named_with_the_column(
    empty: Estate, numbers: Any, name: str, text: str, said: str
) -> None:
    model = empty.model(NAME)
    model.ingest("d1", numbers("a.csv", 0, 30), "2026-01-01")
    steps = empty.site.root / "projects" / NAME / "steps"
    steps.mkdir(exist_ok=True)
    (steps / name).write_text(text)
    with pytest.raises(EsmlError) as e:
        model.refine()
    assert said in e.value.message and "report it" not in e.value.hint
    (steps / name).unlink()
    assert model.refine()["layers"][-1]["rows"] == 30


def _refined(estate: Estate, tmp_path: Path, *deliveries: pa.Table) -> Any:
    estate.set(NAME, "datasets.d1.format", "parquet")
    model = open_estate(estate.site.root).model(NAME)
    for day, table in enumerate(deliveries, 1):
        path = tmp_path / f"f{day}.parquet"
        pq.write_table(table, path)
        model.ingest("d1", path, f"2026-01-{day:02}")
        model.refine()
    return model


def test_a_parquet_column_of_nothing_is_text_as_in_csv(empty: Estate, tmp_path: Path) -> None:
    first = pa.table({"id": [1, 2], "note": pa.nulls(2), "y": [1.0, 2.0]})
    second = pa.table({"id": [3], "note": ["hello"], "y": [3.0]})
    model = _refined(empty, tmp_path, first, second)
    assert model.table("gold").read().sort_values("id")["note"].tolist()[-1] == "hello"
    assert model.dataset("d1").quarantine() == []


def test_hashed_ids_beyond_64_bits_with_a_sign_stay_text(empty: Estate, tmp_path: Path) -> None:
    ids = pa.array([2**64 - 1, 7], pa.uint64())
    model = _refined(
        empty, tmp_path, pa.table({"id": ids, "small": pa.array([1, 2], pa.uint64()), "y": [1.0, 2.0]})
    )
    frame = model.table("gold").read()
    assert sorted(frame["id"]) == ["18446744073709551615", "7"] and sorted(frame["small"]) == [1, 2]


def test_what_lists_hold_has_a_type_that_other_clients_read(empty: Estate, tmp_path: Path) -> None:
    n = 40
    small = pa.array([[n % 256] for n in range(n)], pa.list_(pa.uint8()))
    big = pa.array([[2**64 - 1], *([[7]] * (n - 1))], pa.list_(pa.uint64()))
    huge = pa.array([[2**64 - 1]] * n, pa.list_(pa.uint64()))
    y = [float(i) for i in range(n)]
    table = pa.table({"id": list(range(n)), "small": small, "big": big, "huge": huge, "y": y})
    model = _refined(empty, tmp_path, table)
    assert [r["line"] for r in model.dataset("d1").quarantine()] == [1], (
        "what does not fit is kept out, not wrapped around"
    )
    gold = model.table("gold")
    uri = str(empty.site.root / "lake/dev")
    (found,) = [p for p in Path(uri).rglob("_delta_log") if "gold" in str(p)]
    assert (
        DeltaTable(str(found.parent)).to_pyarrow_table().column("big").to_pylist()
        == [[7]] * (n - 1)
        == gold.arrow().column("big").to_pylist()
    )
    assert set(gold.arrow().column("huge").to_pylist()) == {f"[{2**64 - 1}]"}, (
        "most do not fit: text has them all"
    )


def test_a_parquet_file_with_what_no_table_holds_is_refused_by_name_and_the_rest_goes_on(
    empty: Estate, tmp_path: Path
) -> None:
    good = pa.table({"id": [1], "y": [1.0], "at": [dt.time(9, 30)], "price": [Decimal("1.50")]})
    bad = pa.table({"id": [2], "y": [2.0], "took": [dt.timedelta(days=1)]})
    model = _refined(empty, tmp_path, good)
    path = tmp_path / "bad.parquet"
    pq.write_table(bad, path)
    model.ingest("d1", path, "2026-02-01")
    with pytest.raises(FailedError, match="no file could be read") as e:
        model.refine()
    assert str(e.value.hint).startswith(
        "make it a number of seconds, or a text; deliver it again, then refine"
    )
    more = tmp_path / "more.parquet"
    pq.write_table(good.set_column(0, "id", pa.array([3])), more)
    model.ingest("d1", more, "2026-02-02")
    answer = model.refine()
    assert "column 'took' is a length of time" in str(answer["refused"])
    assert sorted(model.table("gold").read()["id"]) == [1, 3]
