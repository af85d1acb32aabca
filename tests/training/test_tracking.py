"""MLflow: a quick first start, one version a run, aliases that move."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from esml_engine.errors import UsageError
from esml_engine.training import tracking


@pytest.fixture
def uri(tmp_path: Path, tracking_cache: Path) -> str:
    uri = f"sqlite:///{tmp_path}/t/mlflow.db"
    tracking.prepare(uri, tracking_cache)
    return uri


def test_a_second_database_is_a_quick_copy_and_an_existing_one_stays(
    uri: str, tmp_path: Path, tracking_cache: Path
) -> None:
    second = f"sqlite:///{tmp_path}/second/mlflow.db"
    at = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: tracking.prepare(second, tracking_cache), range(4)))
    assert time.monotonic() - at < 1.0
    made = tracking.experiment(second, "e")
    tracking.prepare(second, tracking_cache)
    assert tracking.experiment(second, "e") == made
    assert [p.name for p in (tmp_path / "second").iterdir()] == ["mlflow.db"]
    assert len(list(tracking_cache.iterdir())) == 1
    tracking.prepare("http://127.0.0.1:1", tracking_cache)


def test_artifacts_stand_under_the_given_root(uri: str, tmp_path: Path) -> None:
    made = tracking.experiment(uri, "e", tmp_path / "root")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    with tracking.logging_run(uri, made, run="r1", attempt=1, step="train", tags={}) as logged:
        tracking.log_folder(uri, logged, folder, "model")
        tracking.log(uri, logged.run_id, params={"a": 1}, metrics={"rmse": 1.0, "spearman": None})
        tracking.log_json(uri, logged, [1], "trials.json")
    root = tmp_path / "root" / "e" / logged.run_id / "artifacts"
    assert (root / "model" / "model.json").exists() and (root / "trials.json").exists()
    assert Path(logged.artifact_uri) == root
    run = tracking.client(uri).get_run(logged.run_id)
    assert run.info.status == "FINISHED" and run.data.metrics == {"rmse": 1.0}


def test_a_failing_block_closes_its_run_as_failed(uri: str) -> None:
    made = tracking.experiment(uri, "e")
    with pytest.raises(ZeroDivisionError):
        with tracking.logging_run(uri, made, run="r1", attempt=1, step="train", tags={}) as logged:
            raise ZeroDivisionError
    assert tracking.client(uri).get_run(logged.run_id).info.status == "FAILED"


def test_what_is_loaded_ahead_is_there_and_opens_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, threading, esml_engine.training.tracking as t; assert 'mlflow' not in sys.modules; t.load_ahead();"
        "[x.join() for x in threading.enumerate() if x.name == 'esml-mlflow'];"
        "assert 'mlflow.tracking.client' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)
    assert not list(tmp_path.iterdir())


def test_only_lower_attempts_of_the_same_step_are_closed(uri: str) -> None:
    made = tracking.experiment(uri, "e")
    ids = {}
    for run, attempt, step in (
        ("r1", 1, "train"),
        ("r1", 2, "train"),
        ("r1", 1, "other"),
        ("r2", 1, "train"),
    ):
        with tracking.logging_run(uri, made, run=run, attempt=attempt, step=step, tags={}) as logged:
            ids[run, attempt, step] = logged.run_id
    status = {k: tracking.client(uri).get_run(v).info.status for k, v in ids.items()}
    assert status.pop(("r1", 1, "train")) == "KILLED"
    assert set(status.values()) == {"FINISHED"}


def test_what_killed_jobs_left_open_is_closed_by_a_retry_that_counts_from_one_again_and_by_the_runs_end(
    uri: str,
) -> None:
    made = tracking.experiment(uri, "e")
    client = tracking.client(uri)

    def killed(run: str, attempt: int) -> str:
        tags = {tracking.RUN_TAG: run, tracking.STEP_TAG: "train", tracking.ATTEMPT_TAG: str(attempt)}
        return str(client.create_run(made, tags=tags).info.run_id)

    left = [killed("r1", n) for n in (1, 2, 3)]
    with tracking.logging_run(uri, made, run="r1", attempt="2.1", step="train", tags={}) as logged:
        pass
    assert [client.get_run(i).info.status for i in left] == ["KILLED"] * 3
    assert client.get_run(logged.run_id).info.status == "FINISHED"
    with tracking.logging_run(uri, made, run="r1", attempt="3.1", step="train", tags={}) as after:
        pass
    with tracking.logging_run(uri, made, run="r1", attempt=2, step="train", tags={}) as late:
        pass  # a job of before the retry that got its node only now
    assert [client.get_run(x.run_id).info.status for x in (logged, after, late)] == [
        "KILLED",
        "FINISHED",
        "FINISHED",
    ]
    mine, other = killed("r2", 1), killed("r3", 1)
    tracking.close_left(uri, "e", "r2")
    tracking.close_left(uri, "nobody logged here", "r3")
    assert [client.get_run(i).info.status for i in (mine, other)] == ["KILLED", "RUNNING"]
    tracking.close_left(uri, "e", "r1")
    assert client.get_run(after.run_id).info.status == "FINISHED"


def test_registering_a_run_twice_makes_one_version(uri: str, tmp_path: Path) -> None:
    made = tracking.experiment(uri, "e")
    with tracking.logging_run(uri, made, run="r1", attempt=1, step="train", tags={}) as logged:
        pass
    name, tags = "project002-m11_diabetes", {"esml.run": "r1", "esml.version": "7"}
    first = tracking.register(uri, name, logged.run_id, str(tmp_path), tags)
    assert tracking.register(uri, name, logged.run_id, str(tmp_path), tags) == first == 1
    assert tracking.register(uri, name, logged.run_id, str(tmp_path), {"esml.run": "r2"}) == 2
    with pytest.raises(UsageError, match=r"esml\.run"):
        tracking.register(uri, name, logged.run_id, str(tmp_path), {})
    assert tracking.get_alias(uri, name, "champion") is None
    for version in (1, 2):
        tracking.set_alias(uri, name, "champion", version)
        assert tracking.get_alias(uri, name, "champion") == version
    for _ in range(2):
        tracking.drop_alias(uri, name, "champion")
        assert tracking.get_alias(uri, name, "champion") is None
    assert tracking.highest(uri, name) == 7 and tracking.highest(uri, "nobody") == 0
