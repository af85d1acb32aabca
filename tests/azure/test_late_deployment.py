"""A deployment that Azure accepts and that fails afterwards: the engine's error, with the role that may lack and the log of that very deployment."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from esml_engine.errors import FailedError
from esml_engine.platforms.azure.platform import AzurePlatform
from esml_engine.platforms.base import EndpointState
from esml_engine.serving.applied import ready as _ready
from tests.azure.cloud.stand_in import Cloud
from tests.azure.kit import platform_of

KEY = "endpoint-late"


def config(slot: str = "blue") -> dict[str, Any]:
    """What a deploy run wants of an endpoint: a model in one slot, no traffic yet."""
    its = {"deployment": "v1", "model_version": 1, "folder": "m", "sha256": "0" * 64, "instances": 1}
    control = {"revision": 1, "live": "", "slots": {slot: its}, "traffic": {}, "save": True, "key_sha256": []}
    return {"server": {}, "control": control, "secret": KEY}


def failed(p: AzurePlatform, name: str, slot: str, wanted: dict[str, Any]) -> EndpointState:
    """The endpoint once its deployment failed, as often as it is wanted meanwhile."""
    end = time.monotonic() + 120
    while ((state := p.endpoint_state(name)).slots or {}).get(slot, {}).get("state") != "failed":
        assert time.monotonic() < end and not state.stuck, state
        p.apply_endpoint(name, wanted)
        time.sleep(0.1)
    return state


def said(state: EndpointState, slot: str) -> FailedError:
    """What who deploys is told."""
    with pytest.raises(FailedError) as e:
        _ready(state, -1, slot)
    return e.value


def taken(azure: Cloud) -> list[Any]:
    """The provisioning states that Azure answered when a deployment was wanted."""
    puts = [e for e in azure.recorder.of("OnlineDeployments_CreateOrUpdate") if e.method == "PUT"]
    return [(e.status, e.response["properties"]["provisioningState"]) for e in puts]


@pytest.mark.parametrize("slot", ["blue", "green"])
def test_an_accepted_deployment_that_fails_says_cause_role_and_log(
    azure: Cloud, dev: AzurePlatform, tmp_path: Path, slot: str
) -> None:
    """Nobody refuses anything; the operation that is polled ends Failed, and so does the deployment's provisioningState."""
    body = {"error": {"code": "ResourceNotReady", "message": "User container has crashed: 403 from the lake"}}
    azure.faults.add("OnlineDeployments_CreateOrUpdate", times=1, late=True, body=body)
    dev.put_secret(KEY, "k")
    azure.recorder.exchanges.clear()
    wanted, name = config(slot), f"late-{slot}"
    error = said(failed(dev, name, slot, wanted), slot)
    assert taken(azure) == [(201, "Updating")], "accepted, once"
    polled = [e.response for e in azure.recorder.of("Operations.Status") if e.response["status"] == "Failed"]
    assert polled and polled[-1]["error"]["code"] == "ResourceNotReady"
    assert (
        f"deployment {slot} of late-{slot}" in error.message and "accepted, and failed later" in error.message
    )
    assert "ResourceNotReady" in error.message and "403 from the lake" in error.message, (
        "the service's own words"
    )
    legal, ws = dev.endpoints.legal(name), azure.workspaces["dev"]
    read = (
        f"az ml online-deployment get-logs --name {slot} --endpoint-name {legal} --workspace-name {ws.name}"
    )
    assert read in error.hint, error.hint
    [endpoint] = [e for e in azure.resources.below(f"{ws.id}/onlineEndpoints") if e["name"] == legal]
    who = endpoint["identity"]["principalId"]
    assert f'--assignee {who} --role "Storage Blob Data Contributor"' in error.hint, (
        "the endpoint's identity, not ours"
    )
    assert "AcrPull" in error.hint and "esml doctor" not in error.hint
    # a worker that comes later finds it Failed, and tells the same without a second deployment
    (tmp_path / "other").mkdir()
    nxt = platform_of(azure, "dev", tmp_path / "other", dev.file_system)
    try:
        again = said(failed(nxt, name, slot, wanted), slot)
        assert f"deployment {slot} of {legal} failed" in again.message
        assert read in again.hint and who in again.hint
        assert taken(azure) == [(201, "Updating")]
    finally:
        nxt.stop_endpoint(name)
        nxt.close()


