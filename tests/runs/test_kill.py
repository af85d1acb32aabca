"""Protocols, killed by SIGKILL at each kill point of the engine: the next command finishes them and every invariant holds."""

from __future__ import annotations

import ast
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from esml_engine.estate import Estate
from tests.conftest import cli, esml, quick
from tests.invariants import violations


@pytest.fixture
def two_rows(tmp_path: Path) -> str:
    """A file with two rows to score."""
    path = tmp_path / "rows.csv"
    path.write_text("x\n3\n4\n")
    return str(path)


TABLES = [
    "start:intent",
    "run:locked",
    "job:before",
    "job:submitted",
    "job:after",
    "commit:before",
    "commit:sibling",
    "commit:head",
    "store:before",
    "record:after",
]


def killed(root: Path, point: str, *args: str) -> None:
    """Run a command that dies by SIGKILL at `point`."""
    env = {
        **os.environ,
        "ESML_KILL_AT": point,
        "ESML_KILL_ONCE": str(root / f".killed-{point.replace(':', '-')}"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "esml_engine.cli", "--estate", str(root), "--json", *args],
        capture_output=True,
        text=True,
        env=env,
        timeout=180,
    )
    assert done.returncode == -signal.SIGKILL, (
        point,
        done.returncode,
        done.stdout[-500:],
        done.stderr[-500:],
    )


@pytest.mark.parametrize("point", TABLES)
def test_making_table_versions(empty: Estate, csv_file, numbers, point: str) -> None:
    root = empty.site.root
    bad = csv_file("bad.csv", "id,x,y", ["900,1,2", "901,two,3", "902,3,4"])
    empty.model("p1/m1").ingest("d1", [numbers("a.csv", 0, 40), bad], "2026-01-01")
    killed(root, point, "refine", "p1/m1")
    cli(root, "refine", "p1/m1")
    assert [v["version"] for v in cli(root, "versions", "p1/m1", "--table", "gold")] == [1]
    assert violations(root) == []
    assert len(empty.model("p1/m1").dataset("d1").quarantine()) == 1
    assert {r["state"] for r in cli(root, "runs")} == {"done"}
    assert len(cli(root, "runs")) == 1, "asked after bronze: another plan, the same work"


@pytest.mark.parametrize("point", ["commit:before", "commit:sibling", "commit:head", "store:before"])
def test_splitting_three_tables_that_belong_together(empty: Estate, numbers, point: str) -> None:
    root = empty.site.root
    empty.model("p1/m1").ingest("d1", [numbers("a.csv", 0, 60)], "2026-01-01")
    empty.model("p1/m1").refine()
    killed(root, point, "split", "p1/m1")
    parts = cli(root, "split", "p1/m1")["tables"]
    assert {v["version"] for v in parts.values()} == {1} and sum(v["rows"] for v in parts.values()) == 60
    assert violations(root) == []


def test_a_sibling_whose_head_never_came_is_replaced_by_the_next_run(empty: Estate, numbers) -> None:
    """The killed run is given up and another split is asked for: the orphan's number is used again, its rows are gone."""
    root = empty.site.root
    empty.model("p1/m1").ingest("d1", [numbers("a.csv", 0, 60)], "2026-01-01")
    empty.model("p1/m1").refine()
    killed(root, "commit:sibling", "split", "p1/m1")
    run = empty.runs()[0]["run"]
    empty.cancel(run)
    parts = cli(root, "split", "p1/m1", "--train", "0.5", "--validate", "0.25", "--test", "0.25")["tables"]
    assert sum(v["rows"] for v in parts.values()) == 60
    assert violations(root) == []
    assert {r["state"] for r in cli(root, "runs") if r["act"] == "split"} == {"cancelled", "done"}


@pytest.mark.parametrize("point", ["job:after", "register:reserved", "register:created", "record:after"])
def test_registering_a_model(split_small: Estate, point: str) -> None:
    from mlflow.tracking import MlflowClient

    root = split_small.site.root
    killed(root, point, "train", "p1/m1")
    assert cli(root, "train", "p1/m1")["model_version"] == 1
    assert violations(root) == []
    found = MlflowClient(f"sqlite:///{root}/tracking/dev/mlflow.db").search_model_versions("name='p1-m1'")
    assert len(found) == 1


