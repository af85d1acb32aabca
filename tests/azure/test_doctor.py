"""What `doctor` says of an environment on Azure: the missing role or network rule, and the command that grants it."""

from __future__ import annotations

from typing import Any

import pytest

from esml_engine.errors import (
    EsmlError,
)
from esml_engine.platforms.azure import doctor
from esml_engine.platforms.azure.errors import (
    AzureDeniedError,
)
from esml_engine.platforms.azure.platform import AzurePlatform
from tests.azure.cloud.stand_in import Cloud


@pytest.mark.parametrize(
    ("service", "part", "says"),
    [
        ("arm", "workspace", "AzureML Data Scientist"),
        ("storage", "storage", "Storage Blob Data Contributor"),
        ("vault", "vault", "Key Vault Secrets Officer"),
        ("cost", "costs", "Cost Management Reader"),
    ],
)
def test_doctor_names_the_missing_role_and_the_command(
    azure: Cloud, dev: AzurePlatform, service: str, part: str, says: str
) -> None:
    with azure.without_role(service, "dev"):
        rows = {r["part"]: r for r in dev.check()}
    row = rows[f"dev {part}"]
    assert not row["ok"] and "az role assignment create" in row["hint"] and says in row["hint"], row
    assert azure.workspaces["dev"].principal in row["hint"], (
        "for this very process: the command can be copied"
    )
    green = dev.check()
    assert all(r["ok"] for r in green), [r for r in green if not r["ok"]]


@pytest.mark.parametrize(
    ("operation", "body", "part", "says"),
    [
        ("Storage.Any", {"error": {"code": "AuthorizationFailure", "message": "refused"}}, "storage",
            "az storage account network-rule add"),
        ("SetSecret", {"error": {"code": "Forbidden", "message": "Client address is not authorized",
            "innererror": {"code": "ForbiddenByFirewall"}}}, "vault", "az keyvault network-rule add"),
        ("Workspaces_Get", {"error": {"code": "PublicNetworkAccessDisabled", "message": "refused"}}, "workspace",
            "az ml workspace update"),
    ],
)  # fmt: skip
def test_doctor_names_the_network_rule_and_the_command(
    azure: Cloud, dev: AzurePlatform, operation: str, body: dict[str, Any], part: str, says: str
) -> None:
    assert azure.faults.add(operation, times=99, status=403, body=body)
    row = next(r for r in dev.check() if r["part"] == f"dev {part}")
    assert not row["ok"] and says in row["hint"] and "network rules" in row["hint"], row
    assert "role assignment" not in row["hint"], "no role helps"


def test_a_right_that_is_missing_on_something_named_is_not_the_workspaces(
    azure: Cloud, dev: AzurePlatform
) -> None:
    body = {
        "error": {"code": "LinkedAuthorizationFailed", "message": "no userAssignedIdentities/assign/action"}
    }
    azure.faults.add("Workspaces_Get", times=9, status=403, body=body)
    with pytest.raises(AzureDeniedError) as e:
        _ = dev.workspace.about
    assert "Managed Identity Operator" in e.value.hint


@pytest.mark.parametrize(
    ("operation", "status", "part", "says"),
    [
        ("MLflow.Any", 403, "tracking", 'az role assignment create --assignee'),
        ("Workspaces_Get", 404, "workspace", "correct workspace, resource_group or subscription in estate.toml"),
        ("Compute_Get", 404, "compute", "az ml compute create --name"),
        ("Storage.Any", 404, "storage", "correct storage_account or file_system in estate.toml"),
        ("Storage.Any", 403, "tables", "Storage Blob Data Contributor"),
        ("Storage.Any", 503, "tables", "retry"),
    ],
)  # fmt: skip
def test_doctors_hint_is_about_what_the_service_answered(
    azure: Cloud, dev: AzurePlatform, operation: str, status: int, part: str, says: str
) -> None:
    assert azure.faults.add(operation, times=999, status=status)
    try:
        look = {"tracking": doctor._tracking, "workspace": doctor._workspace, "compute": doctor._compute,
            "storage": doctor._storage, "tables": doctor._tables}[part]  # fmt: skip
        with pytest.raises(EsmlError) as e:
            look(dev)
    finally:
        azure.faults.clear()
    assert says in e.value.hint, (e.value.message, e.value.hint)
    if status in (404, 503):
        assert "role assignment" not in e.value.hint, "no role helps"


@pytest.mark.parametrize(
    ("operation", "fault", "cause", "unasked"),
    [
        ("Storage.Any", {"status": 403}, "storage", {"tables"}),
        ("Storage.Any", {"status": 503}, "storage", {"tables"}),
        ("Storage.Any", {"drop": True}, "storage", {"tables"}),
        ("Workspaces_Get", {"status": 403}, "workspace", {"image", "compute", "tracking", "prices"}),
        ("Workspaces_Get", {"status": 418}, "workspace", {"image", "compute", "tracking", "prices"}),
        ("Compute_Get", {"status": 404}, "compute", {"prices"}),
        ("SetSecret", {"drop": True}, "vault", set()),
        ("MLflow.Any", {"status": 500}, "tracking", set()),
    ],
)  # fmt: skip
def test_one_cause_gives_one_wrong_row_and_no_hint_leads_back_to_doctor(
    azure: Cloud,
    dev: AzurePlatform,
    operation: str,
    fault: dict[str, Any],
    cause: str,
    unasked: set[str],
) -> None:
    assert azure.faults.add(operation, times=9999, **fault)
    rows = {r["part"].removeprefix("dev "): r for r in dev.check()}
    assert {n for n, r in rows.items() if r["ok"] is False} == {cause}
    assert {n for n, r in rows.items() if r["ok"] is None} == unasked
    assert all(rows[n]["message"] == f"not checked: dev {cause} has to work first" for n in unasked)
    assert rows[cause]["hint"] and "esml doctor" not in rows[cause]["hint"], rows[cause]


