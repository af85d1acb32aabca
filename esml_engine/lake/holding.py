"""What a table can hold: the type that a column of any Arrow type has in a table, and which schemas can't be one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pyarrow as pa

from esml_engine.errors import UsageError

_MOST_DIGITS = 38
_PLAIN: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pa.types.is_null, pa.string()),  # a column of nothing, as in text
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_time, pa.string()),  # a table has no time of day
    (pa.types.is_unsigned_integer, pa.int64()),
    (pa.types.is_float16, pa.float32()),
    (pa.types.is_date64, pa.date32()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
)
_AS_IT_IS = (
    pa.types.is_boolean,
    pa.types.is_signed_integer,
    pa.types.is_floating,
    pa.types.is_string,
    pa.types.is_binary,
    pa.types.is_date32,
)


def held_type(kind: pa.DataType) -> pa.DataType | None:
    """The type of a table's column that holds the values of an Arrow type (times to the microsecond); None: none does."""
    if pa.types.is_dictionary(kind):
        return held_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if pa.types.is_decimal(kind):
        fits = kind.precision <= _MOST_DIGITS and 0 <= kind.scale <= kind.precision
        return pa.decimal128(kind.precision, kind.scale) if fits else None
    if pa.types.is_struct(kind):
        fields = [(f.name, held_type(f.type)) for f in (kind.field(i) for i in range(kind.num_fields))]
        return pa.struct(fields) if fields and all(t is not None for _, t in fields) else None
    if pa.types.is_map(kind):
        key, item = held_type(kind.key_type), held_type(kind.item_type)
        return pa.map_(key, item) if key is not None and item is not None else None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        item = held_type(kind.value_type)
        return pa.list_(item) if item is not None else None
    for is_kind, plain in _PLAIN:
        if is_kind(kind):
            return plain
    return kind if any(is_kind(kind) for is_kind in _AS_IT_IS) else None


def require_held(schema: pa.Schema) -> None:
    """Refuse what no table can be.

    Raises:
        UsageError: a column has no name, or one that another has (upper and lower case count as the same), or a type
            that no table holds.
    """
    if nameless := [n for n, name in enumerate(schema.names, 1) if not name]:
        raise UsageError(f"column {nameless[0]} has no name", hint="name it")
    counts = Counter(n.lower() for n in schema.names)
    if twice := [n for n in schema.names if counts[n.lower()] > 1]:
        raise UsageError(
            f"the column {twice[0]!r} is there {counts[twice[0].lower()]} times (upper and lower case count as the same)",
            hint="give each column a name of its own; in SQL: name the columns, or join with USING",
        )
    for field in schema:
        if held_type(field.type) is None:
            raise UsageError(
                f"column {field.name!r} is {_said(field.type)}, which a table can't hold",
                hint=_instead(field.type),
            )


def _said(kind: pa.DataType) -> str:
    return "a length of time" if _is_length(kind) else f"of type {kind}"


def _instead(kind: pa.DataType) -> str:
    if _is_length(kind):
        return "make it a number of seconds, or a text"
    return "make it a number, a text, a date or a timestamp, or leave it out"


def _is_length(kind: pa.DataType) -> bool:
    return bool(pa.types.is_duration(kind) or pa.types.is_interval(kind))
