"""What a step function is given: its specification, and how to say progress. Steps touch nothing else."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from esml_engine.runs.facts import JobSpec, TableIn


class JobContext:
    """One job, seen from inside. A step is `def step(job: JobContext) -> tuple[dict, list[TableOut]]`."""

    def __init__(self, spec: JobSpec) -> None:
        self.spec = spec
        self.params: dict[str, Any] = spec.params
        self.work = Path(spec.work)
        self._said = 0.0

    def input(self, name: str) -> TableIn:
        """The table version handed in under `name`."""
        return self.spec.inputs[name]

    def progress(self, fraction: float, message: str = "", *, now: bool = False) -> None:
        """Say how far the step is (0 to 1); at most four times a second reach the disk."""
        t = time.monotonic()
        if not now and t - self._said < 0.25:
            return
        self._said = t
        new = self.work / "progress.tmp"
        new.write_text(json.dumps({"fraction": round(fraction, 4), "message": message}), encoding="utf-8")
        new.replace(self.work / "progress.json")

    def log(self, message: str) -> None:
        """One line into the step's log."""
        sys.stderr.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {message}\n")
        sys.stderr.flush()
