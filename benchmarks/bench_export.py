"""The export of 5 M scored rows as CSV from the cockpit's route, against DuckDB's `COPY` of the same rows to a file.

    python -m benchmarks.bench_export [ROWS]

Target: at most 1.5 times. `peak_mb` is by how much the server's memory grew; target: below 200 MB.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import psutil

from benchmarks.harness import ROOT, interleaved, report, timed
from benchmarks.scored_estates import make, table_sql

ROUNDS = 7


@contextmanager
def server(root: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The cockpit's server over an estate, ended by its pid."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    child = subprocess.Popen(
        [sys.executable, "-m", "cockpit.server", str(root), str(port)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(url + "/healthz", timeout=5)
                break
            except OSError:
                if child.poll() is not None:
                    raise RuntimeError("the server ended") from None
                time.sleep(0.1)
        yield url, psutil.Process(child.pid)
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()


def main() -> None:
    """Both in turns."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "estate"
        make(root, rows, 90)
        table = table_sql(root)
        con = duckdb.connect()
        con.execute("SET TimeZone = 'UTC'")
        target = f"{name}/hand.csv"
        with server(root) as (url, process):
            address = f"{url}/api/v1/scored/project1/model1.csv?env=dev"
            got = [0]

            def download() -> None:
                with urllib.request.urlopen(address, timeout=3600) as r:
                    got[0] = 0
                    while chunk := r.read(1 << 20):
                        got[0] += chunk.count(b"\n")

            def by_hand() -> None:
                con.execute(
                    f"COPY (SELECT * FROM {table} ORDER BY scored_at DESC, request_id, row) TO '{target}' (FORMAT csv, HEADER)"
                )

            urllib.request.urlopen(f"{address}&caller=nobody", timeout=600).read()  # imports and connections
            before, peak, done = process.memory_info().rss, [0], threading.Event()

            def watch() -> None:
                while not done.wait(0.1):
                    peak[0] = max(peak[0], process.memory_info().rss)

            watcher = threading.Thread(target=watch)
            watcher.start()
            a, b = interleaved(timed(download), timed(by_hand), ROUNDS)
            done.set()
            watcher.join()
            assert got[0] == rows + 1, got
            report(f"export_{rows}", a, b, (peak[0] - before) / 1e6)


if __name__ == "__main__":
    main()
