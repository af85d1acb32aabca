"""Settings that say another way to read a dataset's files: bronze is made anew from IN, and nothing of the old reading stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.errors import FailedError
from esml_engine.estate import Estate, init_estate, open_estate

MODEL = "p1/m1"


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    init_estate(tmp_path / "estate", ["dev"])
    out = open_estate(tmp_path / "estate")
    out.new_project("p1", "team")
    out.new_model(MODEL, "regression", ["da"], label="y", key="id")
    return open_estate(tmp_path / "estate")


def _set(estate: Estate, key: str, value: str) -> Estate:
    estate.set(MODEL, key, value)
    return open_estate(estate.site.root)


def _file(folder: Path, name: str, first: int, comma: str = "") -> Path:
    path = folder / name
    rows = (f"{n};t{n}{comma};{n % 7}.50" for n in range(first, first + 40))
    path.write_text("id;x;y\n" + "\n".join(rows) + "\n")
    return path


def test_a_corrected_delimiter_reads_its_files_again(estate: Estate, tmp_path: Path) -> None:
    model = estate.model(MODEL)
    model.ingest("da", [_file(tmp_path, "a.csv", 0), _file(tmp_path, "b.csv", 40, ",0")], "2026-01-01")
    wrong = model.refine(layer="bronze")["layers"][0]
    assert wrong["rows"] + wrong["quarantined"] == 80 and wrong["quarantined"]
    assert list(model.table("da/bronze").read().columns) == ["id;x;y"]

    estate = _set(estate, "datasets.da.delimiter", ";")
    model = estate.model(MODEL)
    plan = model.plan_refine(layer="bronze")
    assert list(plan.draft.will) == [
        "read 2 files of da into bronze, all anew: settings say another way to read them"
    ]
    right = model.refine()["layers"]
    assert (right[0]["rows"], right[0]["quarantined"], right[0]["warnings"]) == (80, 0, [])
    assert sorted(model.table("gold").read().columns) == ["id", "x", "y"]
    assert model.dataset("da").quarantine() == []
    assert list(model.table("da/bronze").read(version=1).columns) == ["id;x;y"]  # as it was, for ever

    assert not any(x["changed"] for x in model.refine()["layers"])
    model.ingest("da", [_file(tmp_path, "c.csv", 80)], "2026-01-02")
    assert list(model.plan_refine(layer="bronze").draft.will) == ["read 1 file of da into bronze"]
    assert model.refine()["layers"][0]["rows"] == 120


def test_a_corrected_type_brings_back_what_the_first_reading_dropped(estate: Estate, tmp_path: Path) -> None:
    estate = _set(estate, "datasets.da.delimiter", ";")
    estate.model(MODEL).ingest("da", [_file(tmp_path, "a.csv", 0)], "2026-01-01")
    estate.model(MODEL).refine()
    before = estate.model(MODEL).table("gold").read()["y"].tolist()
    estate = _set(estate, "datasets.da.types.y", "string")
    estate.model(MODEL).refine()
    after = estate.model(MODEL).table("gold").read()["y"].tolist()
    assert (before[2], after[2]) == (2.5, "2.50")


def test_a_file_that_the_new_way_cannot_read_is_not_counted_as_held(estate: Estate, tmp_path: Path) -> None:
    model = estate.model(MODEL)
    latin = tmp_path / "latin.csv"
    latin.write_bytes("id,x,y\n1,2,é\n".encode("latin-1"))
    plain = tmp_path / "plain.csv"
    plain.write_text("id,x,y\n2,3,e\n")
    estate = _set(estate, "datasets.da.encoding", "latin-1")
    model = estate.model(MODEL)
    model.ingest("da", [latin, plain], "2026-01-01")
    assert model.refine()["layers"][0]["rows"] == 2
    estate = _set(estate, "datasets.da.encoding", "utf-16")
    with pytest.raises(Exception, match="no file could be read"):
        estate.model(MODEL).refine()
    assert len(estate.model(MODEL).table("da/bronze").versions()) == 1
    estate = _set(estate, "datasets.da.encoding", "utf-8")
    said = estate.model(MODEL).refine()["layers"][0]
    assert (said["rows"], said["quarantined"]) == (1, 1)


def test_a_rebuilt_catalogue_still_knows_how_bronze_was_read(estate: Estate, tmp_path: Path) -> None:
    model = estate.model(MODEL)
    model.ingest("da", [_file(tmp_path, "a.csv", 0)], "2026-01-01")
    model.refine(layer="bronze")
    estate = _set(estate, "datasets.da.delimiter", ";")
    estate.model(MODEL).refine()
    estate.catalogue_rebuild()
    assert open_estate(estate.site.root).model(MODEL).plan_refine().draft.nothing_to_do


def test_a_file_with_none_of_the_columns_is_refused_by_name(estate: Estate, tmp_path: Path) -> None:
    estate = _set(estate, "datasets.da.delimiter", ";")
    model = estate.model(MODEL)
    model.ingest("da", [_file(tmp_path, "a.csv", 0)], "2026-01-01")
    model.refine()
    other = tmp_path / "b.csv"
    other.write_text("id,x,y\n90,t90,1.5\n")
    model.ingest("da", [other], "2026-01-02")
    with pytest.raises(FailedError, match=r"none of the dataset's columns .*is its delimiter another"):
        model.refine()
    assert [v["version"] for v in model.table("da/bronze").versions()] == [1]


def test_drift_stands_with_the_version_that_it_came_into(estate: Estate, tmp_path: Path) -> None:
    model = estate.model(MODEL)
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("id,x,y\n1,2,3\n2,3,4\n")
    second.write_text("id,y,z\n3,4,5\n")
    model.ingest("da", [first], "2026-01-01")
    model.refine()
    model.ingest("da", [second], "2026-01-02")
    said = model.refine()["layers"][0]["warnings"]
    kept = model.table("da/bronze").versions()[0]
    assert {(q["check"], q["column"]) for q in kept["quality"]} == {
        ("drift:added", "z"),
        ("drift:dropped", "x"),
    }
    assert [w["message"] for w in said] == [q["message"] for q in kept["quality"]]
    assert kept["bytes"] > model.table("da/bronze").versions()[1]["bytes"], (
        "of all its files, not of the new one alone"
    )


def test_a_split_that_leaves_nothing_to_learn_from_is_refused(estate: Estate, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,g,y\n" + "".join(f"{n},one,{n % 7}\n" for n in range(60)))
    model = estate.model(MODEL)
    model.ingest("da", [path], "2026-01-01")
    model.refine()
    said = set()
    for seed in range(12):
        with pytest.raises(FailedError) as e:  # one group falls on one side: no split of it serves a training
            model.split(group="g", seed=seed)
        said.add(e.value.message.split(" leaves ")[1].split(" empty")[0])
    assert said == {"gold_train", "gold_validate"}, "what is lost is named, whichever side the rows fell on"
    assert model.table("gold_train").versions() == []


def test_rows_of_a_file_that_is_in_in_no_more_are_named_before_they_go(
    estate: Estate, tmp_path: Path
) -> None:
    model = estate.model(MODEL)
    model.ingest("da", [_file(tmp_path, "a.csv", 0), _file(tmp_path, "b.csv", 40)], "2026-01-01")
    estate = _set(estate, "datasets.da.delimiter", ";")
    assert estate.model(MODEL).refine()["layers"][0]["rows"] == 80
    (gone,) = estate.site.root.glob("lake/dev/**/b*.csv")
    gone.unlink()
    assert estate.model(MODEL).plan_refine().draft.nothing_to_do, "bronze keeps what it has"
    estate = _set(estate, "datasets.da.types", '{x = "VARCHAR"}')
    model = estate.model(MODEL)
    (said,) = [w for w in model.plan_refine().draft.will if w.startswith("leave out")]
    assert said.startswith("leave out da/in/2026/01/01/b.csv (40 rows): in IN no more")
    done = model.refine()
    assert done["layers"][0]["rows"] == 40
    assert [r["file"] for r in done["refused"]] == ["da/in/2026/01/01/b.csv"]
    assert len(model.table("da/bronze").read(version=1)) == 80
