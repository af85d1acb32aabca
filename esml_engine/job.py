"""The one job entry point: SPEC -> a room's step -> result document. `python -m esml_engine.job SPEC`.

A job reads its specification, writes parquet files and models, and leaves a result document last. It never
touches the store and never commits.
"""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from pathlib import Path

import psutil

from esml_engine.bindings import JOBS, named
from esml_engine.errors import EsmlError, FailedError, disk_full
from esml_engine.faults import point
from esml_engine.platforms.base import Files, open_files
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import JobResult, JobSpec


def run_spec(path: Path) -> int:
    """Run the specification in a file; returns 0, or 1 when the step failed (the result document says why)."""
    return run_at(str(path), path.parent)


def run_at(address: str, scratch: Path) -> int:
    """Run the specification at an address of the lake, or in a file; `scratch` takes what the job needs while it runs."""
    files = open_files(address, scratch)
    text = files.read_file(address)
    if text is None:
        print(f"there is no specification at {address}", file=sys.stderr)  # noqa: T201 - there is no folder to leave a result in
        return 2
    return _run(JobSpec.from_json(text.decode()), files, scratch)


def _run(spec: JobSpec, files: Files, scratch: Path) -> int:
    began = time.monotonic()
    process = psutil.Process()
    base = process.memory_info().rss
    try:
        job = JobContext(spec, files, scratch)
        value, tables = named(JOBS[spec.kind])(job)
        point("job:written")
        job.hand_in(tables)
        result = JobResult(True, time.monotonic() - began, value, tuple(tables), peak_mb=_peak(base))
    except EsmlError as e:
        print(f"failed: {e.message}", file=sys.stderr)  # noqa: T201 - the job's log
        result = JobResult(False, time.monotonic() - began, error=e.document()["error"], peak_mb=_peak(base))
    except SystemExit as e:
        result = JobResult(
            False,
            time.monotonic() - began,
            error=_error(
                "step",
                f"{spec.step}: the step's code called exit({e.code!r})",
                "raise an error instead, or return",
            ),
        )
    except MemoryError:
        result = JobResult(
            False,
            time.monotonic() - began,
            error=_error("memory", "the step ran out of memory", "use a larger node type, or fewer rows"),
        )
    except Exception as e:  # noqa: BLE001 - the boundary of a process: everything becomes a result document
        traceback.print_exc()
        error = disk_full(e, f"{spec.step}: ", _disks(spec, scratch)) or FailedError(
            f"{spec.step}: {type(e).__name__}: {e}",
            hint="see the run's log; if it is not your step, report it with the id",
        )
        result = JobResult(False, time.monotonic() - began, error=error.document()["error"])
    files.write_file(f"{spec.work}/result.json", result.to_json().encode())
    return 0 if result.ok else 1


def _disks(spec: JobSpec, scratch: Path) -> list[str]:
    """Where the job writes on this machine."""
    return [str(scratch), *(f for f in spec.outputs.values() if "://" not in f), tempfile.gettempdir()]


def _error(code: str, message: str, hint: str) -> dict[str, str]:
    error = EsmlError(message, hint=hint)
    return {"code": code, "message": message, "hint": hint, "id": error.id}


def _peak(base: int) -> float:
    """Memory used by the step itself, MB: `ru_maxrss` of a forked child starts at its server's."""
    return round((psutil.Process().memory_info().rss - base) / 1e6, 1)


def main(address: str) -> int:
    """Run a job by its specification's path, or by its address in a lake elsewhere."""
    if "://" not in address:
        return run_spec(Path(address))
    with tempfile.TemporaryDirectory(prefix="esml-job-") as scratch:
        return run_at(address, Path(scratch))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
