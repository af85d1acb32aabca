"""A model is made while an environment on Azure refuses or is away: what belongs to this machine is whole, the rest comes later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tomlkit

from esml_engine.errors import PlatformError
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.platforms import design
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import SHORT, in_lake_of_its_own

NAME = "p1/m1"


@pytest.fixture
def root(azure: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An estate with dev on this machine and test on Azure, and a project."""
    for k, v in SHORT.items():
        monkeypatch.setenv(k, v)
    made = tmp_path / "estate"
    init_estate(made, ["dev", "test"])
    text = tomlkit.parse((made / "estate.toml").read_text())
    text["environments"]["test"] = in_lake_of_its_own(azure, "test", made)  # type: ignore[index]
    (made / "estate.toml").write_text(tomlkit.dumps(text))
    open_estate(made).new_project("p1", "team")
    return made


def folders_row(estate: Estate, env: str) -> str:
    """What `doctor` says of the folders of an environment whose parts all answer."""
    rows = estate.doctor(env)
    assert all(r["ok"] for r in rows), [r for r in rows if not r["ok"]]
    return str(next(r["message"] for r in rows if r["part"] == f"{env} folders"))


@pytest.mark.parametrize(
    ("operation", "status", "says"),
    [("Storage.Any", 403, "Storage Blob Data Contributor"), ("Storage.Any", 503, "retry")],
)
def test_a_model_is_whole_here_and_its_folders_come_with_the_first_act_there(
    azure: Cloud,
    root: Path,
    numbers: Callable[[str, int, int], Path],
    operation: str,
    status: int,
    says: str,
) -> None:
    azure.faults.add(operation, times=9999, status=status)
    said = open_estate(root).new_model(NAME, "regression", ["d1", "d2"], label="y", key="id")
    azure.faults.clear()
    [warning] = said["warnings"]
    assert warning["env"] == "test" and "no folders in test yet" in warning["message"], warning
    assert says in warning["hint"] and "the first act on p1/m1 in test makes them" in warning["hint"]
    assert said["files"] == ["projects/p1/m1/model.toml"]
    estate = open_estate(root)
    assert estate.audit(act="new_model")[0]["result"] == "done"
    here, there = (estate.site.platform(e) for e in ("dev", "test"))
    assert here.folders("projects/p1/m1/inference/d2") == ["in"] and here.read_file(design.NAME)
    assert there.folders("projects/p1/m1") == [] and there.read_file(design.NAME) is None
    assert "every model" in folders_row(estate, "dev")
    assert "p1/m1 has no IN folders there yet" in (row := folders_row(estate, "test"))
    assert "esml refine p1/m1 --env test" in row
    assert estate.model(NAME, "test").refine()["nothing_to_do"], "and what was missing is made all the same"
    assert there.folders("projects/p1/m1/train/d1") == there.folders("projects/p1/m1/inference/d2") == ["in"]
    assert json.loads(there.read_file(design.NAME) or b"") == {"design": design.DESIGN}
    assert "every model" in folders_row(estate, "test")
    assert estate.model(NAME, "test").dataset("d1").ingest(numbers("a.csv", 0, 5), date="2026-01-01")


def test_a_model_whose_folders_were_made_halfway_is_whole_after_the_next_act(
    azure: Cloud, root: Path, numbers: Callable[[str, int, int], Path]
) -> None:
    azure.faults.add("Storage.Any", times=9999, status=503, path="*inference*")
    said = open_estate(root).new_model(NAME, "regression", ["d1"], label="y", key="id")
    azure.faults.clear()
    assert [w["env"] for w in said["warnings"]] == ["test"]
    estate = open_estate(root)
    assert "p1/m1 has no IN folders there yet" in folders_row(estate, "test")
    estate.model(NAME, "test").dataset("d1").ingest(numbers("a.csv", 0, 5), date="2026-01-01")
    assert estate.site.platform("test").folders("projects/p1/m1/inference/d1") == ["in"]


def test_an_act_there_fails_as_long_as_it_can_not_be_reached(
    azure: Cloud, root: Path, numbers: Callable[[str, int, int], Path]
) -> None:
    azure.faults.add("Storage.Any", times=9999, status=403)
    estate = open_estate(root)
    estate.new_model(NAME, "regression", ["d1"], label="y", key="id")
    with pytest.raises(PlatformError) as e:
        estate.model(NAME, "test").dataset("d1").ingest(numbers("a.csv", 0, 5), date="2026-01-01")
    assert "Storage Blob Data Contributor" in e.value.hint
    assert estate.model(NAME, "dev").dataset("d1").ingest(numbers("b.csv", 0, 5), date="2026-01-01")
