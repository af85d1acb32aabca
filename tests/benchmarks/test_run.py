"""Benchmarks that are made of what the product's own pages call run, at a small size: they change with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command",
    [
        ("leaderboard", "50"),
        ("estate", "30", "300"),
        ("status", "30"),
        ("scored_pages", "20000"),
        ("export", "20000"),
    ],
)
def test_it_runs(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.bench_{command[0]}", *command[1:]],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert said and all(s["ratio"] > 0 for s in said)
