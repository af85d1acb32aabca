"""A series in R&D mode is read whole; a horizon that no test rows could judge is refused; analytics ends at gold."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from esml_engine.errors import EsmlError
from esml_engine.estate import Estate, init_estate, open_estate

REF = "p1/m1"


@pytest.fixture
def series(tmp_path: Path) -> Estate:
    root = tmp_path / "estate"
    init_estate(root, ["dev"])
    open_estate(root).new_project("p1", "team")
    open_estate(root).new_model(
        REF,
        "forecasting",
        ["d1"],
        "y",
        "day",
        forecast={"time_column": "day", "horizon": 7, "frequency": "D"},
    )
    toml = root / "projects/p1/m1/model.toml"
    toml.write_text(toml.read_text().replace("trials = 20", "trials = 1"))
    first = dt.date(2025, 1, 1)
    rows = "\n".join(f"{first + dt.timedelta(days=n)},{n % 7 + n / 50:.2f}" for n in range(200))
    (tmp_path / "a.csv").write_text(f"day,y\n{rows}\n")
    open_estate(root).model(REF).ingest("d1", tmp_path / "a.csv", first)
    return open_estate(root)


def test_a_series_is_whole_in_rnd_mode_and_not_promotable(series: Estate) -> None:
    series.set(REF, "rnd.dev", "true")
    model = open_estate(series.site.root).model(REF)
    plan = model.plan_refine()
    assert "whole: a sample would tear a series" in plan.draft.will[0]
    said = model.refine()
    assert said["layers"][0]["rows"] == 200
    model.split()
    done = model.train()
    assert done["model_version"] == 1
    (version,) = model.table("d1/bronze").versions()
    assert version["rnd"]
    (line,) = model.leaderboard()
    assert line["alias"] != "champion", "nothing of R&D mode is crowned"


def test_a_horizon_longer_than_gold_test_is_refused(series: Estate) -> None:
    toml = series.site.root / "projects/p1/m1/model.toml"
    toml.write_text(toml.read_text().replace("horizon = 7", "horizon = 100"))
    model = open_estate(series.site.root).model(REF)
    model.refine()
    model.split()
    with pytest.raises(EsmlError, match="gold_test holds 40 timestamps, fewer than one forecast of 100") as e:
        model.train()
    assert "shorter forecast.horizon" in e.value.hint


def test_every_act_beyond_gold_says_that_analytics_ends_there(series: Estate) -> None:
    series.new_model("p1/report", "analytics", ["d1"])
    model = open_estate(series.site.root).model("p1/report")
    acts = {
        "split": model.split,
        "train": model.train,
        "register": lambda: model.register("r-1"),
        "deploy": model.deploy,
        "score": lambda: model.score([{"x": 1}], caller="a"),
        "score_batch": model.score_batch,
        "pipeline": lambda: model.pipeline("trained"),
        "rollback": model.rollback,
        "undeploy": model.undeploy,
        "keys": model.keys,
        "inference": lambda: model.pipeline(purpose="inference"),
    }
    for name, act in acts.items():
        with pytest.raises(EsmlError, match="ends at gold") as e:
            act()
        assert e.value.hint == "esml refine p1/report", name
