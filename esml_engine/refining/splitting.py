"""Gold into gold_train, gold_validate and gold_test, so that a row keeps its side in every later version.

A row's side follows from a hash of the seed and its key (or group): with u = md5("<seed>:<key>") read as a fraction of
its first 64 bits, u below the train fraction is train, below train + validate is validate, else test.
By time the borders move on with newer rows, and never back: what was trained on is never tested on later.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from esml_engine.errors import StepError, UsageError
from esml_engine.lake.files import describe, new_name, relation, schema_text
from esml_engine.lake.sql import connection, copy_parquet, first_row, ident, literal, scalar
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import TableOut

SIDES = ("train", "validate", "test")
STRATA = 10  # quantile bins of a numeric column with more than _MANY values
_MANY = 20
_ROW, _SIDE, _UNIT = '"__esml_row"', '"__esml_side"', '"__esml_unit"'


def split(job: JobContext) -> tuple[dict[str, Any], list[TableOut]]:
    """Split gold (kind `refining.split`).

    Params: `train`, `validate`, `test` (fractions), `seed`, `by` (key | group | time), `key`, `group`, `stratify`,
    `time_column`, `tables` {"gold_train", "gold_validate", "gold_test": contract names} and, for stratified splits
    and those by time, `previous`: the `facts["split"]` of the split that the previous tables come from.
    Inputs: `gold`; `gold_train`, `gold_validate`, `gold_test` (previous versions, version None when there are none).

    Returns:
        {"tables": {"gold_train": {"rows"}, ...}} and the three tables, gold_train last.

    Raises:
        UsageError: fractions that do not add up to 1, or a column that is not named.
        StepError: gold lacks a column that the split needs, or rows have no time.
    """
    params = job.params
    facts = _facts(params)
    with connection(job.work) as con:
        rows = relation(con, job.input("gold"))
        names = [str(c) for c in rows.columns]
        rows.create_view("gold_rows")
        con.execute(f"CREATE TEMP VIEW gold AS SELECT *, row_number() OVER () AS {_ROW} FROM gold_rows")
        for column in (facts["key"], facts["group"], facts["stratify"], facts["time_column"]):
            if column and column not in names:
                raise StepError(
                    f"gold has no column {column}", hint=f"its columns are {', '.join(names[:20])}"
                )
        _decide(con, job, facts, names)
        columns = ", ".join(ident(n) for n in names)
        value: dict[str, dict[str, int]] = {}
        out = []
        for n, side in enumerate(("validate", "test", "train")):
            table = f"gold_{side}"
            job.progress(0.3 + n * 0.2, f"writing {table}")
            contract = str((params.get("tables") or {}).get(table, table))
            folder = job.spec.outputs[contract] if contract in job.spec.outputs else job.spec.outputs[table]
            name = new_name(job.spec.run, job.spec.attempt)
            picked = f"SELECT g.* FROM gold g JOIN sides s USING ({_ROW}) WHERE s.{_SIDE} = {literal(side)}"
            copy_parquet(con, f"SELECT {columns} FROM ({picked}) ORDER BY {_ROW}", Path(folder) / name)
            file, schema = describe(folder, name), pq.read_schema(Path(folder) / name)
            value[table] = {"rows": file.rows}
            out.append(
                TableOut(
                    contract,
                    schema_text(schema),
                    (file,),
                    remove_all=True,
                    rows=file.rows,
                    facts={"split": facts},
                )
            )
    for side in SIDES:
        if facts[side] and not value[f"gold_{side}"]["rows"]:
            job.log(f"warning: gold_{side} has no row: the split's {facts[side]:g} came to none")
    job.progress(1.0, "split", now=True)
    return {"tables": {f"gold_{s}": value[f"gold_{s}"] for s in SIDES}}, out


def _facts(params: Mapping[str, Any]) -> dict[str, Any]:
    """The split's parameters, checked; they are kept as tags of its tables."""
    fractions = {side: float(params.get(side) or 0.0) for side in SIDES}
    if abs(sum(fractions.values()) - 1.0) > 1e-9 or min(fractions.values()) < 0:
        raise UsageError(
            f"the fractions {', '.join(f'{s} {f:g}' for s, f in fractions.items())} do not add up to 1",
            hint="for example --train 0.6 --validate 0.2 --test 0.2",
        )
    by = params.get("by") or "key"
    if by not in ("key", "group", "time"):
        raise UsageError(f"a split by {by!r} is unknown", hint="choose key, group or time")
    for kind, needs in (("group", "group"), ("time", "time_column")):
        if by == kind and not params.get(needs):
            raise UsageError(
                f"a split by {by} needs {needs}",
                hint=f"name the column in [{'split' if kind == 'group' else 'forecast'}]",
            )
    if params.get("stratify") and by != "key":
        raise UsageError(f"a split by {by} can't be stratified as well", hint="choose one of the two")
    used = {
        "key": params.get("key") or None,
        "group": None,
        "time_column": None,
        "stratify": params.get("stratify") or None,
    }
    if by in ("group", "time"):
        column = "group" if by == "group" else "time_column"
        used[column] = params[column]
    return {**fractions, "seed": int(params.get("seed") or 0), "by": by, **used}


