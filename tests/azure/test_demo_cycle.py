"""The regression demo's whole cycle, as people run it, with environments on Azure: dev on this machine, and none on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomlkit

from esml_engine.demo import story
from esml_engine.demo.setting_up import DIABETES, NAME, make
from esml_engine.estate import init_estate, open_estate
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import SHORT, in_lake_of_its_own

pytestmark = [pytest.mark.cycle, pytest.mark.slow]


@pytest.mark.parametrize(
    "azure_envs", [["test", "prod"], ["dev", "test", "prod"]], ids=["dev-local", "all-azure"]
)
def test_the_regression_demo(
    azure: Cloud, azure_envs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k, v in {**azure.environ("dev"), **SHORT}.items():
        monkeypatch.setenv(k, v)
    azure.ready_soon(azure_envs)
    root = tmp_path / "estate"
    init_estate(root, name=NAME)
    text = tomlkit.parse((root / "estate.toml").read_text())
    for env in azure_envs:
        text["environments"][env] = in_lake_of_its_own(azure, env, root)  # type: ignore[index]
        text["policy"][env] = {"nodes": ["Standard_DS3_v2"]}  # type: ignore[index]
    text["policy"].setdefault("prod", {})["approvals"] = 1  # type: ignore[index, union-attr]
    (root / "estate.toml").write_text(tomlkit.dumps(text))
    estate = make(root)
    with estate.hand.holding() as worker:
        assert worker is not None
        story._diabetes(story.Company(root))
    estate = open_estate(root)
    prod = estate.model(DIABETES, "prod")
    assert [t["version"] for t in prod.timeline()][:2] == [2, 1], "two champions after each other"
    assert {r["env"] for r in prod.leaderboard()} == {"dev", "test", "prod"}, (
        "one leaderboard over three workspaces"
    )
    rows = prod.scored().document()
    assert rows["total"] == 22 + 9 and rows["calls"] == 3, rows["total"]
    runs = estate.runs()
    assert all(r["state"] == "done" for r in runs), [r for r in runs if r["state"] != "done"]
    costs = estate.cost("project002", "prod")
    assert costs["spent"] > 0
    for env in azure_envs:
        jobs = azure.resources.below(f"{azure.workspaces[env].id}/jobs")
        mine = [j for j in jobs if j["properties"]["tags"].get("esml-project") == "project002"]
        assert len({j["name"] for j in mine}) == len(mine) > 5
        assert {j["properties"]["status"] for j in mine} == {"Completed"}