def test_the_log_of_what_failed_is_kept_before_it_is_taken_away(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deployment is withdrawn with its run: a command that reads its log would find nothing."""
    azure.faults.add("OnlineDeployments_CreateOrUpdate", times=1, late=True)
    lines = ["loads the model", "PermissionError: 403 from the lake"]
    monkeypatch.setattr(azure.servers, "log", lambda id_: "".join(f"{x}\n" for x in lines))
    dev.put_secret(KEY, "k")
    state = failed(dev, "late-kept", "blue", config("blue"))
    error = said(state, "blue")
    assert error.message.endswith("its log ends: PermissionError: 403 from the lake")
    assert f"its log: {state.log}" in error.hint and Path(state.log).read_text().splitlines() == lines
    assert "name one that stays as the environment's identity in estate.toml" in error.hint
    dev.stop_endpoint("late-kept")
    legal, of = dev.endpoints.legal("late-kept"), f"{azure.workspaces['dev'].id}/onlineEndpoints"
    end = time.monotonic() + 120
    while legal in {e["name"] for e in azure.resources.below(of)}:  # a neighbour's may be still there
        assert time.monotonic() < end
        dev.stop_endpoint("late-kept")
        time.sleep(0.1)
    assert Path(state.log).exists(), "it outlives what it is of"


@pytest.mark.parametrize(
    ("n", "fault"),
    [(1, {"status": 503, "after": True}), (2, {"drop": True, "after": True}), (3, {"status": 409})],
)
def test_a_deployment_whose_answer_was_lost_or_that_had_to_wait_goes_on(
    azure: Cloud, dev: AzurePlatform, n: int, fault: dict[str, Any]
) -> None:
    """Taken without an answer, its repetition meets 409; or somebody else's operation is under way: no word of the model."""
    azure.faults.add("OnlineDeployments_CreateOrUpdate", times=1, **fault)
    dev.put_secret(KEY, "k")
    name = f"lost-{n}"
    end, looks = time.monotonic() + 120, 0
    while looks < 5:
        assert time.monotonic() < end
        dev.apply_endpoint(name, config("blue"))
        state = dev.endpoint_state(name)
        its = (state.slots or {}).get("blue", {})
        assert not state.stuck and its.get("state") != "failed", (state, its)
        followed = its.get("state") == "loading"
        looks += followed  # it is at work in Azure, and its worker follows it there
        time.sleep(0.2)
    dev.stop_endpoint(name)


def test_a_404_of_an_endpoint_that_is_there_is_not_believed(azure: Cloud, dev: AzurePlatform) -> None:
    """It would be made anew, without its traffic; or be taken for gone, and run on."""
    dev.put_secret(KEY, "k")
    name, wanted = "false-404", config("blue")
    wanted["control"]["slots"] = {}
    end = time.monotonic() + 120
    while not dev.endpoint_state(name).running:
        assert time.monotonic() < end
        dev.apply_endpoint(name, wanted)
        time.sleep(0.1)
    while dev.endpoints._at_it(name):  # what was begun for it before is not what is looked for
        assert time.monotonic() < end
        time.sleep(0.1)
    azure.recorder.exchanges.clear()
    fault = azure.faults.add("OnlineEndpoints_Get", times=9999, status=404)
    again = {**wanted, "control": {**wanted["control"], "revision": 2}}
    while fault.seen < 3:
        assert time.monotonic() < end
        dev.apply_endpoint(name, again)
        time.sleep(0.1)
    assert azure.recorder.of("OnlineEndpoints_CreateOrUpdate") == [], "nothing is made in its place"
    dev.endpoints._seen.clear()
    assert "is listed, and can't be read" in dev.endpoint_state(name).error
    seen = fault.seen
    while fault.seen < seen + 2:
        assert time.monotonic() < end
        dev.stop_endpoint(name)
        time.sleep(0.1)
    azure.faults.clear()
    legal, of = dev.endpoints.legal(name), f"{azure.workspaces['dev'].id}/onlineEndpoints"
    while legal in {e["name"] for e in azure.resources.below(of)}:
        assert time.monotonic() < end
        dev.stop_endpoint(name)
        time.sleep(0.1)


def test_a_shift_that_fails_late_says_why_and_its_endpoint_is_mended(
    azure: Cloud, dev: AzurePlatform
) -> None:
    """It leaves the endpoint Failed, which is no reason to have it removed: it answers as before."""
    dev.put_secret(KEY, "k")
    name, wanted = "late-shift", config()
    wanted["control"]["slots"] = {}
    end = time.monotonic() + 120

    def want(revision: int) -> EndpointState:
        assert time.monotonic() < end
        dev.apply_endpoint(name, {**wanted, "control": {**wanted["control"], "revision": revision}})
        time.sleep(0.1)
        return dev.endpoint_state(name)

    while want(1).revision != 1:
        pass
    azure.faults.add("OnlineEndpoints_CreateOrUpdate", times=9999, late=True)
    while not (state := want(2)).stuck:
        pass
    assert "it was accepted, and failed later" in state.stuck and "remove it" not in state.hint
    azure.faults.clear()
    while (state := want(3)).revision != 3:
        pass
    assert state.running and not state.stuck
    dev.stop_endpoint(name)
