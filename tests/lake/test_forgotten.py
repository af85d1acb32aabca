"""`catalogue rebuild --forget`: no number is given twice, and what rests on something forgotten is not current."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from esml_engine.errors import NotFoundError
from esml_engine.estate import Estate, open_estate
from esml_engine.handing import RunFailedError
from esml_engine.store import schema as t
from tests.invariants import violations
from tests.runs.test_kill import quick


@pytest.fixture
def trained(empty: Estate, numbers) -> Estate:
    quick(empty.site.root)
    estate = open_estate(empty.site.root)
    estate.model("p1/m1").ingest("d1", [numbers("a.csv", 0, 80)], "2026-01-01")
    estate.model("p1/m1").pipeline()
    return estate


def _lose(estate: Estate, below: str) -> None:
    found = [p for p in (estate.site.root / "lake/dev").rglob(below) if p.is_dir()]
    assert len(found) == 1
    shutil.rmtree(found[0])
    estate.catalogue_rebuild(forget=["dev"])


@pytest.mark.parametrize("side", ["gold_test", "gold_validate"])
def test_a_side_of_the_split_is_gone(trained: Estate, side: str) -> None:
    model = trained.model("p1/m1")
    _lose(trained, side)
    with pytest.raises(NotFoundError, match=f"no {side} beside its gold_train"):
        model.train()
    assert [p.split("/")[0] for p in model.plan_pipeline().document()["steps"]] == ["split"] + ["train"] * 3
    tables = model.split()["tables"]
    assert {n: t["version"] for n, t in tables.items()} == dict.fromkeys(
        ("gold_train", "gold_validate", "gold_test"), 2
    )
    assert violations(trained.site.root) == []


def test_gold_is_gone(trained: Estate, numbers) -> None:
    model = trained.model("p1/m1")
    _lose(trained, "gold")
    said = model.status()
    assert (said["next"], said["turn"]) == ("refine", "data_engineer") and "not there any more" in said[
        "blocked_by"
    ]
    assert any(
        "from gold v1, which is not there any more" in line for line in model.plan_train().document()["will"]
    )
    model.ingest("d1", [numbers("b.csv", 80, 99)], "2026-01-02")
    assert "gold v2" in model.plan_refine().document()["makes"]
    model.refine()
    assert model.gold.versions()[0]["version"] == 2 and not model.plan_split().draft.nothing_to_do
    assert model.status()["next"] == "split"
    assert violations(trained.site.root) == []


def test_the_whole_lake_is_gone(trained: Estate, numbers) -> None:
    model, root = trained.model("p1/m1"), trained.site.root
    shutil.rmtree(root / "lake/dev")
    trained.catalogue_rebuild(forget=["dev"])
    assert model.status()["next"] == "ingest"
    model.ingest("d1", [numbers("b.csv", 100, 200)], "2026-01-01")
    model.refine()
    model.split()
    assert model.plan_pipeline().document()["steps"], "no model was trained on this gold_train"
    said = model.pipeline()
    assert said["model_version"] == 2
    assert {v["version"] for v in model.table("d1/bronze").versions()} == {2}
    trained.catalogue_rebuild()
    assert model.gold.versions()[0]["version"] == 2, "as the lake's own logs say"
    assert violations(root) == []


@pytest.mark.parametrize("table", ["bronze", "silver", "quarantine"])
def test_a_layer_is_gone(trained: Estate, numbers, table: str) -> None:
    model = trained.model("p1/m1")
    if table == "quarantine":
        broken = numbers("x.csv", 80, 90)
        broken.write_text(broken.read_text() + "91,much,1\n")
        model.ingest("d1", [broken], "2026-01-02")
        model.refine()
    _lose(trained, table)
    model.ingest("d1", [numbers("b.csv", 100, 120)], "2026-01-03")
    model.refine()
    assert model.gold.show()["rows"] and model.plan_refine().draft.nothing_to_do
    assert violations(trained.site.root) == []


def test_what_was_scored_goes_on_where_to_score_and_scored_are_gone(trained: Estate, numbers) -> None:
    model = trained.model("p1/m1")
    for day, (a, b) in ((1, (200, 210)), (2, (210, 215))):
        model.ingest("d1", [numbers(f"i{day}.csv", a, b)], f"2026-02-0{day}", purpose="inference")
        model.refine(purpose="inference")
        if day == 1:
            model.score_batch()
            for gone in ("to_score", "scored"):
                _lose(trained, gone)
    assert model.score_batch()["rows"] == 15
    assert model.table("scored").versions()[0]["version"] == 2
    assert violations(trained.site.root) == []


def _older_copy(estate: Estate, below: str) -> tuple[Path, Path]:
    (table,) = (p for p in (estate.site.root / "lake/dev").rglob(below) if p.is_dir())
    copy = estate.site.root / f"{below}-of-before"
    shutil.copytree(table, copy)
    return table, copy


@pytest.mark.parametrize("table", ["gold", "bronze"])
def test_an_older_copy_of_a_table_was_brought_back(trained: Estate, numbers, table: str) -> None:
    model = trained.model("p1/m1")
    place, copy = _older_copy(trained, table)
    model.ingest("d1", [numbers("b.csv", 80, 99)], "2026-01-02")
    model.pipeline()
    shutil.rmtree(place)
    copy.rename(place)
    model.ingest("d1", [numbers("c.csv", 99, 120)], "2026-01-03")
    with pytest.raises(RunFailedError, match=f"{table} ends before what was recorded") as said:
        model.refine()
    assert "catalogue rebuild" in said.value.hint
    trained.catalogue_rebuild()
    model.refine()
    name = "gold" if table == "gold" else f"d1/{table}"
    assert [v["version"] for v in model.table(name).versions()] == [3, 1], "2 named other rows"
    assert not model.plan_split().draft.nothing_to_do and model.gold.versions()[0]["rows"] == 120
    model.split()
    trained.catalogue_rebuild()
    assert violations(trained.site.root) == []


def test_a_number_stays_given_where_a_table_was_brought_back_and_then_went(trained: Estate, numbers) -> None:
    model = trained.model("p1/m1")
    place, copy = _older_copy(trained, "gold")
    model.ingest("d1", [numbers("b.csv", 80, 99)], "2026-01-02")
    model.refine()
    shutil.rmtree(place)
    copy.rename(place)
    trained.catalogue_rebuild()
    _lose(trained, "gold")
    model.refine()
    assert [v["version"] for v in model.gold.versions()] == [3]


def test_a_table_and_the_store_went_its_number_is_still_said_by_what_was_made_from_it(
    trained: Estate, numbers
) -> None:
    root = trained.site.root
    (gold,) = (p for p in (root / "lake/dev").rglob("gold") if p.is_dir())
    shutil.rmtree(gold)
    with trained.site.store.write() as c:
        c.execute(t.versions.delete())
        c.execute(t.forgotten.delete())
    trained.catalogue_rebuild()
    model = open_estate(root).model("p1/m1")
    model.refine()
    assert [v["version"] for v in model.gold.versions()] == [2] and not model.plan_split().draft.nothing_to_do
