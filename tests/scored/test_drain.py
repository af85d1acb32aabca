"""The drain: ranges to files, and what Delta and DuckDB read back."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esml_engine.lake.files import schema_of, schema_text
from esml_engine.scored.drain import drain
from esml_engine.scored.facts import Finished, ScoredFilter, ScoredSource, Shape
from esml_engine.scored.ledger import Ledger
from esml_engine.scored.ledger_reader import LedgerReader
from esml_engine.scored.query import query

DAY = 86_400_000_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Six requests of two rows over three days."""
    opened = Ledger(tmp_path / "ledger.db")
    opened.describe(1, Shape({"age": "int64"}))
    for n in range(6):
        frame = {"features": {"age": [n, None]}, "prediction": [n * 1.0, 0.0]}
        opened.finish(Finished(f"r{n}", b"", b"", "web", 1, n // 2 * DAY, 2, frame))
    yield opened
    opened.close()


def test_one_file_a_day_without_the_partitions_column(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "scored"
    made = drain(ledger.path, 0, str(folder), run="run7", attempt=2)
    assert (made.after, made.last_seq, made.rows, made.ledger_id) == (0, 6, 12, ledger.id)
    assert [f.partition for f in made.files] == [{"scored_date": f"1970-01-0{d}"} for d in (1, 2, 3)]
    assert [f.rows for f in made.files] == [4, 4, 4]
    assert all(
        f.path.startswith(f"scored_date={f.partition['scored_date']}/part-run7-2-") for f in made.files
    )
    assert json.loads(made.files[0].stats)["maxValues"]["age"] == 1
    assert "scored_date" not in pq.read_schema(folder / made.files[0].path).names
    assert "scored_date" in schema_of(made.schema).names
    out = made.table_out(rows_before=100)
    assert (out.table, out.rows) == ("scored", 112)
    assert out.facts == {"ledger": ledger.id, "after": 0, "last_seq": 6}


def test_ranges_meet_and_a_query_sees_each_row_once_at_any_point(ledger: Ledger, tmp_path: Path) -> None:
    folder, files, seq = tmp_path / "scored", [], 0
    while True:
        with LedgerReader(ledger.path) as reader:
            fresh = reader.rows_after(seq).table
        answer = query(ScoredSource(files, fresh), ScoredFilter(limit=50))
        assert (answer["total"], answer["calls"]) == (12, 6)
        made = drain(ledger.path, seq, str(folder), max_rows=5)
        if made.last_seq == seq:
            break
        assert made.after == seq
        seq = made.last_seq
        files += [
            (f"{folder}/{f.path}", dt.date.fromisoformat(f.partition["scored_date"])) for f in made.files
        ]
    assert seq == 6


def test_nothing_new_is_no_file(ledger: Ledger, tmp_path: Path) -> None:
    made = drain(ledger.path, 6, str(tmp_path / "scored"))
    assert (made.files, made.rows, made.last_seq) == ((), 0, 6)


def test_types_meet_the_tables(ledger: Ledger, tmp_path: Path) -> None:
    whole = schema_of(drain(ledger.path, 0, str(tmp_path / "a")).schema)
    age = whole.get_field_index("age")
    wider = whole.set(age, pa.field("age", pa.float64())).append(pa.field("gone", pa.string()))
    made = drain(ledger.path, 0, str(tmp_path / "b"), table_schema=schema_text(wider))
    assert pq.read_schema(tmp_path / "b" / made.files[0].path).field("age").type == pa.float64()
    assert schema_of(made.schema).names == wider.names
    frame = {"features": {"age": ["old"]}, "prediction": [0.0]}
    ledger.describe(2, Shape({"age": "string", "new": "bool"}))
    ledger.finish(Finished("text", b"", b"", "web", 2, 0, 1, frame))
    made = drain(ledger.path, 0, str(tmp_path / "c"), table_schema=schema_text(whole))
    assert schema_of(made.schema).field("age").type == pa.string()
    assert schema_of(made.schema).names == [*whole.names, "new"]


def test_delta_takes_the_files_as_they_are(ledger: Ledger, tmp_path: Path) -> None:
    """Another Delta client reads the drained rows with their partition's column, after a commit of the files alone."""
    from deltalake import DeltaTable, Schema
    from deltalake.transaction import AddAction, create_table_with_add_actions

    folder = tmp_path / "scored"
    made = drain(ledger.path, 0, str(folder))
    actions = [AddAction(f.path, f.bytes, dict(f.partition), 0, True, f.stats) for f in made.files]
    schema = Schema.from_arrow(schema_of(made.schema))
    create_table_with_add_actions(str(folder), schema, actions, partition_by=["scored_date"])
    table = DeltaTable(str(folder))
    rows = table.to_pyarrow_table(partitions=[("scored_date", "=", "1970-01-02")])
    assert sorted(set(rows.column("request_id").to_pylist())) == ["r2", "r3"]
    assert set(rows.column("scored_date").to_pylist()) == {dt.date(1970, 1, 2)}
