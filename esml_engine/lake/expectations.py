"""Expectations: conditions that a layer's rows must meet, checked on a DuckDB relation.

A specification is a table of `model.toml`: `{"check", "column", "level"}` and what the check needs. To add a check,
write a function `(column, spec) -> SQL condition for a failing row` and put it into `_ROW_CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb

from esml_engine.errors import ExpectationError, SettingsError
from esml_engine.lake.later import LATER
from esml_engine.lake.sql import ident, literal, scalar

Spec = Mapping[str, Any]
Result = dict[str, Any]
_VIEW = "expected_rows"


def check(
    con: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    specs: Sequence[Spec],
    *,
    layer: str,
    skip_column: str | None = None,
) -> tuple[Result, ...]:
    """Check every expectation on `rows` (a relation of `con`).

    Args:
        layer: for messages.
        skip_column: a column whose expectations are skipped and said to be (the label, for inference).

    Returns:
        one `{"check", "column", "level", "passed", "failed_rows", "rows", "message"}` an expectation, in order;
        `passed` is None for a skipped one. `failed_rows` counts rows, all of them (nothing is sampled).

    Raises:
        ExpectationError: at least one expectation of level `error` was not met; `details["quality"]` has all results.
        SettingsError: a specification is incomplete or unknown.
    """
    if not specs:
        return ()
    rows.create_view(_VIEW, replace=True)
    try:
        columns = {str(c).lower() for c in rows.columns}
        total = _count(con, "TRUE")
        results = tuple(_one(con, spec, columns, total, skip_column) for spec in specs)
    finally:
        con.execute(f"DROP VIEW IF EXISTS {_VIEW}")
    failed = [r for r in results if r["passed"] is False and r["level"] == "error"]
    if failed:
        raise ExpectationError(
            f"{layer} does not meet {len(failed)} of {len(results)} expectations: {'; '.join(r['message'] for r in failed)}",
            hint='correct the data or the expectation, or set its level to "warn"',
            quality=list(results),
        )
    return results


def _one(
    con: duckdb.DuckDBPyConnection, spec: Spec, columns: set[str], total: int, skip: str | None
) -> Result:
    name, column = str(spec.get("check", "")), spec.get("column")
    level = str(spec.get("level", "error"))
    if level not in ("error", "warn"):
        raise SettingsError(f"expectation {name} has the level {level!r}", hint="choose error or warn")
    result: Result = {
        "check": name,
        "column": column,
        "level": level,
        "passed": True,
        "failed_rows": 0,
        "rows": total,
    }
    if name == "row_count":
        low, high = spec.get("min"), spec.get("max")
        passed = (low is None or total >= low) and (high is None or total <= high)
        return {**result, "passed": passed, "message": f"{total} rows, expected {_between(low, high)}"}
    if name in LATER:
        raise SettingsError(
            f"the expectation {name} comes later", hint="take it out of model.toml until then"
        )
    if name not in _ROW_CHECKS:
        raise SettingsError(
            f"unknown expectation {name!r}", hint=f"choose one of {', '.join([*_ROW_CHECKS, 'row_count'])}"
        )
    if not isinstance(column, str):
        raise SettingsError(f"expectation {name} names no column")
    if skip is not None and column == skip:
        return {
            **result,
            "passed": None,
            "message": f"{column}: skipped, the label may be absent for inference",
        }
    if column.lower() not in columns:
        return {
            **result,
            "passed": False,
            "failed_rows": total,
            "message": f"{column}: there is no such column",
        }
    condition, wanted = _ROW_CHECKS[name](ident(column), spec)
    try:
        failed = _count(con, condition)
    except (duckdb.ConversionException, duckdb.BinderException) as e:
        reason = str(e).splitlines()[0]
        return {
            **result,
            "passed": False,
            "failed_rows": total,
            "message": f"{column}: can't be compared: {reason}",
        }
    message = (
        f"{column}: all {total} rows {wanted}"
        if not failed
        else f"{column}: {failed} of {total} rows {'null' if name == 'not_null' else f'not {wanted}'}"
    )
    return {**result, "passed": not failed, "failed_rows": failed, "message": message}


def _count(con: duckdb.DuckDBPyConnection, condition: str) -> int:
    return scalar(con, f"SELECT count(*) FROM {_VIEW} WHERE {condition}")


def _between(low: Any, high: Any) -> str:
    if low is None or high is None:
        return f"at most {high}" if low is None else f"at least {low}"
    return f"{low} to {high}"


def _sql(value: Any) -> str:
    """A value from settings as an SQL literal."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return repr(value) if isinstance(value, int | float) else literal(str(value))


def _need(spec: Spec, *keys: str) -> None:
    if not any(spec.get(k) is not None for k in keys):
        raise SettingsError(f"expectation {spec['check']} on {spec['column']} needs {' or '.join(keys)}")


def _not_null(column: str, spec: Spec) -> tuple[str, str]:
    return f"{column} IS NULL", "not null"


def _unique(column: str, spec: Spec) -> tuple[str, str]:
    """Every row whose value stands in another row too; nulls are no values."""
    twice = f"(SELECT {column} FROM {_VIEW} WHERE {column} IS NOT NULL GROUP BY {column} HAVING count(*) > 1)"
    return f"{column} IN {twice}", "unique"


def _in_range(column: str, spec: Spec) -> tuple[str, str]:
    """Both ends belong to the range; nulls pass (`not_null` speaks of them); NaN does not."""
    _need(spec, "min", "max")
    low, high = spec.get("min"), spec.get("max")
    parts = [f"{column} < {_sql(low)}"] if low is not None else []
    parts += [f"{column} > {_sql(high)}"] if high is not None else [f"CAST({column} AS VARCHAR) = 'nan'"]
    return f"({' OR '.join(parts)})", f"in range ({_between(low, high)})"


def _in_set(column: str, spec: Spec) -> tuple[str, str]:
    _need(spec, "values")
    values = list(spec["values"])
    inside = f"{column} IN ({', '.join(_sql(v) for v in values)})" if values else "FALSE"
    shown = ", ".join(str(v) for v in values[:5]) + (", …" if len(values) > 5 else "")
    return f"{column} IS NOT NULL AND NOT ({inside})", f"in the set ({shown})"


def _regex(column: str, spec: Spec) -> tuple[str, str]:
    """The whole text must match."""
    _need(spec, "pattern")
    pattern = str(spec["pattern"])
    text = f"CAST({column} AS VARCHAR)"
    return f"{column} IS NOT NULL AND NOT regexp_full_match({text}, {literal(pattern)})", f"like {pattern}"


_ROW_CHECKS: dict[str, Callable[[str, Spec], tuple[str, str]]] = {
    "not_null": _not_null,
    "unique": _unique,
    "in_range": _in_range,
    "in_set": _in_set,
    "regex": _regex,
}
