"""The exact reader of delimited text: every record with its first physical line and its raw text, nothing skipped.

Rules: records end at LF or CRLF (at CR when the file has no LF); a field is quoted when its first character is `"`;
`""` inside is one quote; a quote elsewhere is an ordinary character. Where quotes are broken, only the physical line
on which the record starts is given up, and reading goes on at the next line. Blank lines are no records, except in
files of one column, where they are a null.
"""

from __future__ import annotations

import codecs
import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from esml_engine.errors import SettingsError, UnreadableError

MAX_RECORD_LINES = 1_000
MAX_RECORD_CHARS = 4 << 20
_CHUNK = 1 << 20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Dialect:
    """How a file's text is written."""

    delimiter: str = ","
    encoding: str = "utf-8"
    null: str = ""

    @classmethod
    def of(cls, raw: dict[str, str] | None) -> Dialect:
        """From settings; keys that are missing or empty take the defaults.

        Raises:
            SettingsError: the delimiter is not one character, or the encoding is unknown.
        """
        given = {k: v for k, v in (raw or {}).items() if v and k in ("delimiter", "encoding", "null")}
        dialect = cls(**given)
        if len(dialect.delimiter) != 1 or dialect.delimiter in '"\r\n\0' or not dialect.delimiter.isascii():
            raise SettingsError(
                f"the delimiter {dialect.delimiter!r} is not one ASCII character",
                hint="for example , ; | or a tab",
            )
        try:
            codec = codecs.lookup(dialect.encoding).name
        except LookupError as e:
            raise SettingsError(
                f"the encoding {dialect.encoding!r} is unknown", hint="for example utf-8 or latin-1"
            ) from e
        return replace(dialect, encoding="utf-8") if codec == "utf-8-sig" else dialect

    @property
    def is_utf8(self) -> bool:
        """Whether the text is UTF-8 already."""
        return codecs.lookup(self.encoding).name == "utf-8"

    @property
    def has_ascii_lines(self) -> bool:
        """Whether line ends and quotes are single ASCII bytes, so that a line can be found before it is decoded."""
        return '\n"a'.encode(self.encoding) == b'\n"a'


@dataclass(slots=True)
class Record:
    """One record: its fields, or the reason why it has none."""

    line: int  # physical, counted from 1
    raw: str
    fields: list[str] | None
    reason: str = ""


class _Broken(Exception):
    """A record's quotes do not close."""


class _Lines:
    """Physical lines of a file as bytes with their ends, with lines handed back read again."""

    def __init__(self, path: Path) -> None:
        self._source = _split_lines(path)
        self._back: deque[bytes] = deque()
        self.number = 0  # of the line returned last

    def next(self) -> bytes | None:
        line = self._back.popleft() if self._back else next(self._source, None)
        if line is not None:
            self.number += 1
        return line

    def give_back(self, lines: list[bytes]) -> None:
        self._back.extendleft(reversed(lines))
        self.number -= len(lines)


def _split_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        head = file.read(_CHUNK)
        file.seek(len(_BOM) if head.startswith(_BOM) else 0)
        if b"\r" not in head or not _ends_with_cr_only(path):
            yield from file
            return
        rest = b""
        while chunk := file.read(_CHUNK):
            *whole, rest = (rest + chunk).split(b"\r")
            for line in whole:
                yield line + b"\n"
        if rest:
            yield rest


def _ends_with_cr_only(path: Path) -> bool:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if b"\n" in chunk:
                return False
    return True


