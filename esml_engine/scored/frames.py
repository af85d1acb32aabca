"""Requests of a ledger as one Arrow table."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from esml_engine.scored.facts import Shape, arrow_schema, feature_name, merged

if TYPE_CHECKING:
    import pyarrow as pa

_DAY = 86_400_000_000


@dataclass(frozen=True)
class Request:
    """One request as the ledger keeps it."""

    seq: int
    request_id: str
    caller: str
    model_version: int
    scored_at: int
    rows: int
    frame: str | None


def rows_table(requests: Sequence[Request], shapes: Mapping[int, Shape]) -> pa.Table:
    """The scored rows of `requests`, in their order.

    Its schema is the union over the model versions that appear; without requests, over all that are known.
    """
    frames = [json.loads(r.frame or "{}") for r in requests]
    shape = merged(shapes[version] for version in sorted({r.model_version for r in requests} or shapes))
    return assembled(requests, frames, shape)


def assembled(
    requests: Sequence[Request], frames: Sequence[Mapping[str, Any]], shape: Shape, first_row: int = 0
) -> pa.Table:
    """Requests and their frames, one each, as scored rows of the shape; rows are numbered from `first_row`."""
    import pyarrow as pa

    schema = arrow_schema(shape)
    counts = [r.rows for r in requests]
    at = _spread([r.scored_at for r in requests], counts)
    columns: dict[str, Any] = {
        "request_id": _spread([r.request_id for r in requests], counts),
        "row": [n for count in counts for n in range(first_row, first_row + count)],
        "scored_at": at,
        "scored_date": [a // _DAY for a in at],
        "caller_id": _spread([r.caller for r in requests], counts),
        "model_version": _spread([r.model_version for r in requests], counts),
        "prediction": _joined((f.get("prediction") for f in frames), counts),
    }
    for name in shape.classes:
        columns[f"probability_{name}"] = _joined((f.get("probability", {}).get(name) for f in frames), counts)
    if shape.interval:
        columns["low"] = _joined((f.get("low") for f in frames), counts)
        columns["high"] = _joined((f.get("high") for f in frames), counts)
    for name in shape.features:
        columns[feature_name(name)] = _joined((f["features"].get(name) for f in frames), counts)
    return pa.table([_array(columns[f.name], f.type) for f in schema], schema=schema)


def _spread(values: Sequence[Any], counts: Sequence[int]) -> list[Any]:
    if all(c == 1 for c in counts):
        return list(values)
    return [v for v, count in zip(values, counts, strict=True) for _ in range(count)]


def _joined(parts: Iterable[list[Any] | None], counts: Sequence[int]) -> list[Any]:
    return list(
        chain.from_iterable(p if p is not None else [None] * n for p, n in zip(parts, counts, strict=True))
    )


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """JSON values as an Arrow column; NaN and infinity are nulls, other types among text are text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(kind):
        array = pa.array(values, kind, from_pandas=True)
        return pc.if_else(pc.is_finite(array), array, pa.scalar(None, kind))
    if pa.types.is_integer(kind):
        return pa.array([None if v is None or v != v else int(v) for v in values], kind)
    if pa.types.is_boolean(kind):
        return pa.array([None if v is None else bool(v) for v in values], kind)
    if pa.types.is_string(kind):
        return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], kind)
    return pa.array([_moment(v) if isinstance(v, str) else v for v in values], kind)


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
