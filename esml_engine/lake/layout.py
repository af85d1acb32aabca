"""A quick look over the bytes of a delimited file: how many records it has, and whether any of them is unusual.

A CSV parser that is fast is lenient in places (it drops an empty field too many, mends spaces around quotes, loses its
place at mixed line ends). This look counts records without parsing, and says *regular* only where there is nothing to
be lenient about; a parser's count can then be held against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_CHUNK = 4 << 20
_BOM = b"\xef\xbb\xbf"
_LF, _CR, _QUOTE = 10, 13, 34


@dataclass
class _Count:
    lines: int = 0
    blank: int = 0
    delimiters: int = 0  # outside quotes
    crlf: bool | None = None


def regular_records(path: Path, delimiter: str, width: int) -> int | None:
    """The number of records below the header of a UTF-8 file, or None when the file is not regular.

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
            if not _take(count, chunk, ord(delimiter)):
                return None
    records = count.lines if width == 1 else count.lines - count.blank
    if count.delimiters != records * (width - 1):
        return None
    return records - 1


def _take(count: _Count, chunk: bytes, delimiter: int) -> bool:
    """Count the whole lines of `chunk`; False when something in them is not regular."""
    import numpy as np

    if b"\0" in chunk or not _is_utf8(chunk):
        return False
    data = np.frombuffer(chunk, dtype=np.uint8)
    ends = np.flatnonzero(data == _LF)
    returns = np.flatnonzero(data == _CR)
    if not chunk.endswith(b"\n"):
        count.lines += 1
    count.lines += len(ends)
    if len(ends):
        crlf = len(returns) > 0
        if count.crlf is None:
            count.crlf = crlf
        if crlf != count.crlf or (crlf and not np.array_equal(returns, ends - 1)):
            return False
        lengths = np.diff(ends, prepend=-1) - (2 if crlf else 1)
        count.blank += int(np.count_nonzero(lengths == 0))
    elif len(returns):
        return False
    separators = data == delimiter
    quotes = np.flatnonzero(data == _QUOTE)
    if not len(quotes):
        count.delimiters += int(np.count_nonzero(separators))
        return True
    if len(quotes) % 2 or np.any(np.searchsorted(quotes, ends) % 2):
        return False
    padded = np.concatenate(([_LF], data, [_LF]))
    before, after = padded[quotes[0::2]], padded[quotes[1::2] + 2]
    opens = (before == delimiter) | (before == _LF) | (before == _QUOTE)
    closes = (after == delimiter) | (after == _LF) | (after == _CR) | (after == _QUOTE)
    if not (np.all(opens) and np.all(closes)):
        return False
    count.delimiters += int(np.count_nonzero(np.searchsorted(quotes, np.flatnonzero(separators)) % 2 == 0))
    return True


def _is_utf8(chunk: bytes) -> bool:
    if chunk.isascii():
        return True
    try:
        chunk.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
