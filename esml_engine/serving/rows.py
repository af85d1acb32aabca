"""Rows that people hand in for scoring, as columns by name."""

from __future__ import annotations

import json
import math
import reprlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from esml_engine.errors import NotYetError, UsageError
from esml_engine.serving import handed
from esml_engine.serving.handed import Signature
from esml_engine.serving.scorer import columns_of as body_of
from esml_engine.training.models.signature import coerce

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")


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


_SMALL_BYTES = 4_000_000


def check_file(
    path: Path, signature: Signature = (), dialect: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """That a file holds rows to score, before a run is started for it.

    JSON and small csv files are read as a whole; of parquet the end is, of a large csv file nothing yet.

    Raises:
        UsageError: there is none, it can't be read, has no rows, lacks a column or (JSON, small csv) holds a wrong value, each with its name.
        UnreadableError: no text, or no header. NotYetError: an Arrow file.
    """
    kind = _kind(path)
    if kind == "json":
        given = json_columns(path)
        handed.require_columns(path, given, signature)
        try:
            coerce(signature, {c["name"]: given[c["name"]] for c in signature})
        except UsageError as e:
            raise UsageError(f"{path.name}: {e.message}", hint=e.hint) from e
    elif kind == "parquet":
        import pyarrow.parquet as pq

        end = _parquet(path, pq.read_metadata)
        if not end.num_rows:
            raise UsageError(f"{path.name}: there are no rows to score")
        handed.require_columns(path, end.schema.to_arrow_schema().names, signature)
    elif path.stat().st_size <= _SMALL_BYTES:
        with tempfile.TemporaryDirectory(prefix="esml-rows-") as work:
            handed.read(path, signature, Path(work), dialect)


def _kind(path: Path) -> str:
    """`json`, `parquet` or `csv`."""
    hint, kind = "give a csv, parquet or json file", handed.kind_of(path.name)
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint=hint)
    if kind == "arrow":
        raise NotYetError("Arrow files come later", hint=hint)
    if not kind:
        raise UsageError(f"{path.name} is no csv, parquet or json file by its name", hint=hint)
    return kind


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is no number that JSON can carry")
    return value


def json_columns(path: Path) -> dict[str, list[Any]]:
    """The rows of a JSON file as columns: a list of dictionaries, columns by name, or a request's body.

    Raises:
        UsageError: it is none of these, with the file's name.
    """
    hint = "a list of rows as dictionaries, columns by name, or a request's body with input_data"
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as e:
        raise UsageError(f"{path.name} is not JSON: {e}", hint=hint) from e
    if not isinstance(raw, list | dict) or (isinstance(raw, list) and not all(isinstance(r, dict) for r in raw)):  # fmt: skip
        raise UsageError(f"{path.name} holds {reprlib.repr(raw)}, which is no rows to score", hint=hint)
    try:
        columns = body_of(raw)[0] if isinstance(raw, dict) and "input_data" in raw else columns_of(raw)
    except UsageError as e:
        raise UsageError(f"{path.name}: {e.message}", hint=e.hint or hint) from e
    if len({len(values) for values in columns.values()}) > 1:
        raise UsageError(f"{path.name}: the columns are not of one length", hint=hint)
    return columns


def typed_table(columns: Mapping[str, list[Any]], typed: Mapping[str, list[Any]]) -> pa.Table:
    """Columns as a table: those of the model as it typed them, another (the key) as numbers or as text."""
    import pyarrow as pa

    def other(values: list[Any]) -> pa.Array:
        try:
            array = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            array = None
        if array is not None and not pa.types.is_nested(array.type):
            return array
        return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values])

    return pa.table({n: pa.array(typed[n]) if n in typed else other(v) for n, v in columns.items()})


def _file(path: Path, signature: Signature, dialect: Mapping[str, Any]) -> dict[str, list[Any]]:
    kind = _kind(path)
    if kind == "json":
        return json_columns(path)
    import pyarrow.parquet as pq

    if kind == "parquet":
        return dict(_parquet(path, pq.read_table).to_pydict())
    with tempfile.TemporaryDirectory(prefix="esml-rows-") as work:
        return dict(pq.read_table(handed.read(path, signature, Path(work), dialect).rows).to_pydict())


def _parquet(path: Path, read: Callable[[Path], T]) -> T:
    import pyarrow as pa

    try:
        return read(path)
    except (pa.ArrowInvalid, OSError) as e:
        raise UsageError(f"{path.name} can't be read: {e}", hint="give a csv, parquet or json file") from e
