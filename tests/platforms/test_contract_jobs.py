"""The contract of a platform: jobs. Real processes; nothing is simulated."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from esml_engine.platforms.base import Platform
from esml_engine.runs.facts import JobResult
from tests.platforms.kit import WAITS, again, end_of, job, until
from tests.working import living

# jobs


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
        "import sys, time; from pathlib import Path; from tests.platforms import kit as c; "
        f"c.job(c.PLATFORMS[{platform.kind!r}](Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]); time.sleep(600)"
    )
    root = Path(platform.lake_root()).parents[1]
    parent = subprocess.Popen([sys.executable, "-c", code, str(root), str(tmp_path), step])
    pid = int(until(lambda: mark.exists() and mark.read_text(), "the job"))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: not living(pid), "the job's end", 15)


def test_no_attempt_of_another_beginning_has_the_same_folder(platform: Platform) -> None:
    folders = [platform.work_folder("r-1", "s", a, retry) for retry in (1, 2, 3) for a in (1, 2, 3)]
    assert len(set(folders)) == 9 and folders[0] == platform.work_folder("r-1", "s", 1)
