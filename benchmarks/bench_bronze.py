"""IN to bronze of a CSV with 1,000,000 rows and 10 mixed columns, against DuckDB's plain CSV-to-parquet copy.

    python -m benchmarks.bench_bronze [clean|quoted|dirty] [ROWS]

Three files: clean with types inferred (the target: at most 2 x), clean with quotes, and one with a few bad rows, which
takes the exact way.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

import duckdb

from benchmarks.harness import compare, measure

_ROWS = """
SELECT i AS id, CAST(hash(i) % 100 AS INT) AS age, round((hash(i + 1) % 1000000) / 1000, 3) AS amount,
       (hash(i + 2) % 1000000000) / 997.0 AS score, hash(i + 3) % 2 = 0 AS active,
       DATE '2020-01-01' + CAST(hash(i + 4) % 2000 AS INT) AS day, TIMESTAMP '2020-01-01' + to_seconds(i) AS seen_at,
       'name ' || (i % 5000) AS name, left(md5(CAST(i AS VARCHAR)), 12) AS code,
       CASE WHEN hash(i + 5) % 10 > 0 THEN ['red', 'green', 'blue'][CAST(1 + i % 3 AS INT)] END AS colour
FROM range({rows}) t(i)
"""


def prepare() -> None:
    """Import what both sides need, so that imports are not timed."""
    import numpy  # noqa: F401

    import esml_engine.lake.steps  # noqa: F401

    duckdb.connect().close()


def ours(path: Path, folder: Path) -> None:
    """The bronze step with a real specification."""
    from esml_engine.lake.steps import bronze
    from esml_engine.runs.context import JobContext
    from esml_engine.runs.facts import JobSpec, TableIn

    work = Path(tempfile.mkdtemp(dir=folder))
    tables = {"bronze": "ds01/bronze", "quarantine": "ds01/quarantine"}
    out = {name: str(work / name) for name in tables}
    params = {
        "dataset": "ds01",
        "purpose": "train",
        "format": "csv",
        "tables": tables,
        "files": [{"path": str(path), "name": path.name, "sha256": "0" * 64, "replaces": {}}],
    }
    inputs = {name: TableIn(table, out[name], None) for name, table in tables.items()}
    spec = JobSpec("bench", "bronze", 1, "lake.bronze", "dev", "p", "m", params, str(work), inputs, out)
    bronze(JobContext(spec))


def reference(path: Path, folder: Path) -> None:
    """DuckDB by itself: sniff, parse, write."""
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        con.execute(f"COPY (FROM read_csv('{path}', ignore_errors=true)) TO '{folder / 'reference.parquet'}'")


def main(case: str, rows: int) -> None:
    """Make the file below a temporary folder and print the line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / f"{case}.csv"
        options = "(FORCE_QUOTE (name, code))" if case == "quoted" else ""
        with duckdb.connect() as con:
            con.execute("SET enable_progress_bar = false")
            con.execute(f"COPY ({_ROWS.format(rows=rows)}) TO '{path}' {options}")
        if case == "dirty":
            with path.open("ab") as f:
                f.write(b"x,1,1,1,true,2020-01-01,2020-01-01,a,b,c\n" * 10)
        compare(
            f"bronze {case} {rows} rows {path.stat().st_size / 1e6:.0f} MB",
            functools.partial(measure, functools.partial(ours, path, folder), prepare),
            functools.partial(measure, functools.partial(reference, path, folder), prepare),
        )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "clean", int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