def records(path: Path, dialect: Dialect) -> Iterator[Record]:
    """Every record of the file, the header first.

    A record that can't be split has `fields` None and a `reason`; its raw text keeps undecodable bytes as `\\xNN`.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD_CHARS))
    lines = _Lines(path)
    delimiter, encoding = dialect.delimiter, dialect.encoding
    width = 0
    while (line := lines.next()) is not None:
        body = line.removesuffix(b"\n").removesuffix(b"\r")
        number = lines.number
        if not body:
            if width == 1:
                yield Record(number, "", [""])
            continue
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError as e:
            raw = body.decode(encoding, "backslashreplace")
            yield Record(number, raw, None, f"byte {e.start + 1} of the line is not {encoding}")
            continue
        if "\0" in text:
            yield Record(number, text, None, "the line contains a NUL byte")
            continue
        if '"' in text:
            record = _quoted(lines, line, text, dialect)
        elif "\r" in text:
            record = Record(number, text, None, "a carriage return stands inside the line")
        else:
            record = Record(number, text, text.split(delimiter))
        if not width and record.fields is not None:
            width = len(record.fields)
        yield record


def _quoted(lines: _Lines, first: bytes, text: str, dialect: Dialect) -> Record:
    """The record that starts with the line `first`, which has a quote in it; takes more lines where it spans them."""
    number = lines.number
    taken: list[bytes] = []
    raw = [first.decode(dialect.encoding)]

    def feed() -> Iterator[str]:
        yield raw[0]
        size = len(raw[0])
        while (line := lines.next()) is not None:
            taken.append(line)
            try:
                more = line.decode(dialect.encoding)
            except UnicodeDecodeError as e:
                raise _Broken(
                    f"the quoted field runs into line {lines.number}, which is not {dialect.encoding}"
                ) from e
            size += len(more)
            if len(taken) >= MAX_RECORD_LINES or size > MAX_RECORD_CHARS:
                raise _Broken("a quote is opened and not closed")
            if "\0" in more:
                raise _Broken(f"the quoted field runs into line {lines.number}, which contains a NUL byte")
            raw.append(more)
            yield more

    try:
        fields = next(csv.reader(feed(), delimiter=dialect.delimiter, strict=True))
    except (csv.Error, _Broken) as e:
        lines.give_back(taken)
        return Record(number, text, None, _reason(e))
    return Record(number, "".join(raw).removesuffix("\n").removesuffix("\r"), fields)


def _reason(error: Exception) -> str:
    message = str(error)
    if "unexpected end of data" in message:
        return "a quote is opened and not closed"
    if "expected after" in message:
        return "text follows a closing quote"
    if "new-line character" in message:
        return "a carriage return stands inside the line"
    return message


def header(path: Path, dialect: Dialect, name: str) -> tuple[list[str], int]:
    """Column names and the physical line on which they stand. An empty name becomes `column_<position>`.

    Raises:
        UnreadableError: no text, binary, or names that are not unique (upper and lower case are one).
    """
    with path.open("rb") as file:
        start = file.read(4096)
    if not start:
        raise UnreadableError(f"{name} is empty")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UnreadableError(f"{name} is UTF-16", hint='set encoding = "utf-16" for the dataset')
    if b"\0" in start.split(b"\n", 1)[0]:
        raise UnreadableError(
            f"{name} is not text: its first line contains NUL bytes",
            hint="deliver it as csv text, or say another format in the dataset's settings",
        )
    first = next(records(path, dialect), None)
    if first is None or (first.fields is not None and not any(f.strip() for f in first.fields)):
        raise UnreadableError(f"{name} has no header")
    if first.fields is None:
        raise UnreadableError(f"the header of {name} can't be read: {first.reason}")
    names = [field or f"column_{i}" for i, field in enumerate(first.fields, 1)]
    seen: dict[str, int] = {}
    for i, column in enumerate(names, 1):
        if column.lower() in seen:
            raise UnreadableError(
                f"the header of {name} has the column {column!r} twice (columns {seen[column.lower()]} and {i})",
                hint="give each column a name of its own; upper and lower case count as the same",
            )
        seen[column.lower()] = i
    return names, first.line


def as_utf8(path: Path, dialect: Dialect, folder: Path) -> Path:
    """A UTF-8 copy of the file in `folder`, line for line the same.

    Raises:
        UnicodeDecodeError: some byte is not of the encoding.
    """
    copy = folder / "utf8.csv"
    with (
        path.open("r", encoding=dialect.encoding, newline="") as source,
        copy.open("w", encoding="utf-8", newline="") as target,
    ):
        while chunk := source.read(_CHUNK):
            target.write(chunk)
    return copy
