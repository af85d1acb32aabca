"""IN files into bronze: what comes in comes out, typed, or stands in quarantine with its line and reason."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esml_engine.errors import ExpectationError, SettingsError, UnreadableError
from esml_engine.lake.delimited import Dialect
from esml_engine.lake.files import new_name
from esml_engine.lake.incoming import line_of
from tests.table_kit import TestLake


def one(lake: TestLake, content: bytes, **params: object) -> tuple[dict, list[dict], list[dict]]:
    """Deliver one file; its counts, bronze and quarantine."""
    value = lake.deliver({"a.csv": content}, **params)
    entry = value["files"][0]
    assert entry["rows_in"] == entry["bronze"] + entry["quarantine"]
    return value, lake.rows("ds/bronze"), lake.rows("ds/quarantine")


def test_types_are_inferred_from_the_first_file(lake: TestLake) -> None:
    text = (
        b"n,x,ok,day,at,name,code,big\n"
        b"1,1.5,true,2020-01-31,2020-01-31 10:00:00,ab,007,12345678901234567890\n"
        b",2,False,2020-02-01,2020-01-31T10:00:00.5,,012,1\n"
    )
    value, rows, _ = one(lake, text)
    assert value["types"] == {
        "n": "int64", "x": "float64", "ok": "bool", "day": "date", "at": "timestamp",
        "name": "string", "code": "string", "big": "string",
    }  # fmt: skip
    assert (
        rows[0]["day"] == dt.date(2020, 1, 31)
        and rows[0]["code"] == "007"
        and rows[0]["big"] == "12345678901234567890"
    )
    assert (
        rows[1]["n"] is None
        and rows[1]["name"] is None
        and rows[1]["at"] == dt.datetime(2020, 1, 31, 10, 0, 0, 500000)
    )


@pytest.mark.parametrize("bad, kind", [(5, "int64"), (6, "string")])
def test_a_type_needs_95_percent_of_the_values(lake: TestLake, bad: int, kind: str) -> None:
    lines = ["1"] * (100 - bad) + ["x"] * bad
    value, rows, rejected = one(lake, ("a,b\n" + "".join(f"{v},z\n" for v in lines)).encode())
    assert value["types"]["a"] == kind
    assert len(rejected) == (bad if kind == "int64" else 0) and len(rows) + len(rejected) == 100
    if rejected:
        assert rejected[0]["reason"] == "column a: 'x' is not int64" and rejected[0]["line"] == 97


def test_the_share_counts_the_whole_file_not_its_beginning(lake: TestLake) -> None:
    early_text = "a,b\n" + "x,z\n" * 5000 + "1,z\n" * 195_000
    assert one(lake, early_text.encode())[0]["types"]["a"] == "int64"


def test_types_fixed_by_the_first_file_hold_for_the_next(lake: TestLake) -> None:
    first = lake.deliver({"a.csv": b"n\n1\n2\n"})
    lake.deliver({"b.csv": b"n\n3\nx\n1.5\n"}, types=first["types"])
    assert [r["n"] for r in lake.rows("ds/bronze")] == [1, 2, 3]
    assert [(r["line"], r["raw"]) for r in lake.rows("ds/quarantine")] == [(3, "x"), (4, "1.5")]


@pytest.mark.parametrize(
    "kind, text",
    [
        ("int64", "1.5"), ("int64", "1e3"), ("int64", "0x1F"), ("int64", "1_000"), ("int64", "9223372036854775808"),
        ("float64", "1e400"), ("float64", "1_0.5"), ("float64", "1,5"), ("bool", "2"), ("date", "2020-02-30"),
        ("date", "2020-01-01 10:00:00"), ("date", "infinity"), ("timestamp", "infinity"), ("timestamp", "10:00"),
        ("timestamp", "2020-01-01 10:00:00.123456789"),
    ],
)  # fmt: skip
def test_a_value_that_would_lose_something_is_quarantined(lake: TestLake, kind: str, text: str) -> None:
    _, rows, rejected = one(lake, f'a,b\n"{text}",1\n'.encode(), types={"a": kind})
    assert not rows
    assert rejected[0]["reason"] == f"column a: '{text}' is not {kind}"


@pytest.mark.parametrize(
    "kind, text, value",
    [
        ("int64", " 7 ", 7), ("int64", "7.0", 7), ("float64", "inf", float("inf")), ("bool", "YES", True),
        ("date", "2020/1/2", dt.date(2020, 1, 2)), ("timestamp", "2020-01-01 10:00:00+02:00", dt.datetime(2020, 1, 1, 8)),
        ("timestamp", "2020-01-01T10:00:00Z", dt.datetime(2020, 1, 1, 10)), ("timestamp", "2020-01-01", dt.datetime(2020, 1, 1)),
    ],
)  # fmt: skip
def test_ways_to_write_a_value(lake: TestLake, kind: str, text: str, value: object) -> None:
    assert one(lake, f"a,b\n{text},1\n".encode(), types={"a": kind})[1][0]["a"] == value


@pytest.mark.parametrize(
    "record, reason",
    [
        (b"1,2", "expected 3 columns, found 2"),
        (b"1,2,3,4", "expected 3 columns, found 4"),
        (b"1,2,3,", "expected 3 columns, found 4"),
        (b"   ", "expected 3 columns, found 1"),
        (b'1,"2"x,3', "text follows a closing quote"),
        (b'1,"2,3', "a quote is opened and not closed"),
        (b"1,2\x00,3", "the line contains a NUL byte"),
        (b"1,2\r2,3", "a carriage return stands inside the line"),
        (b"1,\xff,3", "byte 3 of the line is not utf-8"),
    ],
)
def test_malformed_records_cost_their_line_only(lake: TestLake, record: bytes, reason: str) -> None:
    _, rows, rejected = one(lake, b"a,b,c\n0,x,0\n" + record + b"\n9,y,9\n")
    assert [r["b"] for r in rows] == ["x", "y"]
    assert [(r["line"], r["reason"]) for r in rejected] == [(3, reason)]
    assert rejected[0]["raw"] == record.decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks(lake: TestLake, end: bytes, last: bool, bom: bytes) -> None:
    _, rows, rejected = one(lake, bom + end.join([b"a,b", b"1,x", b"2,\xc3\xa4"]) + (end if last else b""))
    assert rows == [{"a": 1, "b": "x"}, {"a": 2, "b": "ä"}] and not rejected


@pytest.mark.parametrize(
    "content, rows",
    [
        (b'first,address\nJohn,"Anytown, WW"\n', [{"first": "John", "address": "Anytown, WW"}]),
        (b'a,b,c\n1,"",""\n2,3,4\n', [{"a": 1, "b": None, "c": None}, {"a": 2, "b": 3, "c": 4}]),
        (b'a,b\n1,"ha ""ha"" ha"\n3,4\n', [{"a": 1, "b": 'ha "ha" ha'}, {"a": 3, "b": "4"}]),
        (b'key,val\n1,"{""type"": ""Point"", ""c"": [102.0, 0.5]}"\n',
            [{"key": 1, "val": '{"type": "Point", "c": [102.0, 0.5]}'}]),
        (b'a,b\n1,37\xc2\xb036\'37.8"N\n', [{"a": 1, "b": "37°36'37.8\"N"}]),
        (b'a,b\n1,"ha \n""ha"" \nha"\n3,4\n', [{"a": 1, "b": 'ha \n"ha" \nha'}, {"a": 3, "b": "4"}]),
        (b'a,b\r\n"Once upon \r\na time",5\r\n', [{"a": "Once upon \r\na time", "b": 5}]),
        (b"a,b\n\n1,2\n\n\n3,4\n\n", [{"a": 1, "b": 2}, {"a": 3, "b": 4}]),
        (b"a\n1\n\n2\n", [{"a": 1}, {"a": None}, {"a": 2}]),
        (b"a,,c\n1,2,3\n", [{"a": 1, "column_2": 2, "c": 3}]),
    ],
)  # fmt: skip
def test_well_formed_text(lake: TestLake, content: bytes, rows: list[dict]) -> None:
    assert one(lake, content)[1] == rows


def test_lines_are_physical_and_a_record_has_its_first(lake: TestLake) -> None:
    content = b'a,b\n1,"x\ny\nz"\n\nbad,"p\nq"\n2,ok\nbad,r\n'
    _, rows, rejected = one(lake, content, types={"a": "int64"})
    assert [(r["line"], r["raw"]) for r in rejected] == [(6, 'bad,"p\nq"'), (9, "bad,r")]
    path = lake.root / "again.csv"
    path.write_bytes(content)
    assert [line_of(path, Dialect(), n, {6, 9}) for n in range(len(rows))] == [2, 8]
    with pytest.raises(UnreadableError, match="no accepted record number 3"):
        line_of(path, Dialect(), 2, {6, 9})


def test_dialects(lake: TestLake) -> None:
    dialect = {"delimiter": ";", "encoding": "latin-1", "null": "NA"}
    _, rows, _ = one(lake, "a;b\n1;Größe\nNA;x\n".encode("latin-1"), dialect=dialect)
    assert rows == [{"a": 1, "b": "Größe"}, {"a": None, "b": "x"}]


def test_utf_16_is_read_when_it_is_declared_and_refused_otherwise(lake: TestLake) -> None:
    content = "a,b\n1,ä\n".encode("utf-16")
    with pytest.raises(UnreadableError, match="is UTF-16"):
        lake.deliver({"a.csv": content})
    assert one(lake, content, dialect={"encoding": "utf-16"})[1] == [{"a": 1, "b": "ä"}]


def test_bytes_outside_a_narrow_encoding_are_quarantined(lake: TestLake) -> None:
    _, rows, rejected = one(lake, b"a,b\n1,\x81\n2,\xe4\n", dialect={"encoding": "cp1252"})
    assert rows == [{"a": 2, "b": "ä"}] and [r["line"] for r in rejected] == [2]


@pytest.mark.parametrize("dialect", [{"delimiter": ",,"}, {"delimiter": '"'}, {"encoding": "utf-9"}])
def test_impossible_dialects(lake: TestLake, dialect: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        one(lake, b"a,b\n1,2\n", dialect=dialect)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "bad.csv is empty"),
        (b"\n\n", "bad.csv has no header"),
        (b"a,b,A\n1,2,3\n", "the header of bad.csv has the column 'A' twice (columns 1 and 3)"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "the header of bad.csv can't be read"),
        (b"PK\x03\x04\0\0\n", "bad.csv is not text"),
        (b'"a,b\n', "the header of bad.csv can't be read: a quote is opened and not closed"),
    ],
)
def test_unreadable_files_are_refused_by_name_and_the_rest_goes_on(
    lake: TestLake, content: bytes, reason: str
) -> None:
    value = lake.deliver({"bad.csv": content, "good.csv": b"a,b\n1,2\n"})
    assert [f["status"] for f in value["files"]] == ["refused", "read"]
    assert value["files"][0]["reason"].startswith(reason)
    assert len(lake.rows("ds/bronze")) == 1
    with pytest.raises(UnreadableError, match=r"bad\.csv"):
        lake.deliver({"bad.csv": content})


def test_header_only(lake: TestLake) -> None:
    value, rows, rejected = one(lake, b"a,b\n")
    assert (value["files"][0]["status"], rows, rejected, value["types"]) == ("read", [], [], {})
    assert one(lake, b"a,b\n1,2020-01-01\n")[0]["types"] == {"a": "int64", "b": "date"}


def test_drift_is_named(lake: TestLake) -> None:
    types = lake.deliver({"a.csv": b"a,b\n1,x\n"})["types"]
    value = lake.deliver({"b.csv": b"c,a\n2.5,2\n"}, types=types, drift="warn")
    assert [(d["kind"], d["column"]) for d in value["drift"]] == [("dropped", "b"), ("added", "c")]
    assert lake.rows("ds/bronze") == [{"a": 1, "b": "x", "c": None}, {"a": 2, "b": None, "c": 2.5}]
    with pytest.raises(ExpectationError, match=r"dropped column b in c\.csv"):
        lake.deliver({"c.csv": b"a,c\n1,1\n"}, types=value["types"], drift="fail")
    value = lake.deliver({"d.csv": b"a,b,c\nx,y,1\n"}, types=value["types"])
    assert [(d["kind"], d["column"]) for d in value["drift"]] == [("retyped", "a")]


def test_the_label_may_be_absent_for_inference(lake: TestLake) -> None:
    types = lake.deliver({"a.csv": b"a,y\n1,0\n"})["types"]
    expect = [{"on": "bronze", "check": "not_null", "column": "y", "level": "error"}]
    value = lake.deliver(
        {"b.csv": b"a\n2\n"}, types=types, drift="fail", label="y", purpose="inference", expect=expect
    )
    assert value["drift"] == []
    assert lake.outs["ds/bronze"].quality[0]["passed"] is None


def test_a_redelivered_file_replaces_its_rows(lake: TestLake) -> None:
    first = lake.deliver({"a.csv": b"a,b\n1,x\nbad\n", "b.csv": b"a,b\n2,y\nworse\n"})
    again = lake.deliver({"a.csv": b"a,b\n3,z\n"}, replaces=[first["files"][0]["name"]], types=first["types"])
    assert [r["a"] for r in lake.rows("ds/bronze")] == [2, 3]
    assert [r["raw"] for r in lake.rows("ds/quarantine")] == ["worse"]
    assert again["files"][0]["rows_in"] == 1
    sources = {f.source for f in lake.outs["ds/bronze"].add}
    assert sources == {again["files"][0]["name"]}


def test_expectations_stop_bronze(lake: TestLake) -> None:
    expect = [{"on": "bronze", "check": "unique", "column": "a", "level": "error"}]
    with pytest.raises(ExpectationError, match="2 of 2 rows not unique"):
        one(lake, b"a,b\n1,x\n1,y\n", expect=expect)
    assert "ds/bronze" not in lake.tables


def test_rnd_takes_the_same_fifth_each_time(lake: TestLake) -> None:
    content = b"a,b\n" + b"".join(b"%d,x\n" % i for i in range(5000)) + b"bad\n" * 5000
    value, rows, rejected = one(lake, content, rnd=True, sample=True)
    assert 850 < len(rows) < 1150 and len(rejected) in (0, 5000)  # equal lines share one hash
    assert value["files"][0]["rows_in"] == len(rows) + len(rejected)
    lake.tables.clear()
    assert one(lake, content, rnd=True, sample=True)[1] == rows


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_parquet_files(lake: TestLake) -> None:
    table = pa.table({"a": pa.array([1, 2, 3], pa.int32()), "s": ["x", None, "z"], "x": [1.0, 2.5, 3.0]})
    value = lake.deliver({"a.parquet": parquet(table)}, format="parquet", types={"x": "int64"})
    assert value["types"] == {"a": "int64", "s": "string", "x": "int64"}
    assert lake.rows("ds/bronze") == [{"a": 1, "s": "x", "x": 1}, {"a": 3, "s": "z", "x": 3}]
    (rejected,) = lake.rows("ds/quarantine")
    assert (rejected["line"], rejected["reason"]) == (2, "column x: '2.5' is not int64")
    assert rejected["raw"] == '{"a":2,"s":null,"x":2.5}'


def test_parquet_text_is_typed_by_the_same_rules(lake: TestLake) -> None:
    table = pa.table({"a": ["1", "1.5", None], "d": pa.array([1, 2, 3], pa.uint64())})
    lake.deliver({"a.parquet": parquet(table)}, format="parquet", types={"a": "int64"})
    assert [r["a"] for r in lake.rows("ds/bronze")] == [1, None]


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -200])
def test_truncated_parquet_is_refused(lake: TestLake, cut: int) -> None:
    whole = parquet(pa.table({"a": list(range(1000))}))
    with pytest.raises(UnreadableError, match=r"a\.parquet"):
        lake.deliver({"a.parquet": whole[:cut]}, format="parquet")


def test_damaged_pages_are_refused(lake: TestLake) -> None:
    whole = bytearray(parquet(pa.table({"a": [f"text {i}" for i in range(1000)]})))
    whole[10:400] = b"\xff" * 390
    with pytest.raises(UnreadableError, match=r"a\.parquet"):
        lake.deliver({"a.parquet": bytes(whole)}, format="parquet")
    assert not list((lake.root / "ds" / "bronze").glob("*.parquet"))


def test_a_file_that_is_gone_is_refused(lake: TestLake, tmp_path: Path) -> None:
    value = lake.deliver({"a.csv": b"a\n1\n"})
    assert value["files"][0]["status"] == "read"
    params = {"format": "csv", "files": [{"path": str(tmp_path / "no.csv"), "name": "no.csv", "sha256": "x"}]}
    tables = {"bronze": "ds/bronze", "quarantine": "ds/quarantine"}
    from esml_engine.lake.steps import bronze

    with pytest.raises(UnreadableError, match=r"no\.csv is not there any more"):
        lake.run(bronze, {**params, "tables": tables}, {k: lake.table(v) for k, v in tables.items()}, tables)


def test_names_of_a_run_are_in_the_order_in_which_they_were_asked_for() -> None:
    names = [new_name("r-1", 1) for _ in range(200)]
    assert names == sorted(names) and len(set(names)) == 200
