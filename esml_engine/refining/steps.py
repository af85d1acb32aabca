"""The refinement jobs: bronze to silver, and silvers to gold (or to_score); `split`, gold to its three parts, is handed on from its module."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from esml_engine.errors import StepError
from esml_engine.lake import expectations
from esml_engine.lake.files import arrow, describe, new_name, relation, schema_of, schema_text, write_arrow
from esml_engine.lake.sql import connection, copy_parquet, first_row, ident, literal, scalar
from esml_engine.refining import user_steps
from esml_engine.refining.joining import join_sql
from esml_engine.refining.splitting import split
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import FileOut, TableIn, TableOut

__all__ = ["gold", "silver", "split"]

_CHECKED_ROWS = 2_000
_ROW = '"__esml_row"'


def silver(job: JobContext) -> tuple[dict[str, Any], list[TableOut]]:
    """Clean a dataset's bronze into silver (kind `refining.silver`).

    Params: `dataset`, `purpose`, `version`, `step` (None or {"path", "kind"}), `rows`, `label`, `expect`, `params`,
    `table`. Inputs: `bronze`, `silver` (current) and `previous_bronze`, the version that the current silver was made
    from (version None when there is none, or when the step's code or parameters are not what they were).

    The default step trims column names and removes rows that are equal in all columns (the first one stays). Only
    files that are new in bronze pass through the default step and through steps that work row by row; when files left
    bronze or its schema changed, and for all other steps, the table is rebuilt.

    Returns:
        {"rows", "added", "mode": "incremental" | "rebuilt"} and silver.

    Raises:
        StepError: the step failed, or claims to work row by row and does not.
        ExpectationError: an expectation of level error was not met.
    """
    params = job.params
    bronze, current, previous = job.input("bronze"), job.input("silver"), job.input("previous_bronze")
    step = params.get("step")
    grown = current.version is not None and previous.version is not None and bronze.schema == previous.schema
    grown = grown and set(previous.files) <= set(bronze.files) and (step is None or bool(params.get("rows")))
    seen = set(previous.files) if grown else set()
    fresh = TableIn(
        bronze.table,
        bronze.uri,
        bronze.version,
        tuple(f for f in bronze.files if f not in seen),
        bronze.schema,
    )
    folder, name = _folder(job, "silver"), new_name(job.spec.run, job.spec.attempt)
    job.progress(0.1, "incremental" if grown else "rebuilding")
    with connection(job.work) as con:
        if step is None:
            _tidy(con, fresh, current if grown else None, Path(folder) / name)
        else:
            path, context = job.file(step["path"]), _context(job, str(params["dataset"]))
            rows = arrow(fresh)
            if params.get("rows"):
                user_steps.check_row_by_row(path, "bronze", rows.slice(0, _CHECKED_ROWS), context, job.work)
            result = user_steps.run(path, {"bronze": rows}, context, job.work, many=False)
            if grown:
                result = _like(result, current, path.name)
            write_arrow(result, folder, name)
        job.progress(0.8, "checking expectations")
        return _finish(job, con, folder, name, current if grown else None, "silver")


def gold(job: JobContext) -> tuple[dict[str, Any], list[TableOut]]:
    """Join a model's silvers into gold, or into to_score for inference (kind `refining.gold`).

    Params: `datasets` (names in order; each is an input), `purpose`, `version`, `step`, `key`, `label`, `expect`,
    `params`, `table`. By default the first dataset is the spine and the others are left-joined to it on the key. The
    table is always rebuilt.

    Returns:
        {"rows", "added", "mode": "rebuilt"} and the table.

    Raises:
        StepError: the step failed; no key for several datasets; a key that stands twice in a joined dataset; no label
            in gold for training.
        ExpectationError: an expectation of level error was not met.
    """
    params = job.params
    names = [str(d) for d in params["datasets"]]
    step, label = params.get("step"), params.get("label")
    folder, name = _folder(job, "gold"), new_name(job.spec.run, job.spec.attempt)
    with connection(job.work) as con:
        if step is None:
            for dataset in names:
                relation(con, job.input(dataset)).create_view(dataset)
            copy_parquet(con, join_sql(con, names, params.get("key")), Path(folder) / name)
        else:
            path, context = job.file(step["path"]), _context(job, "")
            tables = {dataset: arrow(job.input(dataset)) for dataset in names}
            write_arrow(user_steps.run(path, tables, context, job.work, many=True), folder, name)
        columns = pq.read_schema(Path(folder) / name).names
        if label and params.get("purpose") != "inference" and label not in columns:
            raise StepError(
                f"{params['table']} has no column {label}, which is the model's label",
                hint=f"its columns are {', '.join(columns[:20])}; name the label in model.toml or bring it in with gold.py",
            )
        job.progress(0.8, "checking expectations")
        return _finish(job, con, folder, name, None, "gold")


def _folder(job: JobContext, short: str) -> str:
    """Where the output goes: its folder is given under the table's contract name or its layer's."""
    outputs, table = job.spec.outputs, str(job.params["table"])
    return outputs[table] if table in outputs else outputs[short]


def _context(job: JobContext, dataset: str) -> user_steps.StepContext:
    params = job.params
    purpose, version = str(params.get("purpose", "train")), params.get("version")
    return user_steps.StepContext(purpose, job.spec.env, dataset, version, dict(params.get("params") or {}))


def _tidy(con: duckdb.DuckDBPyConnection, fresh: TableIn, current: TableIn | None, target: Path) -> None:
    """Write the rows of `fresh` under trimmed names, each once, without those that `current` has."""
    rows = relation(con, fresh)
    rows.create_view("fresh_rows")
    trimmed: dict[str, list[str]] = {}
    called: dict[str, str] = {}
    for column in map(str, rows.columns):
        name = called.setdefault((column.strip() or column).lower(), column.strip() or column)
        trimmed.setdefault(name, []).append(column)
    renamed = ", ".join(
        f"{_one_of(con, fresh.table, name, its)} AS {ident(name)}" for name, its in trimmed.items()
    )
    columns = ", ".join(map(ident, trimmed))
    # grouping treats nulls as equal, as it must for exact duplicates
    unique = (
        f"SELECT {columns}, min({_ROW}) AS {_ROW} FROM (SELECT {renamed}, row_number() OVER () AS {_ROW} FROM fresh_rows) "
        f"GROUP BY {columns}"
    )
    if current is not None and current.files:
        relation(con, current).create_view("current_rows")
        same = " AND ".join(f"n.{ident(c)} IS NOT DISTINCT FROM o.{ident(c)}" for c in trimmed)
        unique = f"SELECT n.* FROM ({unique}) n ANTI JOIN current_rows o ON {same}"
    copy_parquet(con, f"SELECT {columns} FROM ({unique}) ORDER BY {_ROW}", target)


def _one_of(con: duckdb.DuckDBPyConnection, table: str, name: str, columns: Sequence[str]) -> str:
    """The column of this name, trimmed; of several the one that has values, or each row's where no row has two.

    Files whose headers differ only in spaces fill one column each, and one that was delivered again leaves its own empty.
    """
    if len(columns) == 1:
        return ident(columns[0])
    has = [f"({ident(c)} IS NOT NULL)::INTEGER" for c in columns]
    counts = ", ".join(f"coalesce(sum({h}), 0)" for h in has)
    *filled, most = first_row(con, f"SELECT {counts}, coalesce(max({' + '.join(has)}), 0) FROM fresh_rows")
    used = [c for c, n in zip(columns, filled, strict=True) if n] or [columns[0]]
    types = {str(r[1]) for r in con.execute("DESCRIBE fresh_rows").fetchall() if r[0] in used}
    if most > 1 or len(types) > 1:
        why = "with values in one row" if most > 1 else f"of the types {' and '.join(sorted(types))}"
        raise StepError(
            f"{table} has two columns that are both called {name!r} when spaces are trimmed, {why}",
            hint="deliver its file with one of them, or write a step for the dataset that names them apart",
        )
    return f"coalesce({', '.join(map(ident, used))})"


def _like(result: pa.Table, current: TableIn, step: str) -> pa.Table:
    """New rows of a step in the schema of the rows that are there.

    Raises:
        StepError: their columns differ.
    """
    schema = schema_of(current.schema)
    if set(schema.names) != set(result.schema.names):
        differ = ", ".join(sorted(set(schema.names) ^ set(result.schema.names)))
        raise StepError(
            f"{step} gives other columns for new rows than silver has: {differ}", hint="set rows = false"
        )
    try:
        return result.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
        raise StepError(
            f"{step} gives other types for new rows than silver has: {e}", hint="set rows = false"
        ) from e


def _finish(
    job: JobContext,
    con: duckdb.DuckDBPyConnection,
    folder: str,
    name: str,
    current: TableIn | None,
    layer: str,
) -> tuple[dict[str, Any], list[TableOut]]:
    """Check expectations on the version to be, and describe it; `current` is the version that the file adds to."""
    params, table = job.params, str(job.params["table"])
    path = Path(folder) / name
    schema = pq.read_schema(path)
    file: FileOut = describe(folder, name)
    old = [f"{current.uri}/{f}" for f in current.files] if current is not None else []
    files = ", ".join(literal(f) for f in [*old, str(path)])
    version = con.sql(f"SELECT * FROM read_parquet([{files}], union_by_name=true, hive_partitioning=false)")
    label = params.get("label") if params.get("purpose") == "inference" else None
    specs = [e for e in params.get("expect") or [] if e.get("on", layer) == layer]
    quality = expectations.check(con, version, specs, layer=table, skip_column=label)
    before = (
        scalar(con, f"SELECT count(*) FROM read_parquet([{', '.join(literal(f) for f in old)}])")
        if old
        else 0
    )
    if not file.rows and old:
        path.unlink()
    add = (file,) if file.rows else ()
    mode = "rebuilt" if current is None else "incremental"
    value = {"rows": before + file.rows, "added": file.rows, "mode": mode}
    out = TableOut(
        table,
        schema_text(schema),
        add,
        remove_all=current is None,
        rows=before + file.rows,
        quality=quality,
        facts={"mode": mode},
    )
    job.progress(1.0, "done", now=True)
    return value, [out]
