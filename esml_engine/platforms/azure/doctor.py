"""`doctor` on Azure: each part tried as the engine uses it; what is missing is named with the command that grants it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from esml_engine.errors import EsmlError, PlatformError
from esml_engine.importing import import_whole
from esml_engine.platforms import rows
from esml_engine.platforms.azure.delta import translated
from esml_engine.platforms.azure.errors import AzureMissingError
from esml_engine.platforms.azure.extra import MissingExtraError
from esml_engine.platforms.azure.names import environment_version
from esml_engine.platforms.azure.workspace import IMAGE

if TYPE_CHECKING:
    from esml_engine.platforms.azure.platform import AzurePlatform


def checks(p: AzurePlatform, own_prices: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Credential, workspace, image, storage, tables, vault, compute, tracking, prices, bills: `{"part", "ok", "message", "hint"}`.

    A part behind one that refuses or does not answer is not asked.
    """
    parts: tuple[tuple[str, Callable[[AzurePlatform], str], str], ...] = (  # the third: what it needs first
        ("credential", _credential, ""),
        ("workspace", _workspace, "credential"),
        ("image", _image, "workspace"),
        ("storage", _storage, "credential"),
        ("tables", _tables, "storage"),
        ("vault", _vault, "credential"),
        ("compute", _compute, "workspace"),
        ("tracking", _tracking, "workspace"),
        ("prices", partial(_prices, own=own_prices), "compute"),
        ("costs", _costs, "credential"),
    )
    found: list[dict[str, Any]] = []
    causes: dict[str, str] = {}  # part -> the one that stands in its way
    for name, look, first in parts:
        part = f"{p.env} {name}"
        if first in causes:
            causes[name] = causes[first]
            found.append(rows.unasked(part, causes[first]))
            continue
        try:
            found.append(rows.good(part, look(p)))
        except MissingExtraError as e:
            return [rows.bad(part, e)]
        except EsmlError as e:
            found.append(rows.bad(part, e, "see docs/azure.md"))
            if isinstance(
                e, PlatformError
            ):  # it refused or did not answer; what is only wrong can be looked behind
                causes[name] = part
    return found


def _credential(p: AzurePlatform) -> str:
    from esml_engine.platforms.azure.identity import identity_of

    identity = identity_of(p.cloud)
    identity.bearer(p.cloud.audience)
    return f"a token for {p.cloud.name}, as {identity.who()}"


def _workspace(p: AzurePlatform) -> str:
    p.workspace.forget()
    about, wanted = p.workspace.about, p.settings.region
    if str(about.location).lower() != wanted.lower():
        raise EsmlError(
            f"workspace {p.settings.workspace} is in {about.location}, estate.toml says {wanted}",
            hint=f'set region = "{about.location}"',
        )
    return (
        f"{p.settings.workspace} in {about.location}: it was read; whether jobs, endpoints and data assets may be written in it "
        "is not checked, the first of each shows it"
    )


def _image(p: AzurePlatform) -> str:
    name = p.workspace.image()
    version = environment_version(name)
    return f"jobs run in {name} (environment {IMAGE}:{version}): the name was made, not looked up; the first job shows whether the registry has it and the nodes may pull it"


def _storage(p: AzurePlatform) -> str:
    name, content = f".probe/{secrets.token_hex(6)}", secrets.token_bytes(16)
    p.make_skeleton([".probe"])
    p.write_file(name, content)
    try:
        if p.read_file(name) != content or p.create_file(name, b""):
            raise EsmlError(
                f"{p.lake_root()} does not keep what is written", hint="check the storage account"
            )
    finally:
        p.remove_file(name)
    return f"{p.lake_root()} can be read, written and cleared"


def _tables(p: AzurePlatform) -> str:
    from deltalake import DeltaTable

    import_whole("deltalake")
    from deltalake.exceptions import TableNotFoundError

    try:
        DeltaTable(f"{p.lake_root()}/.probe/table", storage_options=p.storage_options())
    except TableNotFoundError:
        return "Delta reaches the lake"
    except OSError as e:
        raise translated(p.lake_root(), e, p.grant(), p.admit()) from e
    return "Delta reaches the lake"


def _vault(p: AzurePlatform) -> str:
    value = secrets.token_hex(8)
    p.put_secret("esml-doctor", value)
    if p.vault.ask("esml-doctor") != value:  # not from this process's memory, where it is in any case
        raise EsmlError(
            f"{p.settings.key_vault} does not keep what is written: another value of esml-doctor was read",
            hint="retry, in case another doctor wrote its own at this moment; else check the vault",
        )
    return f"{p.settings.key_vault} keeps secrets"


def _compute(p: AzurePlatform) -> str:
    s = p.settings
    where = f"--name {s.compute} --workspace-name {s.workspace} --resource-group {s.resource_group}"
    try:
        with p.workspace.asking(f"compute {s.compute}", "compute"):
            found = p.workspace.client.compute.get(s.compute)
    except AttributeError as e:  # the client takes apart what is not there
        raise EsmlError(
            f"what Azure answers of compute {s.compute} describes none ({e})",
            hint="look at it in Azure ML studio",
        ) from e
    except AzureMissingError as e:
        size = "--type AmlCompute --size Standard_DS3_v2 --min-instances 0 --max-instances 4"
        make = f"az ml compute create {where} {size} --identity-type SystemAssigned"
        raise AzureMissingError(e.message, hint=f"{e.hint}: {make}") from e
    state = getattr(found, "provisioning_state", None)
    state = getattr(state, "value", state)
    if state not in (None, "Succeeded"):
        raise EsmlError(
            f"compute {s.compute} is {state}",
            hint="wait, or look at it in Azure ML studio",
        )
    if getattr(found, "identity", None) is None:
        raise EsmlError(
            f"compute {s.compute} has no managed identity: its jobs reach neither lake nor tracking",
            hint=f"az ml compute update {where} --identity-type SystemAssigned",
        )
    if not getattr(found, "size", None):
        raise EsmlError(
            f"compute {s.compute} says no node size: jobs of this product want a compute cluster",
            hint="set compute in estate.toml to a cluster of the workspace: Azure ML studio lists them",
        )
    return f"{s.compute}: {found.size}"


def _tracking(p: AzurePlatform) -> str:
    url = f"{p.tracking_uri()}/api/2.0/mlflow/experiments/search"
    p.workspace.rest.send("tracking", "GET", url, {"max_results": "1"})
    return "MLflow answers"


def _prices(p: AzurePlatform, own: Mapping[str, Any]) -> str:
    sku = p.workspace.sku
    try:
        price = p.price_list.one(sku)
    except PlatformError as e:
        if sku not in own:
            raise
        return f"{sku}: {own[sku]} {p.currency} an hour, as estate.toml says ({e.message})"
    if price is None and sku in own:
        return f"{sku}: {own[sku]} {p.currency} an hour, as estate.toml says; the public list has none"
    if price is None:
        raise EsmlError(
            f"the public list has no price of {sku} in {p.settings.region}",
            hint=f'set prices."{sku}" in estate.toml',
        )
    return f"{sku}: {price:g} {p.currency} an hour"


def _costs(p: AzurePlatform) -> str:
    return f"{len(p.charges.ask())} lines this month"
