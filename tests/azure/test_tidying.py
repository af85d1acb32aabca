"""Copies do not grow for ever, and what is in use stays."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esml_engine.platforms.azure import tidying
from esml_engine.platforms.azure.platform import AzurePlatform
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import SHORT, platform_of


@pytest.fixture
def dev(azure: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzurePlatform]:
    for k, v in SHORT.items():
        monkeypatch.setenv(k, v)
    made = platform_of(azure, "dev", tmp_path)
    yield made
    made.close()


def source(tmp_path: Path) -> str:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "a.parquet").write_bytes(b"a" * 100)
    return str(folder)


def later(days: float) -> float:
    return time.time() + days * tidying.DAY


def test_what_was_brought_goes_after_two_weeks(dev: AzurePlatform, tmp_path: Path) -> None:
    dev.bring(source(tmp_path), "k")
    assert tidying.sweep_brought(dev, later(tidying.BROUGHT_DAYS - 0.1)) == 0
    assert [n for n, _, _ in dev.list_files("brought")] == ["brought/k/a.parquet"]
    assert tidying.sweep_brought(dev, later(tidying.BROUGHT_DAYS + 0.1)) == 1
    assert dev.list_files("brought") == []
    assert dev.read_file(f"{dev.bring(str(tmp_path / 'other'), 'k')}/a.parquet") == b"a" * 100, "had again"


def test_what_is_brought_again_late_counts_anew(dev: AzurePlatform, tmp_path: Path) -> None:
    folder = Path(source(tmp_path))
    dev.put_folder(folder, ["a.parquet"], "brought/k", time.time() - 60)
    [(_, _, first)] = dev.list_files("brought")
    time.sleep(1.1)  # the service's moments are whole seconds
    dev.put_folder(folder, ["a.parquet"], "brought/k", time.time() - 60)
    assert dev.list_files("brought")[0][2] == first, "a repetition copies nothing"
    dev.put_folder(folder, ["a.parquet"], "brought/k", time.time())
    assert dev.list_files("brought")[0][2] > first


def test_what_was_brought_again_meanwhile_stays(
    dev: AzurePlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed as old, brought anew before its turn: the service refuses the removal."""
    dev.bring(source(tmp_path), "k")
    [(name, size, at)] = dev.list_files("brought")
    long_ago = at - int(20 * tidying.DAY * 1e9)
    monkeypatch.setattr(dev, "list_files", lambda folder: [(name, size, long_ago)])
    assert tidying.sweep_brought(dev, time.time()) == 0
    assert dev.read_file(name) is not None


def aged(path: Path, days: float, size: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    at = time.time() - days * tidying.DAY
    os.utime(path, (at, at))
    return path


def test_copies_go_by_age_and_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = Path.lstat

    class NoChangeTime:
        """A file's facts without its change time, which a test can't set."""

        def __init__(self, its: os.stat_result) -> None:
            self.st_size, self.st_atime, self.st_mtime, self.st_ctime = (
                its.st_size,
                its.st_atime,
                its.st_mtime,
                0.0,
            )

    monkeypatch.setattr(Path, "lstat", lambda self: NoChangeTime(stat(self)))
    old, older, used, new = (
        aged(tmp_path / f"p/{n}", d) for n, d in (("old", 3), ("older", 4), ("used", 20), ("new", 0.1))
    )
    dead, draft, half = (
        aged(tmp_path / "p/dead", 8),
        aged(tmp_path / ".drafts/p/d", 0.5),
        aged(tmp_path / "p/.x.1.tmp", 2),
    )
    assert tidying.used(used) and not tidying.used(tmp_path / "p/none")
    modified = used.stat().st_mtime
    assert tidying.sweep_cache(tmp_path, 30, time.time()) == 20, (
        "the dead one, and the longest unused of four"
    )
    assert [p.name for p in (old, older, used, new, dead, draft, half) if p.exists()] == [
        "old",
        "used",
        "new",
        "d",
    ]
    assert used.stat().st_mtime == modified, "the lake's moment tells whether a copy is the same"
    tidying.sweep_cache(tmp_path, 0, time.time())
    assert used.exists() and new.exists() and not old.exists(), "what was just asked for stays, however full"
    aged(draft, 2)
    tidying.sweep_cache(tmp_path, 30, time.time())
    assert not draft.exists(), "a draft that nobody handed in"


def test_the_platform_clears_once_a_day(dev: AzurePlatform, tmp_path: Path) -> None:
    dev.write_file("t/a", b"1")
    left = aged(dev.cache / "t/.b.0.tmp", 2)
    assert Path(dev.here("t", ["a"])).joinpath("a").read_bytes() == b"1"
    end = time.monotonic() + 20
    while left.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    again = aged(left, 2)
    dev.here("t", ["a"])
    AzurePlatform(tmp_path, "dev", dev.settings, "EUR").here("t", ["a"])
    assert again.exists(), "marked for all processes"
