"""Rows that people hand in for scoring, as columns by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esml_engine.errors import NotYetError, UsageError


def columns_of(rows: Any) -> dict[str, list[Any]]:
    """From a data frame (pandas, polars, Arrow), a list of dictionaries, columns by name, or a file.

    Raises:
        UsageError: none of these, or no rows. NotYetError: an Arrow file.
    """
    if isinstance(rows, str | Path):
        columns = _file(Path(rows))
    elif isinstance(rows, Mapping):
        columns = {str(k): list(v) for k, v in rows.items()}
    elif isinstance(rows, list) and all(isinstance(r, Mapping) for r in rows):
        names = list(dict.fromkeys(k for r in rows for k in r))
        columns = {n: [r.get(n) for r in rows] for n in names}
    elif hasattr(rows, "to_pydict"):
        columns = rows.to_pydict()
    elif hasattr(rows, "columns") and hasattr(rows, "__getitem__"):
        columns = {str(c): _plain(rows[c]) for c in rows.columns}
    else:
        raise UsageError(
            f"{type(rows).__name__} is no rows to score",
            hint="give a data frame, a list of dictionaries, or a csv, parquet or json file",
        )
    if not columns or not next(iter(columns.values()), []):
        raise UsageError("there are no rows to score")
    return columns


def _plain(series: Any) -> list[Any]:
    return [None if v is None or v != v else v for v in series.to_list()]


def _file(path: Path) -> dict[str, list[Any]]:
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="name a csv, parquet or json file")
    if path.suffix == ".json":
        raw = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(raw, dict) and "input_data" in raw:
            said = raw["input_data"]
            return {c: [row[i] for row in said["data"]] for i, c in enumerate(said["columns"])}
        return columns_of(raw)
    if path.suffix in (".arrow", ".ipc", ".feather"):
        raise NotYetError("Arrow files come later", hint="give a csv, parquet or json file")
    import duckdb

    con = duckdb.connect()
    try:
        found = con.read_parquet(str(path)) if path.suffix == ".parquet" else con.read_csv(str(path))
        return dict(found.to_arrow_table().to_pydict())
    except duckdb.Error as e:
        raise UsageError(
            f"{path.name} can't be read: {e}", hint="give a csv or parquet file with a header"
        ) from e
    finally:
        con.close()
