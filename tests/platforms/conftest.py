"""Each platform in turn, for the suite of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from esml_engine.platforms.base import Platform
from tests.azure.cloud.stand_in import Cloud
from tests.azure.conftest import fitting, running_cloud
from tests.azure.kit import SHORT
from tests.platforms.kit import PLATFORMS


@pytest.fixture(params=sorted(PLATFORMS))
def platform(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Platform]:
    cloud = running_cloud() if request.param == "azure" else None
    if cloud is not None:
        if isinstance(cloud, str):
            pytest.skip(cloud)
        for k, v in {**cloud.environ("dev"), **SHORT}.items():
            monkeypatch.setenv(k, v)
    root = tmp_path / "estate"
    root.mkdir()
    made: Platform = PLATFORMS[request.param](root)
    held = fitting(cloud) if isinstance(cloud, Cloud) else nullcontext()
    with held:
        yield made
        made.close()
