"""Running the steps that people write: a Python file with `def step(...)`, or an SQL file with one SELECT."""

from __future__ import annotations

import inspect
import sys
import traceback
import types
import typing
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from esml_engine.errors import StepError, UsageError
from esml_engine.lake.sql import connection, ident, scalar
from esml_engine.refining.frames import FLAVOURS, hand_over, take_back

_ALIASES = {
    "pd": "pandas",
    "pl": "polars",
    "pa": "pyarrow",
    "_duckdb": "duckdb",
    "DuckDBPyRelation": "duckdb",
}


@dataclass(frozen=True)
class StepContext:
    """What a step may know about where it runs."""

    purpose: str
    env: str
    dataset: str
    version: int | None
    params: Mapping[str, Any] = field(default_factory=dict)


def run(
    path: Path, tables: Mapping[str, pa.Table], context: StepContext, work: Path, *, many: bool
) -> pa.Table:
    """Run the step file on `tables` (one, or `many` by dataset) and return its table.

    Raises:
        StepError: the file is missing or no step, its code failed (with file name, line and source line), or what it
            returned is no table.
    """
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise StepError(f"the step {path.name} can't be read: {type(e).__name__}") from e
    with connection(work) as con:
        if path.suffix == ".sql":
            return _run_sql(con, path.name, source, tables)
        return _run_python(con, path, source, tables, context, many)


def _run_sql(
    con: duckdb.DuckDBPyConnection, name: str, source: str, tables: Mapping[str, pa.Table]
) -> pa.Table:
    try:
        statements = con.extract_statements(source)
    except duckdb.Error as e:
        raise StepError(f"{name}: {e}") from e
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(s.type.name for s in statements) or "nothing"
        raise StepError(f"{name} must be exactly one SELECT, found: {kinds}")
    for table, rows in tables.items():
        con.register("handed_over", rows)
        con.execute(f"CREATE TABLE {ident(table)} AS SELECT * FROM handed_over")
        con.unregister("handed_over")
    con.execute(
        "SET enable_external_access = false; SET python_enable_replacements = false; SET lock_configuration = true"
    )
    try:
        return take_back(con.sql(source).to_arrow_table())
    except UsageError as e:
        raise StepError(f"{name}: {e.message}", hint=e.hint) from e
    except duckdb.Error as e:
        known = ", ".join(tables)
        raise StepError(
            f"{name}: {e}", hint=f"it sees only the tables {known}; files and settings are out of its reach"
        ) from e


def _run_python(
    con: duckdb.DuckDBPyConnection,
    path: Path,
    source: str,
    tables: Mapping[str, pa.Table],
    context: StepContext,
    many: bool,
) -> pa.Table:
    with _module(path, source) as module:
        function = getattr(module, "step", None)
        if not callable(function):
            raise StepError(
                f"{path.name} defines no function step", hint="write def step(df, ctx): … return a table"
            )
        flavour = _flavour(function, path.name)
        handed = {name: hand_over(table, flavour, con) for name, table in tables.items()}
        first = handed if many else next(iter(handed.values()))
        with _explained(path, source):
            result = function(first, context)
        before = _given(list(tables.values()))
        try:
            with _explained(path, source):  # lazy frames and relations do their work only now
                return take_back(result, before)
        except TypeError as e:
            raise StepError(
                f"{path.name}: step returned no table: {e}", hint="return a pandas, polars or Arrow table"
            ) from e


@contextmanager
def _module(path: Path, source: str) -> Iterator[types.ModuleType]:
    """The step file as a module under a private name, which is gone again afterwards."""
    module = types.ModuleType(f"_esml_step_{path.stem}_{uuid.uuid4().hex[:8]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        with _explained(path, source):
            exec(compile(source, str(path), "exec"), module.__dict__)
        yield module
    finally:
        sys.modules.pop(module.__name__, None)


def _given(tables: list[pa.Table]) -> pa.Schema:
    """The columns that the step was given; one that two tables have with different types is left out."""
    types: dict[str, pa.DataType] = {}
    for column in (f for table in tables for f in table.schema):
        same = types.get(column.name, column.type) == column.type
        types[column.name] = column.type if same else pa.null()
    return pa.schema(list(types.items()))


@contextmanager
def _explained(path: Path, source: str) -> Iterator[None]:
    """Turn whatever the step's code raises into a StepError with its own file and line."""
    try:
        yield
    except UsageError as e:  # what came back is no table that could be kept
        raise StepError(f"{path.name}: {e.message}", hint=e.hint) from e
    except SyntaxError as e:
        raise StepError(f"{path.name} line {e.lineno}: {(e.text or '').strip()}: {e.msg}") from e
    except (Exception, SystemExit, KeyboardInterrupt) as e:
        lines = source.splitlines()
        own = [
            f.lineno for f in traceback.extract_tb(e.__traceback__) if f.filename == str(path) and f.lineno
        ]
        if not own and isinstance(e, TypeError) and "is no pandas" in str(e):
            raise
        where = f" line {own[-1]}: {lines[own[-1] - 1].strip()}" if own and own[-1] <= len(lines) else ""
        raise StepError(
            f"{path.name}{where}: {type(e).__name__}: {e}", hint="correct the step and run it again"
        ) from e


def _flavour(function: Any, name: str) -> str:
    """Which kind of table the annotation of the first argument asks for; pandas when there is none."""
    try:
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    except NameError:  # a name imported for type checkers only
        parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) < 2:
        raise StepError(
            f"{name}: step takes {len(parameters)} arguments, it needs two", hint="write def step(df, ctx)"
        )
    asked = parameters[0].annotation
    if asked is inspect.Parameter.empty:
        return "pandas"
    if isinstance(asked, str):
        words = asked.replace("[", " ").replace("]", " ").replace(",", " ").replace(".", " ").split()
    else:
        words = [k.__module__.split(".")[0] for k in (*typing.get_args(asked), asked) if isinstance(k, type)]
    for word in words:
        flavour = _ALIASES.get(word, word)
        if flavour in FLAVOURS:
            return flavour
    if isinstance(asked, type) and asked not in (dict, object):
        raise StepError(
            f"{name}: step asks for {asked.__name__}",
            hint=f"annotate it with a table of {', '.join(FLAVOURS)}",
        )
    return "pandas"


def check_row_by_row(path: Path, name: str, table: pa.Table, context: StepContext, work: Path) -> None:
    """Hold a step's claim to work row by row against a sample: both halves alone must give what the whole gives.

    Raises:
        StepError: they do not.
    """
    if table.num_rows < 2:
        return
    half = table.num_rows // 2
    whole = run(path, {name: table}, context, work, many=False)
    parts = [
        run(path, {name: part}, context, work, many=False)
        for part in (table.slice(0, half), table.slice(half))
    ]
    if all(p.schema.names == whole.schema.names for p in parts):
        with connection(work) as con:
            con.register("whole", whole)
            con.register("parts", pa.concat_tables(parts, promote_options="permissive"))
            query = "SELECT count(*) FROM (FROM {0} EXCEPT ALL FROM {1})"
            more = scalar(con, query.format("whole", "parts"))
            less = scalar(con, query.format("parts", "whole"))
        if more == less == 0:
            return
    raise StepError(
        f"{path.name} is declared to work row by row (rows = true), but on a sample of {table.num_rows} rows it gives "
        "something else for the whole than for its two halves",
        hint="set rows = false for the dataset, so that the layer is rebuilt each time",
    )
