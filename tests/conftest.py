"""Shared fixtures: small estates, built once a session and copied."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.store import schema

MODEL = "project002/m11_diabetes"


def esml(
    root: Path, *args: str, env: dict[str, str] | None = None, check: int | None = 0, timeout: float = 180
) -> Any:
    """Run the command line as a user would; returns the JSON document. `check`: the exit code that must come."""
    own = {
        k: v for k, v in os.environ.items() if k != "AZUREML_CURRENT_CLOUD"
    }  # a client of this process set it
    done = subprocess.run(
        [sys.executable, "-m", "esml_engine.cli", "--estate", str(root), "--json", *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**own, **(env or {})},
    )
    if check is not None:
        assert done.returncode == check, (args, done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return json.loads(done.stdout) if done.stdout.strip() else None


@pytest.fixture(scope="session")
def demo_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo estate after its whole cycle; built once for all workers of a test run."""
    from esml_engine.demo import run_demo

    return built_once(tmp_path_factory, "demo-estate", run_demo)


def built_once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """A folder that the first of all workers of a test run builds, for all of them."""
    shared = factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    root, done = shared / name, shared / f"{name}.done"
    with FileLock(str(shared / f"{name}.lock")):
        if not done.exists():
            build(root)
            done.touch()
    return root


@pytest.fixture
def demo(demo_source: Path, tmp_path: Path) -> Path:
    """A copy of the demo estate to do anything with."""
    return copy_of(demo_source, tmp_path / "estate")


def copy_of(source: Path, root: Path) -> Path:
    """A copy of an estate whose endpoints have ports of their own: other copies serve at the same time."""
    shutil.copytree(source, root, symlinks=True)
    store = open_estate(root).site.store
    d = schema.deployments
    for row in store.rows(d.select()):
        with socket.socket() as s, store.write() as c:
            s.bind(("127.0.0.1", 0))
            where = (d.c.object == row["object"], d.c.env == row["env"])
            c.execute(d.update().where(*where).values(port=s.getsockname()[1]))
    store.close()
    return root


@pytest.fixture
def empty(tmp_path: Path) -> Estate:
    """A fresh estate of dev alone with one regression model of one dataset."""
    init_estate(tmp_path / "small", ["dev"])
    estate = open_estate(tmp_path / "small")
    estate.new_project("p1", "team")
    estate = open_estate(tmp_path / "small")
    estate.new_model("p1/m1", "regression", ["d1"], label="y", key="id")
    return open_estate(tmp_path / "small")


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a csv file from a header and rows."""

    def write(name: str, header: str, rows: list[str]) -> Path:
        path = tmp_path / name
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def numbers(csv_file: Callable[..., Path]) -> Callable[[str, int, int], Path]:
    """`id,x,y` rows a..b of a line with a bend."""

    def write(name: str, a: int, b: int) -> Path:
        return csv_file(name, "id,x,y", [f"{i},{i % 17},{3 * (i % 17) + (i % 5)}" for i in range(a, b)])

    return write


@pytest.fixture(autouse=True)
def _no_estate_of_the_person(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("ESML_ESTATE", raising=False)
    yield
