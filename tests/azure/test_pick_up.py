"""A worker that is killed after it submitted a job: the next one takes that very job up, running or ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tomlkit

from esml_engine.estate import open_estate
from tests.azure.cloud.stand_in import Cloud
from tests.azure.test_mixed_estate import NAME, estate_on
from tests.conftest import esml

pytestmark = pytest.mark.cycle


def test_a_killed_workers_job_is_taken_up(
    azure_cloud: Cloud,
    tmp_path: Path,
    numbers: Callable[[str, int, int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "estate"
    estate_on(azure_cloud, root, ["dev"], monkeypatch, ("dev",))
    open_estate(root).model(NAME).dataset("d1").ingest(numbers("a.csv", 0, 50), date="2026-01-01")
    put_by_another_tool(azure_cloud, root, numbers("b.csv", 50, 80))
    kill = {"ESML_KILL_AT": "job:submitted", "ESML_KILL_ONCE": str(tmp_path / "once")}
    esml(root, "refine", NAME, env=kill, check=-9)
    said = esml(root, "refine", NAME, timeout=400)
    assert [x["layer"] for x in said["layers"]] == ["bronze", "silver", "gold"]
    jobs = azure_cloud.resources.below(f"{azure_cloud.workspaces['dev'].id}/jobs")
    steps = [
        j["properties"]["tags"]["esml-step"]
        for j in jobs
        if j["properties"]["tags"].get("esml-run") == said["run"]  # the stand-in is shared with other tests
    ]
    assert sorted(steps) == ["bronze:d1", "gold", "silver:d1"], "one job a step"
    versions = open_estate(root).model(NAME).table("d1/bronze").versions()
    assert [v["version"] for v in versions] == [1]
    assert said["layers"][0]["rows"] == 80, "files that somebody else put into IN are found"


def put_by_another_tool(cloud: Cloud, root: Path, file: Path) -> None:
    """A file in the dataset's IN folder that no command of ours delivered."""
    from azure.storage.filedatalake import DataLakeServiceClient

    name = str(tomlkit.parse((root / "estate.toml").read_text())["environments"]["dev"]["file_system"])  # type: ignore[index]
    service = DataLakeServiceClient(cloud.workspaces["dev"].storage_url, cloud.credential("dev"))
    files = service.get_file_system_client(name)
    files.get_file_client("projects/p1/m1/train/d1/in/2026/01/02/other.csv").upload_data(
        file.read_bytes(), overwrite=True
    )
