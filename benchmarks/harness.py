"""Ours against a reference, interleaved in one run: what varies with the machine's mood hits both alike."""

from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection


@dataclass(frozen=True)
class Measure:
    """One measured call in a process of its own."""

    seconds: float
    peak_mb: float


def _child(call: Callable[[], object], prepare: Callable[[], object], answer: Connection) -> None:
    prepare()
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    answer.send(Measure(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


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


def compare(
    name: str,
    ours: Callable[[], object],
    reference: Callable[[], object],
    prepare: Callable[[], object],
    rounds: int = 5,
) -> dict[str, float | str]:
    """Measure both `rounds` times in turn, print and return one JSON line: medians, their ratio, our peak memory."""
    mine, theirs = [], []
    for _ in range(rounds):
        theirs.append(measure(reference, prepare))
        mine.append(measure(ours, prepare))
    ours_s = statistics.median(m.seconds for m in mine)
    reference_s = statistics.median(m.seconds for m in theirs)
    line: dict[str, float | str] = {
        "name": name,
        "ours_s": round(ours_s, 3),
        "reference_s": round(reference_s, 3),
        "ratio": round(ours_s / reference_s, 2),
        "peak_mb": round(max(m.peak_mb for m in mine), 1),
    }
    print(json.dumps(line), flush=True)
    return line
