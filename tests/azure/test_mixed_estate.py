"""The cycle of one model over environments on this machine and on Azure: ingest to a promotion, serving, and what was scored."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from esml_engine.costs.records import ENDPOINT
from esml_engine.errors import ConflictError
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.refs import ModelRef
from esml_engine.serving.reads import of_model
from esml_engine.serving.tally import Counts
from esml_engine.store import schema as t
from tests.azure.cloud.costs import HOURLY
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import SHORT, in_lake_of_its_own

NAME, NODE = "p1/m1", "Standard_DS3_v2"

pytestmark = pytest.mark.cycle


def estate_on(
    cloud: Cloud, root: Path, azure: list[str], monkeypatch: pytest.MonkeyPatch, envs: tuple[str, ...]
) -> None:
    """An estate whose environments named in `azure` lie in the cloud, the others on this machine."""
    for k, v in {**cloud.environ("dev"), **SHORT}.items():
        monkeypatch.setenv(k, v)
    cloud.ready_soon(azure)
    init_estate(root, list(envs))
    text = tomlkit.parse((root / "estate.toml").read_text())
    for env in azure:
        text["environments"][env] = in_lake_of_its_own(cloud, env, root)  # type: ignore[index]
        text["policy"][env] = {"nodes": ["Standard_DS3_v2"]}  # type: ignore[index]
    (root / "estate.toml").write_text(tomlkit.dumps(text))
    open_estate(root).new_project("p1", "team")
    open_estate(root).new_model(NAME, "regression", ["d1"], label="y", key="id")
    path = root / "projects/p1/m1/model.toml"
    model = tomlkit.parse(path.read_text())
    model["train"] = {env: {"seconds": 5, "trials": 2, "estimators": ["linear"]} for env in envs}
    model["gates"] = {"min_gain": {"rmse": -100.0}}
    path.write_text(tomlkit.dumps(model))


def refined(estate: Estate, env: str, file: Path) -> Any:
    """Files delivered, refined and split in an environment."""
    model = estate.model(NAME, env)
    model.dataset("d1").ingest(file, date="2026-01-01")
    model.refine()
    model.split()
    return model


def scored_rows(model: Any, wanted: int) -> list[dict[str, Any]]:
    """The scored rows, once so many are there."""
    end = time.monotonic() + 90
    while True:
        said = model.scored().document()
        if said["total"] >= wanted or time.monotonic() > end:
            assert said["total"] == wanted, said["total"]
            rows: list[dict[str, Any]] = said["rows"]
            return rows
        time.sleep(0.3)


@contextmanager
def unreachable(cloud: Cloud, root: Path, azure_envs: list[str]) -> Iterator[None]:
    """Nobody reaches the lake of dev meanwhile."""
    if "dev" in azure_envs:
        with cloud.without_role("storage", "dev"):
            yield
        return
    lake, gone = root / "lake" / "dev", root / "lake" / "gone"
    lake.rename(gone)
    yield
    if lake.exists():
        shutil.rmtree(lake)  # what the drain's looking made
    gone.rename(lake)


def counted(estate: Estate, wanted: int) -> Counts:
    """The endpoint's counts, once its processes told so many calls."""
    end = time.monotonic() + 60
    while True:
        served = next(s for s in of_model(estate.site, ModelRef.parse(NAME)) if s.env == "test")
        if served.counts and served.counts.requests >= wanted:
            return served.counts
        assert time.monotonic() < end, served.counts
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("azure_envs", [["test"], ["dev", "test"]], ids=["dev-local", "all-azure"])
def test_from_files_to_scored_rows_over_two_environments(
    azure: Cloud,
    azure_envs: list[str],
    tmp_path: Path,
    numbers: Callable[[str, int, int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, began = tmp_path / "estate", time.time()
    estate_on(azure, root, azure_envs, monkeypatch, ("dev", "test"))
    estate = open_estate(root)
    file = numbers("a.csv", 0, 300)
    with estate.hand.holding() as worker:
        assert worker is not None
        dev = refined(estate, "dev", file)
        trained = dev.train()
        assert trained["alias"] == "champion", trained
        test = refined(estate, "test", numbers("b.csv", 1000, 1300))
        said = dev.promote("test")
        assert said["state"] == "promoted", said
        row = _version(estate, "test", trained["model_version"])
        assert (
            row["folder"].startswith("abfss://")
            and row["sha256"] == _version(estate, "dev", trained["model_version"])["sha256"]
        )
        with unreachable(azure, root, azure_envs):  # where it came from is not asked again
            deployed = test.deploy()
            assert deployed["traffic"] == {f"v{trained['model_version']}": 100}
            first = test.score([{"x": 3}], caller="me", request_id="q1")
        assert test.score([{"x": 3}], caller="me", request_id="q1") == first, "a repeated id is answered once"
        with pytest.raises(ConflictError, match="another body"):
            test.score([{"x": 9}], caller="me", request_id="q1")
        (root / "in.csv").write_text("x\n" + "".join(f"{i}\n" for i in range(5)))
        assert test.score_batch(file=root / "in.csv", caller="nightly")["rows"] == 5
        rows = scored_rows(test, 6)
        assert sorted(r["caller_id"] for r in rows) == ["me"] + ["nightly"] * 5
        # a second version beside the first: green gets the traffic, blue stays for rollback
        dev.dataset("d1").ingest(numbers("c.csv", 300, 420), date="2026-01-02")
        dev.refine()
        dev.split()
        second = dev.train()["model_version"]
        assert dev.promote("test", second)["state"] == "promoted"
        assert test.deploy()["model_version"] == second
        assert test.score([{"x": 3}], caller="me", request_id="q1") == first, "also by another deployment"
        assert test.score([{"x": 4}], caller="me", request_id="q2")["model_version"] == second
        assert len(scored_rows(test, 7)) == 7
        counts = counted(estate, 5)
        assert counts.by_status["409"] == 1 and counts.quantile(0.95), (
            "what both colours answered, and how fast"
        )
        old = test.keys()["key"]
        assert test.keys(rotate=True)["key"] != old
        assert test.score([{"x": 4}], caller="me", request_id="q2")["rows"] == 1, (
            "as soon as the new key is in force"
        )
    m = t.meter
    metered = estate.site.store.rows(m.select().where(m.c.act == ENDPOINT, m.c.seconds > 0))
    assert {(r["env"], r["node"], r["price"]) for r in metered} == {("test", NODE, HOURLY[NODE])}
    assert metered[-1]["nodes"] == 2, "blue and green stand on a node each"
    used = {(r["run"], r["step"]) for r in estate.site.store.rows(m.select().where(m.c.env == "test"))}
    own = estate.site.store.rows(t.run_steps.select().where(t.run_steps.c.work.is_(None)))
    assert own and used and not used & {(s["run"], s["step"]) for s in own}, (
        "the worker's own work is no node's"
    )
    assert 0 < estate.cost(NAME, "test")["spent_on"]["endpoints"] <= 2 * HOURLY[NODE] * (time.time() - began) / 3600  # fmt: skip
    assert estate.cost(NAME, "test")["predicted"]["endpoint_month"]["basis"] == f"1 node {NODE} × 730 h"
    board = estate.model(NAME, "dev").leaderboard()
    assert {r["env"] for r in board} == {"dev", "test"}
    names = set(_assets(azure, "test"))
    assert {"M1_D1_TRAIN_BRONZE", "M1_D1_TRAIN_SILVER", "M1_TRAIN_GOLD", "M1_TRAIN_GOLD_TRAIN"} <= names
    key = estate.model(NAME, "test").keys()["key"]
    for path in (root / ".esml").rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), f"the endpoint's key is in {path}"
    before = estate.model(NAME, "test").table("gold").versions()
    estate.catalogue_rebuild()
    assert estate.model(NAME, "test").table("gold").versions() == before


def _version(estate: Estate, env: str, version: int) -> dict[str, Any]:
    from esml_engine.training import records

    return records.get_version(estate.site.store, ModelRef.parse(NAME), env, version)


def _assets(cloud: Cloud, env: str) -> list[str]:
    base = f"{cloud.workspaces[env].id}/data"
    return [str(r["id"]).split("/data/")[1].split("/")[0] for r in cloud.resources.below(base)]