def _decide(con: duckdb.DuckDBPyConnection, job: JobContext, facts: dict[str, Any], names: list[str]) -> None:
    """Make the table `sides` (row number of gold -> side)."""
    if facts["by"] == "time":
        _by_time(con, job, facts)
        return
    con.execute(f"CREATE TEMP TABLE units AS SELECT {_ROW}, {_unit(facts, names)} AS {_UNIT} FROM gold")
    hashed = f"left(md5({literal(str(facts['seed']) + ':')} || {_UNIT}), 16)"
    if facts["stratify"]:
        _stratified(con, job, facts, names, hashed)
        return
    con.execute(f"CREATE TEMP TABLE sides AS SELECT {_ROW}, {_side_of(hashed, facts)} AS {_SIDE} FROM units")


def _unit(facts: Mapping[str, Any], names: list[str]) -> str:
    """SQL text of what must stay on one side: the group, else the key, else the whole row (columns by name)."""
    parts = [f"{literal(n + '=')} || coalesce(CAST({ident(n)} AS VARCHAR), '')" for n in sorted(names)]
    row = f"concat_ws({literal(chr(31))}, {', '.join(parts)})"
    column = facts["group"] or facts["key"]
    return f"coalesce(CAST({ident(column)} AS VARCHAR), {row})" if column else row


def _side_of(hashed: str, facts: Mapping[str, Any]) -> str:
    low = float(facts["train"])
    high = low + float(facts["validate"])
    edges = [(min(low, 1.0), "train"), (min(high, 1.0), "validate")]
    if facts["test"] == 0:
        edges[1] = (1.0, "validate")
    if facts["test"] == 0 and facts["validate"] == 0:
        edges[0] = (1.0, "train")
    cases = [f"WHEN {_below(hashed, edge)} THEN {literal(side)}" for edge, side in edges]
    return f"CASE {' '.join(cases)} ELSE 'test' END"


def _below(hashed: str, edge: float) -> str:
    """SQL: the hash (16 hexadecimal digits) is below the fraction `edge` of its range."""
    whole = int(edge * 2**64)
    return "TRUE" if whole >= 2**64 else f"{hashed} < {literal(f'{whole:016x}')}"


def _by_time(con: duckdb.DuckDBPyConnection, job: JobContext, facts: Mapping[str, Any]) -> None:
    """Oldest rows train, newest test; rows of one time stay together, on the side of the first of them.

    Rows that came late, with old times, would push the borders back: they stay where the split before had them.
    """
    time = ident(str(facts["time_column"]))
    missing = scalar(con, f"SELECT count(*) FROM gold WHERE {time} IS NULL")
    if missing:
        raise StepError(
            f"{missing} rows of gold have no {facts['time_column']}", hint="drop or fill them in a step"
        )
    train, both = float(facts["train"]), float(facts["train"]) + float(facts["validate"])
    before = f"(rank() OVER (ORDER BY {time}) - 1) / (count(*) OVER ())"
    trained, validated = (_newest(con, job, facts, f"gold_{side}") for side in SIDES[:2])
    con.execute(
        f"CREATE TEMP TABLE sides AS SELECT {_ROW}, "
        f"CASE WHEN before < {train!r} - 1e-12 OR moment <= {trained} THEN 'train' "
        f"WHEN before < {both!r} - 1e-12 OR moment <= {validated} THEN 'validate' ELSE 'test' END AS {_SIDE} "
        f"FROM (SELECT {_ROW}, {time} AS moment, {before} AS before FROM gold)"
    )


def _newest(con: duckdb.DuckDBPyConnection, job: JobContext, facts: Mapping[str, Any], table: str) -> str:
    """SQL of the newest time on that side of the split before, where it was split alike; else of nothing."""
    before, column = job.spec.inputs.get(table), str(facts["time_column"])
    if job.params.get("previous") != facts or before is None or not before.files:
        return "NULL"
    rows, now = relation(con, before), con.table("gold_rows")
    kinds = [dict(zip(r.columns, map(str, r.types), strict=True)).get(column) for r in (rows, now)]
    if kinds[0] != kinds[1]:  # another step makes the times now
        return "NULL"
    rows.create_view(f"before_{table}")
    return f"(SELECT max({ident(column)}) FROM before_{table})"


