"""Status: what is next, what blocks it, whose turn it is; an act that can't be done is never next."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.errors import EsmlError, UsageError
from esml_engine.estate import Estate, open_estate
from esml_engine.store import schema as t


def test_without_a_champion_of_the_first_environment_training_is_next(demo: Path) -> None:
    estate = open_estate(demo)
    name = "project002/m11_diabetes"
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
