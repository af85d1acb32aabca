"""Batch scoring and the smoke step, as a job runs them."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esml_engine.errors import UsageError
from esml_engine.lake.files import schema_of, schema_text
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import JobSpec, TableIn
from esml_engine.scored.facts import ScoredFilter, ScoredSource
from esml_engine.scored.query import query
from esml_engine.serving.steps import batch, smoke


def job(tmp_path: Path, inputs: dict[str, TableIn] | None = None, **params: Any) -> JobContext:
    (tmp_path / "model").mkdir(exist_ok=True)
    (tmp_path / "model" / "model.json").write_text(json.dumps({"slope": 2}))
    (tmp_path / "work").mkdir(exist_ok=True)
    model = {"folder": str(tmp_path / "model"), "sha256": "", "version": 4}
    given = {
        "model": model,
        "request_id": "b1",
        "caller": "night",
        "at": "2026-03-01T23:30:00",
        "loader": "tests.serving.models:load",
    }
    return JobContext(
        JobSpec(
            run="run1",
            step="score",
            attempt=1,
            kind="serving.batch",
            env="dev",
            project="p1",
            model="m1",
            params={**given, **params},
            work=str(tmp_path / "work"),
            inputs=inputs or {},
            outputs={"scored": str(tmp_path / "scored")},
        )
    )


def table(tmp_path: Path, *files: list[int | None], start: int = 0) -> TableIn:
    """`to_score` with one parquet file a list of ages."""
    folder = tmp_path / "to_score"
    folder.mkdir(exist_ok=True)
    names = []
    schema = None
    for n, ages in enumerate(files, start):
        rows = pa.table(
            {
                "patient_id": pa.array([f"p{n}-{k}" for k in range(len(ages))]),
                "sex": pa.array(["f"] * len(ages)),
                "age": pa.array(ages, pa.int64()),
                "bmi": pa.array([20.0] * len(ages)),
                "y": pa.array([None] * len(ages), pa.float64()),
            }
        )
        schema = rows.schema
        names.append(f"part-{n}.parquet")
        pq.write_table(rows, folder / names[-1])
    assert schema is not None
    return TableIn("to_score", str(folder), 1, tuple(names), schema_text(schema), sum(map(len, files)))


def ages_of(tmp_path: Path, out: Any) -> list[int | None]:
    (file,) = out.add
    ages: list[int | None] = (
        pq.read_table(tmp_path / "scored" / file.path, partitioning=None).column("age").to_pylist()
    )
    return ages


def test_rows_are_numbered_in_input_order_over_chunks(tmp_path: Path) -> None:
    ages = list(range(20_000))
    rows = table(tmp_path, ages[:9000], ages[9000:])
    value, (out,) = batch(job(tmp_path, {"rows": rows}, chunk_rows=2048, key="patient_id", rows_before=5))
    assert value == {"request_id": "b1", "rows": 20_000, "model_version": 4}
    (file,) = out.add
    assert (file.rows, out.rows, out.remove_all) == (20_000, 20_005, False)
    assert file.partition == {"scored_date": "2026-03-01"}
    back = pq.read_table(tmp_path / "scored" / file.path, partitioning=None)
    assert back.column("row").to_pylist() == ages
    assert back.column("age").to_pylist() == ages
    assert back.column("prediction").to_pylist() == [2 * a + 1 for a in ages]
    assert back.column("patient_id").to_pylist()[9000] == "p1-0"
    assert "scored_date" in schema_of(out.schema).names
    source = ScoredSource([(f"{tmp_path}/scored/{file.path}", dt.date(2026, 3, 1))])
    answer = query(source, ScoredFilter(limit=1, callers=("night",)))
    assert (answer["total"], answer["calls"]) == (20_000, 1)
    assert answer["rows"][0]["scored_at"] == "2026-03-01T23:30:00.000000Z"


def test_only_rows_beyond_those_scored_before(tmp_path: Path) -> None:
    """EXCEPT ALL: files in common are skipped, and a row that is there twice more is scored twice more."""
    before = table(tmp_path, [1, 2], [3])
    grown = table(tmp_path, [1, 2], [3], [4, None])
    _, (out,) = batch(job(tmp_path, {"rows": grown, "scored_before": before}))
    assert ages_of(tmp_path, out) == [4, None]
    assert batch(job(tmp_path, {"rows": before, "scored_before": grown}))[1] == []
    (tmp_path / "b").mkdir()
    one = table(tmp_path / "b", [5, None, 7])
    many = table(tmp_path, [5, None, 7], start=7)
    again = pq.read_table(Path(many.uri) / many.files[0])
    same = again.set_column(0, "patient_id", pa.array([f"p0-{k}" for k in range(3)]))
    pq.write_table(pa.concat_tables([same, same, same]), Path(many.uri) / many.files[0])
    _, (out,) = batch(job(tmp_path, {"rows": many, "scored_before": one}))
    assert ages_of(tmp_path, out) == [5, None, 7, 5, None, 7]


def test_files(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("sex,age,bmi\nf,1,20\nm,2,21\n")
    _, (out,) = batch(job(tmp_path, file=str(tmp_path / "rows.csv")))
    assert ages_of(tmp_path, out) == [1, 2]
    (tmp_path / "bad.csv").write_text("sex,age\nf,1\n")
    with pytest.raises(UsageError, match="'bmi' is missing"):
        batch(job(tmp_path, file=str(tmp_path / "bad.csv")))
    with pytest.raises(UsageError, match="no file"):
        batch(job(tmp_path, file=str(tmp_path / "none.csv")))
    assert not list((tmp_path / "scored").glob("*/*.tmp"))


def test_a_wrong_value_is_named_with_its_place(tmp_path: Path) -> None:
    lines = "\n".join(f"f,{n},{'fat' if n == 5000 else 20}" for n in range(6000))
    (tmp_path / "rows.csv").write_text(f"sex,age,bmi\n{lines}\n")
    with pytest.raises(UsageError) as caught:
        batch(job(tmp_path, file=str(tmp_path / "rows.csv"), chunk_rows=2048))
    assert caught.value.message == "rows.csv, line 5002: column bmi: 'fat' is not float64"


def test_smoke_predicts_the_models_example(tmp_path: Path) -> None:
    assert smoke(job(tmp_path)) == ({"prediction": 101, "model_version": 4}, [])