@pytest.mark.parametrize(
    "point", ["deploy:slot", "deploy:shift", "deploy:shifted", "drain:written", "drain:committed"]
)
def test_deploying_and_draining(trained_small: Estate, two_rows: str, point: str) -> None:
    root = trained_small.site.root
    score = ("score", "p1/m1", two_rows, "--caller", "web", "--request-id", "r1")
    if point.startswith("deploy"):
        killed(root, point, "deploy", "p1/m1")
        assert cli(root, "deploy", "p1/m1")["model_version"] == 1
        cli(root, *score)
    else:
        cli(root, "deploy", "p1/m1")
        killed(root, point, *score)
        cli(root, *score)
    cli(root, *score)
    assert cli(root, "scored", "p1/m1")["total"] == 2
    assert violations(root) == []


def test_batch_scoring_appends_once(empty: Estate, numbers) -> None:
    root = empty.site.root
    quick(root)
    model = empty.model("p1/m1")
    model.ingest("d1", [numbers("a.csv", 0, 80)], "2026-01-01")
    model.pipeline()
    model.ingest("d1", [numbers("n.csv", 100, 120)], "2026-01-02", "inference")
    model.refine(purpose="inference")
    for point in ("commit:head", "store:before"):
        killed(root, point, "score", "p1/m1", "--batch")
        assert cli(root, "score", "p1/m1", "--batch")["rows"] in (20, 0, 5)
        assert violations(root) == []
        model.ingest("d1", [numbers("m.csv", 200, 205)], "2026-01-03", "inference")
        model.refine(purpose="inference")
    assert cli(root, "scored", "p1/m1", "--count")["total"] == 25


def test_a_job_killed_when_it_had_written(empty: Estate, numbers) -> None:
    """Its files lie there and nobody names them: the run says that its process went, and a retry makes the version once."""
    root = empty.site.root
    empty.model("p1/m1").ingest("d1", [numbers("a.csv", 0, 40)], "2026-01-01")
    once = {"ESML_KILL_AT": "job:written", "ESML_KILL_ONCE": str(root / ".killed-job")}
    esml(root, "refine", "p1/m1", env=once, check=None)
    assert (root / ".killed-job").exists(), "it was killed there"
    cli(root, "refine", "p1/m1")
    assert [(v["version"], v["rows"]) for v in cli(root, "versions", "p1/m1", "--table", "gold")] == [(1, 40)]
    assert violations(root) == []


@pytest.mark.parametrize("point", ["audit:appended", "audit:written"])
def test_an_event_whose_anchor_was_not_written(empty: Estate, point: str) -> None:
    """The act happened and is in the chain; the anchor lags behind it, and the next act brings it there."""
    root = empty.site.root
    member = ("member", "add", "p1", "ann@x", "--role", "analyst")
    killed(root, point, *member)
    said = cli(root, "audit", "--verify")
    assert said["ok"], said
    assert [e["result"] for e in empty.audit(act="member_add")] == ["done"]
    assert "ann@x" in str(cli(root, "member", "list", "p1"))
    cli(root, "member", "add", "p1", "bob@x", "--role", "analyst")
    with sqlite3.connect(root / ".esml" / "store.db") as con:
        assert con.execute("SELECT count(*) FROM audit").fetchone() == (_anchored(root),)
        con.execute("DELETE FROM audit WHERE n = ?", (_anchored(root),))
    assert not cli(root, "audit", "--verify", check=None)["ok"], "a tail that is cut is seen again"


def _anchored(root: Path) -> int:
    return int(json.loads((root / ".esml" / "audit-head.json").read_text())["n"])


@pytest.mark.parametrize("point", ["serve:reserved", "serve:predicted", "serve:logged"])
def test_an_endpoint_killed_before_it_answered(trained_small: Estate, two_rows: str, point: str) -> None:
    """Reserved, then nothing is in the ledger; logged, then the retry gets what was logged: once in both cases."""
    root = trained_small.site.root
    cli(root, "deploy", "p1/m1")
    score = ("score", "p1/m1", two_rows, "--caller", "web", "--request-id", "r1")
    once = root / f".killed-{point.replace(':', '-')}"
    # the endpoint dies, not the command that asked it
    esml(root, *score, env={"ESML_KILL_AT": point, "ESML_KILL_ONCE": str(once)}, check=None)
    assert once.exists(), "it was killed there"
    answer = cli(root, *score)
    assert cli(root, *score)["predictions"] == answer["predictions"]
    assert cli(root, "scored", "p1/m1", "--count")["total"] == 2
    assert violations(root) == []


