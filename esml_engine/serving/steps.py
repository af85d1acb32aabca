"""What jobs of this room do: score a table or a file in batch, and try a model before it gets traffic."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esml_engine.errors import FailedError, UsageError
from esml_engine.lake.files import describe, relation, schema_text
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import FileOut, TableIn, TableOut
from esml_engine.scored.drain import PARTITION, day_file
from esml_engine.scored.facts import Shape, feature_name, stored_type
from esml_engine.scored.frames import Request, assembled
from esml_engine.scored.query import plain
from esml_engine.scored.where import quoted
from esml_engine.serving import handed
from esml_engine.serving.facts import LOADER
from esml_engine.serving.rows import json_columns, typed_table
from esml_engine.serving.scorer import Scorer, load

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 50_000
_MEMORY = "1GB"


def smoke(job: JobContext) -> tuple[dict[str, Any], list[TableOut]]:
    """Load the model and predict its input example; answers `{"prediction", "model_version"}`."""
    scorer = _model(job)
    columns = scorer.coerce({name: [scorer.example[name]] for name in scorer.features})
    return {"prediction": scorer.predict(columns).prediction[0], "model_version": scorer.model_version}, []


def batch(job: JobContext) -> tuple[dict[str, Any], list[TableOut]]:
    """Score rows in chunks and write them as an append to `scored`.

    Inputs: `rows` (the table to score) and, optionally, `scored_before` (the version scored last: only rows beyond it
    are scored, as SQL's EXCEPT ALL over the columns that both have) or `scored` with `params["of_batches"]`
    {"requests", "features"} (only rows beyond those that these requests scored, over these features and the key), or
    `params["file"]` (CSV or parquet).
    Params: `model` {"folder", "sha256", "version"}, `request_id`, `caller`, `at` (ISO 8601, UTC when it says no zone),
    `key` (a column kept beside the features), `chunk_rows`, `rows_before` (rows that `scored` has already).
    Rows are numbered from 0 in the order of the input. Memory holds one chunk; DuckDB spills to the job's folder.

    Returns:
        `{"request_id", "rows", "model_version"}` (with `"stale": True` where a forecast filled timestamps), and the append (none where no row is new).
    """
    import pyarrow.parquet as pq

    scorer = _model(job)
    folder = job.spec.outputs["scored"]
    at = _moment(str(job.params["at"]))
    day = at.date().isoformat()
    name = day_file(day, job.spec.run, job.spec.attempt)
    target = Path(folder) / name
    shape = scorer.shape()
    said = Request(
        0,
        str(job.params["request_id"]),
        str(job.params.get("caller") or "unknown"),
        scorer.model_version,
        _micros(at),
        0,
        None,
    )
    size = int(job.params.get("chunk_rows", CHUNK_ROWS))
    count = 0
    stale: list[Mapping[str, Any]] = []
    writer: pq.ParquetWriter | None = None
    schema: pa.Schema | None = None
    try:
        handed_in, lines = _file(job, scorer)
        for chunk, total in _chunks(job, scorer, size, handed_in):
            key = str(job.params.get("key") or "")
            rows, schema = _scored(scorer, shape, said, chunk, count, key, stale)
            if writer is None:
                target.parent.mkdir(parents=True, exist_ok=True)
                writer = pq.ParquetWriter(target, rows.schema, compression="zstd", compression_level=1)
            writer.write_table(rows)
            count += rows.num_rows
            job.progress(count / max(total, 1), f"{count:,} of {total:,} rows scored")
    except UsageError as error:
        name = Path(str(job.params.get("file") or "")).name
        if name in error.message:  # '' is: a table's rows
            raise
        raise UsageError(f"{name}: {error.message}", hint=error.hint) from error
    finally:
        if writer is not None:
            writer.close()
    value = {
        "request_id": str(job.params["request_id"]),
        "rows": count,
        "model_version": scorer.model_version,
    }
    if stale:
        job.log(f"warning: the forecast filled timestamps that were not asked for: {dict(stale[0])}")
        value |= stale[0]
    if schema is None:
        return value, []
    file: FileOut = describe(folder, name, partition={PARTITION: day})
    rows_after = int(job.params.get("rows_before", 0)) + count
    facts = {"request_id": value["request_id"], "model_version": scorer.model_version, **lines}
    return value, [TableOut("scored", schema_text(schema), (file,), rows=rows_after, facts=facts)]


def _model(job: JobContext) -> Scorer:
    model = job.model(job.params["model"]) or {}
    loader = str(job.params.get("loader", LOADER))
    return load(str(model["folder"]), str(model["sha256"]), int(model["version"]), loader)


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)


def _micros(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def _scored(
    scorer: Scorer,
    shape: Shape,
    said: Request,
    chunk: pa.Table,
    first_row: int,
    key: str,
    stale: list[Mapping[str, Any]],
) -> tuple[pa.Table, pa.Schema]:
    """One chunk's scored rows as they lie in the file, and the table's schema (with the partition's column)."""
    try:
        features = scorer.coerce({name: chunk.column(name).to_pylist() for name in scorer.features})
    except UsageError as error:
        message = f"{error.message} (rows counted from {first_row:,})" if first_row else error.message
        raise UsageError(message, hint=error.hint) from error
    predicted = scorer.predict(features)
    if predicted.more.get("stale"):
        stale.append(predicted.more)
    frame = predicted.frame(features)
    if key and key not in features and key in chunk.column_names:
        shape = replace(
            shape, features={**shape.features, key: stored_type(str(chunk.schema.field(key).type))}
        )
        frame["features"] = {**features, key: [plain(v) for v in chunk.column(key).to_pylist()]}
    rows = assembled([replace(said, rows=chunk.num_rows)], [frame], shape, first_row)
    return rows.drop_columns([PARTITION]), rows.schema


def _chunks(job: JobContext, scorer: Scorer, size: int, file: str | None) -> Iterator[tuple[pa.Table, int]]:
    """The rows to score, in input order, with how many there are in all."""
    import duckdb
    import pyarrow as pa

    con = duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": str(job.work / "spill")})
    try:
        source = con.read_parquet(file) if file else _rows(con, job)
        given = dict(zip(source.columns, map(str, source.types), strict=True))
        missing = [name for name in scorer.features if name not in given]
        if missing:
            raise UsageError(
                f"column {missing[0]!r} is missing from the rows to score",
                hint=f"they have {', '.join(given)}",
            )
        total = source.count("*").fetchall()[0][0]
        for batch in source.to_arrow_reader(size):
            if batch.num_rows:
                yield pa.Table.from_batches([batch]), total
    finally:
        con.close()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(job: JobContext, scorer: Scorer) -> tuple[str | None, dict[str, Any]]:
    """The file to score as parquet, and on which lines its rows stand; nothing where a table is scored."""
    if not job.params.get("file"):
        return None, {}
    near = job.file(str(job.params["file"]))
    if not near.is_file():
        raise UsageError(f"there is no file {near.name} to score")
    wanted = job.params.get("file_sha256")
    if wanted and _hash(near) != wanted:
        raise UsageError(
            f"{near.name} is not the file any more that this run was asked to score",
            hint="score it as it is now: that is a run of its own",
        )
    kind = handed.kind_of(near.name)
    if kind == "parquet":
        return str(near), {}
    if kind == "json":
        import pyarrow.parquet as pq

        given, rows = json_columns(near), job.work / "handed.parquet"
        features = scorer.coerce({name: given[name] for name in scorer.features if name in given})
        pq.write_table(typed_table(given, features), rows)
        return str(rows), {}
    found = handed.read(near, scorer.model.signature, job.work / "handed", job.params.get("dialect") or {})
    return str(found.rows), {"lines": found.lines}


def _rows(con: Any, job: JobContext) -> Any:
    rows = job.input("rows")
    scored = job.spec.inputs.get("scored")
    if scored is not None and scored.files:
        new = _plain_numbers(relation(con, rows))
        return _beyond(con, new, _of_batches(con, relation(con, scored), new, job.params))
    before = job.spec.inputs.get("scored_before")
    if before is None or not before.files:
        return relation(con, rows)
    # rows and before share most files: (S + A) minus (S + B) is A minus B, so the shared ones need no look
    shared = set(rows.files) & set(before.files) if rows.uri == before.uri else set()
    new, old = _without(rows, shared), _without(before, shared)
    if not old.files:
        return relation(con, new)
    return _beyond(con, relation(con, new), relation(con, old))


def _plain_numbers(rows: Any) -> Any:
    """The rows with nulls for NaN, as scored keeps them."""
    kinds = zip(rows.columns, map(str, rows.types), strict=True)
    return rows.project(
        ", ".join(
            f"CASE WHEN NOT isnan({quoted(n)}) THEN {quoted(n)} END AS {quoted(n)}"
            if kind in ("DOUBLE", "FLOAT")
            else quoted(n)
            for n, kind in kinds
        )
    )


def _of_batches(con: Any, scored: Any, new: Any, params: Mapping[str, Any]) -> Any:
    """The rows that batches scored, as features of the same names and types as in `new`."""
    import duckdb

    said = params["of_batches"]
    given = dict(zip(new.columns, map(str, new.types), strict=True))
    names = [
        n for n in (*said["features"], params.get("key")) if n in given and feature_name(n) in scored.columns
    ]
    shown = ", ".join(
        f"TRY_CAST({quoted(feature_name(n))} AS {given[n]}) AS {quoted(n)}" for n in dict.fromkeys(names)
    )
    which = duckdb.ColumnExpression("request_id").isin(*map(duckdb.ConstantExpression, said["requests"]))
    return scored.filter(which).project(shown or "request_id AS _none")


def _without(table: TableIn, files: set[str]) -> TableIn:
    kept = tuple(f for f in table.files if f not in files)
    return TableIn(table.table, table.uri, table.version, kept, table.schema, table.rows)


def _beyond(con: Any, new: Any, old: Any) -> Any:
    """Rows of `new` that `old` lacks, with multiplicity, in the order of `new`."""
    common = [name for name in new.columns if name in old.columns]
    if not common:
        raise FailedError("the rows to score have no column in common with those scored before")
    names = ", ".join(quoted(name) for name in common)
    same = " AND ".join(f"n.{quoted(name)} IS NOT DISTINCT FROM o.{quoted(name)}" for name in common)
    con.register("new_rows", new)
    con.register("old_rows", old)
    con.execute(
        f"""
        CREATE TEMP TABLE beyond AS
        WITH placed AS (SELECT *, row_number() OVER () AS _place FROM new_rows),
             numbered AS (SELECT *, row_number() OVER (PARTITION BY {names} ORDER BY _place) AS _nth FROM placed),
             counted AS (SELECT {names}, count(*) AS _times FROM old_rows GROUP BY {names})
        SELECT n.* EXCLUDE (_place, _nth) FROM numbered n LEFT JOIN counted o ON {same}
        WHERE n._nth > coalesce(o._times, 0) ORDER BY n._place
        """
    )
    return con.table("beyond")
