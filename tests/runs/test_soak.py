"""Three random kills in one cycle; `make soak` does twenty."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_three_random_kills_leave_every_invariant_whole() -> None:
    seed = os.environ.get("ESML_SOAK_SEED", "7")  # `make soak` draws its own
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--kills", "3", "--cycles", "1", "--seed", seed],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr[-2000:]}"
    assert "3 kills, 1 cycles, 0 violated" in done.stdout
