"""The same work asked for twice is one run, also where the first has moved the facts under its plan already."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esml_engine.estate import Estate, open_estate
from tests.conftest import cli, quick
from tests.invariants import violations
from tests.runs.test_kill import killed
from tests.working import GATED, until

Numbers = Callable[[str, int, int], Path]
REF = "p1/m1"


class Halfway:
    """A refinement that has made its bronze and waits in its silver step, until `go` is called."""

    def __init__(self, estate: Estate, numbers: Numbers, act: tuple[str, ...]) -> None:
        self.root = estate.site.root
        self.gate, began = self.root / "gate", self.root / "began"
        path = self.root / "projects" / REF / "steps" / "d1.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GATED.format(began=str(began), gate=str(self.gate)))
        quick(self.root)
        self.model = open_estate(self.root).model(REF)
        self.model.ingest("d1", [numbers("a.csv", 0, 80)], "2026-01-01")
        self.plan = cli(self.root, *act, "--dry-run")["plan"]["hash"]
        self.shell = self.again(*act)
        until(began.exists, "the step")

    def again(self, *act: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "esml_engine.cli", "--estate", str(self.root), "--json", *act]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def go(self) -> None:
        self.gate.touch()


def _said(shell: subprocess.Popen[str]) -> dict[str, Any]:
    import json

    out, err = shell.communicate(timeout=180)
    assert shell.returncode == 0, (out, err)
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.mark.parametrize("act", [("refine", REF), ("pipeline", REF, "--until", "trained")])
def test_who_asks_for_what_is_under_way_follows_it(
    empty: Estate, numbers: Numbers, up: None, act: tuple[str, ...]
) -> None:
    half = Halfway(empty, numbers, act)
    shells = [half.again(*act), half.again(*act, "--plan", half.plan)]
    other = half.again("refine", REF, "--layer", "bronze")
    assert _said(other)["layers"][0]["version"] == 1, "bronze alone is there: there is nothing to do"
    joined = lambda: [e["result"] for e in empty.audit(act=act[0])].count("joined") == 2  # noqa: E731
    until(joined, "both to join")
    half.go()
    first, *others = [_said(s) for s in (half.shell, *shells)]
    assert {s["run"] for s in others} == {first["run"]} and all(s["joined"] for s in others)
    assert all({k: v for k, v in s.items() if k != "joined"} == first for s in others)
    assert [r["act"] for r in cli(half.root, "runs")] == [act[0]]
    assert [e["result"] for e in empty.audit(act=act[0])].count("joined") == 2
    assert violations(half.root, at_rest=False) == []


def test_new_files_are_a_run_of_their_own(empty: Estate, numbers: Numbers, up: None) -> None:
    half = Halfway(empty, numbers, ("refine", REF))
    half.model.ingest("d1", [numbers("b.csv", 80, 90)], "2026-01-02")
    second = half.again("refine", REF)
    until(lambda: len(cli(half.root, "runs")) == 2, "the second run")
    half.go()
    first, then = _said(half.shell), _said(second)
    assert first["run"] != then["run"] and not then.get("joined")
    assert [x["layer"] for x in then["layers"]] == ["bronze", "silver", "gold"]
    assert [v["rows"] for v in cli(half.root, "versions", REF, "--table", "gold")] == [90, 80]


def test_a_run_that_has_only_to_end_gives_its_whole_answer(empty: Estate, numbers: Numbers) -> None:
    root = empty.site.root
    empty.model(REF).ingest("d1", [numbers("a.csv", 0, 40)], "2026-01-01")
    killed(root, "record:after", "refine", REF)
    for _ in range(2):  # the killed shell's layer is there, its run is not at its end
        said = cli(root, "refine", REF)
    assert cli(root, "refine", REF)["layers"][-1]["layer"] == "gold" and said
    assert len(cli(root, "runs")) == 1
    assert violations(root) == []


@pytest.mark.parametrize("until_", ["gold", "trained"])
def test_a_killed_pipeline_that_is_asked_for_again_tells_of_all_its_steps(
    empty: Estate, numbers: Numbers, until_: str
) -> None:
    root = empty.site.root
    quick(root)
    empty.model(REF).ingest("d1", [numbers("a.csv", 0, 80)], "2026-01-01")
    steps = cli(root, "pipeline", REF, "--until", until_, "--dry-run")["plan"]["steps"]
    killed(root, "record:after", "pipeline", REF, "--until", until_)
    said = cli(root, "pipeline", REF, "--until", until_)
    assert said["steps"] == steps and said["stage"] == until_ and said["joined"]
    assert [x["layer"] for x in said["layers"]] == ["bronze", "silver", "gold"]
    assert len(cli(root, "runs")) == 1
    assert violations(root) == []
