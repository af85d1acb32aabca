"""Status: what is next, what blocks it, whose turn it is; an act that can't be done is never next."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.errors import EsmlError, UsageError
from esml_engine.estate import Estate, open_estate
from esml_engine.portfolio.waiting import waiting_bytes
from esml_engine.store import schema as t


def test_without_a_champion_of_the_first_environment_training_is_next(demo: Path) -> None:
    estate = open_estate(demo)
    name = "project003/m21_co2"  # no IN file waits there
    with estate.site.store.write() as c:
        c.execute(t.champions.delete().where(t.champions.c.object == name))
    said = estate.status(name)[0]
    assert (said["stage"], said["next"], said["turn"]) == ("trained", "train", "data_scientist")
    assert said["blocked_by"] == "no version of dev passed its gates"
    with estate.site.store.write() as c:
        c.execute(t.model_versions.update().values(rnd=True))
    assert estate.status(name)[0]["blocked_by"] == "only R&D mode has trained in dev"


def test_a_forecast_that_no_training_could_make_is_refused_before_one_runs(empty: Estate) -> None:
    with pytest.raises(EsmlError, match=r"forecast\.horizon"):
        empty.new_model("p1/m2", "forecasting", ["d1"], "y", forecast={"time_column": "t", "horizon": 0})
    assert not (empty.site.root / "projects/p1/m2").exists()
    empty.new_model("p1/m2", "forecasting", ["d1"], "y", forecast={"time_column": "t", "frequency": "banana"})
    with pytest.raises(UsageError, match="frequency 'banana' is unknown"):
        open_estate(empty.site.root).model("p1/m2").plan_train()


def test_files_that_wait_are_what_is_next_as_the_pages_say(empty: Estate, csv_file, numbers) -> None:
    model, name = empty.model("p1/m1"), "p1/m1"
    model.ingest("d1", [numbers("a.csv", 0, 40)], "2026-01-01")
    model.refine()
    assert (empty.status(name)[0]["next"], empty.status(name)[0]["turn"]) == ("split", "data_scientist")
    model.ingest("d1", [numbers("b.csv", 40, 50)], "2026-01-02")
    assert (empty.status(name)[0]["next"], empty.status(name)[0]["turn"]) == ("refine", "data_engineer")
    model.refine()
    assert empty.status(name)[0]["next"] == "split"
    model.split()
    assert empty.status(name)[0]["next"] == "train"
    model.ingest("d1", [numbers("c.csv", 50, 60)], "2026-01-03")
    model.refine()
    assert empty.status(name)[0]["next"] == "split", "gold is newer than what it was split into"
    told = [
        w
        for w in model.plan_train().draft.will
        if "gold v2, which the split is of, not from the newer v3" in w
    ]
    assert len(told) == 1
    empty.catalogue_rebuild()
    assert empty.status(name)[0]["next"] == "split"
    model.split()
    empty.catalogue_rebuild()
    assert empty.status(name)[0]["next"] == "train"
    (bad := empty.site.root / "bad.csv").write_bytes(b"id,\x00x,y\n1,2,3\n")
    model.ingest("d1", [bad], "2026-01-04")
    with pytest.raises(EsmlError, match="no file could be read"):
        model.refine()
    said = empty.status(name)[0]
    assert said["blocked_by"].startswith("refine failed in dev"), "what was refused waits no more"


def test_a_gold_that_lost_its_rows_blocks(empty: Estate, csv_file, numbers) -> None:
    """All rows of a redelivered file went into quarantine: done as a run, and nothing to go on with."""
    model = empty.model("p1/m1")
    model.ingest("d1", [numbers("a.csv", 0, 40)], "2026-01-01")
    model.refine()
    model.ingest("d1", [csv_file("a.csv", "id,x,y", [f"{i},{i % 17}.5x,1" for i in range(40)])], "2026-01-01")
    model.refine()
    said = empty.status("p1/m1")[0]
    assert said["blocked_by"] == "gold v2 in dev has no row: all were kept out"
    assert (said["next"], said["turn"]) == ("refine", "data_engineer")
    with pytest.raises(UsageError, match="has no row to split"):
        model.split()


def test_a_model_that_arrived_says_when_its_gold_is_newer_than_its_split(empty: Estate, numbers) -> None:
    from tests.conftest import quick

    quick(empty.site.root)
    model = open_estate(empty.site.root).model("p1/m1")
    model.ingest("d1", [numbers("a.csv", 0, 80)], "2026-01-01")
    model.pipeline()
    assert (model.status()["next"], model.status()["turn"]) == (None, None)
    model.ingest("d1", [numbers("b.csv", 80, 99)], "2026-01-02")
    model.refine()
    assert (model.status()["next"], model.status()["turn"]) == ("split", "data_scientist")


def test_a_run_that_waits_for_an_exception_is_the_approvers_turn(demo: Path) -> None:
    estate, name = open_estate(demo), "project002/m11_diabetes"
    estate.model(name).ask_exception(8.0, "a longer search", 3)
    said = estate.status(name)[0]
    assert (said["next"], said["turn"]) == ("approve", "approver")
    assert said["blocked_by"].startswith("an exception waits for a decision: ")


def test_a_switched_rnd_mode_is_a_refinement_that_waits(empty: Estate, numbers) -> None:
    model, name = empty.model("p1/m1"), "p1/m1"
    model.ingest("d1", [numbers("a.csv", 0, 40)], "2026-01-01")
    model.refine()
    empty.set(name, "rnd.dev", True)
    switched = open_estate(empty.site.root)
    assert (switched.status(name)[0]["next"], switched.status(name)[0]["turn"]) == ("refine", "data_engineer")
    assert waiting_bytes(switched.site, switched.model(name).ref, "dev") > 0
    switched.model(name).refine()
    assert switched.status(name)[0]["next"] == "split"
    switched.set(name, "rnd.dev", False)
    assert open_estate(empty.site.root).status(name)[0]["next"] == "refine"
