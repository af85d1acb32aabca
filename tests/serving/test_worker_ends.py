"""A worker that ends while a deployment waits for its endpoint: the run is the next worker's, as often as that happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from esml_engine.estate import open_estate
from esml_engine.runs import records
from esml_engine.runs.execution import MAX_ATTEMPTS
from esml_engine.serving import acts
from tests.working import until


def test_a_deployment_that_its_worker_leaves_goes_on_with_the_next(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate = open_estate(demo)
    model, store, run = estate.model("project002/m11_diabetes", "dev"), estate.site.store, ""

    def shift() -> dict[str, object]:
        return next(s for s in records.steps(store, run) if s["step"] == "shift")

    with monkeypatch.context() as m:
        m.setattr(acts, "ready", lambda *_: False)
        for _ in range(MAX_ATTEMPTS + 1):
            with estate.hand.holding():
                run = run or model.deploy(version=2, detach=True)["run"]
                until(lambda: shift()["state"] == "running", "the wait for the endpoint")
            assert (shift()["state"], shift()["attempt"]) == ("queued", 0), "no attempt of the run's own"
    with estate.hand.holding():
        until(lambda: records.get(store, run)["state"] in records.ENDED, "the run's end")
    assert records.get(store, run)["result"]["model_version"] == 2
    model.undeploy()
