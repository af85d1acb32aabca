"""From a table's columns to the numbers that learners read, as a frozen description that is plain JSON.

Three matrices come out of one encoding (all float64, one row a table row):
*codes* (n, f): numbers as they are, categories as the rank of their label mean, dates as six numbers; null is NaN
where training saw nulls, else the training median. *filled* (n, f): codes without NaN. *scaled* (n, g): filled and
standardised, categories one-hot, one indicator a column that had nulls: for linear models.

Categories are ordered by the label's mean, shrunken towards the overall mean (Fisher 1958: for squared error the
best binary split of k categories is then a cut of that order; shrinkage after Micci-Barreca 2001). For many classes
they are ordered by the first principal component of their class shares (Coppersmith, Hong, Hosking 1999). Categories
with too few rows share the code of the unseen, so that the order can't carry single labels.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Floats = NDArray[np.float64]

DATE_PARTS = ("year", "month", "day", "weekday", "hour", "elapsed_days")
_MAX_CATEGORIES = 255
_SHRINK = 10.0
_EPOCH = dt.datetime(1970, 1, 1)
_DAY = 86_400.0


@dataclass(frozen=True)
class Column:
    """How one feature is read. `kind`: number, category, date, or empty (null in every training row: not read)."""

    name: str
    type: str
    kind: str
    nulls: bool
    categories: tuple[str, ...] = ()
    codes: tuple[float, ...] = ()
    other: float = 0.0
    fill: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """How many columns of the codes matrix it makes."""
        return {"number": 1, "category": 1, "date": len(DATE_PARTS), "empty": 0}[self.kind]


@dataclass(frozen=True)
class Preparing:
    """The features of a model in signature order, and how each is read."""

    columns: tuple[Column, ...]

    @property
    def signature(self) -> list[dict[str, str]]:
        """The columns a caller gives, as `{"name", "type"}`."""
        return [{"name": c.name, "type": c.type} for c in self.columns]

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`."""
        return {"columns": [asdict(c) for c in self.columns]}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Preparing:
        """Inverse of `to_json`."""
        return cls(tuple(_column_of(c) for c in raw["columns"]))


def _column_of(raw: Mapping[str, Any]) -> Column:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    return Column(**values)


def as_table(frame: pa.Table | pd.DataFrame) -> pa.Table:
    """A pandas data frame (index dropped) or an Arrow table as an Arrow table.

    Raises:
        UsageError: a column mixes types that Arrow can't hold together.
    """
    import pyarrow as pa

    if isinstance(frame, pa.Table):
        return frame
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as e:
        raise UsageError(f"the data frame can't be read as a table: {e}") from e


def type_name(kind: pa.DataType) -> str:
    """The type as a signature writes it: Arrow's name, with every encoding of text called `string`."""
    import pyarrow.types as t

    if t.is_dictionary(kind):
        return type_name(kind.value_type)
    if t.is_large_string(kind) or t.is_string_view(kind) or t.is_string(kind):
        return "string"
    return str(kind)


def kind_of(type_: str) -> str:
    """`number`, `category`, `date`, `empty` or `other` for a signature type."""
    if type_.startswith(("int", "uint", "float", "double", "halffloat", "decimal")) or type_ == "bool":
        return "number"
    if type_ == "string":
        return "category"
    if type_.startswith(("timestamp", "date")):
        return "date"
    return "empty" if type_ == "null" else "other"


def fit_preparing(frame: pa.Table | pd.DataFrame, y: Floats, *, leave_out: Iterable[str] = ()) -> Preparing:
    """Learn how to read every column of a training table but those left out (label, key, ignored).

    Args:
        frame: training rows.
        y: their labels (n,), or indicators of their classes (n, k), which order the categories.
        leave_out: names of columns that are no features.

    Raises:
        UsageError: no column is left, or one has a type that can't be a feature.
    """
    table = as_table(frame)
    out = set(leave_out)
    columns = tuple(_fit_column(n, table.column(n), y) for n in table.column_names if n not in out)
    if not any(c.width for c in columns):
        raise UsageError(
            "no feature is left to learn from",
            hint="label and key are no features: bring other columns into gold",
        )
    return Preparing(columns)


