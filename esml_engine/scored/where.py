"""`COLUMN OP VALUE`: conditions as people write them, to SQL with bound parameters."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from esml_engine.errors import UsageError

_OPERATOR = re.compile(r"(\s*)(!=|<=|>=|=|<|>|is-null\b|in\b|contains\b)(.*)", re.DOTALL | re.IGNORECASE)
_ITEM = re.compile(r"""\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([^,"'][^,]*?)?)\s*(?:,|$)""", re.DOTALL)
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_HINT = 'write it as "COLUMN OP VALUE", OP one of = != < <= > >= in contains is-null'


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def checked(name: str, columns: Mapping[str, str]) -> str:
    """Return `name` when it is a column.

    Raises:
        UsageError: otherwise, naming the nearest.
    """
    if name in columns:
        return name
    near = difflib.get_close_matches(name, columns, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else f"columns: {', '.join(columns)}"
    raise UsageError(f"there is no column {name!r} in scored", hint=hint)


def written(column: str, op: str, text: str) -> str:
    """A condition as `condition` reads it; a value with commas or quotes is quoted."""
    if op == "is-null":
        return f"{column} is-null"
    value = quoted(text) if op != "in" and any(c in text for c in ",\"'") else text
    return f"{column} {op} {value}"


@dataclass(frozen=True)
class Condition:
    """One condition: the column it is on, SQL with `?` marks, and the values for them."""

    column: str
    sql: str
    values: tuple[Any, ...] = ()


def condition(text: str, columns: Mapping[str, str]) -> Condition:
    """Translate one condition.

    Args:
        text: `COLUMN OP VALUE`; a value may be quoted; `in` takes several, comma-separated; `is-null` takes none
            (or `false` for its opposite). Nulls meet no condition but `is-null`.
        columns: DuckDB type by column.

    Raises:
        UsageError: no such column, no such operator, or a value that is not of the column's type.
    """
    name, operator, rest = _parts(text, columns)
    kind, column = columns[name], quoted(name)
    if operator == "is-null":
        wanted = _TRUTH.get(rest.lower() or "true")
        if wanted is None:
            raise UsageError(f"is-null takes nothing, true or false, not {rest!r}", hint=_HINT)
        return Condition(name, f"{column} IS {'' if wanted else 'NOT '}NULL")
    if operator == "in":
        values = tuple(_typed(name, kind, item) for item in _items(rest))
        return Condition(name, f"{column} IN ({', '.join('?' * len(values))})", values)
    value = _items(rest)[0] if rest[:1] in ("'", '"') else rest
    if operator == "contains":
        if kind != "VARCHAR":
            raise UsageError(f"column {name!r} is {kind.lower()}: contains works on text only", hint=_HINT)
        return Condition(name, f"contains({column}, ?)", (value,))
    sign = "<>" if operator == "!=" else operator
    return Condition(name, f"{column} {sign} ?", (_typed(name, kind, value),))


def _parts(text: str, columns: Mapping[str, str]) -> tuple[str, str, str]:
    text = text.strip()
    for name in sorted(columns, key=len, reverse=True):
        for spelled in (name, quoted(name)):
            found = _OPERATOR.fullmatch(text[len(spelled) :]) if text.startswith(spelled) else None
            if found and (found[1] or not found[2][0].isalpha()):
                return name, found[2].lower(), found[3].strip()
    found = re.match(r"\s*(\"[^\"]*\"|[^\s=!<>]+)\s*(\S*)", text)
    if found is None:
        raise UsageError(f"{text!r} is not a condition", hint=_HINT)
    checked(found[1].strip('"'), columns)
    raise UsageError(f"{text!r} has no operator that scored knows", hint=_HINT)


def _items(text: str) -> list[str]:
    items: list[str] = []
    at = 0
    while at < len(text) or not items:
        found = _ITEM.match(text, at)
        if found is None or (found.end() == at and at < len(text)):
            raise UsageError(
                f"{text!r} is not a list of values", hint="separate by commas; quote what contains one"
            )
        double, single, plain = found.groups()
        if double is not None:
            items.append(double.replace('""', '"'))
        elif single is not None:
            items.append(single.replace("''", "'"))
        else:
            items.append(plain or "")
        at = found.end()
    return items


def _typed(name: str, kind: str, value: str) -> Any:
    try:
        if kind in ("BIGINT", "INTEGER", "HUGEINT", "SMALLINT", "TINYINT"):
            return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
        if kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL"):
            return float(value)
        if kind == "BOOLEAN":
            return _TRUTH[value.lower()]
        if kind == "DATE":
            return dt.date.fromisoformat(value)
        if kind.startswith("TIMESTAMP"):
            return utc(dt.datetime.fromisoformat(value))
    except (ValueError, KeyError) as error:
        raise UsageError(
            f"{value!r} is not a value for column {name!r}, which is {kind.lower()}", hint=_HINT
        ) from error
    return value


def utc(moment: dt.datetime) -> dt.datetime:
    """The moment with its zone; without one it is UTC."""
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment
