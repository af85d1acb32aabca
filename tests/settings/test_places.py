"""Where an environment lies: all of it said, in names that the service allows; said with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from esml_engine import templates
from esml_engine.errors import SettingsError
from esml_engine.platforms.places import kinds, place_of
from esml_engine.settings import EstateSettings, Settings, read_files, validate

GOOD = {
    "subscription": "11111111-2222-3333-4444-555555555555", "resource_group": "rg-esml-test", "workspace": "mlw-esml-test",
    "storage_account": "stcontosoesmltest",
    "file_system": "lake", "key_vault": "kv-contoso-esml-test", "region": "westeurope", "compute": "cpu-cluster",
}  # fmt: skip


def estate_with(env: dict[str, Any]) -> Any:
    """estate.toml with one environment, checked as a file is."""
    return validate({"name": "e", "environments": {"test": env}}, EstateSettings, "estate.toml")


def test_a_new_estates_file_tells_what_each_platform_needs() -> None:
    text = templates.estate_toml("e", ["dev"])
    assert all(kind in text for kind in kinds())
    assert ", ".join(GOOD) in text and "docs/azure.md" in text


def test_a_laptops_environment_needs_nothing() -> None:
    assert place_of({}).platform == "local"
    assert estate_with({}).model_dump()["environments"] == {"test": {"platform": "local"}}


def test_a_whole_place_is_taken() -> None:
    assert place_of({"platform": "azure", **GOOD}).workspace == "mlw-esml-test"


@pytest.mark.parametrize("key", sorted(GOOD))
def test_what_is_missing_is_named(key: str) -> None:
    with pytest.raises(ValidationError, match=f"the azure platform needs {key}"):
        place_of({"platform": "azure", **GOOD, key: ""})


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
        place_of({"platform": "azure", **GOOD, key: name})


def test_an_image_has_a_tag_since_endpoints_need_one_beside_it() -> None:
    assert place_of({"platform": "azure", **GOOD, "image": "r.io/esml:1"}).image == "r.io/esml:1"
    with pytest.raises(ValidationError, match="name it by a tag"):
        place_of({"platform": "azure", **GOOD, "image": f"r.io/esml@sha256:{'0' * 64}"})


@pytest.mark.parametrize(
    ("key", "name"),
    [("key_vault", "kv1"), ("workspace", "m_1"), ("file_system", "abc"), ("compute", "c" * 32)],
)
def test_the_shortest_and_the_longest_are_taken(key: str, name: str) -> None:
    assert getattr(place_of({"platform": "azure", **GOOD, key: name}), key) == name


def test_all_that_a_place_says_is_kept_when_it_is_written() -> None:
    said = {"platform": "azure", **GOOD, "cloud": "c.json"}
    written = estate_with(said).model_dump(mode="json")["environments"]["test"]
    assert {k: written[k] for k in said} == said and written["serving_node"]


def test_an_effective_setting_of_a_place_is_one_of_its_platform(tmp_path: Path) -> None:
    cloud = "".join(f'{k} = "{v}"\n' for k, v in GOOD.items())
    text = f'name = "e"\n[environments.dev]\nplatform = "local"\nregion = "westeurope"\n[environments.test]\nplatform = "azure"\n{cloud}'
    (tmp_path / "estate.toml").write_text(text)
    rows = {r.key: r for r in Settings(read_files(tmp_path)).rows("estate") if r.key.startswith("environ")}
    assert [k for k in rows if k.startswith("environments.dev.")] == ["environments.dev.platform"]
    assert {f"environments.test.{k}" for k in (*GOOD, "platform", "serving_node")} <= set(rows)
    assert rows["environments.test.region"].origin == "estate.toml"
    assert rows["environments.test.serving_node"].origin == "built-in"


def test_an_environment_comes_home_by_one_line() -> None:
    assert estate_with({**GOOD, "platform": "local"}).environments["test"].model_dump() == {
        "platform": "local"
    }


@pytest.mark.parametrize(
    ("env", "message", "hint"),
    [
        ({"platform": "azur"}, "environments.test.platform: no platform 'azur', did you mean 'azure'?", "environments.test.platform"),
        ({"platform": ["azure"]}, "environments.test.platform: Input should be a valid string", "environments.test.platform"),
        ({"platform": "azure", **GOOD, "regoin": "x"}, "unknown key 'environments.test.regoin'", "'environments.test.region'"),
        ({"platfrom": "azure"}, "unknown key 'environments.test.platfrom'", "'environments.test.platform'"),
        ({"platform": "azure", **GOOD, "region": ""}, "environments.test: the azure platform needs region", "environments.test"),
        ({"platform": "azure", **GOOD, "region": 5}, "environments.test.region: Input should be a valid string", "environments.test.region"),
        ("azure", "environments.test", "environments.test"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_file_and_key(env: Any, message: str, hint: str) -> None:
    with pytest.raises(SettingsError) as e:
        estate_with(env)
    assert message in e.value.message and "estate.toml" in e.value.message, e.value.message
    assert hint in e.value.hint
