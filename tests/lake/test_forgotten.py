"""`catalogue rebuild --forget`: no number is given twice, and what rests on something forgotten is not current."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from esml_engine.errors import ConflictError, NotFoundError
from esml_engine.estate import Estate, open_estate
from esml_engine.handing import RunFailedError
from esml_engine.scored.commits import drain_ledger
from esml_engine.store import schema as t
from tests.invariants import violations
from tests.working import until


@pytest.fixture
def trained(trained_small: Estate) -> Estate:
    return trained_small


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


def _gone(estate: Estate, below: str) -> None:
    (table,) = (p for p in (estate.site.root / "lake/dev").rglob(below) if p.is_dir())
    shutil.rmtree(table)


def _scored_rows(model, request: str = "") -> int:
    where = [f"request_id = {request}"] if request else []
    return model.scored(where=where, count_only=True).document()["total"]


@pytest.mark.parametrize("table", ["gold", "to_score", "gold_train", "gold_test"])
def test_a_table_that_went_is_not_made_anew_unasked(trained: Estate, numbers, table: str) -> None:
    model = trained.model("p1/m1")
    for day, purpose in (("01", "inference"), ("02", "train"), ("03", "inference")):
        model.ingest("d1", [numbers(f"{day}.csv", 100, 120)], f"2026-02-{day}", purpose=purpose)
        if day == "01":
            model.refine(purpose="inference")
    _gone(trained, table)
    with pytest.raises(RunFailedError, match=f"{table} is not there any more") as said:
        if table.startswith("gold_"):
            model.refine()
            model.split()
        else:
            model.refine(purpose="inference" if table == "to_score" else "train")
    assert "--forget" in said.value.hint
    trained.catalogue_rebuild(forget=["dev"])
    model.refine(purpose="inference")
    model.refine()
    model.split()
    assert model.table(table).versions()[0]["version"] == 2, "and then its number is a new one"
    assert violations(trained.site.root) == []


@pytest.mark.parametrize("kept", [True, False])
def test_what_was_scored_goes_on_where_to_score_alone_is_gone(trained: Estate, numbers, kept: bool) -> None:
    """Rows that scored has are not scored again, whether the table comes back or is forgotten."""
    model = trained.model("p1/m1")
    model.ingest("d1", [numbers("i1.csv", 200, 240)], "2026-02-01", purpose="inference")
    model.refine(purpose="inference")
    assert model.score_batch()["rows"] == 40
    place, copy = _older_copy(trained, "to_score")
    model.ingest("d1", [numbers("i2.csv", 240, 242)], "2026-02-02", purpose="inference")
    shutil.rmtree(place)
    with pytest.raises(RunFailedError, match="not there any more"):
        model.refine(purpose="inference")
    if kept:
        copy.rename(place)
    else:
        trained.catalogue_rebuild(forget=["dev"])
    model.refine(purpose="inference")
    assert model.score_batch()["rows"] == 2 and _scored_rows(model) == 42
    assert model.plan_score_batch().draft.nothing_to_do
    assert violations(trained.site.root) == []


def test_rows_of_a_lost_scored_table_are_not_scored_unsaid(trained: Estate, numbers) -> None:
    model = trained.model("p1/m1")
    model.ingest("d1", [numbers("i1.csv", 200, 240)], "2026-02-01", purpose="inference")
    model.refine(purpose="inference")
    model.score_batch()
    _gone(trained, "scored")
    model.ingest("d1", [numbers("i2.csv", 240, 242)], "2026-02-02", purpose="inference")
    model.refine(purpose="inference")
    with pytest.raises(RunFailedError, match="scored is not there any more"):
        model.score_batch()
    trained.catalogue_rebuild(forget=["dev"])
    assert model.score_batch()["rows"] == 42, "none of them is kept anywhere"
    assert _scored_rows(model) == 42
    assert violations(trained.site.root) == []


@pytest.mark.parametrize("forget", [True, False])
@pytest.mark.parametrize("head", ["bronze", "gold_train"])
def test_a_head_went_or_is_an_older_one_and_its_siblings_stand(
    trained: Estate, numbers, head: str, forget: bool
) -> None:
    model = trained.model("p1/m1")
    place, copy = _older_copy(trained, head)
    broken = numbers("b.csv", 80, 99)
    broken.write_text(broken.read_text() + "991,much,1\n")
    model.ingest("d1", [broken], "2026-01-02")
    model.pipeline()
    shutil.rmtree(place)
    if forget:
        trained.catalogue_rebuild(forget=["dev"])
    else:
        copy.rename(place)
        trained.catalogue_rebuild()
    model.ingest("d1", [numbers("c.csv", 99, 120)], "2026-01-03")
    model.refine()
    model.split()
    name = "d1/bronze" if head == "bronze" else head
    sibling = "d1/quarantine" if head == "bronze" else "gold_validate"
    assert [v["version"] for v in model.table(name).versions()] == ([3] if forget else [3, 1])
    number = 2 if head == "bronze" else 3  # the quarantine's first was made with the second bronze
    assert model.table(sibling).versions()[0]["version"] == number, "the one before named other rows"
    assert model.gold.versions()[0]["rows"] == 120
    if head == "bronze":
        assert len(model.table(sibling).read()) == 1
    parts = [model.table(n).versions()[0]["rows"] for n in ("gold_train", "gold_validate", "gold_test")]
    assert sum(parts) == 120
    trained.catalogue_rebuild()
    assert violations(trained.site.root) == []


def test_a_file_that_a_headless_sibling_took_out_comes_in_again(trained: Estate, numbers) -> None:
    """The quarantine's version without a head read the files another way than the one that takes its place."""
    model, root = trained.model("p1/m1"), trained.site.root
    broken = numbers("b.csv", 80, 99)
    broken.write_text(broken.read_text() + "991,much,1\n")
    model.ingest("d1", [broken], "2026-01-02")
    model.refine()
    place, copy = _older_copy(trained, "bronze")
    other = numbers("d.csv", 99, 110)
    other.write_text(other.read_text() + "992,much,1\n")
    model.ingest("d1", [other], "2026-01-02")
    trained.set("p1/m1", "datasets.d1.null", "much")  # all files are read anew: no row is rejected any more
    open_estate(root).model("p1/m1").refine()
    shutil.rmtree(place)
    copy.rename(place)
    open_estate(root).set("p1/m1", "datasets.d1.null", "")
    estate = open_estate(root)
    estate.catalogue_rebuild()
    model = estate.model("p1/m1")
    model.refine()
    assert len(model.table("d1/quarantine").read()) == 2
    assert violations(root) == []


