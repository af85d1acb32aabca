"""The quick and the exact reader give the same rows, for any file at all; and nothing is ever lost."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esml_engine.errors import UnreadableError
from esml_engine.lake.columns import match
from esml_engine.lake.delimited import Dialect, records
from esml_engine.lake.incoming import Source, csv_header, read_csv
from esml_engine.lake.layout import regular_layout
from esml_engine.lake.sql import connection

plain = st.sampled_from(
    ["", "1", "-2", "1.5", "007", "x", "2020-01-01", "2020-01-01 10:00:00", "true", "nan", "1e5", "ä", " 3 "]
)
tame = st.one_of(plain, plain.map(lambda v: f'"{v}"'), st.sampled_from(['"a,b"', '"say ""x"""', '""']))
wild = st.one_of(
    tame,
    st.sampled_from(
        ['"a\nb"', '"open', 'x"y', '"a"b', ' "a"', '"a" ', "\0", "\r", "a\rb", '"', ",", '"a\r\nb"']
    ),
)


def text_of(cell: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    rows = st.lists(
        st.one_of(st.lists(cell, min_size=3, max_size=3), st.lists(cell, max_size=4)), max_size=12
    )
    ends = st.sampled_from(["\n", "\r\n"])
    return st.builds(
        lambda r, e, last: (e.join(["a,b,c", *(",".join(x) for x in r)]) + (e if last else "")).encode(),
        rows,
        ends,
        st.booleans(),
    )


def outcome(content: bytes, types: dict[str, str], exact: bool) -> tuple[Any, ...]:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        path = work / "in.csv"
        path.write_bytes(content)
        source, names, _ = csv_header(Source(path, "in.csv", "sha"), work)
        good, bad = work / "good.parquet", work / "bad.parquet"
        with connection(work) as con:
            read = read_csv(con, source, names, match(names, {}, types), good, bad, work, exact=exact)
        rows = str(pq.read_table(good).to_pydict()) if read.bronze else ""
        rejected = pq.read_table(bad).to_pylist() if read.quarantine else []
        records_in = sum(1 for _ in records(path, Dialect())) - 1
        assert read.bronze + read.quarantine == records_in
        return read.types, rows, rejected


@settings(max_examples=80, deadline=None)
@given(
    st.one_of(text_of(tame), text_of(wild)),
    st.sampled_from([{}, {"a": "int64", "b": "date"}, {"a": "float64", "c": "timestamp"}, {"b": "bool"}]),
)
@example(b"a,b,c\n1,2,3,\n", {})
@example(b'a,b,c\n1, "2",3\n', {})
@example(b"a,b,c\n1,2,3\r\n4,5,6\n", {})
@example(b"a,b,c\n1e400,2,3\n", {"a": "float64"})
def test_both_readers_agree(content: bytes, types: dict[str, str]) -> None:
    assert outcome(content, types, exact=False) == outcome(content, types, exact=True)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(UnreadableError):
        outcome(content, {}, exact=False)


@settings(max_examples=100, deadline=None)
@given(text_of(wild))
def test_a_regular_file_has_one_record_a_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "in.csv"
        path.write_bytes(content)
        layout = regular_layout(path, ",", 3)
        found = list(records(path, Dialect()))
    if layout is not None:
        assert all(r.fields is not None for r in found)
        assert len(found) - 1 == layout.records
        assert layout.blank or [r.line for r in found] == list(range(1, len(found) + 1))
