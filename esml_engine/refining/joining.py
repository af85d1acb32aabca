"""Gold by default: the first dataset with the others joined to it on the model's key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import duckdb

from esml_engine.errors import StepError
from esml_engine.lake.sql import ident, scalar

_ROW = '"__esml_row"'
_SHOWN = 5


def join_sql(con: duckdb.DuckDBPyConnection, datasets: Sequence[str], key: str | None) -> str:
    """SQL of gold over views named like the datasets, rows in the order of the first one.

    Raises:
        StepError: several datasets and no key; the key is missing, of another type or not unique in a joined dataset.
    """
    spine, *others = datasets
    columns = {d: _columns(con, d) for d in datasets}
    if not others:
        return f"SELECT * FROM {ident(spine)}"
    if not key:
        raise StepError(
            f"the model joins {len(datasets)} datasets ({', '.join(datasets)}) and has no key",
            hint="set key in model.toml, or write steps/gold.py",
        )
    for dataset in datasets:
        _check_key(con, dataset, columns, spine, key)
    joins = []
    for dataset in others:
        _check_unique(con, dataset, key)
        joins.append(
            f"LEFT JOIN {ident(dataset)} ON {ident(spine)}.{ident(key)} = {ident(dataset)}.{ident(key)}"
        )
    taken: set[str] = set()
    select = []
    for dataset, column, name in gold_names(columns, key):
        if name.lower() in taken:
            raise StepError(
                f"gold would have two columns {name}", hint="name them apart in a silver step or in gold.py"
            )
        taken.add(name.lower())
        select.append(f"{ident(dataset)}.{ident(column)} AS {ident(name)}")
    numbered = f"(SELECT *, row_number() OVER () AS {_ROW} FROM {ident(spine)}) AS {ident(spine)}"
    return f"SELECT {', '.join(select)} FROM {numbered} {' '.join(joins)} ORDER BY {ident(spine)}.{_ROW}"


def gold_names(columns: Mapping[str, Iterable[str]], key: str) -> list[tuple[str, str, str]]:
    """Each column of gold as (dataset, its column there, its name in gold), in gold's order.

    The first dataset keeps its names; a later one's key is left out, and its column of a name that is taken gets the
    dataset's before it.
    """
    taken: set[str] = set()
    out = []
    for n, (dataset, names) in enumerate(columns.items()):
        for column in names:
            if n and column.lower() == key.lower():
                continue
            name = column if column.lower() not in taken else f"{dataset}_{column}"
            taken.add(name.lower())
            out.append((dataset, column, name))
    return out


def _columns(con: duckdb.DuckDBPyConnection, view: str) -> dict[str, str]:
    rows = con.execute(f"DESCRIBE {ident(view)}").fetchall()
    return {str(row[0]): str(row[1]) for row in rows}


def _check_key(
    con: duckdb.DuckDBPyConnection, dataset: str, columns: dict[str, dict[str, str]], spine: str, key: str
) -> None:
    types = {name.lower(): kind for name, kind in columns[dataset].items()}
    if key.lower() not in types:
        raise StepError(
            f"{dataset} has no column {key}, which is the model's key",
            hint="bring it in with the silver step",
        )
    first = {name.lower(): kind for name, kind in columns[spine].items()}[key.lower()]
    if types[key.lower()] != first:
        raise StepError(
            f"the key {key} is {first} in {spine} and {types[key.lower()]} in {dataset}",
            hint="declare the same type for it in both datasets",
        )


def _check_unique(con: duckdb.DuckDBPyConnection, dataset: str, key: str) -> None:
    twice = f"SELECT {ident(key)} AS k FROM {ident(dataset)} WHERE {ident(key)} IS NOT NULL GROUP BY k HAVING count(*) > 1"
    number = scalar(con, f"SELECT count(*) FROM ({twice})")
    if number:
        shown = [
            str(r[0]) for r in con.execute(f"SELECT k FROM ({twice}) ORDER BY k LIMIT {_SHOWN}").fetchall()
        ]
        raise StepError(
            f"{number} keys stand more than once in {dataset}, so it can't be joined on {key}: "
            f"{', '.join(shown)}{', …' if number > _SHOWN else ''}",
            hint="make its silver one row a key, or write steps/gold.py",
            keys=shown,
        )
