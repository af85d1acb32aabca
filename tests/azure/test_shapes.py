"""Every request of the clients and every answer of the stand-in against Microsoft's published examples."""

from __future__ import annotations

import dataclasses
import fnmatch
from typing import Any

import pytest

from tests.azure import shapes
from tests.azure.cloud.stand_in import Cloud
from tests.azure.cloud.wire import OPERATIONS
from tests.azure.differences import EXAMPLES, LISTS, NO_EXAMPLE
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
    assert set(EXAMPLES) - {e.operation for e in walked} == set()


def test_every_operation_has_an_example_or_a_reason() -> None:
    known = [*EXAMPLES, *LISTS, *NO_EXAMPLE]
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


def test_a_list_without_an_example_is_held_against_its_items(walked: Any) -> None:
    seen = [e for e in walked if e.operation in LISTS and e.status == 200]
    assert seen, "the walk asks for such lists"
    good = next(e for e in seen if e.response["value"])
    odd = [{**good.response["value"][0], "neverHeardOf": 1}]
    assert "unknown key" in shapes.problems(dataclasses.replace(good, response={"value": odd}))[0]
    assert "no page" in shapes.problems(dataclasses.replace(good, response=[]))[0]
