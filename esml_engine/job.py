"""The one job entry point: SPEC -> a room's step -> result document. `python -m esml_engine.job SPEC`.

A job reads its specification, writes parquet files and models, and leaves a result document last. It never
touches the store and never commits.
"""

from __future__ import annotations

import importlib
import sys
import time
import traceback
from pathlib import Path

import psutil

from esml_engine.bindings import JOBS
from esml_engine.errors import EsmlError, FailedError, disk_full
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import JobResult, JobSpec


def run_spec(path: Path) -> int:
    """Run one specification; returns 0, or 1 when the step failed (the result document says why)."""
    spec = JobSpec.from_json(path.read_text(encoding="utf-8"))
    job = JobContext(spec)
    began = time.monotonic()
    process = psutil.Process()
    base = process.memory_info().rss
    try:
        module, function = JOBS[spec.kind].split(":")
        value, tables = getattr(importlib.import_module(module), function)(job)
        result = JobResult(True, time.monotonic() - began, value, tuple(tables), peak_mb=_peak(base))
    except EsmlError as e:
        job.log(f"failed: {e.message}")
        result = JobResult(False, time.monotonic() - began, error=e.document()["error"], peak_mb=_peak(base))
    except MemoryError:
        result = JobResult(
            False,
            time.monotonic() - began,
            error=_error("memory", "the step ran out of memory", "use a larger node type, or fewer rows"),
        )
    except Exception as e:  # noqa: BLE001 - the boundary of a process: everything becomes a result document
        traceback.print_exc()
        error = disk_full(e, f"{spec.step}: ") or FailedError(
            f"{spec.step}: {type(e).__name__}: {e}",
            hint="see the run's log; if it is not your step, report it with the id",
        )
        result = JobResult(False, time.monotonic() - began, error=error.document()["error"])
    target = Path(spec.work) / "result.json"
    new = target.with_suffix(".tmp")
    new.write_text(result.to_json(), encoding="utf-8")
    new.replace(target)
    return 0 if result.ok else 1


def _error(code: str, message: str, hint: str) -> dict[str, str]:
    error = EsmlError(message, hint=hint)
    return {"code": code, "message": message, "hint": hint, "id": error.id}


def _peak(base: int) -> float:
    """Memory used by the step itself, MB: `ru_maxrss` of a forked child starts at its server's."""
    return round((psutil.Process().memory_info().rss - base) / 1e6, 1)


if __name__ == "__main__":
    sys.exit(run_spec(Path(sys.argv[1])))
