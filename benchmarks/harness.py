"""Ours against a reference, interleaved in one run: what varies with the machine's mood hits both alike.

Each `bench_*.py` prints exactly one JSON line: {"name", "ours_s", "reference_s", "ratio", "peak_mb"}, medians of its
rounds. Its target stands in its docstring.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).parent.parent
_UNIT = 1024 if sys.platform == "linux" else 1024 * 1024  # of ru_maxrss, into MB


@dataclass(frozen=True)
class Measure:
    """One measured call in a process of its own."""

    seconds: float
    peak_mb: float


def report(name: str, ours: Sequence[float], reference: Sequence[float], peak_mb: float) -> None:
    """Print the one line: medians of interleaved rounds, their ratio, our peak memory."""
    a, b = statistics.median(ours), statistics.median(reference)
    line = {"name": name, "ours_s": round(a, 4), "reference_s": round(b, 4), "ratio": round(a / b, 2)}
    print(json.dumps({**line, "peak_mb": round(peak_mb, 1)}), flush=True)


def interleaved(
    ours: Callable[[], float], reference: Callable[[], float], rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of both, taken in turns after one unmeasured round."""
    ours(), reference()
    a, b = [], []
    for _ in range(rounds):
        a.append(ours())
        b.append(reference())
    return a, b


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """A function that says how long `work` took."""

    def run() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return run


def _child(call: Callable[[], object], prepare: Callable[[], object], answer: Connection) -> None:
    prepare()
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    answer.send(Measure(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNIT))


def measure(call: Callable[[], object], prepare: Callable[[], object]) -> Measure:
    """Run `prepare` (imports), then time `call`, both in a fresh interpreter whose start is not counted.

    Raises:
        RuntimeError: the child died without an answer; its traceback stands on standard error.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(call, prepare, there))
    child.start()
    there.close()
    try:
        result: Measure = here.recv()
    except EOFError as e:
        raise RuntimeError("the measured call failed") from e
    finally:
        child.join()
    return result


def process(command: Sequence[str], env: Mapping[str, str] | None = None) -> Measure:
    """Time a whole process, from its start to its end, standard output thrown away.

    Raises:
        RuntimeError: it ended with another code than 0.
    """
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    start = time.perf_counter()
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path, **(env or {})}
    )
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command} ended with {child.returncode}")
    return Measure(seconds, used.ru_maxrss / _UNIT)


def compare(
    name: str,
    ours: Callable[[], Measure],
    reference: Callable[[], Measure],
    rounds: int = 5,
) -> None:
    """Measure both `rounds` times in turn, after one unmeasured round, and report."""
    ours(), reference()
    mine, theirs = [], []
    for _ in range(rounds):
        theirs.append(reference())
        mine.append(ours())
    report(name, [m.seconds for m in mine], [m.seconds for m in theirs], max(m.peak_mb for m in mine))