def test_the_store_went_and_a_model_keeps_its_number(trained: Estate, numbers) -> None:
    root = trained.site.root
    for left in (root / ".esml").glob("store.db*"):
        left.unlink()
    estate = open_estate(root)

    def catalogue() -> dict:
        return next(r for r in estate.doctor() if r["part"] == "dev catalogue")

    assert not catalogue()["ok"] and "does not know: d1/bronze of p1/m1" in catalogue()["message"]
    estate.catalogue_rebuild()
    assert catalogue()["ok"]
    assert estate.model("p1/m1").pipeline()["model_version"] == 2


def test_answers_wait_in_the_ledger_while_scored_is_away(trained: Estate, numbers) -> None:
    model, root = trained.model("p1/m1"), trained.site.root
    rows = pd.read_csv(numbers("w.csv", 300, 303)).drop(columns=["id", "y"])
    with trained.hand.holding(warm=True):
        model.deploy()
        model.score(rows, "web", "a1")
        until(
            lambda: drain_ledger(trained.site, model.ref, "dev") or _scored_rows(model) == 3, "a1 is drained"
        )
        _gone(trained, "scored")
        model.score(rows, "web", "a2")
        with pytest.raises(NotFoundError, match="scored is not there any more"):
            drain_ledger(trained.site, model.ref, "dev")
    assert not list((root / "lake/dev").rglob("scored/**/*.parquet")), "nothing is laid beside what went"
    trained.catalogue_rebuild(forget=["dev"])
    drain_ledger(trained.site, model.ref, "dev")
    assert {r["request_id"] for r in model.scored(limit=10).document()["rows"]} == {"a1", "a2"}
    assert _scored_rows(model) == 6 and violations(root) == []


