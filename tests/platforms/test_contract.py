"""The contract of a platform: one suite over all implementations. Real processes; nothing is simulated."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest

from esml_engine.errors import PlatformError, UsageError
from esml_engine.lake.files import new_name, schema_text, write_arrow
from esml_engine.platforms.base import DataAsset, Platform
from esml_engine.platforms.local.platform import LocalPlatform
from esml_engine.runs.facts import JobResult, JobSpec, TableIn
from tests.azure.cloud.stand_in import Cloud
from tests.azure.conftest import fitting, running_cloud
from tests.azure.kit import SHORT, new_file_system, platform_of

PLATFORMS: dict[str, Callable[[Path], Any]] = {
    "local": lambda root: LocalPlatform(root, "dev"),
    "azure": lambda root: on_stand_in(root),
}
WAITS = """import subprocess
import sys
import time
from pathlib import Path


def step(df, ctx):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path({mark!r}).write_text(str(child.pid))
    time.sleep(600)
"""


def on_stand_in(root: Path) -> Platform:
    """The azure platform on this process's stand-in, with a file system of its own."""
    cloud = running_cloud()
    assert not isinstance(cloud, str)
    return platform_of(cloud, "dev", root, new_file_system())


@pytest.fixture(params=sorted(PLATFORMS))
def platform(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Platform]:
    cloud = running_cloud() if request.param == "azure" else None
    if cloud is not None:
        if isinstance(cloud, str):
            pytest.skip(cloud)
        for k, v in {**cloud.environ("dev"), **SHORT}.items():
            monkeypatch.setenv(k, v)
    root = tmp_path / "estate"
    root.mkdir()
    made: Platform = PLATFORMS[request.param](root)
    held = fitting(cloud) if isinstance(cloud, Cloud) else nullcontext()
    with held:
        yield made
        made.close()


def again(platform: Platform, tmp_path: Path) -> Platform:
    """The same environment opened by another process's engine."""
    if platform.kind == "local":
        return PLATFORMS["local"](tmp_path / "estate")
    root = tmp_path / "another"
    root.mkdir(exist_ok=True)
    cloud = running_cloud()
    assert not isinstance(cloud, str)
    return platform_of(cloud, "dev", root, platform.file_system)  # type: ignore[attr-defined]


def until(ready: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.05)
    return found


