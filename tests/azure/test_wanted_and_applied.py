"""What an act wants of an endpoint is so in Azure when the act answers, or the answer says that it is only wanted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esml_engine.errors import FailedError
from esml_engine.estate import open_estate
from esml_engine.platforms.azure import names
from esml_engine.refs import ModelRef
from esml_engine.serving import acts, records
from esml_engine.settling import Settling
from esml_engine.store import schema
from tests.azure.cloud.stand_in import Cloud
from tests.azure.test_mixed_estate import NAME, estate_on, refined
from tests.working import until, worker

pytestmark = pytest.mark.cycle


def test_without_a_worker_what_was_answered_is_so_in_azure(
    azure: Cloud,
    tmp_path: Path,
    numbers: Callable[[str, int, int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each command is the worker for its own time: nothing does afterwards what it left undone."""
    root = tmp_path / "estate"
    estate_on(azure, root, ["dev"], monkeypatch, ("dev",))
    estate = open_estate(root)
    with estate.hand.holding():
        model = refined(estate, "dev", numbers("a.csv", 0, 300))
        first = model.train()
        assert first["alias"] == "champion"
        model.dataset("d1").ingest(numbers("b.csv", 300, 600), date="2026-01-02")
        model.refine()
        model.split()
        second = model.train()
        assert second["alias"] == "champion"
    v1, v2 = first["model_version"], second["model_version"]
    ws, platform = azure.workspaces["dev"], estate.site.platform("dev")
    lake = platform.lake_root()
    of = f"{ws.id}/onlineEndpoints/{names.endpoint('p1-m1-dev', f'{platform.workspace.path}/{lake}')}"  # type: ignore[attr-defined]

    def answering() -> dict[str, int]:
        """The model versions that have traffic, as Azure says."""
        traffic = azure.resources.get(of)["properties"]["traffic"]  # type: ignore[index]
        there = {d["name"]: d for d in azure.resources.below(f"{of}/deployments")}
        return {there[k]["tags"]["esml-model-version"]: v for k, v in traffic.items() if v}

    def wanted() -> Any:
        row = records.get(estate.site.store, ModelRef.parse(NAME), "dev")
        assert row is not None
        return acts.live_version(row)

    # each of these is its own worker, which ends with it
    assert model.deploy(version=v1)["model_version"] == v1
    assert answering() == {str(v1): 100}
    assert model.deploy(version=v2)["model_version"] == v2
    assert answering() == {str(v2): 100}

    rotated = model.keys(rotate=True)
    assert rotated["state"] == "done" and azure.keys[of.lower()]["primaryKey"] == rotated["key"]

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(Settling, "told", killed)
        model.keys(rotate=True)
    key = model.keys()
    assert key["state"] == "wanted" and azure.keys[of.lower()]["primaryKey"] != key["key"]
    again = model.deploy(version=v2)
    assert again["nothing_to_do"] == f"v{v2} is deployed already" and again["state"] == "done"
    assert azure.keys[of.lower()]["primaryKey"] == key["key"] and model.keys()["state"] == "done"

    azure.keys[of.lower()]["primaryKey"] = "another"  # by hand, or by a request that came in late
    assert model.keys()["state"] == "wanted"
    asked = azure.faults.add("OnlineEndpoints_RegenerateKeys", times=1, status=503, after=True)
    again = model.deploy(version=v2)
    assert again["nothing_to_do"] and again["state"] == "done" and asked.seen == 1
    assert azure.keys[of.lower()]["primaryKey"] == key["key"], "looked at before it is asked for once more"

    azure.faults.add("OnlineEndpoints_CreateOrUpdate", times=9999, status=403)
    with monkeypatch.context() as m, pytest.raises(FailedError, match=f"v{v1} is the champion of dev again"):
        m.setattr("esml_engine.settling._SETTLES", 1.0)
        model.rollback()
    assert answering() == {str(v2): 100}
    azure.faults.clear()
    again = model.deploy(version=v1)
    assert again["nothing_to_do"] and again["state"] == "done" and answering() == {str(v1): 100}

    def refuse(at: str) -> None:
        if at == "deploy:shift":
            azure.faults.add("OnlineEndpoints_CreateOrUpdate", times=9999, status=403)

    with monkeypatch.context() as m:
        m.setattr(acts, "point", refuse)
        m.setattr("esml_engine.settling._SETTLES", 1.0)
        with pytest.raises(
            FailedError, match=rf"v{v2} did not get the traffic of .*AuthorizationFailed"
        ) as e:
            model.deploy(version=v2)
    assert (
        "az role assignment create" in e.value.hint and "the version before is wanted again" in e.value.hint
    )
    assert wanted() == v1 and answering() == {str(v1): 100}
    azure.faults.clear()

    with monkeypatch.context() as m:
        m.delenv("AZUREML_CURRENT_CLOUD", raising=False)  # a client of this process set it
        estate.site.close_platforms()
        with worker(root):
            said = model.keys(rotate=True)
            assert said["state"] == "wanted" and "esml up" in said["hint"]

    for status in (409, 412, 403):  # single looks that fail: what is wanted comes all the same
        azure.faults.add("OnlineEndpoints_Get", times=1, status=status, skip=2)
        azure.faults.add("OnlineDeployments_List", times=1, status=status, skip=1)
        azure.faults.add("Operations.Status", times=1, status=status)
        azure.faults.add("Scoring.Call", times=1, status=401)  # the key is told, and not everywhere yet
        to = v2 if wanted() == v1 else v1
        assert model.deploy(version=to)["model_version"] == to and answering() == {str(to): 100}
        azure.faults.clear()

    live = wanted()
    azure.resources.get(of)["properties"]["traffic"] = {}  # type: ignore[index]  # by hand, in the portal
    assert answering() == {}
    again = model.deploy(version=live)
    assert again["nothing_to_do"] and again["state"] == "done" and answering() == {str(live): 100}

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(Settling, "told", killed)
        model.undeploy()
    assert answering(), "nobody told Azure"
    azure.faults.add("OnlineEndpoints_Delete", times=9999, status=403)
    with pytest.raises(FailedError, match="AuthorizationFailed"):
        model.undeploy()
    assert answering(), "nothing is deployed, as far as is wanted; and Azure's refusal is said"
    asker = open_estate(root).site
    row = asker.store.rows(schema.deployments.select())[0]
    seen = asker.platform("dev").endpoint_state(row["endpoint"], fresh=True)
    assert "AuthorizationFailed" in seen.stuck and seen.stuck_at == row["revision"], (
        "its worker's trouble is told"
    )
    asker.close_platforms()
    with monkeypatch.context() as m:
        m.delenv("AZUREML_CURRENT_CLOUD", raising=False)
        estate.site.close_platforms()
        with worker(root):  # it tries by itself, and is refused the same: whoever asks again hears it
            assert model.undeploy()["state"] == "wanted"
            at = estate.site.store.rows(schema.deployments.select())[0]["revision"]
            look = estate.site.platform("dev").endpoint_state
            until(lambda: look(row["endpoint"], fresh=True).stuck_at == at, "its worker being refused")
            said = model.undeploy()
            assert (
                said["state"] == "wanted"
                and "was refused: " in said["hint"]
                and "AuthorizationFailed" in said["hint"]
            )
    plan = model.undeploy(dry_run=True)
    assert "which is not wanted any more" in plan.draft.will[0] and not plan.draft.nothing_to_do
    azure.faults.clear()
    ended = model.undeploy()
    assert ended["state"] == "done" and ended["model_version"] is None
    assert azure.resources.get(of) is None

    assert model.deploy(version=v1)["model_version"] == v1
    estate.site.close_platforms()
    shutil.rmtree(root / ".esml")
    lost = open_estate(root)
    plan = lost.model(NAME).undeploy(dry_run=True)
    assert "which this estate's store does not know" in plan.draft.will[0] and not plan.draft.nothing_to_do
    ended = lost.model(NAME).undeploy()
    assert ended["state"] == "done" and azure.resources.get(of) is None
    assert lost.model(NAME).undeploy(dry_run=True).draft.nothing_to_do == "nothing is deployed in dev"
    lost.site.close_platforms()
