"""Catching up: commits that the catalogue lacks are found; a table that it knows is not read."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from esml_engine.estate import Estate
from esml_engine.lake import replay
from esml_engine.lake.catalogue import listing, put
from esml_engine.lake.commit import make_versions
from esml_engine.lake.files import schema_text
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import TableOut
from esml_engine.scored.commits import DrainDesk

REF = ModelRef("p1", "m1")
SCHEMA = schema_text(pa.schema([("id", pa.int64())]))


def commit(estate: Estate, number: int, *, noted: bool) -> None:
    """One commit of bronze without rows; `noted`: the catalogue is told."""
    out = TableOut("d1/bronze", SCHEMA, ())
    desk = DrainDesk(estate.site, f"r-{number}")
    made = make_versions(
        desk, REF, "dev", [out], numbers={"d1/bronze": {"on": number - 1, "next": number}}, inputs=[]
    )
    if noted:
        with estate.site.store.write() as c:
            put(c, made[0])


def numbers_of(estate: Estate) -> list[int]:
    return [v.version for v in listing(estate.site.store, REF, "dev", "d1/bronze")]


def test_the_first_and_a_later_unnoted_commit_are_found(empty: Estate) -> None:
    assert replay.catch_up(empty.site, REF, "dev") == 0
    commit(empty, 1, noted=False)
    assert replay.catch_up(empty.site, REF, "dev") == 1
    commit(empty, 2, noted=True)
    commit(empty, 3, noted=False)
    assert replay.catch_up(empty.site, REF, "dev") == 1
    assert numbers_of(empty) == [3, 2, 1]


def test_what_is_known_is_not_read_again(empty: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(empty, 1, noted=True)

    def never(*_: Any) -> Any:
        raise AssertionError("a history was read")

    monkeypatch.setattr(replay, "lake_versions", never)
    assert replay.catch_up(empty.site, REF, "dev") == 0
