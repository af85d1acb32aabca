"""`esml up` to its first page in a browser, against `streamlit hello` to its own.

    python -m benchmarks.bench_up

An estate of one model, its worker and the cockpit; until the page's heading is drawn in Chromium. Target: at most twice.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, sync_playwright

from benchmarks.harness import ROOT, interleaved, report
from cockpit.shots import launch
from esml_engine.estate import init_estate, open_estate

ROUNDS = 5


def until_drawn(page: Any, command: Callable[[int], list[str]], env: dict[str, str]) -> float:
    """Seconds from the command to the first heading; the process is ended by its pid."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    started = time.perf_counter()
    child = subprocess.Popen(
        command(port), env=env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                page.goto(f"http://127.0.0.1:{port}/", timeout=120_000)
                break
            except Error:
                if child.poll() is not None:
                    raise RuntimeError(f"{command(port)} ended with {child.returncode}") from None
                time.sleep(0.05)
        page.locator("h1").first.wait_for(timeout=120_000)
        return time.perf_counter() - started
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait()


def main() -> None:
    """Both in turns."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as p:
        root = Path(name) / "estate"
        init_estate(root, ["dev"])
        open_estate(root).new_project("project1", "team")
        open_estate(root).new_model("project1/model1", "regression", ["ds01"], label="y", key="id")
        browser = launch(p)
        page = browser.new_page()
        compiles = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # as make does
        env = {**compiles, "PYTHONPATH": str(ROOT), "BROWSER": "none"}

        def ours() -> float:
            started = [sys.executable, "-m", "esml_engine.cli", "--estate", str(root), "up", "--port"]
            return until_drawn(page, lambda n: [*started, str(n)], env)

        def theirs() -> float:
            hello = [sys.executable, "-m", "streamlit", "hello", "--server.headless", "true"]
            return until_drawn(
                page, lambda n: [*hello, "--server.address", "127.0.0.1", "--server.port", str(n)], env
            )

        a, b = interleaved(ours, theirs, ROUNDS)
        browser.close()
        report("up_to_first_page", a, b, 0.0)


if __name__ == "__main__":
    main()