def _stratified(
    con: duckdb.DuckDBPyConnection, job: JobContext, facts: dict[str, Any], names: list[str], hashed: str
) -> None:
    """Units that had a side keep it; in each stratum new ones fill, in the order of their hash, what each side lacks."""
    con.execute(f"CREATE TEMP TABLE kept ({_UNIT} VARCHAR, {_SIDE} VARCHAR)")
    if job.params.get("previous") == facts:
        for side in SIDES:
            table = job.spec.inputs.get(f"gold_{side}")
            if table is None or table.version is None or not table.files:
                continue
            before = relation(con, table)
            before.create_view("before_rows", replace=True)
            had = [str(c) for c in before.columns]
            if facts["key"] is None or facts["key"] in had:
                unit = _unit(facts, had)
                con.execute(f"INSERT INTO kept SELECT DISTINCT {unit}, {literal(side)} FROM before_rows")
    stratum = _stratum(con, str(facts["stratify"]))
    con.execute(
        "CREATE TEMP TABLE strata AS SELECT u.*, k.side FROM "
        f"(SELECT {_UNIT}, {hashed} AS h, arg_min(coalesce({stratum}, ''), {_ROW}) AS stratum "
        f"FROM units JOIN gold USING ({_ROW}) GROUP BY {_UNIT}) u "
        f"LEFT JOIN (SELECT {_UNIT}, min({_SIDE}) AS side FROM kept GROUP BY {_UNIT}) k USING ({_UNIT})"
    )
    train, both = float(facts["train"]), float(facts["train"]) + float(facts["validate"])
    have = ", ".join(
        f"count(*) FILTER (WHERE side = '{s}') OVER (PARTITION BY stratum) AS have_{s}" for s in SIDES
    )
    rank = "row_number() OVER (PARTITION BY stratum, side IS NULL ORDER BY h, " + _UNIT + ") AS place"
    fresh = "count(*) FILTER (WHERE side IS NULL) OVER (PARTITION BY stratum) AS fresh"
    counted = f"SELECT *, {have}, {rank}, {fresh}, count(*) OVER (PARTITION BY stratum) AS n FROM strata"
    # targets of the stratum by rounding the cumulative fractions, so that they add up to n
    lacking = (
        f"SELECT *, greatest(0, round({train!r} * n) - have_train) AS lack_train, "
        f"greatest(0, round({both!r} * n) - round({train!r} * n) - have_validate) AS lack_validate, "
        f"greatest(0, n - round({both!r} * n) - have_test) AS lack_test FROM ({counted})"
    )
    scaled = (
        f"SELECT *, fresh / greatest(1, lack_train + lack_validate + lack_test) AS scale FROM ({lacking})"
    )
    con.execute(
        f"CREATE TEMP TABLE sides AS SELECT {_ROW}, side AS {_SIDE} FROM units JOIN (SELECT {_UNIT}, CASE "
        "WHEN side IS NOT NULL THEN side WHEN place <= round(lack_train * scale) THEN 'train' "
        f"WHEN place <= round((lack_train + lack_validate) * scale) THEN 'validate' ELSE 'test' END AS side FROM ({scaled})) "
        f"USING ({_UNIT})"
    )


def _stratum(con: duckdb.DuckDBPyConnection, column: str) -> str:
    """SQL text of a row's stratum: the value itself, or one of ten quantile bins of a number with many values."""
    name = ident(column)
    row = first_row(con, f"SELECT typeof(any_value({name})), count(DISTINCT {name}) FROM gold")
    kind, many = str(row[0]), int(row[1])
    numeric = kind in (
        "DOUBLE",
        "FLOAT",
        "BIGINT",
        "INTEGER",
        "SMALLINT",
        "TINYINT",
        "HUGEINT",
    ) or kind.startswith("DECIMAL")
    if not numeric or many <= _MANY:
        return f"CAST({name} AS VARCHAR)"
    cuts = ", ".join(str(i / STRATA) for i in range(1, STRATA))
    edges = first_row(con, f"SELECT quantile_disc({name}, [{cuts}]) FROM gold")
    values = sorted({float(e) for e in edges[0] or ()})
    bins = " + ".join(f"CAST({name} > {edge!r} AS INT)" for edge in values) or "0"
    return f"CAST({bins} AS VARCHAR)"
