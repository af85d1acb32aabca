"""Requests of a ledger as one Arrow table."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esml_engine.scored.facts import Shape, arrow_schema, feature_name, merged

if TYPE_CHECKING:
    import pyarrow as pa

_DAY = 86_400_000_000
_INT64 = 2**63


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
    shape = merged(shapes[version] for version in sorted({r.model_version for r in requests} or shapes))
    return assembled(requests, (json.loads(r.frame or "{}") for r in requests), shape)


def assembled(
    requests: Sequence[Request], frames: Iterable[Mapping[str, Any]], shape: Shape, first_row: int = 0
) -> pa.Table:
    """Requests and their frames, one each, as scored rows of the shape; rows are numbered from `first_row`."""
    import pyarrow as pa

    schema = arrow_schema(shape)
    columns: dict[str, list[Any]] = {field.name: [] for field in schema}
    features = [(name, columns[feature_name(name)].extend) for name in shape.features]
    classes = [(name, columns[f"probability_{name}"].extend) for name in shape.classes]
    interval = [(side, columns[side].extend) for side in ("low", "high")] if shape.interval else []
    predicted = columns["prediction"].extend
    # one pass that keeps no frame: a hundred thousand live dictionaries would cost more than parsing them
    for request, frame in zip(requests, frames, strict=True):
        nothing = [None] * request.rows
        predicted(frame["prediction"])
        given = frame["features"]
        for name, extend in features:
            extend(given.get(name) or nothing)
        for name, extend in classes:
            extend(frame.get("probability", {}).get(name) or nothing)
        for name, extend in interval:
            extend(frame.get(name) or nothing)
    counts = [r.rows for r in requests]
    columns["request_id"] = _spread([r.request_id for r in requests], counts)
    columns["row"] = [n for count in counts for n in range(first_row, first_row + count)]
    columns["scored_at"] = _spread([r.scored_at for r in requests], counts)
    columns["scored_date"] = [at // _DAY for at in columns["scored_at"]]
    columns["caller_id"] = _spread([r.caller for r in requests], counts)
    columns["model_version"] = _spread([r.model_version for r in requests], counts)
    return pa.table([_array(columns[f.name], f.type) for f in schema], schema=schema)


def _spread(values: Sequence[Any], counts: Sequence[int]) -> list[Any]:
    if all(c == 1 for c in counts):
        return list(values)
    return [v for v, count in zip(values, counts, strict=True) for _ in range(count)]


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """JSON values as an Arrow column; it takes whatever was answered, since one odd row must not stop a drain.

    NaN, infinity and whole numbers beyond 64 bits are nulls (the stored answer still has them), other types among text
    are text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(kind):
        array = pa.array(values, kind, from_pandas=True)
        return pc.if_else(pc.is_finite(array), array, pa.scalar(None, kind))
    if pa.types.is_integer(kind):
        return pa.array([_whole(v) for v in values], kind)
    if pa.types.is_boolean(kind):
        return pa.array([None if v is None else bool(v) for v in values], kind)
    if pa.types.is_string(kind):
        texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        try:
            return pa.array(texts, kind)
        except UnicodeEncodeError:  # JSON may carry halves of a surrogate pair, UTF-8 may not
            return pa.array([t and t.encode("utf-8", "replace").decode() for t in texts], kind)
    if pa.types.is_date32(kind):
        return pa.array(values, pa.int32()).cast(kind)
    # microseconds (when it was scored) or ISO 8601 (a feature)
    return pa.array([_moment(v) if isinstance(v, str) else v for v in values], kind)


def _whole(value: Any) -> int | None:
    if value is None or value != value:
        return None
    return int(value) if -_INT64 <= value < _INT64 else None


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
