"""A quick look over the bytes of a delimited file: how many records it has, and whether any of them is unusual.

A CSV parser that is fast is lenient in places (it drops an empty field too many, mends spaces around quotes, loses its
place at mixed line ends). This look counts records without parsing, and says *regular* only where there is nothing to
be lenient about; a parser's count can then be held against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_CHUNK = 512 << 10
_BOM = b"\xef\xbb\xbf"
_LF, _CR, _QUOTE = 10, 13, 34


@dataclass(frozen=True)
class Layout:
    """A regular file: one record a line below the header."""

    records: int
    blank: bool  # blank lines stand between the records and are none


@dataclass
class _Count:
    lines: int = 0
    blank: int = 0
    crlf: bool | None = None


def regular_layout(path: Path, delimiter: str, width: int) -> Layout | None:
    """The layout of a UTF-8 file with `width` columns, or None when the file is not regular.

    Regular: UTF-8 throughout, no NUL; the header is the first line; one kind of line end (LF or CRLF); every quote
    opens or closes a whole field or is doubled inside one; no record spans lines; every record has `width` fields.
    """
    count = _Count()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            chunk += file.readline()
            if not count.lines:
                chunk = chunk.removeprefix(_BOM)
                if chunk[:1] in (b"\n", b"\r"):
                    return None
            if not _take(count, chunk, ord(delimiter), width):
                return None
    blank = count.blank if width > 1 else 0
    return Layout(count.lines - blank - 1, blank > 0)


def _take(count: _Count, chunk: bytes, delimiter: int, width: int) -> bool:
    """Count the whole lines of `chunk`; False when something in them is not regular."""
    import numpy as np

    if b"\0" in chunk or not _is_utf8(chunk):
        return False
    data = np.frombuffer(chunk, dtype=np.uint8)
    ends = np.flatnonzero(data == _LF)
    returns = np.flatnonzero(data == _CR)
    lines, blank, crlf = len(ends), 0, len(returns) > 0
    if lines:
        if count.crlf not in (None, crlf) or (crlf and not np.array_equal(returns, ends - 1)):
            return False
        count.crlf = crlf
        blank = int(np.count_nonzero(np.diff(ends, prepend=-1) == (2 if crlf else 1)))
    elif crlf:
        return False
    lines += not chunk.endswith(b"\n")
    count.lines += lines
    count.blank += blank
    separators = data == delimiter
    quotes = np.flatnonzero(data == _QUOTE)
    if len(quotes):
        if len(quotes) % 2 or np.any(np.searchsorted(quotes, ends) % 2):
            return False
        padded = np.concatenate(([_LF], data, [_LF]))
        before, after = padded[quotes[0::2]], padded[quotes[1::2] + 2]
        opens = (before == delimiter) | (before == _LF) | (before == _QUOTE)
        closes = (after == delimiter) | (after == _LF) | (after == _CR) | (after == _QUOTE)
        if not (np.all(opens) and np.all(closes)):
            return False
    # a parser may drop an empty field too many, so the fields are counted here
    found = int(np.count_nonzero(separators))
    if len(quotes):
        at = np.flatnonzero(separators)
        found -= int(np.sum(np.searchsorted(at, quotes[1::2]) - np.searchsorted(at, quotes[0::2])))
    return found == (lines - blank * (width > 1)) * (width - 1)


def _is_utf8(chunk: bytes) -> bool:
    if chunk.isascii():
        return True
    try:
        chunk.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
