"""Frozen facts of the scored room: what a request leaves behind, and the shape of the `scored` table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

IDENTITY = ("request_id", "row", "scored_at", "scored_date", "caller_id", "model_version")
"""Columns of a scored row that come before its prediction."""


class Reserved(Enum):
    """What the ledger says when a request id is reserved."""

    NEW = "new"  # this caller predicts, then finishes or releases
    DONE = "done"  # answered before: here is the stored answer
    IN_FLIGHT = (
        "in_flight"  # another call with the same id and body is being answered: wait, then reserve again
    )
    CONFLICT = "conflict"  # the id belongs to another body


VIEW_KEYS = ("from", "to", "caller", "version", "where", "sort")
"""What a named view keeps, as the cockpit's address spells it."""


@dataclass(frozen=True)
class Answer:
    """A stored answer: `seq` is its place in the ledger, `body` the exact bytes that went out."""

    seq: int
    body: bytes


@dataclass(frozen=True)
class Finished:
    """One answered request on its way into the ledger.

    Args:
        scored_at: microseconds since the epoch, UTC.
        frame: columns of the scored rows (`features`, `prediction`, `probability`, `low`, `high`), each a list of
            JSON values as long as `rows`; None keeps the answer for retries and logs no row (`save = false`).
    """

    request_id: str
    body_hash: bytes
    answer: bytes
    caller: str
    model_version: int
    scored_at: int
    rows: int
    frame: Mapping[str, Any] | None


@dataclass(frozen=True)
class Slice:
    """Scored rows of the requests (after, last_seq], in ledger order."""

    after: int
    last_seq: int
    table: pa.Table


@dataclass(frozen=True)
class ScoredSource:
    """The `scored` table at one moment: parquet files with their partition's date, and ledger rows not drained yet.

    `near`: paths on this machine of those files that a question needs.
    """

    files: Sequence[tuple[str, dt.date]] = ()
    fresh: pa.Table | None = None
    near: Callable[[list[str]], list[str]] = list


@dataclass(frozen=True)
class ScoredFilter:
    """Which scored rows, in which order.

    Args:
        since, until: whole UTC days when dates, moments when datetimes (naive: UTC); both inclusive.
        without: request ids whose rows are left out.
        where: `COLUMN OP VALUE`, joined by *and*; OP is one of `= != < <= > >= in contains is-null`.
        order_by: `COLUMN`, `COLUMN:asc` or `COLUMN:desc`; empty: newest first.
        by: what counts are grouped by: `day` (also when None), `caller`, `model_version`.
    """

    since: dt.date | dt.datetime | None = None
    until: dt.date | dt.datetime | None = None
    callers: tuple[str, ...] = ()
    model_versions: tuple[int, ...] = ()
    without: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    order_by: str = ""
    limit: int | None = 100
    offset: int = 0
    by: str | None = None
    count_only: bool = False


@dataclass(frozen=True)
class Shape:
    """A model version's part of the scored table: Arrow type names of its features and of what it answers."""

    features: Mapping[str, str]
    prediction: str = "double"
    classes: tuple[str, ...] = ()
    interval: bool = False


_TYPES = {
    "bool": "bool", "boolean": "bool",
    "int8": "int64", "int16": "int64", "int32": "int64", "int64": "int64", "integer": "int64", "long": "int64",
    "uint8": "int64", "uint16": "int64", "uint32": "int64", "int": "int64",
    "float16": "double", "float32": "double", "float64": "double", "float": "double", "double": "double",
    "halffloat": "double", "uint64": "double", "number": "double",
}  # fmt: skip
"""A signature's type names (Arrow, NumPy, MLflow) to what the scored table stores; all else is stored as text."""


def stored_type(name: str) -> str:
    """The type that the scored table gives to a feature of signature type `name`.

    One of bool, int64, double, timestamp (UTC) and string.
    """
    plain = name.lower()
    if plain.startswith("decimal"):
        return "double"
    if plain.startswith(("timestamp", "date")):
        return "timestamp"
    return _TYPES.get(plain, "string")


def wider(a: str, b: str) -> str:
    """The narrowest stored type that holds both: int64 → double → string; others meet only as text."""
    if a == b:
        return a
    return "double" if {a, b} == {"int64", "double"} else "string"


def feature_name(name: str, taken: Iterable[str] = ()) -> str:
    """A feature's column in the scored table: itself, or with the prefix `feature_` where it meets a column of ours."""
    ours = name in IDENTITY or name in ("prediction", "low", "high") or name.startswith("probability_")
    return f"feature_{name}" if ours or name in taken else name


def merged(shapes: Iterable[Shape]) -> Shape:
    """The union of several model versions' shapes, clashes widened."""
    features: dict[str, str] = {}
    prediction = ""
    classes: dict[str, None] = {}
    interval = False
    for shape in shapes:
        for name, kind in shape.features.items():
            features[name] = wider(features[name], kind) if name in features else kind
        prediction = wider(prediction, shape.prediction) if prediction else shape.prediction
        classes.update(dict.fromkeys(shape.classes))
        interval = interval or shape.interval
    return Shape(features, prediction or "double", tuple(classes), interval)


def arrow_schema(shape: Shape) -> pa.Schema:
    """The scored table's Arrow schema, columns in the contract's order."""
    import pyarrow as pa

    kinds = {
        "bool": pa.bool_(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "string": pa.string(),
    }
    fields = [
        pa.field("request_id", pa.string()),
        pa.field("row", pa.int64()),
        pa.field("scored_at", pa.timestamp("us", tz="UTC")),
        pa.field("scored_date", pa.date32()),
        pa.field("caller_id", pa.string()),
        pa.field("model_version", pa.int64()),
        pa.field("prediction", kinds[shape.prediction]),
    ]
    fields += [pa.field(f"probability_{c}", pa.float64()) for c in shape.classes]
    if shape.interval:
        fields += [pa.field("low", pa.float64()), pa.field("high", pa.float64())]
    fields += [pa.field(feature_name(name), kinds[kind]) for name, kind in shape.features.items()]
    return pa.schema(fields)
