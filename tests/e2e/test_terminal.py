"""What a person at a terminal sees: whole ids at any width, and one word when they press Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from esml_engine.estate import Estate, open_estate
from esml_engine.runs import records
from esml_engine.wording import words
from tests.conftest import esml
from tests.invariants import violations
from tests.working import until, worker

Numbers = Callable[[str, int, int], Path]
REF = "p1/m1"
WAITS = """import time
from pathlib import Path


def step(df, ctx):
    Path({began!r}).touch()
    end = time.monotonic() + 120
    while not Path({gate!r}).exists() and time.monotonic() < end:
        time.sleep(0.02)
    return df
"""


@pytest.fixture
def delivered(empty: Estate, numbers: Numbers) -> Estate:
    empty.model(REF).ingest("d1", [numbers("a.csv", 0, 60)], "2026-01-01")
    return empty


def line(root: Path, *args: str) -> list[str]:
    return [sys.executable, "-m", "esml_engine.cli", "--estate", str(root), *args]


def on_terminal(root: Path, columns: int, *args: str) -> str:
    """What a command writes to a terminal of so many columns."""
    import fcntl
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    with subprocess.Popen(line(root, *args), stdout=slave, stdin=slave, env=env):
        os.close(slave)
        said = b""
        try:
            while part := os.read(master, 65536):
                said += part
        except OSError:  # Linux says so when the other side has closed
            pass
    os.close(master)
    return said.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("command", ["runs", "status"])
def test_ids_are_whole_at_any_width(delivered: Estate, command: str) -> None:
    root = delivered.site.root
    run = esml(root, "refine", REF)["run"]
    wanted = {"runs": [run, REF, "refine"], "status": [REF, "gold"]}[command]
    narrow = on_terminal(root, 80, command)
    assert all(w in narrow for w in wanted), narrow
    assert all(len(x) <= 80 for x in narrow.splitlines()[:-1]), narrow
    assert "--json has them" in narrow.splitlines()[-1]
    piped = subprocess.run(line(root, command), capture_output=True, text=True, check=True).stdout
    assert all(w in piped for w in wanted) and "--json has them" not in piped


def test_nothing_that_names_a_thing_is_ever_shortened() -> None:
    long = "r-" + "x" * 90
    for room in (0, 20, 80):
        said = words([{"run": long, "plan_hash": "h" * 32, "steps": [{"name": "n" * 90}]}], room=room)
        assert long in said
        assert ("h" * 32 in said) == (room == 0)


@pytest.mark.parametrize("up", [False, True], ids=["works for itself", "a worker is up"])
def test_ctrl_c_says_one_thing_and_what_becomes_of_the_run(
    delivered: Estate, tmp_path: Path, up: bool
) -> None:
    root, began, gate = delivered.site.root, tmp_path / "began", tmp_path / "gate"
    step = root / "projects" / REF / "steps/d1.py"
    step.write_text(WAITS.format(began=str(began), gate=str(gate)))

    def interrupted() -> None:
        asked = subprocess.Popen(
            line(root, "--json", "refine", REF), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        until(began.exists, "the step")
        asked.send_signal(signal.SIGINT)
        out, err = asked.communicate(timeout=60)
        assert asked.returncode == 1 and out.count("\n") == 1, (out, err)
        error = json.loads(out)["error"]
        assert error["code"] == "interrupted"
        assert ("no worker is up" in error["hint"]) != up and ("goes on in the worker" in error["hint"]) == up
        assert "Traceback" not in err and "DBOS" not in err, err

    store = open_estate(root).site.store
    if up:
        with worker(root):
            interrupted()
            (run,) = [r["run"] for r in records.open_runs(store)]
            gate.touch()
            until(lambda: records.get(store, run)["state"] == "done", "the run's end")
    else:
        interrupted()
        (run,) = [r["run"] for r in records.open_runs(store)]
        gate.touch()
        esml(root, "refine", REF)
    assert records.get(store, run)["state"] == "done"
    assert violations(root) == []


def test_an_option_of_the_whole_command_behind_its_word_says_where_it_goes(empty: Estate) -> None:
    for words_, option in ((("status", "--json"), "--json"), (("status", "--as", "a@x"), "--as")):
        said = esml(empty.site.root, *words_, check=2)
        assert (
            said["error"]["code"] == "usage" and f"{option} goes before the command" in said["error"]["hint"]
        )