def test_without_a_credential_nothing_else_is_asked(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = AzureDeniedError("no credential", hint="az login; esml doctor says which is found")
    monkeypatch.setattr(doctor, "_credential", raising(denied))
    first, *others = dev.check()
    assert first["ok"] is False and first["hint"] == "az login"
    assert len(others) == 9 and {r["ok"] for r in others} == {None}
    assert {r["message"] for r in others} == {"not checked: dev credential has to work first"}


def test_what_is_only_wrong_stops_no_other_part(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_compute", raising(EsmlError("it has no identity", hint="give it one")))
    rows = {r["part"]: r for r in dev.check()}
    assert rows["dev compute"]["ok"] is False and rows["dev prices"]["ok"] is True


def raising(error: EsmlError) -> Any:
    """A part that does not work, for this reason."""

    def look(p: AzurePlatform) -> str:
        raise error

    return look


def test_doctor_says_that_no_image_was_looked_up(azure: Cloud, dev: AzurePlatform) -> None:
    assert "not looked up" in doctor._image(dev)


def test_the_vaults_row_is_what_the_vault_gives_back(azure: Cloud, dev: AzurePlatform) -> None:
    azure.faults.add("GetSecret", times=99, status=403)
    rows = {r["part"]: r for r in dev.check()}
    row = rows["dev vault"]
    assert row["ok"] is False and "Key Vault Secrets Officer" in row["hint"], row
    assert "az role assignment create" in row["hint"] and azure.workspaces["dev"].principal in row["hint"]
    azure.faults.clear()
    assert doctor._vault(dev) and doctor._vault(dev), "a new value each time"


def test_a_vault_that_gives_back_another_value_is_not_green(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev.vault, "ask", lambda name: "ok")
    with pytest.raises(EsmlError, match="does not keep what is written"):
        doctor._vault(dev)


def test_a_process_that_stays_up_asks_the_workspace_afresh(azure: Cloud, dev: AzurePlatform) -> None:
    assert all(r["ok"] for r in dev.check())
    azure.faults.add("Workspaces_Get", times=99, status=403)
    rows = {r["part"]: r for r in dev.check()}
    assert rows["dev workspace"]["ok"] is False and "AzureML Data Scientist" in rows["dev workspace"]["hint"]
    azure.faults.clear()
    assert all(r["ok"] for r in dev.check())


def test_doctor_says_that_writing_in_the_workspace_was_not_tried(azure: Cloud, dev: AzurePlatform) -> None:
    said = doctor._workspace(dev)
    assert "jobs, endpoints" in said and "not checked" in said


@pytest.mark.parametrize(
    ("change", "says", "hint"),
    [
        ("failed", "is Failed", "Azure ML studio"),
        ("bare", "has no managed identity", "--identity-type SystemAssigned"),
        ("gone", "cpu-cluster", ""),
    ],
)
def test_doctor_says_what_is_wrong_with_the_compute(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch, change: str, says: str, hint: str
) -> None:
    its = azure.resources.get(f"{azure.workspaces['dev'].id}/computes/{dev.settings.compute}")
    assert its is not None
    if change == "failed":
        monkeypatch.setitem(its["properties"], "provisioningState", "Failed")
    elif change == "bare":
        monkeypatch.delitem(its, "identity")
    else:
        azure.faults.add("Compute_Get", times=99, status=404)
    row = next(r for r in dev.check() if r["part"] == "dev compute")
    assert row["ok"] is False and says in row["message"], row
    assert hint in row["hint"], row


def test_doctor_says_that_the_workspace_lies_in_another_region(
    azure: Cloud, dev: AzurePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "settings", dev.settings.model_copy(update={"region": "westus"}))
    row = next(r for r in dev.check() if r["part"] == "dev workspace")
    there = azure.workspaces["dev"].region
    assert row["ok"] is False and f"is in {there}, estate.toml says westus" in row["message"]
    assert row["hint"] == f'set region = "{there}"'


def test_the_estates_own_price_stands_where_the_list_refuses(azure: Cloud, dev: AzurePlatform) -> None:
    """As it does for what a run costs: behind a proxy that refuses the list every row can be green."""
    azure.faults.add("RetailPrices.List", times=99, status=403)
    sku = dev.workspace.sku

    def said(own: dict[str, float]) -> dict[str, Any]:
        return next(r for r in dev.check(own) if r["part"] == "dev prices")

    row = said({})
    assert row["ok"] is False and f'set prices."{sku}" in estate.toml' in row["hint"]
    row = said({sku: 0.3})
    assert row["ok"] is True and f"{sku}: 0.3 EUR an hour, as estate.toml says" in row["message"]
