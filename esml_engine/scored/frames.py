"""Requests of a ledger as one Arrow table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    out: list[Any] = []
    for part, count in zip(parts, counts, strict=True):
        out += part if part is not None else [None] * count
    return out


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """JSON values as an Arrow column; NaN and infinity are nulls, numbers among text are text."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    if pa.types.is_date32(kind):
        return pa.array(values, pa.int32()).cast(kind)
    if pa.types.is_string(kind):
        return pa.array(
            [None if v is None else v if isinstance(v, str) else json.dumps(v) for v in values], kind
        )
    if pa.types.is_floating(kind):
        return pa.array([None if v is None or not math.isfinite(v) else float(v) for v in values], kind)
    if pa.types.is_integer(kind):
        return pa.array([None if v is None or v != v else int(v) for v in values], kind)
    return pa.array([None if v is None else bool(v) for v in values], kind)
