"""What walks in a real browser share: a cockpit with its worker over an estate, and a page."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cockpit.shots import chromium, launch

ROOT = Path(__file__).parents[2]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as r:
            return bool(r.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """A cockpit and a worker over an estate, ended with the process that started them."""
    port = _free_port()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    up = subprocess.Popen(
        [sys.executable, "-m", "esml_engine.cli", "--estate", str(root), "up", "--port", str(port)],
        env=env,
        cwd=root,
        stderr=subprocess.PIPE,
    )
    address = f"http://127.0.0.1:{port}"
    while not _answers(address + "/healthz"):
        if up.poll() is not None:
            pytest.fail(
                f"esml up ended with {up.returncode}: {up.stderr.read().decode() if up.stderr else ''}"
            )
        time.sleep(0.1)
    try:
        yield address
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait()
        while _answers(address + "/healthz"):  # the cockpit ends with the process that started it
            time.sleep(0.1)


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A page of an installed Chromium."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
    )
    with playwright.sync_playwright() as p:
        try:
            browser = launch(p)
        except playwright.Error as e:
            if chromium() is None:
                pytest.skip("no Chromium found: apt-get install chromium, or playwright install chromium")
            raise e
        yield browser.new_page(viewport={"width": 1440, "height": 900})
        browser.close()
