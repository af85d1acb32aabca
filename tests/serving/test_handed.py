"""CSV files of rows to score: typed by the model's signature, not by what their text looks like; each row with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esml_engine.errors import FailedError, NotYetError, UnreadableError, UsageError
from esml_engine.estate import Estate, open_estate
from esml_engine.serving.handed import Handed, dialect_of, read, row_line
from esml_engine.serving.rows import check_file, columns_of
from esml_engine.serving.scoring import check_parallel, check_request_id

SIGNATURE = [
    {"name": "age", "type": "int64"},
    {"name": "sex", "type": "string"},
    {"name": "seen", "type": "string"},
    {"name": "bmi", "type": "double"},
    {"name": "born", "type": "date32[day]"},
]
HEAD = "age,sex,seen,bmi,born\n"


def handed(folder: Path, text: str, name: str = "rows.csv") -> tuple[Handed, list[dict[str, Any]]]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    found = read(path, SIGNATURE, folder / "work")
    return found, pq.read_table(found.rows).to_pylist()


def test_texts_stay_texts_whatever_they_look_like(tmp_path: Path) -> None:
    _, rows = handed(tmp_path, HEAD + "1,f,05/01/2026,20,2001-02-03\n2,1,2026-01-05,21.5,\n")
    assert [r["sex"] for r in rows] == ["f", "1"] and [r["seen"] for r in rows] == [
        "05/01/2026",
        "2026-01-05",
    ]
    assert [r["bmi"] for r in rows] == [20.0, 21.5] and str(rows[0]["born"]) == "2001-02-03"
    online = columns_of(tmp_path / "rows.csv", SIGNATURE)
    assert online["sex"] == ["f", "1"] and online["born"][1] is None


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_that_makes_the_models_columns(tmp_path: Path, delimiter: str) -> None:
    text = (HEAD + '1,f,"a,b",20,2001-02-03\n').replace(",", delimiter).replace(f"a{delimiter}b", "a,b")
    _, rows = handed(tmp_path, text)
    assert (rows[0]["age"], rows[0]["seen"]) == (1, "a,b")


def test_each_row_has_its_line(tmp_path: Path) -> None:
    regular, rows = handed(tmp_path, HEAD + "".join(f"{n},f,x,1,\n" for n in range(5)))
    assert regular.lines == [[0, 2]]
    assert [row_line("rows.csv", regular.lines, n) for n in range(5)] == [2, 3, 4, 5, 6]
    torn, rows = handed(tmp_path, HEAD + '1,f,"two\nlines",1,\n\n\n2,f,x,1,\n3,f,x,1,\n')
    assert [r["age"] for r in rows] == [1, 2, 3]
    assert [row_line("rows.csv", torn.lines, n) for n in range(3)] == [2, 6, 7]
    assert row_line("rows.parquet", None, 0) == 1, "a parquet file has rows, not lines"
    assert row_line("rows.csv", [], 4) is None, "not kept"
    assert row_line("rows.csv", None, 4) == 6, "scored before lines were kept"


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("1,f,x,fat,", "line 3: column bmi: 'fat' is not float64"),
        ("1.5,f,x,1,", "line 3: column age: '1.5' is not int64"),
        ("1,f,x,1,05/01/2026", "line 3: column born"),
        ("1,f,x,1", "line 3: expected 5 columns, found 4"),
    ],
)
def test_what_does_not_fit_is_named_by_line_and_nothing_is_scored(
    tmp_path: Path, record: str, says: str
) -> None:
    with pytest.raises(UsageError) as e:
        handed(tmp_path, f"{HEAD}2,f,x,1,\n{record}\n")
    assert says in e.value.message and "mend or leave out 1 of 2 records" in e.value.hint


def test_files_without_rows_or_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no rows"):
        handed(tmp_path, HEAD)
    with pytest.raises(UnreadableError, match="empty"):
        handed(tmp_path, "")
    (tmp_path / "wide.csv").write_text(HEAD, encoding="utf-16")
    with pytest.raises(UnreadableError, match="UTF-16") as e:
        read(tmp_path / "wide.csv", SIGNATURE, tmp_path / "work")
    assert "UTF-8" in e.value.hint


def test_nulls_encoding_and_delimiter_are_the_models_own(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes((HEAD + "1,NA,é,NA,\n").replace(",", "~").encode("latin-1"))
    written = {"null": "NA", "encodings": ["latin-1"], "delimiters": ["~"]}
    found = read(path, SIGNATURE, tmp_path / "work", written)
    (row,) = pq.read_table(found.rows).to_pylist()
    assert (row["sex"], row["seen"], row["bmi"]) == (None, "é", None)


def test_a_file_in_another_encoding_than_the_models_is_said_to_be_that(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + "1,2,a,3,\n", encoding="utf-8")
    with pytest.raises(UnreadableError, match="is not utf-16") as e:
        read(path, SIGNATURE, tmp_path / "work", {"encodings": ["utf-16"], "delimiters": [","]})
    assert "UTF-16" in e.value.hint


@pytest.mark.parametrize("irregular", [False, True])
def test_a_word_for_no_value_is_one_in_the_columns_of_its_dataset_alone(
    empty: Estate, tmp_path: Path, irregular: bool
) -> None:
    empty.new_model("p1/m2", "regression", ["aa", "bb"], label="y", key="id")
    empty.set("p1/m2", "datasets.aa.null", "NA")
    model = open_estate(empty.site.root).model("p1/m2")
    for name, head, row in (("aa", "id,note,c,y", "a,NA,{n}"), ("bb", "id,note,w", "b,NA")):
        path = tmp_path / f"{name}.csv"
        path.write_text(head + "\n" + "".join(f"{n},{row.format(n=n)}\n" for n in range(30)))
        model.ingest(name, path, "2026-01-01")
    model.refine(layer="bronze")
    dialect = dialect_of(model.site, model.ref, "dev")
    assert dialect["nulls"] == {key: ["NA"] for key in ("id", "note", "c", "y")} and dialect["null"] == ""
    model.estate.set("p1/m2", "datasets.bb.null", "-")
    again = open_estate(empty.site.root).model("p1/m2")
    its = dialect_of(again.site, again.ref, "dev")["nulls"]
    assert its["note"] == ["NA"] and its["bb_note"] == ["-"] == its["w"], "as gold names them"
    path = tmp_path / "rows.csv"
    blank = "\n" if irregular else ""  # a blank line is read the exact way
    path.write_text(f"id,c,w\n1,NA,NA\n{blank}2,b,b\n")
    signature = [{"name": "c", "type": "string"}, {"name": "w", "type": "string"}]
    rows = pq.read_table(read(path, signature, tmp_path / "work", dialect).rows).to_pylist()
    assert [(r["c"], r["w"]) for r in rows] == [(None, "NA"), ("b", "b")]


def test_a_word_for_no_value_of_csv_files_is_none_in_columns_of_parquet_files(
    empty: Estate, tmp_path: Path
) -> None:
    settings = empty.site.root / "projects/p1/m1/model.toml"
    text = settings.read_text()
    settings.write_text(text + '\n[datasets.pp]\nformat = "parquet"\n')
    empty.set("p1/m1", "datasets.d1.null", "NA")
    model = open_estate(empty.site.root).model("p1/m1")
    csv, parquet = tmp_path / "a.csv", tmp_path / "b.parquet"
    csv.write_text("id,c,y\n" + "".join(f"{n},NA,{n}\n" for n in range(30)))
    pq.write_table(pa.table({"id": list(range(30)), "grade": ["NA"] * 30}), parquet)
    model.ingest("d1", csv, "2026-01-01")
    model.ingest("pp", parquet, "2026-01-01")
    model.refine(layer="bronze")
    dialect = dialect_of(model.site, model.ref, "dev")
    assert dialect["null"] == "" and "grade" not in dialect["nulls"] and dialect["nulls"]["c"] == ["NA"]
    path = tmp_path / "rows.csv"
    path.write_text("id,c,grade\n1,NA,NA\n")
    signature = [{"name": "c", "type": "string"}, {"name": "grade", "type": "string"}]
    (row,) = pq.read_table(read(path, signature, tmp_path / "work", dialect).rows).to_pylist()
    assert (row["c"], row["grade"]) == (None, "NA")


@pytest.mark.parametrize("given", ["Jö", "two\nlines", "a b", "x" * 201, 7])
def test_a_request_id_is_a_name(given: Any) -> None:
    with pytest.raises(UsageError, match="no request id"):
        check_request_id(given)
    check_request_id(None)


def test_one_row_by_name_is_no_column(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'age' is one value"):
        columns_of({"age": 1, "sex": "f"})


WRONG = {
    "broken": (b'[{"x": 1', "rows.json is not JSON"),
    "latin": (b'[{"x": "\xe9"}]', "rows.json is not JSON"),
    "nothing": (b"", "rows.json is not JSON"),
    "number": (b"3", "rows.json holds 3, which is no rows"),
    "null": (b"null", "rows.json holds None, which is no rows"),
    "numbers": (b"[1, 2]", r"rows.json holds \[1, 2\], which is no rows"),
    "none": (b"[]", "rows.json: there are no rows"),
    "object": (b"{}", "rows.json: there are no rows"),
    "body": (b'{"input_data": 3}', "rows.json: the body has no input_data"),
    "infinite": (b'[{"x": 1e999}]', "rows.json is not JSON: 1e999"),
    "constant": (b'[{"x": NaN}]', "rows.json is not JSON: NaN"),
    "lengths": (b'{"x": [1, 2], "z": [1]}', "rows.json: the columns are not of one length"),
}


@pytest.mark.parametrize("which", sorted(WRONG))
def test_a_json_file_that_holds_no_rows_is_named_before_anything_is_started(
    tmp_path: Path, which: str
) -> None:
    text, said = WRONG[which]
    (tmp_path / "rows.json").write_bytes(text)
    for read_ in (columns_of, check_file):
        with pytest.raises(UsageError, match=said):
            read_(tmp_path / "rows.json")


def test_a_parquet_file_without_an_end_or_without_rows_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    for content, said in ((b"", "can't be read"), (b"PAR1 and no more", "can't be read"), (None, "no rows")):
        if content is None:
            pq.write_table(pa.table({"x": pa.array([], pa.int64())}), path)
        else:
            path.write_bytes(content)
        with pytest.raises(UsageError, match=f"rows.parquet.*{said}"):
            check_file(path)
    (arrow := tmp_path / "rows.arrow").write_bytes(b"x")
    with pytest.raises(NotYetError):
        columns_of(arrow)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rows.csv", HEAD, r"rows\.csv: there are no rows"),
        ("rows.csv", "age,sex\n1,f\n", r"rows\.csv: column 'seen' is missing"),
        ("rows.csv", HEAD + "1,f,x,much,2001-02-03\n", r"rows\.csv, line 2"),
        ("ROWS.JSON", '[{"age": 1}]', r"ROWS\.JSON: column 'sex' is missing"),
        ("rows.xlsx", "PK", r"rows\.xlsx is no csv, parquet or json file"),
    ],
)
def test_a_file_that_can_t_be_scored_is_named_before_a_run(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        check_file(tmp_path / name, SIGNATURE)


@pytest.mark.parametrize(
    ("text", "seconds"), [("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("soon", 0.0), ("2.5", 2.5), (None, 0.0)]
)
def test_a_wait_that_is_no_number_of_seconds_is_none(text: str | None, seconds: float) -> None:
    import httpx

    from esml_engine.serving.client import _retry_after

    headers = {"retry-after": text} if text else {}
    assert _retry_after(httpx.Response(429, headers=headers)) == seconds


def test_an_answer_that_is_no_json_is_an_error_of_the_engine() -> None:
    import httpx

    from esml_engine.serving.client import _answer

    assert _answer(httpx.Response(200, json={"predictions": []}), "r") == {"predictions": []}
    with pytest.raises(FailedError, match="no JSON"):
        _answer(httpx.Response(200, content=b"<html>"), "r")


@pytest.mark.parametrize("many", ["many", 0, 1.5, True])
def test_how_many_calls_at_a_time_is_a_number(many: object) -> None:
    check_parallel(None)
    check_parallel(8)
    with pytest.raises(UsageError, match="parallel is"):
        check_parallel(many)
