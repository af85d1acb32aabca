"""Promises of IN files: how they are written, and since when one is broken."""

from __future__ import annotations

import datetime as dt

import pytest

from esml_engine.lake.promises import Promise

NOW = dt.datetime(2026, 11, 25, 8, 30, tzinfo=dt.UTC)  # a Wednesday


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "text,due",
    [
        ("hourly", "2026-11-25T08:00"),
        ("daily 06:00", "2026-11-25T06:00"),
        ("daily 09:00", "2026-11-24T09:00"),
        ("Weekly Mon 06:00", "2026-11-23T06:00"),
        ("weekly wednesday 09:00", "2026-11-18T09:00"),
        ("monthly", "2026-11-01T00:00"),
        ("monthly 26 06:00", "2026-10-26T06:00"),
    ],
)
def test_the_newest_due_moment(text: str, due: str) -> None:
    promise = Promise.parse(text)
    assert promise is not None and promise.due(NOW) == at(due)


@pytest.mark.parametrize(
    "text", ["", "soon", "daily 25:00", "weekly", "weekly fox", "monthly 31", "daily mon"]
)
def test_what_is_no_promise(text: str) -> None:
    assert Promise.parse(text) is None


def test_late_since_the_due_moment_that_brought_nothing() -> None:
    promise = Promise.parse("daily 06:00")
    assert promise is not None
    assert promise.late_since(at("2026-11-24T05:50"), NOW) == at("2026-11-25T06:00")
    assert promise.late_since(at("2026-11-25T05:50"), NOW) is None
    assert promise.late_since(at("2026-11-24T06:30"), NOW) is None, "it came for the next moment"
    assert promise.late_since(None, NOW) == at("2026-11-25T06:00")