def _fit_column(name: str, values: pa.ChunkedArray, y: Floats) -> Column:
    type_ = type_name(values.type)
    kind = kind_of(type_)
    if kind == "other":
        raise UsageError(
            f"column '{name}' of type {type_} can't be a feature",
            hint="leave it out, or make a number or text of it, in steps/gold.py or steps/gold.sql",
        )
    if kind == "empty" or values.null_count == len(values):
        return Column(name, type_, "empty", True)
    if kind == "category":
        return _fit_category(name, type_, values, y)
    raw = numbers_of(values) if kind == "number" else _date_parts(values)
    if not np.isfinite(raw).any():
        return Column(name, type_, "empty", True)
    fill, mean, scale = _moments(raw)
    return Column(name, type_, kind, bool(np.isnan(raw).any()), (), (), 0.0, fill, mean, scale)


def _fit_category(name: str, type_: str, values: pa.ChunkedArray, y: Floats) -> Column:
    index, labels = factors_of(values)
    known = index >= 0
    count = np.bincount(index[known], minlength=len(labels)).astype(np.float64)
    if y.ndim == 2:
        y = _along_main_axis(y, index, count)
    total = np.bincount(index[known], weights=y[known], minlength=len(labels))
    overall = float(y.mean())
    least = min(10, max(2, len(y) // 20))
    often = [i for i in np.argsort(-count, kind="stable") if count[i] >= least][:_MAX_CATEGORIES]
    means = {labels[i]: (total[i] + _SHRINK * overall) / (count[i] + _SHRINK) for i in often}
    rare = np.ones(len(labels), dtype=bool)
    rare[often] = False
    rare_mean = (total[rare].sum() + _SHRINK * overall) / (count[rare].sum() + _SHRINK)
    order = sorted(means, key=lambda c: (means[c], c))
    # the unseen sit between those with a lower and those with a higher mean than the rare together
    other = float(sum(means[c] < rare_mean for c in order)) - 0.5
    code_of = {c: float(i) for i, c in enumerate(order)}
    codes = np.array([code_of.get(c, other) for c in labels] + [np.nan])
    fill, mean, scale = _moments(codes[index].reshape(-1, 1))
    nulls = bool((~known).any())
    return Column(
        name,
        type_,
        "category",
        nulls,
        tuple(order),
        tuple(map(float, range(len(order)))),
        other,
        fill,
        mean,
        scale,
    )


def _along_main_axis(y: Floats, index: NDArray[np.int64], count: Floats) -> Floats:
    """Class indicators (n, k) as one number a row, by which categories (of `index`) differ most in their classes."""
    known = index >= 0
    total = np.column_stack([np.bincount(index[known], weights=c[known], minlength=len(count)) for c in y.T])
    apart = (total + _SHRINK * y.mean(axis=0)) / (count + _SHRINK)[:, None] - y.mean(axis=0)
    _, axes = np.linalg.eigh((apart * count[:, None]).T @ apart)
    axis = axes[:, -1]
    # an axis has no direction of its own: the same one on every machine
    return np.asarray(y @ (axis * np.sign(axis[np.argmax(np.abs(axis))])))


def _moments(raw: Floats) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    fill = np.nanmedian(raw, axis=0)
    filled = np.where(np.isnan(raw), fill, raw)
    scale = filled.std(axis=0)
    scale[~(scale > 1e-12 * np.maximum(1.0, np.abs(filled).max(axis=0)))] = 1.0
    return tuple(fill.tolist()), tuple(filled.mean(axis=0).tolist()), tuple(scale.tolist())


def numbers_of(values: pa.ChunkedArray) -> Floats:
    """(n, 1); null and infinite become NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(values.type):
        values = pc.cast(values, pa.int8())
    raw = np.array(pc.cast(values, pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    raw[np.isinf(raw)] = np.nan
    return raw.reshape(-1, 1)


def _date_parts(values: pa.ChunkedArray) -> Floats:
    """(n, 6) in the order of `DATE_PARTS`, UTC; null becomes NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    micro = pc.cast(values, pa.timestamp("us", tz=getattr(values.type, "tz", None)), safe=False)
    raw = np.array(pc.cast(micro, pa.int64()).to_numpy(), dtype=np.float64)  # null -> NaN
    missing = np.isnan(raw)
    when = np.where(missing, 0, raw).astype("int64").astype("datetime64[us]")
    day = when.astype("datetime64[D]")
    month = when.astype("datetime64[M]")
    days = day.astype("int64")
    parts = np.column_stack(
        [
            when.astype("datetime64[Y]").astype("int64") + 1970,
            month.astype("int64") % 12 + 1,
            (day - month.astype("datetime64[D]")).astype("int64") + 1,
            (days + 3) % 7,  # 1970-01-01 was a Thursday; Monday is 0
            (when - day).astype("int64") // 3_600_000_000,
            days + (when - day).astype("int64") / (_DAY * 1e6),
        ]
    ).astype(np.float64)
    parts[missing] = np.nan
    return parts


def factors_of(values: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Index of each row into the distinct texts, -1 for null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = pc.cast(values, pa.string()).combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    index = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return index, coded.dictionary.to_pylist()


class Encoder:
    """A `Preparing` compiled for speed; the same numbers come out for one row and for many."""

    def __init__(self, preparing: Preparing) -> None:
        self.preparing = preparing
        self.columns = preparing.columns
        self.width = sum(c.width for c in self.columns)
        self._codes = {c.name: dict(zip(c.categories, c.codes, strict=True)) for c in self.columns}
        self._fill = np.array([v for c in self.columns for v in c.fill], dtype=np.float64)
        hot_at: list[int] = []
        hot_code: list[float] = []
        plain: list[int] = []
        gaps: list[int] = []
        mean: list[float] = []
        scale: list[float] = []
        at = 0
        for c in self.columns:
            if c.kind == "category":
                hot_at += [at] * len(c.codes)
                hot_code += c.codes
            else:
                plain += range(at, at + c.width)
                mean += c.mean
                scale += c.scale
            if c.nulls and c.width:
                gaps.append(at)
            at += c.width
        self._hot_at, self._hot_code = np.array(hot_at, dtype=np.intp), np.array(hot_code)
        self._plain, self._gaps = np.array(plain, dtype=np.intp), np.array(gaps, dtype=np.intp)
        self._mean, self._scale = np.array(mean), np.array(scale)

    def codes(self, frame: pa.Table | pd.DataFrame) -> Floats:
        """The codes matrix (n, f) of a table; columns that are no features are passed over.

        Raises:
            UsageError: a feature is missing or has a type that it can't be read from.
        """
        table = as_table(frame)
        out = np.empty((table.num_rows, self.width), dtype=np.float64)
        at = 0
        for c in self.columns:
            if c.name not in table.column_names:
                raise UsageError(f"column '{c.name}' is missing")
            if not c.width:
                continue
            out[:, at : at + c.width] = self._column(c, table.column(c.name))
            at += c.width
        return out

    def _column(self, c: Column, values: pa.ChunkedArray) -> Floats:
        given = kind_of(type_name(values.type))
        if given == "empty":
            raw = np.full((len(values), c.width), np.nan)
        elif given != c.kind:
            raise UsageError(f"column '{c.name}' is {type_name(values.type)}, the model takes {c.type}")
        elif c.kind == "number":
            raw = numbers_of(values)
        elif c.kind == "date":
            raw = _date_parts(values)
        else:
            index, labels = factors_of(values)
            known = self._codes[c.name]
            raw = np.array([known.get(v, c.other) for v in labels] + [np.nan])[index].reshape(-1, 1)
        return raw if c.nulls else np.where(np.isnan(raw), np.array(c.fill), raw)

    def codes_of_rows(self, columns: Mapping[str, Sequence[Any]], rows: int) -> Floats:
        """The codes matrix (rows, f) of coerced Python values (float, str, naive UTC datetime, None); for few rows."""
        out: list[list[float]] = []
        for row in range(rows):
            values: list[float] = []
            for c in self.columns:
                if not c.width:
                    continue
                v = columns[c.name][row]
                if v is None:
                    values += [np.nan] * c.width if c.nulls else c.fill
                elif c.kind == "number":
                    values.append(v)
                elif c.kind == "category":
                    values.append(self._codes[c.name].get(v, c.other))
                else:
                    values += _parts_of(v)
            out.append(values)
        return np.array(out, dtype=np.float64).reshape(rows, self.width)

    def filled(self, codes: Floats) -> Floats:
        """Codes (n, f) with the training median in place of NaN."""
        gap = np.isnan(codes)
        return np.where(gap, self._fill, codes) if gap.any() else codes

    def scaled(self, codes: Floats) -> Floats:
        """The matrix (n, g) for linear models: standardised numbers, one-hot categories, indicators of nulls."""
        numbers = (self.filled(codes)[:, self._plain] - self._mean) / self._scale
        hot = codes[:, self._hot_at] == self._hot_code
        return np.hstack([numbers, hot, np.isnan(codes[:, self._gaps])])


def _parts_of(v: dt.datetime) -> list[float]:
    days = (v - _EPOCH).days
    rest = v.hour * 3600 + v.minute * 60 + v.second
    part = (rest * 1_000_000 + v.microsecond) / (_DAY * 1e6)
    return [float(v.year), float(v.month), float(v.day), float(v.weekday()), float(v.hour), days + part]
