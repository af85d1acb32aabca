"""Model versions that disagree about a feature's type: the table's rows stay readable to every Delta client, each exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from esml_engine.estate import Estate
from esml_engine.lake.catalogue import files_of, get, table_uri
from esml_engine.lake.files import schema_of, schema_text
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import TableOut
from esml_engine.scored.commits import DrainDesk, append, drain_ledger, ledger_path
from esml_engine.scored.drain import write_days
from esml_engine.scored.facts import Finished, Shape
from esml_engine.scored.frames import Request, assembled
from esml_engine.scored.ledger import Ledger
from tests.invariants import violations

REF = ModelRef("p1", "m1")
DAY = 86_400_000_000


def answered(estate: Estate, version: int, kind: str, values: list[Any], at: int = 0) -> None:
    """The endpoint answered one request a value, by a model version that takes the feature `a` as `kind`."""
    path = ledger_path(estate.site, REF, "dev")
    path.parent.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(path)
    ledger.describe(version, Shape({"a": kind}))
    for n, value in enumerate(values):
        frame = {"features": {"a": [value]}, "prediction": [1.0]}
        ledger.finish(Finished(f"v{version}-{n}", b"", b"", "web", version, at + n * DAY, 1, frame))
    ledger.close()


def delta(estate: Estate) -> pa.Table:
    """The table as another Delta client reads it."""
    return DeltaTable(table_uri(estate.site, REF, "dev", "scored")).to_pyarrow_table().sort_by("request_id")


def test_a_column_becomes_as_wide_as_its_versions_need(empty: Estate) -> None:
    answered(empty, 1, "int64", [3, 2**53 + 1])
    assert drain_ledger(empty.site, REF, "dev") == 2
    answered(empty, 2, "double", [0.5])
    assert drain_ledger(empty.site, REF, "dev") == 1
    assert delta(empty).column("a").to_pylist() == [3.0, float(2**53), 0.5]
    answered(empty, 3, "string", ["x", None], at=DAY)
    assert drain_ledger(empty.site, REF, "dev") == 2
    rows = delta(empty)
    read = rows.column("a").to_pylist()
    assert [float(v) for v in read[:3]] == [3, 2**53, 0.5] and read[3:] == ["x", None]
    assert len({str(d) for d in rows.column("scored_date").to_pylist()}) == 3
    answered(empty, 4, "int64", [7, 8, 9])  # a model that is narrower than the table
    assert drain_ledger(empty.site, REF, "dev") == 3
    assert "9" in delta(empty).column("a").to_pylist()
    said = empty.model("p1/m1").scored(where=["a = x"]).document()
    assert said["total"] == 1
    assert violations(empty.site.root) == []


def test_what_was_read_before_stays_as_it_was(empty: Estate) -> None:
    answered(empty, 1, "int64", [3])
    drain_ledger(empty.site, REF, "dev")
    answered(empty, 2, "string", ["x"])
    drain_ledger(empty.site, REF, "dev")
    uri, first = table_uri(empty.site, REF, "dev", "scored"), get(empty.site.store, REF, "dev", "scored", 1)
    old = DeltaTable(uri, version=first.delta_version).to_pyarrow_table()
    assert old.column("a").to_pylist() == [3] and schema_of(first.schema).field("a").type == pa.int64()
    now = get(empty.site.store, REF, "dev", "scored")
    files = files_of(uri, now.delta_version, {})
    assert (now.version, now.rows, len(files)) == (2, 2, 2)
    assert now.facts["widened"] == {"a": "int64 to string"} and "widened" not in first.facts
    assert now.bytes == sum((Path(uri) / f).stat().st_size for f in files)


def test_a_batch_meets_the_tables_columns_and_types(empty: Estate) -> None:
    """Its job knew nothing of the table; the commit brings its file to the table's types and keeps the table's columns."""
    answered(empty, 1, "string", ["x"])
    drain_ledger(empty.site, REF, "dev")
    site, uri = empty.site, table_uri(empty.site, REF, "dev", "scored")
    frame = {"features": {"a": [4, 5], "b": [True, False]}, "prediction": [1.0, 2.0]}
    said = Request(0, "batch", "nightly", 2, 0, 2, None)
    rows = assembled([said], [frame], Shape({"a": "int64", "b": "bool"}))
    out = TableOut("scored", schema_text(rows.schema), write_days(rows, uri, "r9", 1), rows=2)
    made = append(DrainDesk(site, "r9"), REF, "dev", out, [], {})
    assert [f.name for f in schema_of(made.schema)][-2:] == ["a", "b"] and made.rows == 3
    read = delta(empty)
    assert read.column("a").to_pylist() == ["4", "5", "x"]
    assert read.column("b").to_pylist() == [True, False, None]


def test_killed_between_the_rewriting_and_its_commit(empty: Estate) -> None:
    answered(empty, 1, "int64", [3])
    drain_ledger(empty.site, REF, "dev")
    answered(empty, 2, "string", ["x"])
    root = empty.site.root
    drain = (
        "import sys; from pathlib import Path; from esml_engine.door.site import Site;"
        "from esml_engine.refs import ModelRef; from esml_engine.scored.commits import drain_ledger;"
        "print(drain_ledger(Site(Path(sys.argv[1])), ModelRef('p1', 'm1'), 'dev'))"
    )
    env = {**os.environ, "ESML_KILL_AT": "scored:widened", "ESML_KILL_ONCE": str(root / ".killed-widened")}
    command = [sys.executable, "-c", drain, str(root)]
    assert subprocess.run(command, env=env, timeout=120).returncode == -signal.SIGKILL
    assert delta(empty).column("a").to_pylist() == [3], "nothing has changed"
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["1"]
    assert delta(empty).column("a").to_pylist() == ["3", "x"]
    assert violations(root) == []


@pytest.mark.parametrize("kinds", [("bool", "int64"), ("timestamp", "double"), ("int64", "timestamp")])
def test_types_that_meet_only_as_text(empty: Estate, kinds: tuple[str, str]) -> None:
    values = {"bool": True, "int64": 1, "double": 0.5, "timestamp": "2026-01-02T03:04:05+00:00"}
    for version, kind in enumerate(kinds, 1):
        answered(empty, version, kind, [values[kind]])
        drain_ledger(empty.site, REF, "dev")
    assert delta(empty).schema.field("a").type == pa.string()
    assert delta(empty).num_rows == 2
