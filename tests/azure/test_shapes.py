"""Every request of the clients and every answer of the stand-in against Microsoft's published examples."""

from __future__ import annotations

import ast
import dataclasses
import fnmatch
import functools
import importlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.azure import shapes
from tests.azure.cloud.stand_in import Cloud
from tests.azure.cloud.wire import OPERATIONS
from tests.azure.differences import ABSENT, EXAMPLES, KNOWN, LIKE, LISTS, NO_EXAMPLE
from tests.azure.walk import walk


@pytest.fixture(scope="module")
def walked(azure_cloud: Cloud) -> Any:
    if shapes.folder() is None:
        pytest.skip("Microsoft's published examples are not here: name their folder in ESML_AZURE_EXAMPLES")
    first = len(azure_cloud.recorder.exchanges)
    with pytest.MonkeyPatch.context() as patch:
        for k, v in azure_cloud.environ().items():
            patch.setenv(k, v)
        walk(azure_cloud)
    return azure_cloud.recorder.exchanges[first:]


def test_every_exchange_fits_its_example(walked: Any) -> None:
    found = {p for e in walked for p in shapes.problems(e)}
    assert sorted(found) == []


def test_the_walk_reaches_every_operation_that_has_an_example(walked: Any) -> None:
    assert {*EXAMPLES, *LIKE, *LISTS} - {e.operation for e in walked} == set()


def test_every_operation_has_an_example_or_a_reason() -> None:
    known = [*EXAMPLES, *LIKE, *LISTS, *NO_EXAMPLE]
    assert {o.name for o in OPERATIONS if not any(fnmatch.fnmatch(o.name, k) for k in known)} == set()


def test_what_does_not_fit_is_found(walked: Any) -> None:
    good = next(e for e in walked if e.operation == "Jobs_Get" and e.status == 200)
    body = good.response

    def with_(**properties: Any) -> list[str]:
        return shapes.problems(
            dataclasses.replace(good, response={**body, "properties": {**body["properties"], **properties}})
        )

    assert with_() == []
    assert "unknown key" in with_(neverHeardOf=1)[0]
    less = {k: v for k, v in body["properties"].items() if k != "status"}
    found = shapes.problems(dataclasses.replace(good, response={**body, "properties": less}))
    assert ".properties.status: missing" in found[0]
    assert "number" in with_(command=1)[0]
    assert "text" in with_(tags={"a": {"b": "c"}})[0]
    assert "unknown route" in shapes.problems(dataclasses.replace(good, operation="unknown"))[0]
    assert "status 202" in shapes.problems(dataclasses.replace(good, status=202))[0]
    assert "ARM's form" in shapes.problems(dataclasses.replace(good, status=500, response={"oops": 1}))[0]


def test_a_known_difference_names_its_key() -> None:
    """A wildcard stands for a key of somebody's map alone (`[*]`), so that no other key passes beside what is known."""
    wide = [
        (o, k) for d in (KNOWN, ABSENT) for o, keys in d.items() for k in keys if "*" in k.replace("[*]", "")
    ]
    assert wide == []


def test_what_is_said_of_the_specification_holds_in_the_clients_models() -> None:
    """Of another api-version than some were read in, so a key may be missing there; what it is must fit."""
    held = 0
    for listed in (KNOWN, ABSENT):
        for op, key, why in ((o, k, w) for o, keys in listed.items() for k, w in keys.items()):
            named = re.search(r"\((\w+), (?:\d{4}-\d\d-\d\d|v3 of)", why)
            if named is None:
                continue  # said of the clients, the examples or a recording
            made = fields_of(named[1]).get(key.rpartition(".")[2])
            said = (op, key, why)
            held += 1
            if listed is KNOWN:
                assert made, said
            if "not required" in why and made:
                assert made.optional, said
            if "required" in why and "not required" not in why:
                assert made and not made.optional, said
            if "read only" in why:
                assert made and made.read_only, said
            if "alone" in why and "name alone" not in why:
                assert made is None, said
    assert held > 40


class Field(NamedTuple):
    """What a client's model says of a key."""

    optional: bool
    read_only: bool


@functools.cache
def sources(module: str) -> dict[str, str]:
    """The source of each class of a module, parsed once: `inspect` would parse the whole of it for each."""
    text = Path(str(importlib.import_module(module).__file__)).read_text(encoding="utf-8")
    lines = text.splitlines()
    classes = [n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)]
    return {c.name: "\n".join(lines[c.lineno - 1 : c.end_lineno]) for c in classes}


@functools.cache
def fields_of(definition: str) -> dict[str, Field]:
    """Every key of a definition, its bases' included."""
    modules = ("azure.ai.ml._restclient.arm_ml_service", "azure.keyvault.secrets._generated")
    models = [importlib.import_module(f"{m}.models._models") for m in modules]
    of = next(vars(m)[definition] for m in models if definition in vars(m))
    found: dict[str, Field] = {}
    for one in of.__mro__:
        source = sources(one.__module__)[one.__name__] if one.__module__.startswith("azure.") else ""
        rows = re.findall(r"^    (\w+): (.+?) = rest_(?:field|discriminator)\((.*?)\)$", source, re.M | re.S)
        for name, kind, more in rows:
            key = re.search(r'name="(\w+)"', more)
            found[key[1] if key else name] = Field(
                kind.startswith("Optional["), 'visibility=["read"]' in more
            )
    return found


def test_a_list_without_an_example_is_held_against_its_items(walked: Any) -> None:
    seen = [e for e in walked if e.operation in LISTS and e.status == 200]
    assert seen, "the walk asks for such lists"
    good = next(e for e in seen if e.response["value"])
    odd = [{**good.response["value"][0], "neverHeardOf": 1}]
    assert "unknown key" in shapes.problems(dataclasses.replace(good, response={"value": odd}))[0]
    assert "no page" in shapes.problems(dataclasses.replace(good, response=[]))[0]
