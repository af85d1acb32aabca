"""The lake's jobs: IN files into a dataset's bronze and quarantine."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from esml_engine.errors import UnreadableError
from esml_engine.lake import expectations, incoming, incoming_parquet, types
from esml_engine.lake.columns import Column, Drift, drift_of, match, refuse_drift, require_some
from esml_engine.lake.delimited import Dialect
from esml_engine.lake.files import describe, new_name, relation, schema_of, schema_text, total_rows
from esml_engine.lake.landing import QUARANTINE, Read, Source, mending
from esml_engine.lake.sql import connection
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import FileOut, TableIn, TableOut


@dataclass
class _State:
    """What has been gathered while the files are read one after the other."""

    known: dict[str, str]  # columns of bronze with their types, in order
    fixed: dict[str, str]  # types declared, fixed earlier or inferred now
    files: list[dict[str, Any]] = field(default_factory=list)
    drift: list[Drift] = field(default_factory=list)
    bronze: list[FileOut] = field(default_factory=list)
    quarantine: list[FileOut] = field(default_factory=list)
    gone: dict[str, list[str]] = field(default_factory=lambda: {"bronze": [], "quarantine": []})
    fallback: dict[str, str] = field(default_factory=dict)  # columns that only files without rows have


def bronze(job: JobContext) -> tuple[dict[str, Any], list[TableOut]]:
    """Read IN files into bronze and quarantine (kind `lake.bronze`).

    Params: `dataset`, `purpose`, `format` (csv | parquet), `dialect`, `types` {column: type}, `drift` (evolve | warn |
    fail), `label`, `expect`, `sample` (a fifth of the records, by `key` where a file has it), `rnd`, `tables` {"bronze", "quarantine": contract names} and `files`, each
    {"path", "name", "sha256", "replaces": {"bronze": [...], "quarantine": [...]}}.
    Inputs `bronze` and `quarantine` (current versions); outputs under the same keys.

    Returns:
        {"files": [{"name", "sha256", "status": "read" | "refused", "reason", "hint", "rows_in", "bronze", "quarantine"}],
        "types": {column: type} to be kept for later files, "drift": [{"file", "kind", "column", "detail"}]} and the
        tables that change. For every file that was read: rows_in = bronze + quarantine.

    Raises:
        UnreadableError: no file at all could be read.
        ExpectationError: an expectation of level error, or drift where the policy is fail.
    """
    params = job.params
    before = job.input("bronze")
    state = _start(params, before)
    entries: list[dict[str, Any]] = list(params["files"])
    with connection(job.work) as con:
        for n, entry in enumerate(entries):
            job.progress(n / max(1, len(entries)), f"reading {entry['name']}")
            try:
                _read(job, con, state, entry)
            except UnreadableError as e:
                job.log(f"refused: {e.message}")
                refused = {
                    "status": "refused",
                    "reason": e.message,
                    "hint": e.hint,
                    "rows_in": 0,
                    "bronze": 0,
                    "quarantine": 0,
                }
                state.files.append({"name": entry["name"], "sha256": entry["sha256"], **refused})
        if entries and not any(f["status"] == "read" for f in state.files):
            if params.get("others"):  # other datasets have files too: these are told of, and the run goes on
                return {"files": state.files, "types": state.fixed, "drift": []}, []
            reasons = "; ".join(str(f["reason"]) for f in state.files[:10])
            raise UnreadableError(
                f"no file could be read: {reasons}",
                hint=f"{mending(state.files)}, then refine; a retry reads the same files",
                files=state.files,
            )
        if params.get("drift") == "fail":
            refuse_drift(state.drift)
        tables = _tables(job, con, state)
    job.progress(1.0, "read", now=True)
    drift = [d.document() for d in state.drift]
    return {"files": state.files, "types": state.fixed, "drift": drift}, tables


def _start(params: dict[str, Any], before: TableIn) -> _State:
    """Bronze's own schema wins over declared types: rows that are there keep theirs. An empty table binds nothing."""
    declared = {c: types.check_type(str(t), c) for c, t in (params.get("types") or {}).items()}
    known: dict[str, str] = {}
    if before.version is not None and before.schema and before.rows:
        known = {f.name: types.type_of_arrow(f.type) for f in schema_of(before.schema)}
    state = _State(known, {**declared, **known})
    for column, kind in declared.items():
        if column in known and known[column] != kind:
            detail = f"declared {kind}, but the rows in bronze are {known[column]}; read the IN files anew to change it"
            state.drift.append(Drift("settings", "retyped", column, detail))
    return state