def living(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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
        "import sys; from pathlib import Path; from tests.platforms.test_contract import PLATFORMS; "
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


# jobs


def job(platform: Platform, tmp_path: Path, code: str, run: str = "r-1") -> tuple[str, JobSpec]:
    """Submit a silver step with a person's code; returns the handle."""
    import pyarrow as pa

    rows = pa.table({"id": [1, 2, 3]})
    root = platform.lake_root()
    bronze = f"{root}/bronze"
    name = new_name(run, 1)
    write_arrow(rows, platform.drafts(bronze), name)
    platform.hand_in(bronze, [name])
    path = f"{root}/code/{run}.py"
    platform.write_file(path, code.encode())
    work = platform.work_folder(run, "silver:d1", 1)
    assert platform.work_folder(run, "silver:d1", 1) == work
    text = schema_text(rows.schema)
    inputs = {
        "bronze": TableIn("d1/bronze", bronze, 1, (name,), text, 3),
        "silver": TableIn("d1/silver", f"{root}/silver", None),
        "previous_bronze": TableIn("d1/bronze", "", None),
    }
    params = {
        "dataset": "d1",
        "purpose": "train",
        "version": 1,
        "table": "d1/silver",
        "step": {"path": path, "kind": "py"},
    }
    spec = JobSpec(
        run, "silver:d1", 1, "refining.silver", "dev", "p1", "m1", params, work, inputs, {"silver": f"{root}/silver"}
    )  # fmt: skip
    platform.write_file(f"{work}/spec.json", spec.to_json().encode())
    return platform.submit(f"{work}/spec.json"), spec


def end_of(platform: Platform, handle: str) -> Any:
    def look() -> Any:
        platform.wait(handle, 0.2)
        state = platform.follow(handle)
        return state if state.state != "running" else None

    return until(look, "the job's end")


def test_a_job_ends_with_its_result(platform: Platform, tmp_path: Path) -> None:
    handle, spec = job(platform, tmp_path, "def step(df, ctx):\n    return df.head(2)\n")
    state = end_of(platform, handle)
    result = JobResult.from_json(state.result)
    assert state.state == "done" and result.ok and result.tables[0].rows == 2
    assert platform.follow(handle).state == "done", "it may be asked again, also by name alone"
    assert again(platform, tmp_path).follow(handle).state == "done"
    [made] = result.tables[0].add
    assert platform.read_file(f"{spec.outputs['silver']}/{made.path}"), "its file is in the lake"
    platform.cancel(handle)  # ended: harmless


def test_a_job_submitted_again_is_the_same_job(platform: Platform, tmp_path: Path) -> None:
    if platform.kind == "local":
        pytest.skip("a local job ends with the worker that submitted it")
    mark = tmp_path / "began"
    code = f"from pathlib import Path\n\n\ndef step(df, ctx):\n    with Path({str(mark)!r}).open('a') as f:\n        f.write('x')\n    return df\n"
    handle, _ = job(platform, tmp_path, code)
    assert platform.submit(handle) == again(platform, tmp_path).submit(handle) == handle
    assert end_of(platform, handle).state == "done" and mark.read_text() == "x"
    assert platform.submit(handle) == handle and end_of(platform, handle).state == "done"
    assert mark.read_text() == "x"


def test_a_failing_job_says_why(platform: Platform, tmp_path: Path) -> None:
    handle, _ = job(platform, tmp_path, "def step(df, ctx):\n    raise ValueError('no')\n")
    result = JobResult.from_json(end_of(platform, handle).result)
    assert not result.ok and result.error and result.error["code"] == "step"


def test_progress_is_seen_and_cancel_ends_the_whole_group(platform: Platform, tmp_path: Path) -> None:
    mark = tmp_path / "child"
    handle, _ = job(platform, tmp_path, WAITS.format(mark=str(mark)))
    child = int(until(lambda: mark.exists() and mark.read_text(), "the step's child"))
    until(lambda: platform.follow(handle).fraction > 0, "progress")
    parent = psutil.Process(child).ppid()
    platform.cancel(handle)
    until(lambda: not living(child) and not living(parent), "the end of the group", 10)
    assert end_of(platform, handle).state in ("lost", "failed")


def test_a_killed_job_is_lost(platform: Platform, tmp_path: Path) -> None:
    handle, _ = job(platform, tmp_path, "import os\n\n\ndef step(df, ctx):\n    os.kill(os.getpid(), 9)\n")
    assert end_of(platform, handle).state == "lost"
    assert platform.follow(f"{platform.work_folder('r-9', 'never', 1)}/spec.json").state == "lost"


def test_a_job_dies_with_the_process_that_started_it(platform: Platform, tmp_path: Path) -> None:
    if platform.kind != "local":
        pytest.skip("jobs of a remote platform outlive the worker, which finds them again by name")
    mark = tmp_path / "job"
    step = f"import os, time\nfrom pathlib import Path\n\n\ndef step(df, ctx):\n    Path({str(mark)!r}).write_text(str(os.getpid()))\n    time.sleep(600)\n"
    code = (
        "import sys, time; from pathlib import Path; from tests.platforms import test_contract as c; "
        f"c.job(c.PLATFORMS[{platform.kind!r}](Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]); time.sleep(600)"
    )
    root = Path(platform.lake_root()).parents[1]
    parent = subprocess.Popen([sys.executable, "-c", code, str(root), str(tmp_path), step])
    pid = int(until(lambda: mark.exists() and mark.read_text(), "the job"))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not living(pid), "the job's end", 15)


# tracking


def test_tracking_is_ready_to_use(platform: Platform) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(platform.tracking_uri())
    run = client.create_run(client.create_experiment(f"e-{uuid.uuid4().hex}"))
    client.log_metric(run.info.run_id, "rmse", 1.5)
    again = MlflowClient(platform.tracking_uri()).get_run(run.info.run_id)
    assert again.data.metrics == {"rmse": 1.5}


# secrets


def test_secrets(platform: Platform) -> None:
    assert platform.get_secret("none") is None
    for value in ("s3cret-ü", "another", ""):
        platform.put_secret("endpoint-p-m-dev", value)
        assert platform.get_secret("endpoint-p-m-dev") == value
    for name in ("../up", "a/b", "", ".key", "a\n"):
        with pytest.raises(UsageError):
            platform.put_secret(name, "x")
        with pytest.raises(UsageError):
            platform.get_secret(name)


def test_secrets_are_listed_by_name_alone(platform: Platform) -> None:
    before = set(platform.secret_names())  # a vault may hold others' as well
    mine = {f"endpoint-p_m-{uuid.uuid4().hex[:8]}", f"another-{uuid.uuid4().hex[:8]}"}
    for name in mine:
        platform.put_secret(name, "the value itself")
    found = platform.secret_names()
    assert set(found) - before == mine and found == sorted(found)


def test_secrets_on_disk(platform: Platform) -> None:
    if platform.kind != "local":
        pytest.skip("only the local platform keeps secrets in files")
    platform.put_secret("k", "in-clear-text")
    folder = Path(platform.lake_root()).parents[1] / ".esml/secrets/dev"
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert {p.name for p in files} == {"k", ".key"}
    for p in files:
        assert stat.S_IMODE(p.stat().st_mode) == 0o600 and b"in-clear-text" not in p.read_bytes()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    content = (folder / "k").read_bytes()
    for bad in (content[:-4] + b"AAAA", b"", b"\xff\xfe"):
        (folder / "k").write_bytes(bad)
        with pytest.raises(PlatformError):
            platform.get_secret("k")
    (folder / "k").write_bytes(content)
    (folder / ".key").write_bytes(b"no key")
    with pytest.raises(PlatformError):
        platform.get_secret("k")
    with pytest.raises(PlatformError):
        platform.put_secret("k2", "x")


