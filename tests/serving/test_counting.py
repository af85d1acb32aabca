"""Counts of processes that serve elsewhere: each leaves its own in the lake, the sum is what people see."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from esml_engine.errors import PlatformError
from esml_engine.platforms.local.platform import LocalPlatform
from esml_engine.serving.counting import Collector, Publisher
from esml_engine.serving.tally import Counts, Tally, known


def test_the_sum_over_processes_that_came_and_went(tmp_path: Path) -> None:
    platform = LocalPlatform(tmp_path, "dev")
    answered, path = "endpoints/e/answered", tmp_path / "far" / "ledger.db.counts.json"
    address = f"{platform.lake_root()}/{answered}"
    collector = Collector()
    collector.collect(platform, answered, path)
    assert known(path) is None, "no process told any: unknown, and not zero"
    tallies = [Tally(tmp_path / f"{n}.json") for n in "ab"]
    blue, green = (Publisher(address, tmp_path, t) for t in tallies)
    blue.publish()
    assert platform.list_files("endpoints/e/counts") == [], "it answered nothing"
    tallies[0].answered(200, 3, 0.004)
    tallies[0].answered(500, 0, 0.2)
    tallies[1].answered(200, 1, 0.004)
    blue.publish()
    green.publish()
    collector.collect(platform, answered, path)
    found = known(path)
    assert found is not None
    assert (found.by_status, found.rows, sum(found.seconds)) == ({"200": 2, "500": 1}, 4, 3)
    tallies[1].answered(404, 0, 0.001)
    green.publish()
    green.publish()
    collector.collect(platform, answered, path)
    Collector().collect(platform, answered, path)  # another worker
    assert known(path) == found + Counts({"404": 1}, 0, [1] + [0] * 13), "each is counted once"


def test_a_lake_that_does_not_answer_is_told_at_the_next_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = LocalPlatform(tmp_path, "dev")
    address = f"{platform.lake_root()}/endpoints/e/answered"
    tally = Tally(tmp_path / "a.json")
    publisher = Publisher(address, tmp_path, tally)
    tally.answered(200, 1, 0.004)

    def down(name: str, content: bytes) -> None:
        raise PlatformError("no lake", hint="wait")

    with monkeypatch.context() as m:
        m.setattr(publisher._files, "write_file", down)
        publisher.publish()
    publisher.publish()
    assert len(platform.list_files("endpoints/e/counts")) == 1


def test_the_last_answer_is_written_down_though_no_other_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esml_engine.serving.tally.SAVE_EVERY", 0.01)
    tally = Tally(tmp_path / "a.json")

    async def answers() -> None:
        kept = asyncio.create_task(tally.keep())
        tally.answered(500, 0, 0.2)
        while known(tmp_path / "a.json") is None:
            await asyncio.sleep(0.01)
        kept.cancel()

    asyncio.run(asyncio.wait_for(answers(), 30))
    found = known(tmp_path / "a.json")
    assert found is not None and found.by_status == {"500": 1}
