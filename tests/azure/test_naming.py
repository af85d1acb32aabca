"""Names, settings and addresses that Azure accepts, and what of them is refused before anything is called."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from esml_engine.errors import (
    SettingsError,
    UsageError,
)
from esml_engine.platforms.azure import names, online
from esml_engine.platforms.azure.clouds import cloud_of
from esml_engine.platforms.azure.platform import AzurePlatform
from esml_engine.platforms.places import place_of
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import settings_of


def test_names_are_legal_and_differ() -> None:
    many = {names.endpoint(n, "w") for n in ("a-b_c-dev", "a_b-c-dev", "a-b-c-dev", "p" * 80, "p" * 81)}
    assert len(many) == 5 and all(3 <= len(n) <= 32 and n[0].isalpha() for n in many)
    assert names.endpoint("x", "w1") != names.endpoint("x", "w2"), "an endpoint's name is unique in a region"
    assert len({names.secret(n, "lake") for n in ("a-b", "a_b", "A-b", "a.b")}) == 4
    assert names.secret("x", "l1") != names.secret("x", "l2"), "two estates may share a vault"
    assert len(names.secret("x" * 120, "lake")) <= 127
    with pytest.raises(UsageError):
        names.secret("../up", "lake")
    assert len(names.tag("x" * 999)) <= 256


def test_an_environment_says_all_of_where_it_lives(azure_cloud: Cloud, tmp_path: Path) -> None:
    good = settings_of(azure_cloud, "dev", tmp_path)
    place_of(good)
    for key in ("subscription", "workspace", "storage_account", "compute"):
        with pytest.raises(ValueError, match=key):
            place_of({**good, key: ""})
    with pytest.raises(ValueError, match="no name that Azure allows"):
        place_of({**good, "storage_account": "Not-Allowed"})


def test_a_cloud_that_is_not_safe_is_refused(tmp_path: Path) -> None:
    import json
    from dataclasses import asdict

    good = asdict(cloud_of("AzureCloud"))
    for wrong in ({"vault": "http://vault.example/{name}"}, {"nonsense": 1}, {"storage_auth": "none"}):
        (tmp_path / "c.json").write_text(json.dumps({**good, **wrong}))
        with pytest.raises(SettingsError):
            cloud_of("c.json", tmp_path)
    with pytest.raises(SettingsError):
        cloud_of("no-such-cloud", tmp_path)
    assert cloud_of("AzureUSGovernment").root("a", "b") == "abfss://b@a.dfs.core.usgovcloudapi.net"


def test_an_environment_without_an_image_takes_the_engines_from_the_workspaces_registry(
    azure: Cloud, dev: AzurePlatform, tmp_path: Path
) -> None:
    settings = place_of({**settings_of(azure, "dev", tmp_path), "image": ""})
    made = AzurePlatform(tmp_path, "dev", settings, "EUR")
    try:
        with pytest.raises(SettingsError) as e:
            made.workspace.image()
        assert "az acr show --name crstandin --query loginServer" in e.value.hint, "nothing is guessed"
        for cloud, suffix in (("AzureCloud", "io"), ("AzureChinaCloud", "cn"), ("AzureUSGovernment", "us")):
            made.workspace.cloud = replace(made.workspace.cloud, registry=cloud_of(cloud).registry)
            wanted = rf"crstandin\.azurecr\.{suffix}/esml-cockpit:\d+\.\d+\.\d+"
            assert re.fullmatch(wanted, made.workspace.image())
    finally:
        made.close()


def test_an_endpoint_carries_what_the_bill_is_grouped_by(azure: Cloud, dev: AzurePlatform) -> None:
    made = online.endpoint(dev.workspace, "dev", "legal", "p1-m_1-dev")
    wanted = {"esml-endpoint": "p1-m_1-dev", "esml-env": "dev", "esml-project": "p1", "esml-model": "m_1"}
    assert made.tags == wanted


def test_another_image_of_the_same_tag_is_another_environment(azure: Cloud, dev: AzurePlatform) -> None:
    """A version of an environment never changes: under its old name jobs went on in the old image."""
    first, again, other = (
        dev.workspace.environment("esml-cockpit", f"{registry}.test/esml-cockpit:1.0")
        for registry in ("one", "one", "two")
    )
    assert first == again != other
    there = azure.resources.below(f"{azure.workspaces['dev'].id}/environments/esml-cockpit/versions")
    images = {f"esml-cockpit:{e['name']}": e["properties"]["image"] for e in there}
    assert images[first] == "one.test/esml-cockpit:1.0" and images[other] == "two.test/esml-cockpit:1.0"
    assert names.environment_version("r.test/x:1") != names.environment_version(
        "r.test/x:1", online.INFERENCE
    )
    for image in ("r.test/x", "r.test:5000/x", "r.test/x@sha256:" + "a" * 64, "r.test/x:" + "t" * 128):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,59}", names.environment_version(image))


def test_the_doctor_says_which_environment_jobs_run_in(azure: Cloud, dev: AzurePlatform) -> None:
    (row,) = [r for r in dev.check() if r["part"] == "dev image"]
    used = dev.workspace.environment("esml-cockpit", dev.workspace.image())
    assert row["ok"] and f"(environment {used})" in row["message"]
