"""A few random kills in one cycle over three environments; `make soak` does twenty in as many cycles as they need."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_random_kills_in_one_cycle_leave_every_invariant_whole() -> None:
    seed = os.environ.get("ESML_SOAK_SEED", "7")  # `make soak` draws its own
    few = ["--kills", "4", "--cycles", "1", "--pause", "4"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", *few, "--seed", seed], capture_output=True, text=True
    )
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr[-2000:]}"
    assert re.search(r"^[1-4] kills, 1 cycles, 0 violated", done.stdout, re.MULTILINE), done.stdout
