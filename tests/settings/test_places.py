"""Where an environment lies: all of it said, in names that the service allows; said with file and line."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from esml_engine.settings.keys import EnvironmentSettings
from esml_engine.settings.places import PLACES, wrong

GOOD = {
    "subscription": "11111111-2222-3333-4444-555555555555", "resource_group": "rg-esml-test", "workspace": "mlw-esml-test",
    "storage_account": "stcontosoesmltest",
    "file_system": "lake", "key_vault": "kv-contoso-esml-test", "region": "westeurope", "compute": "cpu-cluster",
}  # fmt: skip


def test_every_platform_that_a_file_may_name_has_its_place() -> None:
    assert set(PLACES) == set(get_args(EnvironmentSettings.model_fields["platform"].annotation))
    assert {k for forms in PLACES.values() for k in forms} <= set(EnvironmentSettings.model_fields)


def test_a_laptops_environment_needs_nothing() -> None:
    assert wrong("local", {}) == "" and EnvironmentSettings().platform == "local"


def test_a_whole_place_is_taken() -> None:
    assert EnvironmentSettings(platform="azure", **GOOD).workspace == "mlw-esml-test"


@pytest.mark.parametrize("key", sorted(GOOD))
def test_what_is_missing_is_named(key: str) -> None:
    with pytest.raises(ValidationError, match=f"the azure platform needs {key}"):
        EnvironmentSettings(platform="azure", **{**GOOD, key: ""})


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("subscription", "my subscription"),
        ("resource_group", "rg."),
        ("resource_group", "r/g"),
        ("workspace", "ml"),
        ("workspace", "mlé-w"),
        ("storage_account", "st-contoso"),
        ("storage_account", "stContoso"),
        ("file_system", "la--ke"),
        ("file_system", "Lake"),
        ("key_vault", "kv-"),
        ("key_vault", "kv--a"),
        ("key_vault", "1kv"),
        ("key_vault", "k" * 25),
        ("region", "West Europe"),
        ("compute", "1cpu"),
    ],
)
def test_what_the_service_would_refuse_is_refused_before(key: str, name: str) -> None:
    with pytest.raises(ValidationError, match=f"{key} .* is no name that Azure allows"):
        EnvironmentSettings(platform="azure", **{**GOOD, key: name})


@pytest.mark.parametrize(
    ("key", "name"),
    [("key_vault", "kv1"), ("workspace", "m_1"), ("file_system", "abc"), ("compute", "c" * 32)],
)
def test_the_shortest_and_the_longest_are_taken(key: str, name: str) -> None:
    assert wrong("azure", {**GOOD, key: name}) == ""
