"""Files that come wrong, again, from elsewhere or in another shape. The last version stays current."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esml_engine.estate import Estate
from tests.conftest import cli
from tests.e2e.wrong import REF, Numbers, again, failing, settle, versions
from tests.invariants import violations

BAD = {
    "binary.csv": bytes(range(256)) * 40,
    "nothing.csv": b"",
    "nul.csv": b"\x00" * 4096,
}


def test_unreadable_files_among_good_ones_are_refused_by_name(
    empty: Estate, numbers: Numbers, tmp_path: Path
) -> None:
    root = empty.site.root
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    files = [str(tmp_path / n) for n in BAD]
    cli(root, "ingest", REF, "d1", *files, str(numbers("a.csv", 0, 30)), "--date", "2026-01-01")
    done = cli(root, "refine", REF)
    said = {r["file"].rpartition("/")[2]: r["reason"] for r in done["refused"]}
    assert set(said) == set(BAD) and all(name in reason for name, reason in said.items()), said
    assert {x["layer"]: x["rows"] for x in done["layers"]} == {"bronze": 30, "silver": 30, "gold": 30}
    # nothing is new, and what was refused is still said
    once_more = cli(root, "refine", REF)
    assert once_more["run"] is None and {r["file"].rpartition("/")[2] for r in once_more["refused"]} == set(
        BAD
    )
    assert versions(empty, "d1/bronze") == [1]
    # delivered again, whole: read
    shutil.copy(numbers("nothing.csv", 40, 45), tmp_path / "whole.csv")
    cli(root, "ingest", REF, "d1", str(tmp_path / "nothing.csv"), "--date", "2026-01-01")
    third = cli(root, "refine", REF)
    assert [x["rows"] for x in third["layers"] if x["layer"] == "gold"] == [35]
    assert {r["file"].rpartition("/")[2] for r in third["refused"]} == {"binary.csv", "nul.csv"}
    assert violations(root) == []


def test_a_refused_file_is_read_when_the_dataset_says_how(
    empty: Estate, numbers: Numbers, tmp_path: Path
) -> None:
    (tmp_path / "wide.csv").write_text("id,x,y\n900,1,2\n", encoding="utf-16")
    empty.model(REF).ingest("d1", [tmp_path / "wide.csv"], "2026-01-01")
    failing("unreadable", empty.model(REF).refine)
    empty.model(REF).ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    assert len(empty.model(REF).refine()["refused"]) == 1
    settle(empty, "[datasets.d1]", '[datasets.d1]\nencoding = "utf-16"')
    said = again(empty).refine(dry_run=True)
    assert not said.draft.nothing_to_do, "the encoding changed: the refused file waits again"


def test_truncated_parquet_is_refused_and_the_rest_goes_on(empty: Estate, tmp_path: Path) -> None:
    settle(empty, '# format = "csv"', 'format = "parquet"')
    whole, cut, middle = tmp_path / "whole.parquet", tmp_path / "cut.parquet", tmp_path / "middle.parquet"
    table = pa.table(
        {"id": range(5000), "x": [i % 7 for i in range(5000)], "y": [1.5 * i for i in range(5000)]}
    )
    pq.write_table(table, whole, compression="none")
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    middle.write_bytes(content[:4] + b"\xff" * (len(content) - 3000) + content[len(content) - 2996 :])
    again(empty).ingest("d1", [whole, cut, middle], "2026-01-01")
    done = cli(empty.site.root, "refine", REF)
    assert {r["file"].rpartition("/")[2] for r in done["refused"]} == {"cut.parquet", "middle.parquet"}
    assert [x["rows"] for x in done["layers"]] == [5000, 5000, 5000]


def test_only_unreadable_files_fail_and_make_nothing(empty: Estate, tmp_path: Path) -> None:
    root = empty.site.root
    for name, content in BAD.items():
        (tmp_path / name).write_bytes(content)
    cli(root, "ingest", REF, "d1", *(str(tmp_path / n) for n in BAD), "--date", "2026-01-01")
    error = cli(root, "refine", REF, check=1)["error"]
    assert error["code"] == "unreadable" and all(n in error["message"] for n in BAD)
    assert versions(empty, "d1/bronze") == []
    assert violations(root) == []


# redelivery, foreign files


def test_a_changed_redelivery_replaces_exactly_that_files_rows(
    empty: Estate, numbers: Numbers, csv_file, tmp_path: Path
) -> None:
    root, model = empty.site.root, empty.model(REF)
    model.ingest("d1", [numbers("a.csv", 0, 30), numbers("b.csv", 30, 60)], "2026-01-01")
    model.refine()
    old = model.gold.versions()[0]["version"]
    csv_file("b.csv", "id,x,y", ["30,100,7", "31,oops,7"])
    assert model.ingest("d1", [tmp_path / "b.csv"], "2026-01-01")["files"][0]["status"] == "replaced"
    model.refine()
    now = model.dataset("d1").bronze.read()
    assert sorted(now["id"]) == list(range(31)) and set(now[now["id"] == 30]["x"]) == {100}
    assert len(model.dataset("d1").quarantine()) == 1
    assert len(model.dataset("d1").bronze.read(version=1)) == 60 and len(model.gold.read(version=old)) == 60
    names = [n["name"] for n in model.lineage("gold", old)["nodes"] if n["kind"] == "file"]
    new = [n["name"] for n in model.lineage("gold")["nodes"] if n["kind"] == "file"]
    assert len(names) == 2 and len(new) == 2 and len(set(names) & set(new)) == 1, (names, new)
    assert model.ingest("d1", [tmp_path / "b.csv"], "2026-01-01")["files"][0]["status"] == "unchanged"
    assert model.refine()["run"] is None
    assert violations(root) == []


def test_two_files_of_the_same_content_are_two_files(empty: Estate, numbers: Numbers, tmp_path: Path) -> None:
    model = empty.model(REF)
    a = numbers("a.csv", 0, 30)
    shutil.copy(a, tmp_path / "b.csv")
    model.ingest("d1", [a, tmp_path / "b.csv"], "2026-01-01")
    model.refine()
    assert len(model.dataset("d1").bronze.read()) == 60
    model.ingest("d1", [numbers("b.csv", 100, 105)], "2026-01-01")
    model.refine()
    assert sorted(model.dataset("d1").bronze.read()["id"]) == [*range(30), *range(100, 105)]
    assert violations(empty.site.root) == []


def test_a_file_named_twice_in_one_delivery_is_one_file(
    empty: Estate, numbers: Numbers, tmp_path: Path
) -> None:
    a = numbers("a.csv", 0, 30)
    other = tmp_path / "elsewhere" / "a.csv"
    other.parent.mkdir()
    other.write_text(a.read_text().replace("\n5,", "\n500,"))
    said = empty.model(REF).ingest("d1", [a, a, other], "2026-01-01")["files"]
    assert [f["status"] for f in said] == ["added", "unchanged", "refused"]
    assert said[2]["reason"] == "another file called a.csv is in the same delivery, with other content"
    empty.model(REF).refine()
    assert len(empty.model(REF).dataset("d1").bronze.read()) == 30


@pytest.mark.parametrize("name", ["spark-part-0001.csv", "it's [odd] *.csv", "two\nlines.csv", "ümlaut.csv"])
def test_a_foreign_file_in_the_lake_is_found(empty: Estate, numbers: Numbers, name: str) -> None:
    model = empty.model(REF)
    folder = Path(empty.site.platform("dev").lake_root()) / "projects/p1/m1/train/d1/in/2026/01/01"
    folder.mkdir(parents=True)
    shutil.copy(numbers("other.csv", 100, 110), folder / "it's o other.csv")
    model.refine()
    shutil.copy(numbers("a.csv", 0, 30), folder / name)
    done = model.refine()
    assert not done["refused"] and done["layers"][-1]["rows"] == 40
    shutil.copy(numbers("a2.csv", 0, 20), folder / name)  # its owner overwrites it
    assert model.refine()["layers"][-1]["rows"] == 30
    assert len(model.gold.read(version=2)) == 40


# drift, inference


@pytest.mark.parametrize("policy", ["evolve", "warn", "fail"])
def test_added_and_dropped_columns(empty: Estate, numbers: Numbers, csv_file, policy: str) -> None:
    settle(empty, '# drift = "warn"', f'drift = "{policy}"')
    model = again(empty)
    model.ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    model.refine()
    model.ingest("d1", [csv_file("b.csv", "id,y,z", ["100,1,9", "101,2,8"])], "2026-01-02")
    if policy == "fail":
        error = failing("expectation", again(empty).refine)
        assert "added column z" in error.message and "dropped column x" in error.message
        assert versions(empty, "d1/bronze") == [1]
        return
    done = cli(empty.site.root, "refine", REF)
    rows = again(empty).dataset("d1").bronze.read()
    assert set(rows.columns) == {"id", "x", "y", "z"} and len(rows) == 32
    assert rows["z"].isna().sum() == 30 and rows["x"].isna().sum() == 2
    shown = {(w["check"], w["column"]) for x in done["layers"] for w in x["warnings"]}
    assert shown == (set() if policy == "evolve" else {("drift:added", "z"), ("drift:dropped", "x")})
    assert violations(empty.site.root) == []


def test_inference_files_come_without_the_label(empty: Estate, numbers: Numbers, csv_file) -> None:
    settle(
        empty,
        "[split]",
        '[[expect]]\ncheck = "not_null"\ncolumn = "y"\nlevel = "error"\n\n[split]',
    )
    settle(empty, '# drift = "warn"', 'drift = "fail"')
    model = again(empty)
    model.ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    model.refine()
    model.ingest("d1", [csv_file("i.csv", "id,x", ["500,1", "501,2"])], "2026-01-02", "inference")
    model.refine(purpose="inference")
    model.ingest("d1", [csv_file("j.csv", "id,x", ["502,1"])], "2026-01-03", "inference")
    model.refine(purpose="inference")
    assert len(model.to_score.read()) == 3


def test_bytes_that_are_no_text_are_counted_like_any_row(empty: Estate, tmp_path: Path) -> None:
    some, none = tmp_path / "a.csv", tmp_path / "b.csv"
    some.write_bytes(b"id,x,y\n1,2,3\n2,\xff\xfe,4\n3,4,5\n")
    none.write_bytes(bytes(range(256)) * 20)
    model = empty.model("p1/m1")
    model.ingest("d1", [some], "2026-01-01")
    model.ingest("d1", [none], "2026-01-02")
    done = model.refine()
    assert (done["layers"][0]["rows"], done["layers"][0]["quarantined"]) == (2, 1)
    assert "not text" in done["refused"][0]["reason"] and violations(empty.site.root) == []
    (tmp_path / "c.csv").write_text("id,x,y\n7,1,1\n")
    model.ingest("d1", [tmp_path / "c.csv"], "2026-01-03")
    for changed in (True, False):
        layer = model.refine()["layers"][0]
        assert (layer["rows"], layer["quarantined"]) == (3, 1), "of the version, as its rows are"
        assert layer["changed"] is changed
