"""A worker that ends while a deployment waits for its endpoint: the run is the next worker's, or is taken back whole."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from esml_engine.errors import FailedError
from esml_engine.estate import Estate, open_estate
from esml_engine.platforms.local.platform import LocalPlatform
from esml_engine.refs import ModelRef
from esml_engine.runs import records
from esml_engine.runs.execution import MAX_ATTEMPTS
from esml_engine.serving import acts, client
from esml_engine.serving import records as deployments
from esml_engine.serving.keeper import Keeper
from esml_engine.training import records as models
from tests.working import until, worker


def step(estate: Estate, run: str) -> dict[str, Any]:
    return next(s for s in records.steps(estate.site.store, run) if s["step"] == "shift")


def left_waiting(
    estate: Estate, name: str, version: int, monkeypatch: pytest.MonkeyPatch, times: int = 1
) -> str:
    """A deploy run that waits for its endpoint; so many workers have left it."""
    run = ""
    with monkeypatch.context() as m:
        m.setattr(acts, "ready", lambda *_: False)
        for _ in range(times):
            with estate.hand.holding():
                run = run or estate.model(name).deploy(version=version, detach=True)["run"]
                until(lambda r=run: step(estate, r)["state"] == "running", "the wait for the endpoint")  # type: ignore[misc]
            its = step(estate, run)
            assert (its["state"], its["attempt"], its["work"]) == ("queued", 0, None), (
                "no attempt of its own, no job"
            )
    return run


def ended(estate: Estate, run: str) -> dict[str, Any]:
    with estate.hand.holding():
        until(lambda: records.get(estate.site.store, run)["state"] in records.ENDED, "the run's end")
    return records.get(estate.site.store, run)


def wanted(estate: Estate, name: str) -> dict[str, Any]:
    row = deployments.get(estate.site.store, ModelRef.parse(name), "dev")
    assert row is not None
    return row


def test_a_deployment_that_its_worker_leaves(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    estate, name = open_estate(demo), "project002/m11_diabetes"
    run = left_waiting(estate, name, 2, monkeypatch, MAX_ATTEMPTS + 1)
    assert ended(estate, run)["result"]["model_version"] == 2, "the next worker goes on with it"
    model = estate.model(name)
    assert model.deploy(version=1)["model_version"] == 1
    model.undeploy()

    # cancelled before another worker came: what it wanted and did not finish is taken back
    run = left_waiting(estate, name, 2, monkeypatch)
    assert [s["model_version"] for s in wanted(estate, name)["slots"].values()] == [2]
    estate.cancel(run)
    over = ended(estate, run)
    assert (over["state"], over["message"]) == ("cancelled", None), "it has no job that could live on"
    assert wanted(estate, name)["slots"] == {}

    # what waits can be ended though it answers nobody yet
    run = left_waiting(estate, name, 2, monkeypatch)
    plan = model.undeploy(dry_run=True)
    assert "which serves no version yet" in plan.draft.will[0]
    assert model.undeploy()["ended"] is None and wanted(estate, name)["slots"] == {}
    assert "taken away while it was being deployed" in ended(estate, run)["error"]["message"]


def test_a_rotated_key_is_in_force_when_it_is_shown(demo: Path) -> None:
    estate, name = open_estate(demo), "project002/m11_diabetes"
    ref, model = ModelRef.parse(name), estate.model(name, "dev")
    example = models.get_version(estate.site.store, ref, "dev", 1)["detail"]["example"]
    row = {k: [v] for k, v in example.items()}
    with worker(demo):
        until(
            lambda: estate.site.platform("dev").endpoint_state(wanted(estate, name)["endpoint"]).running,
            "the endpoint",
        )
        for n in range(3):
            said = model.keys(rotate=True)
            assert client.score(said["url"], said["key"], row, "t", f"k{n}").predictions, "at once"
        assert model.undeploy()["ended"] == 1
        assert not estate.site.platform("dev").endpoint_state(wanted(estate, name)["endpoint"]).running


def test_a_deployment_that_did_not_come_up_is_made_anew_by_a_retry(
    trained_small: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object) -> bool:
        raise FailedError("another program has the port", hint="end it")

    model = trained_small.model("p1/m1")
    with monkeypatch.context() as m, pytest.raises(FailedError, match="another program") as e:
        m.setattr("esml_engine.serving.acts.ready", taken)
        model.deploy()
    assert trained_small.retry(e.value.details["run"])["model_version"] == 1
    assert model.score([{"x": 3}], caller="me")["model_version"] == 1


def test_a_worker_that_remembers_an_older_key_asks_for_it_when_another_is_wanted(
    trained_small: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would say of an endpoint with the old key that it is what is wanted."""
    model = trained_small.model("p1/m1")
    model.deploy()
    site, remembered, real = trained_small.site, {}, LocalPlatform.get_secret

    def remembering(self: LocalPlatform, name: str, *, fresh: bool = False) -> str | None:
        if fresh or name not in remembered:
            remembered[name] = real(self, name)
        return remembered[name]

    told: list[dict[str, Any]] = []
    monkeypatch.setattr(LocalPlatform, "get_secret", remembering)
    monkeypatch.setattr(LocalPlatform, "apply_endpoint", lambda _, name, config: told.append(config))
    keeper = Keeper(site, site.platform)
    keeper.turn(None)
    name = deployments.secret_name(model.ref, "dev")
    site.platform("dev").put_secret(name, "another")
    deployments.want_again(site.store, model.ref, "dev")
    keeper.turn(None)
    assert [c["control"]["key_sha256"] for c in told][1] == [hashlib.sha256(b"another").hexdigest()]
    assert told[0]["control"]["key_sha256"] != told[1]["control"]["key_sha256"]
