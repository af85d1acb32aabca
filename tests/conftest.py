"""Shared fixtures: small estates, built once a session and copied."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import itertools
import json
import os
import re
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
from esml_engine.handing import Hand
from esml_engine.store import schema

MODEL = "project002/m11_diabetes"
_estates = itertools.count()
Hand._become_worker.__kwdefaults__["warm"] = True
inspect.unwrap(Hand.holding).__kwdefaults__["warm"] = True
"""What a test does through the SDK forks its jobs from one server of this process, as `esml up` does: an interpreter less for
each. Single commands, whose jobs are interpreters of their own, are tested by `esml` below."""


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


def cli(root: Path, *args: str, check: int | None = 0) -> Any:
    """As `esml`, in this process: an interpreter less, for what is asked beside what a test is about."""
    from esml_engine.cli import face

    boundary = importlib.import_module("esml_engine.cli.main")
    out, code, app = io.StringIO(), 0, face.app
    kept = app.registered_commands, app.registered_groups, sys.argv
    sys.argv = ["esml", "--estate", str(root), "--json", *args]
    try:
        with contextlib.redirect_stdout(out):
            boundary._run()
    except SystemExit as e:
        code = int(e.code or 0)
    finally:
        app.registered_commands, app.registered_groups, sys.argv = kept
    if check is not None:
        assert code == check, (args, code, out.getvalue()[-2000:])
    return json.loads(out.getvalue()) if out.getvalue().strip() else None


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


def own_ports(root: Path) -> None:
    """Endpoints of this estate take ports that no other estate of this test run takes between two of its commands."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    low = 12_000 + 6_000 * (worker % 8) + 10 * (next(_estates) % 600)
    path = root / "estate.toml"
    path.write_text(
        re.sub(
            r'^(# )?ports = "[0-9-]+"', f'ports = "{low}-{low + 9}"', path.read_text(), count=1, flags=re.M
        )
    )


def copy_of(source: Path, root: Path) -> Path:
    """A copy of an estate whose endpoints have ports of their own: other copies serve at the same time."""
    shutil.copytree(source, root, symlinks=True)
    own_ports(root)
    store = open_estate(root).site.store
    d = schema.deployments
    for row in store.rows(d.select()):
        with socket.socket() as s, store.write() as c:
            s.bind(("127.0.0.1", 0))
            where = (d.c.object == row["object"], d.c.env == row["env"])
            c.execute(d.update().where(*where).values(port=s.getsockname()[1]))
    store.close()
    return root


def small(root: Path) -> Estate:
    """A fresh estate of dev alone with one regression model of one dataset."""
    init_estate(root, ["dev"])
    own_ports(root)
    open_estate(root).new_project("p1", "team")
    open_estate(root).new_model("p1/m1", "regression", ["d1"], label="y", key="id")
    return open_estate(root)


@pytest.fixture
def empty(tmp_path: Path) -> Estate:
    """As `small`."""
    return small(tmp_path / "small")


def quick(root: Path) -> None:
    """Let p1/m1 of a small estate train for a moment only."""
    path = root / "projects/p1/m1/model.toml"
    text = path.read_text().replace(
        "seconds = 15\ntrials = 20\nfolds = 5", 'seconds = 60\ntrials = 1\nfolds = 2\nestimators = ["linear"]'
    )
    path.write_text(text)


@pytest.fixture(scope="session")
def split_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small estate with 80 rows in split gold; built once."""

    def build(root: Path) -> None:
        small(root)
        quick(root)
        model = open_estate(root).model("p1/m1")
        model.ingest("d1", [numbers_file(root.parent / "a.csv", 0, 80)], "2026-01-01")
        model.pipeline(until="gold")
        model.split()

    return built_once(tmp_path_factory, "split-small", build)


@pytest.fixture(scope="session")
def trained_source(split_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its first champion."""

    def build(root: Path) -> None:
        open_estate(copy_of(split_source, root)).model("p1/m1").pipeline()

    return built_once(tmp_path_factory, "trained-small", build)


@pytest.fixture
def split_small(split_source: Path, tmp_path: Path) -> Estate:
    """A copy of `split_source`."""
    return open_estate(copy_of(split_source, tmp_path / "small"))


@pytest.fixture
def trained_small(trained_source: Path, tmp_path: Path) -> Estate:
    """A copy of `trained_source`."""
    return open_estate(copy_of(trained_source, tmp_path / "small"))


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a csv file from a header and rows."""

    def write(name: str, header: str, rows: list[str]) -> Path:
        path = tmp_path / name
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path

    return write


def numbers_file(path: Path, a: int, b: int) -> Path:
    """`id,x,y` rows a..b of a line with a bend."""
    rows = [f"{i},{i % 17},{3 * (i % 17) + (i % 5)}" for i in range(a, b)]
    path.write_text("\n".join(["id,x,y", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def numbers(tmp_path: Path) -> Callable[[str, int, int], Path]:
    """Write `id,x,y` rows a..b of a line with a bend."""

    return lambda name, a, b: numbers_file(tmp_path / name, a, b)


@pytest.fixture(autouse=True)
def _no_estate_of_the_person(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("ESML_ESTATE", raising=False)
    yield
