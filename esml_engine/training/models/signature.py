"""Values from a caller against a model's signature: what is wrong is named by column and row."""

from __future__ import annotations

import datetime as dt
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from esml_engine.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

Columns = dict[str, list[Any]]
_NULLS = ("NAType", "NaTType")


def coerce(signature: Sequence[Mapping[str, str]], columns: Mapping[str, Sequence[Any]]) -> Columns:
    """The signature's columns as plain Python values: float, str, naive UTC datetime or None.

    Whole numbers are accepted for floats, ISO texts for dates, null everywhere (NaN and, for floats, infinity count as
    null, as in training).

    Raises:
        UsageError: a column is missing, unknown, of other length than the rest, or holds a value of a wrong type.
    """
    names = [c["name"] for c in signature]
    missing = [n for n in names if n not in columns]
    if missing:
        raise UsageError(f"column '{missing[0]}' is missing", hint=f"the model takes: {', '.join(names)}")
    if len(columns) != len(names):
        known = set(names)
        unknown = next(n for n in columns if n not in known)
        raise UsageError(f"column '{unknown}' is unknown", hint=f"the model takes: {', '.join(names)}")
    out: Columns = {}
    rows = len(columns[names[0]]) if names else 0
    for c in signature:
        name, values = c["name"], columns[c["name"]]
        if len(values) != rows:
            raise UsageError(f"column '{name}' has {len(values)} values, column '{names[0]}' has {rows}")
        out[name] = _column(name, c["type"], values)
    return out


def _column(name: str, type_: str, values: Sequence[Any]) -> list[Any]:
    read, says = _reader(type_)
    out: list[Any] = []
    for row, v in enumerate(values):
        try:
            out.append(None if v is None or type(v).__name__ in _NULLS or v != v else read(v))
        except (TypeError, ValueError, OverflowError):
            raise UsageError(f"column '{name}': {v!r} is not {says} (row {row})") from None
    return out


def _reader(type_: str) -> tuple[Callable[[Any], Any], str]:
    if type_ == "bool":
        return _bool, "true or false"
    if type_.startswith(("int", "uint")):
        return _whole, "a whole number"
    if type_.startswith(("double", "float", "halffloat", "decimal")):
        return _number, "a number"
    if type_.startswith(("timestamp", "date")):
        return _moment, "a date or time"
    if type_ == "null":
        return _anything, "anything"
    return _text, "a text"


def _number(v: Any) -> float | None:
    if type(v) is not float:
        # Decimal is a number in every sense but `numbers.Real`
        if isinstance(v, bool) or not (isinstance(v, numbers.Real) or type(v).__name__ == "Decimal"):
            raise TypeError
        v = float(v)
    return v if math.isfinite(v) else None


def _whole(v: Any) -> float:
    value = _number(v)
    # beyond 64 bits nothing of ours could keep it, and a row has to explain its prediction
    if value is None or value != math.floor(value) or not -(2.0**63) <= value < 2.0**63:
        raise ValueError
    return value


def _bool(v: Any) -> float:
    if isinstance(v, bool) or type(v).__name__ in ("bool", "bool_") or v in (0, 1):
        return float(v)
    raise TypeError


def _text(v: Any) -> str:
    if not isinstance(v, str):
        raise TypeError
    return v


def _anything(v: Any) -> None:
    """A column that was null in every training row is not read."""


def _moment(v: Any) -> dt.datetime:
    if isinstance(v, str):
        v = dt.datetime.fromisoformat(v)
    elif not isinstance(v, dt.datetime):
        if not isinstance(v, dt.date):
            raise TypeError
        return dt.datetime(v.year, v.month, v.day)
    moment: dt.datetime = v
    return moment if moment.tzinfo is None else moment.astimezone(dt.UTC).replace(tzinfo=None)


def example_of_columns(table: pa.Table, columns: Iterable[str]) -> dict[str, Any]:
    """The first row of some columns, dates as ISO text: an input example that is plain JSON."""
    row = table.select(list(columns)).slice(0, 1).to_pylist()[0]
    return {k: _plain(v) for k, v in row.items()}


def _plain(v: Any) -> Any:
    if isinstance(v, dt.date):
        return v.isoformat()
    if isinstance(v, Decimal) or (isinstance(v, float) and not math.isfinite(v)):
        return float(v) if math.isfinite(v) else None
    return v
