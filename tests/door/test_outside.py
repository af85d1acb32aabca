"""Acts at once that change what lies outside the store: killed before their end, the audit says that they began."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from esml_engine.estate import Estate, open_estate
from tests.conftest import cli
from tests.invariants import violations
from tests.runs.test_kill import killed


def _began(root: Path, act: str) -> list[str]:
    events = open_estate(root).audit(act=act)
    assert events[0]["result"] == "started" and events[0]["detail"]["will"], "what was to be done"
    assert cli(root, "audit", "--verify")["ok"] and violations(root) == []
    return list(events[0]["detail"]["will"])


@pytest.mark.parametrize("point", ["atonce:began", "atonce:done"])
@pytest.mark.parametrize(
    ("act", "command"),
    [
        ("new_project", ("new", "project", "p2", "--team", "t")),
        ("new_model", ("new", "model", "p1/m2", "--task", "analytics", "--datasets", "d1")),
        ("ingest", ("ingest", "p1/m1", "d1", "FILE", "--date", "2026-01-01")),
        ("catalogue_rebuild", ("catalogue", "rebuild")),
    ],
)
def test_what_was_begun_is_in_the_audit(
    empty: Estate, numbers, point: str, act: str, command: tuple[str, ...]
) -> None:
    root = empty.site.root
    file = str(numbers("a.csv", 0, 20))
    killed(root, point, *(file if x == "FILE" else x for x in command))
    _began(root, act)


def test_a_key_that_was_changed_by_a_killed_command_is_in_the_audit(demo: Path) -> None:
    model = open_estate(demo).model("project002/m11_diabetes", "prod")
    before = model.keys()["key"]
    killed(demo, "atonce:done", "keys", "project002/m11_diabetes", "--env", "prod", "--rotate")
    assert "make a new key" in _began(demo, "keys")[0]
    assert model.keys()["key"] != before


def test_an_anchor_that_was_taken_away_is_told(empty: Estate) -> None:
    """Without it a tail may have been cut: `verify` says so, and the event that anchors anew stays in the chain."""
    root, path = empty.site.root, empty.site.state / "audit-head.json"
    for n in range(3):
        empty.set("p1", "budget.month", str(100 + n))
    head = json.loads(path.read_text())["n"]
    with sqlite3.connect(root / ".esml/store.db") as con:
        con.execute("DELETE FROM audit WHERE n = ?", (head,))
    path.unlink()
    said = empty.audit(verify=True)
    assert not said["ok"] and "the anchor is gone" in said["reason"]
    with sqlite3.connect(root / ".esml/store.db") as con:
        con.execute("DELETE FROM audit WHERE n > 1")
    assert not empty.audit(verify=True)["ok"], "also where one event is left"
    empty.set("p1", "budget.month", "300")
    assert empty.audit(verify=True)["ok"]
    assert [e["result"] for e in empty.audit(act="audit")] == ["anchored anew"]


def test_a_stranger_is_not_told_what_there_is(empty: Estate) -> None:
    root = empty.site.root
    for name in ("p1/m9", "p1/m1", "p7/m1"):
        said = cli(root, "--as", "nobody@x", "refine", name, check=3)["error"]
        assert "m1" not in said["hint"] and said["code"] == "not_allowed"
    cli(root, "member", "add", "p1", "eva@x", "--role", "reader")
    assert cli(root, "--as", "eva@x", "refine", "p1/m9", check=2)["error"]["hint"] == "models: p1/m1"