def _read(job: JobContext, con: duckdb.DuckDBPyConnection, state: _State, entry: dict[str, Any]) -> None:
    params, spec = job.params, job.spec
    sample, name, sha256 = bool(params.get("sample")), str(entry["name"]), str(entry["sha256"])
    targets = {t: new_name(spec.run, spec.attempt) for t in ("bronze", "quarantine")}
    paths = {t: Path(spec.outputs[t]) / targets[t] for t in targets}
    try:
        path = job.file(str(entry["path"]))
    except FileNotFoundError as e:
        raise UnreadableError(f"{name} is not there any more") from e
    dialect, key = Dialect.of(params.get("dialect")), str(params.get("key") or "")
    source = Source(path, name, sha256, dialect, sample, key)
    try:
        if params.get("format", "csv") == "parquet":
            schema = incoming_parquet.parquet_columns(source)
            require_some(name, [str(n) for n in schema.names], state.known)
            columns = match([str(n) for n in schema.names], state.known, state.fixed)
            read = incoming_parquet.read_parquet(
                con, source, schema, columns, paths["bronze"], paths["quarantine"]
            )
        else:
            # a folder of its own for each file: a path that is written twice could be read from a cache
            with tempfile.TemporaryDirectory(dir=job.work) as scratch:
                work = Path(scratch)
                source, names, line = incoming.csv_header(source, work)
                require_some(name, names, state.known)
                columns = match(names, state.known, state.fixed)
                read = incoming.read_csv(
                    con, source, names, columns, paths["bronze"], paths["quarantine"], work, exact=line != 1
                )
    except FileNotFoundError as e:
        raise UnreadableError(f"{name} is not there any more") from e
    job.log(f"{name}: {read.bronze} rows to bronze, {read.quarantine} to quarantine ({read.way} reader)")
    _note_drift(state, params, name, columns, read)
    for table, rows in (("bronze", read.bronze), ("quarantine", read.quarantine)):
        if rows:
            file = describe(spec.outputs[table], targets[table], source=name)
            (state.bronze if table == "bronze" else state.quarantine).append(file)
        state.gone[table] += (entry.get("replaces") or {}).get(table, [])
    counts = {"rows_in": read.rows_in, "bronze": read.bronze, "quarantine": read.quarantine}
    state.files.append({"name": name, "sha256": sha256, "status": "read", "reason": "", **counts})


def _note_drift(state: _State, params: dict[str, Any], name: str, columns: list[Column], read: Read) -> None:
    label = params.get("label") if params.get("purpose") == "inference" else None
    state.drift += drift_of(name, columns, state.known, label)
    for column, now in read.retyped.items():
        detail = f"its values look like {now}, bronze holds {read.types[column]}; what does not fit is in quarantine"
        state.drift.append(Drift(name, "retyped", column, detail))
    if read.bronze:
        state.known = dict(read.types)
        state.fixed.update(read.types)
    else:
        state.fallback.update(read.types)


def _tables(job: JobContext, con: duckdb.DuckDBPyConnection, state: _State) -> list[TableOut]:
    params, names = job.params, job.params["tables"]
    before, rejected = job.input("bronze"), job.input("quarantine")
    schema = pa.schema([(c, types.arrow_type(t)) for c, t in (state.known or state.fallback).items()])
    kept = _without(before, state.gone["bronze"])
    version = _version_rows(con, before, kept, job.spec.outputs["bronze"], state.bronze, schema)
    label = params.get("label") if params.get("purpose") == "inference" else None
    specs = [e for e in params.get("expect") or [] if e.get("on", "bronze") == "bronze"]
    quality = expectations.check(con, version, specs, layer=str(names["bronze"]), skip_column=label)
    if params.get("drift") == "warn":
        quality = (*quality, *(d.warning() for d in state.drift))
    out = []
    gone = tuple(dict.fromkeys(state.gone["quarantine"]))
    if state.quarantine or gone or rejected.version is None:
        rows = rejected.rows - _rows_of(rejected, gone) + total_rows(state.quarantine)
        text = schema_text(QUARANTINE)
        anew = rejected.version is None
        out.append(
            TableOut(names["quarantine"], text, tuple(state.quarantine), gone, remove_all=anew, rows=rows)
        )
    left = tuple(dict.fromkeys(state.gone["bronze"]))
    rows = before.rows - _rows_of(before, left) + total_rows(state.bronze)
    facts = {
        "files": state.files,
        "drift": [d.document() for d in state.drift],
        "rnd": bool(params.get("rnd")),
    }
    out.append(
        TableOut(
            names["bronze"],
            schema_text(schema),
            tuple(state.bronze),
            left,
            remove_all=before.version is None,
            rows=rows,
            quality=quality,
            facts=facts,
        )
    )
    return out


def _without(table: TableIn, gone: list[str]) -> list[str]:
    left = set(gone)
    return [f for f in table.files if f not in left]


def _rows_of(table: TableIn, files: tuple[str, ...]) -> int:
    """Rows of files that leave, counted where they are files of this version."""
    return sum(int(pq.read_metadata(Path(table.uri) / f).num_rows) for f in files if f in set(table.files))


def _version_rows(
    con: duckdb.DuckDBPyConnection,
    before: TableIn,
    kept: list[str],
    folder: str,
    added: list[FileOut],
    schema: pa.Schema,
) -> duckdb.DuckDBPyRelation:
    """The rows of the version to be: kept files and new ones."""
    paths = [f"{before.uri}/{f}" for f in kept] + [f"{folder}/{f.path}" for f in added]
    if not paths:
        return relation(con, TableIn(before.table, before.uri, None, (), schema_text(schema)))
    return con.read_parquet(paths, union_by_name=True, hive_partitioning=False)
