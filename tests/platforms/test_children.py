"""What a job of this machine is given of the process that started it."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.platforms.local.jobs import Jobs
from esml_engine.platforms.local.platform import LocalPlatform
from esml_engine.processes import ProcessTable
from tests.platforms.kit import end_of, job, until

SHOWS = """import os
from pathlib import Path


def step(df, ctx):
    seen = Path("/proc/self/environ").read_bytes() if {cold} else b""
    Path({mark!r}).write_text(f"{{os.environ.get('MLFLOW_TRACKING_TOKEN')}} {{b'secret' in seen}} {{os.environ.get('MINE')}}")
    return df
"""


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_a_job_here_does_not_inherit_the_token_of_an_environment_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    root, mark = tmp_path / "estate", tmp_path / "seen"
    root.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    monkeypatch.setenv("MINE", "kept")
    (root / ".esml").mkdir()
    pool = Jobs(ProcessTable(root / ".esml"), warm=warm)
    pool.warm_up()
    if warm:
        until(pool._ready.is_set, "the server of warm children")
    platform = LocalPlatform(root, "dev", pool)
    handle, _ = job(platform, tmp_path, SHOWS.format(mark=str(mark), cold=not warm))
    assert end_of(platform, handle).state == "done"
    token, seen, mine = mark.read_text().split()
    assert (token, seen) == ("None", "False")
    assert warm or mine == "kept", (
        "the server of warm children has the variables of when this process first began one"
    )
    platform.close()