# endpoints


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def test_an_endpoint_becomes_what_is_wanted_and_ends(platform: Platform, tmp_path: Path) -> None:
    platform.put_secret("endpoint-e3", "key-of-e3")
    control: dict[str, Any] = {"revision": 1, "live": "", "slots": {}, "traffic": {}, "save": True, "key_sha256": [hashlib.sha256(b"key-of-e3").hexdigest()]}  # fmt: skip
    config = {
        "server": {"endpoint": "e3", "port": free_port(), "ledger": str(tmp_path / "ledger.db")},
        "control": control,
        "secret": "endpoint-e3",
    }
    assert not platform.endpoint_state("e3").running
    for revision in (1, 2):
        wanted = {**config, "control": {**control, "revision": revision}}

        def there(wanted: dict[str, Any] = wanted, revision: int = revision) -> bool:
            platform.apply_endpoint("e3", wanted)
            state = platform.endpoint_state("e3")
            assert not state.stuck, state.stuck
            return state.running and state.revision == revision

        until(there, f"revision {revision}")
    assert platform.endpoint_url("e3", config["server"]["port"]).endswith("/score")

    def gone() -> bool:
        platform.stop_endpoint("e3")  # said again and again, as its keeper does
        return not platform.endpoint_state("e3").running

    until(gone, "its end")


def test_an_endpoint_comes_back_after_a_crash(platform: Platform, tmp_path: Path) -> None:
    if platform.kind != "local":
        pytest.skip("Azure restarts containers by itself")
    port = free_port()
    control = {"revision": 3, "live": "", "slots": {}, "traffic": {}, "save": True, "key_sha256": []}
    config = {
        "server": {"endpoint": "e1", "port": port, "ledger": str(tmp_path / "ledger.db")},
        "control": control,
    }
    assert not platform.endpoint_state("e1").running
    platform.stop_endpoint("e1")  # never started: harmless

    def up() -> bool:
        platform.apply_endpoint("e1", config)
        return platform.endpoint_state("e1").running

    until(up, "the endpoint")
    assert platform.endpoint_state("e1").revision == 3
    platform.apply_endpoint("e1", {**config, "control": {**control, "revision": 4}})
    until(lambda: platform.endpoint_state("e1").revision == 4, "the new revision")
    url = platform.endpoint_url("e1", port)
    assert url.endswith("/score")
    config = {**config, "control": {**control, "revision": 4}}
    [pid] = [
        c.laddr and c.pid
        for c in psutil.net_connections("tcp")
        if c.status == "LISTEN" and c.laddr.port == port
    ]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not living(pid), "its end")
    until(lambda: not platform.endpoint_state("e1").running, "the platform knows it")
    until(up, "the endpoint again")
    with urllib.request.urlopen(url.replace("/score", "/metrics")) as r:
        assert r.status == 200
    platform.stop_endpoint("e1")
    assert not platform.endpoint_state("e1").running
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))  # nobody listens there any more


@pytest.mark.parametrize("port_taken,starts", [(True, range(1)), (False, range(1, 7))])
def test_an_endpoint_that_cannot_start_is_tried_with_back_off(
    platform: Platform, tmp_path: Path, port_taken: bool, starts: range
) -> None:
    """A wrong configuration ends the process each time; a port that another program has needs no process to know."""
    if platform.kind != "local":
        pytest.skip("Azure starts containers by itself; how often the engine asks is tested in tests/azure")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        if port_taken:
            taken.listen()
        else:
            taken.close()
        config = {
            "server": {
                "endpoint": "e2",
                "port": port,
                "ledger": str(tmp_path / "ledger.db"),
                "no such key": 1,
            },
            "control": {
                "revision": 1,
                "live": "",
                "slots": {},
                "traffic": {},
                "save": True,
                "key_sha256": [],
            },
        }
        pids: set[int] = set()
        end = time.monotonic() + 12
        while time.monotonic() < end:
            platform.apply_endpoint("e2", config)
            table = Path(platform.lake_root()).parents[1] / ".esml/processes.json"
            rows = json.loads(table.read_text()) if table.exists() else []
            pids |= {r["pid"] for r in rows if r["name"] == "e2"}
            time.sleep(0.02)
        assert len(pids) in starts, f"{len(pids)} starts in 12 s"


# prices, doctor


def test_prices_and_check(platform: Platform) -> None:
    assert all(isinstance(k, str) and v >= 0 for k, v in platform.prices(["Standard_DS3_v2"]).items())
    assert all(b.amount >= 0 and b.currency for b in platform.bills())
    rows = platform.check()
    assert rows and all({"part", "ok", "message", "hint"} <= set(r) for r in rows)
    assert all(r["ok"] or r["hint"] for r in rows)
    assert platform.storage_options() == {} or platform.kind != "local"
