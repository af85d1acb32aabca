"""The implementations of a platform that one suite runs over, and what its modules share."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esml_engine.lake.files import new_name, schema_text, write_arrow
from esml_engine.platforms.base import Platform
from esml_engine.platforms.local.platform import LocalPlatform
from esml_engine.runs.facts import JobSpec, TableIn
from tests.azure.conftest import running_cloud
from tests.azure.kit import new_file_system, platform_of

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


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
