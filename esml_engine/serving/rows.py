"""Rows that people hand in for scoring, as columns by name."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from esml_engine.errors import NotYetError, UsageError
from esml_engine.serving import handed
from esml_engine.serving.handed import Signature
from esml_engine.serving.scorer import columns_of as body_of


def columns_of(
    rows: Any, signature: Signature = (), dialect: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, list[Any]]:
    """From a data frame (pandas, polars, Arrow), a list of dictionaries, columns by name, or a file.

    `signature`, `dialect`: the model's, by which the text of a csv file is read.

    Raises:
        UsageError: none of these, or no rows. NotYetError: an Arrow file.
    """
    if isinstance(rows, str | Path):
        columns = _file(Path(rows), signature, dialect)
    elif isinstance(rows, Mapping):
        single = next((k for k, v in rows.items() if isinstance(v, str) or not isinstance(v, Iterable)), None)
        if single is not None:
            raise UsageError(
                f"column {str(single)!r} is one value, not a list of them",
                hint="give a row as a dictionary in a list: score([{…}])",
            )
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


def _file(path: Path, signature: Signature, dialect: Mapping[str, Any]) -> dict[str, list[Any]]:
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="name a csv, parquet or json file")
    if path.suffix == ".json":
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as e:
            raise UsageError(
                f"{path.name} is not JSON: {e}",
                hint="a list of rows as dictionaries, columns by name, or a request's body with input_data",
            ) from e
        return body_of(raw)[0] if isinstance(raw, dict) and "input_data" in raw else columns_of(raw)
    if path.suffix in (".arrow", ".ipc", ".feather"):
        raise NotYetError("Arrow files come later", hint="give a csv, parquet or json file")
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix != ".parquet":
        with tempfile.TemporaryDirectory(prefix="esml-rows-") as work:
            return dict(pq.read_table(handed.read(path, signature, Path(work), dialect).rows).to_pydict())
    try:
        return dict(pq.read_table(path).to_pydict())
    except (pa.ArrowInvalid, OSError) as e:
        raise UsageError(f"{path.name} can't be read: {e}", hint="give a csv or parquet file") from e
