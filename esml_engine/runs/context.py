"""What a step function is given: its specification, and how to say progress. Steps touch nothing else."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from esml_engine.errors import EsmlError
from esml_engine.platforms.base import Files, open_files
from esml_engine.runs.facts import JobSpec, TableIn, TableOut

_FAR_SECONDS = 2.0  # how often progress is written into a lake elsewhere


class JobContext:
    """One job, seen from inside. A step is `def step(job: JobContext) -> tuple[dict, list[TableOut]]`.

    A step works on this machine's disk: its inputs are copied here where the lake is elsewhere (`Files.here`), what it
    writes is handed in afterwards. Where the lake is on this machine nothing is copied.

    Args:
        spec: with addresses of the lake.
        files: the lake; None: by the specification's own address.
        scratch: the job's own folder; None: where the specification lies.
    """

    def __init__(self, spec: JobSpec, files: Files | None = None, scratch: Path | None = None) -> None:
        self.work = scratch or Path(spec.work)
        self.files = files or open_files(f"{spec.work}/spec.json", self.work)
        self.address = spec.work
        self._outputs = spec.outputs
        self.spec = replace(
            spec,
            work=str(self.work),
            inputs={k: self._near(t) for k, t in spec.inputs.items()},
            outputs={k: self.files.drafts(folder) for k, folder in spec.outputs.items()},
        )
        self.params: dict[str, Any] = spec.params
        self._said = self._sent = 0.0

    def _near(self, table: TableIn) -> TableIn:
        return replace(table, uri=self.files.here(table.uri, table.files)) if table.files else table

    def file(self, address: str) -> Path:
        """A file of the lake (an IN file, a person's step) on this machine; it may change under its name."""
        folder, _, name = address.rpartition("/")
        return Path(self.files.here(folder, [name], fixed=False)) / name

    def model(self, one: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """A model's `{"folder", …}` with its folder on this machine."""
        return {**one, "folder": self.files.here(str(one["folder"]))} if one else None

    def keep(self, folder: Path) -> str:
        """Leave a folder below `work` beside the result; returns its address."""
        if self.address == str(self.work):
            return str(folder)
        name = folder.relative_to(self.work).as_posix()
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            self.files.put_file(path, f"{self.address}/{name}/{path.relative_to(folder).as_posix()}")
        return f"{self.address}/{name}"

    def hand_in(self, tables: Iterable[TableOut]) -> None:
        """Bring the files that the step wrote into the lake."""
        written = [f.path for t in tables for f in t.add]
        for name, folder in self._outputs.items():
            mine = [f for f in written if (Path(self.spec.outputs[name]) / f).is_file()]
            self.files.hand_in(folder, mine)

    def input(self, name: str) -> TableIn:
        """The table version handed in under `name`."""
        return self.spec.inputs[name]

    def progress(self, fraction: float, message: str = "", *, now: bool = False) -> None:
        """Say how far the step is (0 to 1); at most four times a second reach the disk."""
        t = time.monotonic()
        if not now and t - self._said < 0.25:
            return
        self._said = t
        said = json.dumps({"fraction": round(fraction, 4), "message": message})
        new = self.work / "progress.tmp"
        new.write_text(said, encoding="utf-8")
        new.replace(self.work / "progress.json")
        if self.address != str(self.work) and (now or t - self._sent >= _FAR_SECONDS):
            self._sent = t
            try:
                self.files.write_file(f"{self.address}/progress.json", said.encode())
            except EsmlError as e:  # the step is not lost by it
                self.log(f"progress could not be told: {e.message}")

    def log(self, message: str) -> None:
        """One line into the step's log."""
        sys.stderr.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {message}\n")
        sys.stderr.flush()