@pytest.mark.parametrize("table", ["gold", "to_score"])
def test_another_table_in_a_recorded_ones_place_is_not_read_as_it(
    trained: Estate, numbers, table: str
) -> None:
    """Delta counts from 0 again in a table that was made anew: the number alone says nothing."""
    model, purpose = trained.model("p1/m1"), "train" if table == "gold" else "inference"
    model.ingest("d1", [numbers("i0.csv", 200, 210)], "2026-01-09", purpose="inference")
    model.refine(purpose="inference")
    model.score_batch()
    place, copy = _older_copy(trained, table)
    shutil.rmtree(place)
    trained.catalogue_rebuild(forget=["dev"])
    model.ingest("d1", [numbers("b.csv", 300, 320)], "2026-01-10", purpose=purpose)
    model.refine(purpose=purpose)
    newer = place.with_name(f"{table}-newer")
    place.rename(newer)
    copy.rename(place)
    with pytest.raises(ConflictError, match="another one than was recorded") as said:
        model.table(table).read()
    assert "catalogue rebuild" in said.value.hint
    with pytest.raises(RunFailedError, match="another one than was recorded"):
        model.split() if table == "gold" else model.score_batch()
    place.rename(copy)
    newer.rename(place)
    if table == "gold":
        model.split()
        assert (
            sum(model.table(f"gold_{s}").versions()[0]["rows"] for s in ("train", "validate", "test")) == 100
        )
    else:
        assert model.score_batch()["rows"] == 20 and _scored_rows(model) == 30
    assert violations(trained.site.root) == []


@pytest.mark.parametrize("rebuilt", [True, False])
@pytest.mark.parametrize("table", ["to_score", "gold_test", "gold"])
def test_the_store_and_a_table_went_and_its_numbers_are_said_by_others(
    trained: Estate, numbers, table: str, rebuilt: bool
) -> None:
    model, root = trained.model("p1/m1"), trained.site.root
    model.ingest("d1", [numbers("i0.csv", 200, 210)], "2026-01-09", purpose="inference")
    model.refine(purpose="inference")
    model.score_batch()
    _gone(trained, table)
    for left in (root / ".esml").glob("store.db*"):
        left.unlink()
    estate = open_estate(root)
    if rebuilt:
        estate.catalogue_rebuild()
    model = estate.model("p1/m1")
    model.ingest("d1", [numbers("b.csv", 300, 320)], "2026-01-10")
    model.ingest("d1", [numbers("i1.csv", 210, 215)], "2026-01-10", purpose="inference")
    model.refine()
    model.split()
    assert model.pipeline()["model_version"] == 2
    model.refine(purpose="inference")
    assert model.score_batch()["rows"] == 5 and _scored_rows(model) == 15
    assert [v["version"] for v in model.table(table).versions()] == [2]


def test_an_older_store_came_back_and_a_model_keeps_its_number(trained: Estate, numbers) -> None:
    root, model = trained.site.root, trained.model("p1/m1")
    kept = root / "kept"
    kept.mkdir()
    for file in (root / ".esml").glob("store.db*"):
        shutil.copy(file, kept)
    model.ingest("d1", [numbers("b.csv", 300, 320)], "2026-01-10")
    assert model.pipeline()["model_version"] == 2
    for file in (root / ".esml").glob("store.db*"):
        file.unlink()
    for file in kept.iterdir():
        shutil.copy(file, root / ".esml")
    model = open_estate(root).model("p1/m1")
    model.ingest("d1", [numbers("c.csv", 400, 420)], "2026-01-11")
    assert model.pipeline()["model_version"] == 3


def test_rejected_rows_that_were_forgotten_are_read_anew(trained: Estate, numbers) -> None:
    model = trained.model("p1/m1")
    broken = numbers("b.csv", 80, 99)
    broken.write_text(broken.read_text() + "991,much,1\n992,more,1\n")
    model.ingest("d1", [broken], "2026-01-02")
    model.refine()
    _lose(trained, "quarantine")
    assert any("rejected are not there" in w for w in model.plan_refine().document()["will"])
    model.refine()
    assert len(model.table("d1/quarantine").read()) == 2 and model.gold.versions()[0]["rows"] == 99
    assert model.plan_refine().draft.nothing_to_do and violations(trained.site.root) == []