def test_requests_that_are_forgotten_while_they_leave_the_ledger(
    trained_small: Estate, two_rows: str
) -> None:
    """Killed in the middle of a purge: the rows are in the table, the next purge takes the rest."""
    root = trained_small.site.root
    cli(root, "deploy", "p1/m1")
    cli(root, "score", "p1/m1", two_rows, "--caller", "web")
    assert cli(root, "scored", "p1/m1", "--count")["total"] == 2
    purge = (
        "import sys; from pathlib import Path; from esml_engine.door.site import Site; from esml_engine.refs import ModelRef;"
        "from esml_engine.scored import commits; commits.PURGE_AFTER_DAYS = -1;"
        "print(commits.purge_ledger(Site(Path(sys.argv[1])), ModelRef('p1', 'm1'), 'dev'))"
    )
    env = {**os.environ, "ESML_KILL_AT": "purge:forgotten", "ESML_KILL_ONCE": str(root / ".killed-purge")}
    command = [sys.executable, "-c", purge, str(root)]
    assert subprocess.run(command, env=env, timeout=60).returncode == -signal.SIGKILL
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["1"]
    assert cli(root, "scored", "p1/m1", "--count")["total"] == 2
    assert violations(root) == []


@pytest.mark.parametrize("point", ["alias:previous", "alias:written", "record:after"])
def test_between_the_two_aliases_of_a_champion(demo: Path, point: str) -> None:
    """Another champion, and MLflow was told of half of it: what other clients read is whole again."""
    model = ("project002/m11_diabetes", "--env", "prod")
    killed(demo, point, "rollback", *model)
    cli(demo, "rollback", *model, check=None)  # the way back again, once the killed one is finished
    cli(demo, "status")
    assert violations(demo) == []


@pytest.mark.parametrize("point", ["register:reserved", "register:created", "alias:previous"])
def test_registering_a_run_that_was_given_up(split_small: Estate, point: str) -> None:
    """Its training was done when it was cancelled; the act `register` makes a version of it, killed or not."""
    root = split_small.site.root
    killed(root, "register:reserved", "train", "p1/m1")
    (root / ".killed-register-reserved").unlink()
    (run,) = [r["run"] for r in cli(root, "runs") if r["act"] == "train"]
    cli(root, "cancel", run)
    killed(root, point, "register", "p1/m1", run)
    said = cli(root, "register", "p1/m1", run)
    assert said["model_version"] == 1
    assert [r["model_version"] for r in cli(root, "leaderboard", "p1/m1") if r["model_version"]] == [1]
    assert violations(root) == []


def test_replaying_what_a_crash_left(empty: Estate, numbers) -> None:
    """The lake is ahead of the catalogue; killed while that is read, and while all of it is read anew."""
    root = empty.site.root
    empty.model("p1/m1").ingest("d1", [numbers("a.csv", 0, 40)], "2026-01-01")
    killed(root, "commit:head", "refine", "p1/m1", "--layer", "bronze")
    empty.cancel(empty.runs()[0]["run"])
    killed(root, "replay:read", "refine", "p1/m1")
    cli(root, "refine", "p1/m1")
    assert [v["version"] for v in cli(root, "versions", "p1/m1", "--table", "d1/bronze")] == [1]
    killed(root, "rebuild:read", "catalogue", "rebuild")
    assert [v["version"] for v in cli(root, "versions", "p1/m1", "--table", "gold")] == [1]
    assert cli(root, "catalogue", "rebuild")["versions"] == 3
    assert violations(root) == []


def test_each_kill_point_of_the_engine_is_killed_at_by_a_test() -> None:
    """`point(...)` in the engine against what tests name; a point that no test dies at proves nothing."""
    here = Path(__file__).parents[2]
    points = {
        name.value
        for path in (here / "esml_engine").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "point"
        for name in ast.walk(call.args[0])
        if isinstance(name, ast.Constant) and isinstance(name.value, str)
    }
    named = {
        c.value
        for path in (here / "tests").rglob("*.py")
        if "killed(" in (text := path.read_text()) or "ESML_KILL_AT" in text
        for c in ast.walk(ast.parse(text))
        if isinstance(c, ast.Constant) and isinstance(c.value, str)
    }
    assert len(points) > 20
    assert points - named == set()


def test_registering_a_run_that_registers_itself_meanwhile(split_small: Estate) -> None:
    """The killed training is finished first; its version stays as its own run judged it."""
    root = split_small.site.root
    killed(root, "register:created", "train", "p1/m1")
    (run,) = [r["run"] for r in cli(root, "runs") if r["act"] == "train"]
    said = cli(root, "register", "p1/m1", run)
    assert (said["model_version"], said["alias"]) == (1, "champion")
    (best,) = [r for r in cli(root, "leaderboard", "p1/m1") if r["model_version"] == 1]
    assert best["alias"] == "champion" and all(g["passed"] for g in best["gates"])
    assert violations(root) == []
