"""A full disk under the lake and under a step. The last version stays current."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esml_engine.estate import Estate
from tests.conftest import cli
from tests.e2e.wrong import REF, Numbers, again, failing, settle, step, versions
from tests.invariants import violations


@pytest.fixture
def tiny(empty: Estate) -> Iterator[Path]:
    """The lake on a file system of 2 MB."""
    lake = empty.site.root / "lake/dev"
    lake.mkdir(parents=True, exist_ok=True)
    keep = lake.with_name("kept")
    shutil.copytree(lake, keep)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root to mount a small file system")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(lake)], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        shutil.copytree(keep, lake, dirs_exist_ok=True)
        yield lake
    finally:
        subprocess.run(["umount", "-l", str(lake)], check=True)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_full_disk_under_the_lake(
    empty: Estate, numbers: Numbers, tiny: Path, kind: str, tmp_path: Path
) -> None:
    root = empty.site.root
    if kind == "parquet":
        settle(empty, '# format = "csv"', 'format = "parquet"')

    def made(name: str, a: int, b: int) -> Path:
        if kind == "csv":
            return numbers(name + ".csv", a, b)
        path = tmp_path / f"{name}.parquet"
        ids = list(range(a, b))
        pq.write_table(pa.table({"id": ids, "x": [i % 17 for i in ids], "y": [i % 5 for i in ids]}), path)
        return path

    again(empty).ingest("d1", [made("a", 0, 60)], "2026-01-01")
    again(empty).refine()
    again(empty).ingest("d1", [made("b", 60, 20_000)], "2026-01-02")
    filler = tiny / ".filler"
    with filler.open("wb", buffering=0) as f, pytest.raises(OSError, match="No space"):
        while True:
            f.write(b"x" * 4096)
    error = cli(root, "refine", REF, check=1)["error"]
    assert error["code"] == "disk" and "free space" in error["hint"], error
    assert versions(empty, "d1/bronze") == [1] and len(again(empty).gold.read()) == 60
    refused = failing("disk", lambda: again(empty).ingest("d1", [made("c", 0, 9000)], "2026-01-03"))
    assert "free space" in refused.hint
    run = cli(root, "runs")[0]["run"]
    filler.unlink()
    assert cli(root, "retry", run)[0]["result"]["layers"][-1]["rows"] == 20_000
    if kind == "csv":
        assert violations(root) == []


SMALL_FILES = """import resource
import numpy as np


def step(df, ctx):
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
    df = df.loc[df.index.repeat(2000)].reset_index(drop=True)
    df["noise"] = np.random.default_rng(1).random(len(df))
    return df
"""


def test_a_disk_that_takes_no_more_under_a_step(empty: Estate, numbers: Numbers) -> None:
    model = empty.model(REF)
    model.ingest("d1", [numbers("a.csv", 0, 30)], "2026-01-01")
    model.refine()
    path = step(empty, "d1.py", SMALL_FILES)
    error = failing("disk", again(empty).refine)
    assert "silver:d1" in error.message and "free space" in error.hint
    assert versions(empty, "d1/silver") == [1]
    path.unlink()
    assert again(empty).refine()["run"] is None  # back to the default step: silver v1 is what it makes
    assert violations(empty.site.root) == []
