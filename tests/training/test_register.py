"""A past run's model becomes a version once, and is never judged by a champion that it was not measured beside."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from esml_engine.estate import Estate, open_estate
from esml_engine.refs import ModelRef
from esml_engine.runs import records as runs
from esml_engine.training import records
from esml_engine.training.judging.verdict import verdict_of
from esml_engine.training.registering import trained_value
from esml_engine.training.storage import content_hash
from tests.conftest import cli, esml
from tests.invariants import violations

REF = ModelRef.parse("p1/m1")


def test_the_model_of_a_run_that_was_killed_and_cancelled_is_registered_later(
    empty: Estate, numbers: Callable[[str, int, int], Path]
) -> None:
    root = empty.site.root
    path = root / "projects/p1/m1/model.toml"
    path.write_text(path.read_text().replace("[train.dev]", '[train.dev]\nestimators = ["linear"]', 1))
    model = open_estate(root).model("p1/m1")
    model.ingest("d1", [numbers("a.csv", 0, 90)], "2026-01-01")
    with model.estate.hand.holding(warm=True):
        model.refine()
        model.split()
    kill = {"ESML_KILL_AT": "register:reserved", "ESML_KILL_ONCE": str(root / ".killed")}
    esml(root, "train", "p1/m1", env=kill, check=-9)
    run = cli(root, "runs")[0]["run"]
    assert cli(root, "cancel", run)[0]["state"] == "running", "until somebody works"
    store = empty.site.store
    assert records.versions(store, REF) == []

    got = cli(root, "register", "p1/m1", run)
    assert got["model_version"] == 1 and got["alias"] == "champion"
    assert runs.get(store, run)["state"] == "cancelled", "whoever works next ends it first"
    assert [v["run"] for v in records.versions(store, REF)] == [run]
    again = cli(root, "register", "p1/m1", run)
    assert again["run"] is None and again["model_version"] == 1
    assert violations(root) == []

    # it was measured with no champion beside it: what stood nowhere is not what it is judged by
    site, value = open_estate(root).site, trained_value(open_estate(root).site, run)
    late = verdict_of(site, REF, "dev", value)
    assert late.verdict == "refuse"
    assert "the champion is v1 by now, this run was measured with no champion" in late.refusals[-1].reason
    beside = {**value, "champion_version": 1, "champion_metrics": value["metrics"]}
    assert verdict_of(site, REF, "dev", beside).verdict == "promote"
    other = verdict_of(site, REF, "dev", {**beside, "champion_version": 7})
    assert [g.gate for g in other.refusals] == ["champion"] and "beside v7" in other.refusals[0].reason


def test_the_registry_names_mlflows_own_copy_of_a_model(trained_small: Estate) -> None:
    from mlflow.tracking import MlflowClient

    found = MlflowClient(f"sqlite:///{trained_small.site.root}/tracking/dev/mlflow.db")
    version = found.get_model_version_by_alias("p1-m1", "champion")
    shutil.rmtree(trained_small.site.root / ".esml" / "runs")
    assert content_hash(version.source.removeprefix("file://")) == version.tags["esml.sha256"]
