"""An estate whose model has many scored rows: a real Delta table by day, and its version in the catalogue."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import Field, Schema, convert_to_deltalake
from deltalake.schema import PrimitiveType

from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.lake.catalogue import Version, put, table_uri
from esml_engine.lake.commit import properties_of
from esml_engine.lake.files import schema_text
from esml_engine.refs import ModelRef

MODEL = "project1/model1"
FIRST = dt.date(2025, 11, 1)
CALLERS, CITIES = 20, 50


def make(root: Path, rows: int, days: int) -> Estate:
    """Rows of 14 columns, four a call, spread evenly over the days."""
    init_estate(root, ["dev"])
    open_estate(root).new_project("project1", "team")
    open_estate(root).new_model(MODEL, "regression", ["ds01"], label="y", key="id")
    estate = open_estate(root)
    ref = ModelRef.parse(MODEL)
    uri = Path(table_uri(estate.site, ref, "dev", "scored"))
    uri.mkdir(parents=True, exist_ok=True)
    write(uri, rows, days)
    by_day = Schema([Field("scored_date", PrimitiveType("date"))])
    one = next(iter(uri.glob("scored_date=*/*.parquet")))
    columns = pq.read_schema(one).append(pa.field("scored_date", pa.date32()))
    version = Version(
        MODEL, "dev", "scored", 1, 0, rows, 0, "2026-11-01T00:00:00+00:00", "bench", "scored", "bench", (), "",
        schema_text(columns)
    )  # fmt: skip
    convert_to_deltalake(
        str(uri), partition_by=by_day, partition_strategy="hive", commit_properties=properties_of(version)
    )
    with estate.site.store.write() as c:
        put(c, version)
    return open_estate(root)


def write(folder: Path, rows: int, days: int) -> None:
    """The files alone, one or more a day."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    features = ", ".join(f"round(random() * 100, 3) AS f{n}" for n in range(6))
    step = days * 86_400_000_000 // rows
    con.execute(
        f"""COPY (
            SELECT 'r-' || (i // 4) AS request_id, CAST(i % 4 AS BIGINT) AS row,
                   TIMESTAMPTZ '{FIRST} 00:00:00+00' + to_microseconds((i // 4) * 4 * {step}) AS scored_at,
                   CAST(scored_at AS DATE) AS scored_date, 'caller' || ((i // 4) % {CALLERS}) AS caller_id,
                   CAST(1 + (i // 4) % 3 AS BIGINT) AS model_version, random() AS prediction, {features}, 'text' || i % {CITIES} AS city
            FROM range({rows}) t(i)
        ) TO '{folder}' (FORMAT parquet, PARTITION_BY (scored_date), COMPRESSION zstd, OVERWRITE_OR_IGNORE)"""
    )


def table_sql(root: Path) -> str:
    """The table as a hand-written DuckDB query reads it."""
    uri = table_uri(open_estate(root).site, ModelRef.parse(MODEL), "dev", "scored")
    return f"read_parquet('{uri}/*/*.parquet', hive_partitioning = true)"
