"""Jobs of a program that came by standard input (or a notebook): their warm children must not look for it on disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from pathlib import Path
from esml_engine.estate import init_estate, open_estate

root = Path("estate")
init_estate(root, ["dev"])
open_estate(root).new_project("p1", "team")
open_estate(root).new_model("p1/m1", "regression", ["d1"], label="y", key="id")
Path("a.csv").write_text("id,x,y\\n" + "".join(f"{i},{i % 7},{i % 5}\\n" for i in range(40)))
estate = open_estate(root)
estate.model("p1/m1").dataset("d1").ingest("a.csv", date="2026-01-01")
with estate.hand.holding(warm=True) as worker:
    worker._jobs._ready.wait()
    print("rows", estate.model("p1/m1").refine()["layers"][0]["rows"])
"""


def test_a_program_from_standard_input_runs_warm_jobs(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-"], input=PROGRAM, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "rows 40" in done.stdout, done.stderr[-3000:]
    assert "FileNotFoundError" not in done.stderr, done.stderr[-3000:]
