"""The contract of a platform, over all implementations: its lake, tracking, prices. Real processes; nothing is simulated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from esml_engine.platforms.base import DataAsset, Platform
from tests.platforms.kit import until

# lake


def test_files_arrive_whole(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    platform.make_skeleton(["projects/p/m/train"])
    platform.make_skeleton(["projects/p/m/train"])
    assert platform.list_files("projects/p/m") == []
    assert platform.list_files("never/made") == []
    platform.put_file(tmp_path / "a", "projects/p/m/deep/er/a")
    platform.put_file(tmp_path / "a", "projects/p/m/deep/er/a")
    [(path, size, modified)] = platform.list_files("projects/p/m")
    assert (path, size) == ("projects/p/m/deep/er/a", 3_000_000) and modified > 0


def test_folders_of_a_folder(platform: Platform) -> None:
    assert platform.folders("projects/p/m") == []
    platform.make_skeleton(["projects/p/m/train/d2/in", "projects/p/m/train/d1/in", "projects/p/mm/train"])
    platform.write_file("projects/p/m/train/d3/in/2026/01/01/a.csv", b"x")
    platform.write_file("projects/p/m/train/a-file", b"x")
    assert platform.folders("projects/p/m/train") == ["d1", "d2", "d3"]
    assert platform.folders("projects/p") == ["m", "mm"]


def test_an_error_midway_leaves_nothing(platform: Platform, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        platform.put_file(tmp_path / "not there", "in/a")
    (tmp_path / "old").write_bytes(b"old")
    platform.put_file(tmp_path / "old", "in/b")
    with pytest.raises(OSError):
        platform.put_file(Path("/proc/self/mem"), "in/b")  # opens, and fails when it is read
    assert [(p, n) for p, n, _ in platform.list_files("in")] == [("in/b", 3)]


def test_a_kill_midway_leaves_nothing(platform: Platform, tmp_path: Path) -> None:
    if platform.kind != "local":
        pytest.skip("a blob appears with the one request that commits it")
    fifo = tmp_path / "slow"
    os.mkfifo(fifo)
    code = (
        "import sys; from pathlib import Path; from tests.platforms.kit import PLATFORMS; "
        f"PLATFORMS[{platform.kind!r}](Path(sys.argv[1])).put_file(Path(sys.argv[2]), 'in/a')"
    )
    root = Path(platform.lake_root()).parents[1]
    process = subprocess.Popen([sys.executable, "-c", code, str(root), str(fifo)])
    with fifo.open("wb", buffering=0) as f:
        f.write(b"half")
        until(lambda: any((root / "lake").rglob(".*a*")), "the first half")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert platform.list_files("in") == []


def test_files_by_name_and_by_address(platform: Platform) -> None:
    root = platform.lake_root()
    assert platform.read_file("a/b") is None and platform.read_file(f"{root}/a/b") is None
    platform.write_file("a/b", b"one")
    platform.write_file(f"{root}/a/b", b"two")
    assert platform.read_file("a/b") == b"two" == platform.read_file(f"{root}/a/b")
    assert platform.create_file("a/c", b"first") and not platform.create_file("a/c", b"second")
    assert platform.read_file("a/c") == b"first"
    assert [n for n, _, _ in platform.list_files("a")] == ["a/b", "a/c"]
    platform.remove_file("a/b")
    platform.remove_file(f"{root}/a/b")  # gone already
    assert [n for n, _, _ in platform.list_files(f"{root}/a")] == ["a/c"]


def test_files_are_read_here_and_handed_in(platform: Platform) -> None:
    folder = f"{platform.lake_root()}/t/x"
    drafts = Path(platform.drafts(folder))
    (drafts / "p=1").mkdir(parents=True)
    (drafts / "p=1" / "n").write_bytes(b"new")
    platform.hand_in(folder, ["p=1/n"])
    assert platform.read_file(f"{folder}/p=1/n") == b"new"
    assert (Path(platform.here(folder, ["p=1/n"])) / "p=1/n").read_bytes() == b"new"
    platform.write_file("in/f.csv", b"old")
    assert (Path(platform.here("in", ["f.csv"], fixed=False)) / "f.csv").read_bytes() == b"old"
    platform.write_file("in/f.csv", b"newer")  # its owner overwrites it
    assert (Path(platform.here("in", ["f.csv"], fixed=False)) / "f.csv").read_bytes() == b"newer"
    platform.write_file("model/a", b"1")
    platform.write_file("model/b", b"2")
    near = Path(platform.here("model"))
    assert sorted(f.name for f in near.iterdir()) == ["a", "b"]
    platform.remove_file("model/b")
    platform.write_file("model/a", b"other")
    near = Path(platform.here("model"))
    assert [(f.name, f.read_bytes()) for f in near.iterdir()] == [("a", b"other")]


def test_other_places_files_are_brought(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "other" / "deep").mkdir(parents=True)
    (tmp_path / "other" / "deep" / "f").write_bytes(b"x")
    (tmp_path / "other" / "g").write_bytes(b"y")
    for _ in range(2):
        address = platform.bring(str(tmp_path / "other"), "k1", ["deep/f"])
        assert platform.read_file(f"{address}/deep/f") == b"x"
    address = platform.bring(str(tmp_path / "other"), "k2")
    assert (Path(platform.here(address)) / "g").read_bytes() == b"y"


def test_a_version_is_announced_again_and_again(platform: Platform) -> None:
    asset = DataAsset(
        "M1_D1_TRAIN_SILVER", 3, f"{platform.lake_root()}/p", {"esml-run": "r-1", "long": "x" * 900}
    )
    platform.announce(asset)
    platform.announce(asset)


# tracking


def test_tracking_is_ready_to_use(platform: Platform) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    client, name = MlflowClient(platform.tracking_uri()), f"e-{uuid.uuid4().hex}"
    try:
        made = client.create_experiment(name)
    except MlflowException:  # a server that answers late is asked again by MLflow itself
        made = client.get_experiment_by_name(name).experiment_id
    run = client.create_run(made)
    client.log_metric(run.info.run_id, "rmse", 1.5)
    again = MlflowClient(platform.tracking_uri()).get_run(run.info.run_id)
    assert again.data.metrics == {"rmse": 1.5}


# prices, doctor


def test_prices_and_check(platform: Platform) -> None:
    assert all(isinstance(k, str) and v >= 0 for k, v in platform.prices(["Standard_DS3_v2"]).items())
    assert all(b.amount >= 0 and b.currency for b in platform.bills())
    rows = platform.check()
    assert rows and all({"part", "ok", "message", "hint"} <= set(r) for r in rows)
    assert all(r["ok"] or r["hint"] for r in rows)
    assert platform.storage_options() == {} or platform.kind != "local"
