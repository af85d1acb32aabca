"""Shared by the benchmarks of serving: one JSON line a result, and a lean HTTP load of many clients.

`python benchmarks/harness_http.py PORT PATH CLIENTS CALLS` (key in the environment) is the load, a process of its own;
it prints the seconds that the calls took.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

COLUMNS = [f"f{n}" for n in range(10)]


def report(name: str, ours: list[float], reference: list[float], peak_mb: float) -> None:
    """Print the medians of interleaved runs, and their ratio (ours / reference)."""
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


async def _client(port: int, path: str, calls: int, first: int, key: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for n in range(calls):
        row = [(first + n) % 97 + c / 10 for c in range(len(COLUMNS))]
        body = json.dumps({"input_data": {"columns": COLUMNS, "data": [row]}}).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nx-caller-id: bench\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
    writer.close()


async def _load(port: int, path: str, clients: int, calls: int) -> float:
    key = os.environ.get("BENCH_KEY", "")
    started = time.perf_counter()
    each = calls // clients
    await asyncio.gather(*(_client(port, path, each, n * each, key) for n in range(clients)))
    return time.perf_counter() - started


if __name__ == "__main__":
    print(asyncio.run(_load(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
