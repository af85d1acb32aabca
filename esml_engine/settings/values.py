"""What single values of settings may be, where their type alone does not say it: refused when a file is read, not when a run has begun."""

from __future__ import annotations

import codecs
import difflib
import re
from typing import Annotated

from pydantic import AfterValidator

COLUMN_TYPES = ("int64", "float64", "bool", "date", "timestamp", "string")
"""Types that a column of bronze may be declared to have; parquet files bring DuckDB's own beside them."""
_NATIVE = re.compile(  # DuckDB's names
    r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(\d{1,2}, ?\d{1,2}\)|BOOLEAN|DATE|TIME|VARCHAR|BLOB|UUID|"
    r"TIMESTAMP(_S|_MS|_NS| WITH TIME ZONE)?"
)
_DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"
_ARRIVES = re.compile(
    rf"hourly|daily {_CLOCK}|weekly ({_DAYS}) {_CLOCK}|monthly ([1-9]|[12]\d|3[01]) {_CLOCK}"
)


def _column_type(name: str) -> str:
    if name in COLUMN_TYPES or _NATIVE.fullmatch(name):
        return name
    near = difflib.get_close_matches(name.lower(), COLUMN_TYPES, 1, 0.0)[0]
    raise ValueError(f"no column type {name!r}, did you mean {near!r}? There are {', '.join(COLUMN_TYPES)}")


def _delimiter(text: str) -> str:
    if len(text) != 1 or text in '"\r\n\0' or not text.isascii():
        raise ValueError(f"the delimiter {text!r} is not one ASCII character such as , ; | or a tab")
    return text


def _encoding(name: str) -> str:
    try:
        "".encode(codecs.lookup(name).name)  # a codec that is no text encoding (zlib, hex) refuses text
    except (LookupError, ValueError) as e:
        raise ValueError(f"the encoding {name!r} is unknown; for example utf-8 or latin-1") from e
    return name


def _arrives(promise: str) -> str:
    if promise and not _ARRIVES.fullmatch(promise):
        raise ValueError(
            f"{promise!r} is no promise: say hourly, daily 06:00, weekly monday 06:00 or monthly 1 06:00"
        )
    return promise


def _pattern(text: str) -> str:
    """A regular expression as the engine that will use it reads it (RE2, in DuckDB); loaded only where there is one."""
    if text:
        import duckdb

        try:
            with duckdb.connect() as con:
                con.execute("SELECT regexp_full_match('', ?)", [text])
        except duckdb.Error as e:
            raise ValueError(
                f"the pattern {text!r} is no regular expression: {str(e).splitlines()[0]}"
            ) from e
    return text


ColumnType = Annotated[str, AfterValidator(_column_type)]
Delimiter = Annotated[str, AfterValidator(_delimiter)]
Encoding = Annotated[str, AfterValidator(_encoding)]
Arrives = Annotated[str, AfterValidator(_arrives)]
Pattern = Annotated[str, AfterValidator(_pattern)]
