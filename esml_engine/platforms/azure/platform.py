"""An environment on Azure: Data Lake Storage, an Azure ML workspace, Key Vault, Cost Management."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esml_engine.errors import ConflictError
from esml_engine.platforms.azure import limits, names, tidying
from esml_engine.platforms.azure.clouds import cloud_of
from esml_engine.platforms.azure.doctor import checks
from esml_engine.platforms.azure.endpoints import Endpoints
from esml_engine.platforms.azure.extra import need
from esml_engine.platforms.azure.identity import identity_of
from esml_engine.platforms.azure.jobs import Jobs
from esml_engine.platforms.azure.lake import AzureFiles
from esml_engine.platforms.azure.money import Bills, Prices
from esml_engine.platforms.azure.tracking import ready
from esml_engine.platforms.azure.vault import Vault
from esml_engine.platforms.azure.workspace import Workspace
from esml_engine.platforms.base import Bill, Capabilities, DataAsset, EndpointState, JobState
from esml_engine.refs import attempt_name


class AzurePlatform(AzureFiles):
    """One environment in one workspace. Opening it asks nothing and imports none of Azure's packages.

    Raises:
        SettingsError: the description of the cloud is wrong.
    """

    kind = "azure"

    def __init__(self, root: Path, env: str, settings: Any, currency: str) -> None:
        state = root / ".esml"
        self.env, self.settings, self.currency = env, settings, currency
        super().__init__(
            cloud_of(settings.cloud, root),
            settings.storage_account,
            settings.file_system,
            state / "cache" / "lake" / env,
        )
        self.tidying = tidying.Tidying(self, state / "cache" / "swept" / env)
        self.capabilities = Capabilities(
            start_seconds=1800.0,
            endpoints_outlive=True,
            far_secrets=True,
            serving_node=settings.serving_node,
            drain_seconds=limits.drain(),
            jobs_here=False,
        )
        self.workspace = Workspace(self.cloud, settings)
        self.vault = Vault(self.cloud, settings.key_vault, self.lake_root())
        self.jobs = Jobs(self.workspace, self, state / "runs")
        self.endpoints = Endpoints(self.workspace, self, self.vault, env, state / "endpoints")
        self.price_list = Prices(state / "prices", self.cloud, settings.region, currency)
        self.charges = Bills(state / "prices", self.cloud, settings.subscription, settings.resource_group)

    def here(self, folder: str, names: Sequence[str] | None = None, *, fixed: bool = True) -> str:
        near = super().here(folder, names, fixed=fixed)
        self.tidying.cache()
        return near

    def bring(self, folder: str, key: str, names: Sequence[str] | None = None) -> str:
        source, target = Path(folder), f"{tidying.BROUGHT}/{key}"
        found = (
            sorted(p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file())
            if names is None
            else names
        )
        self.put_folder(source, found, target, time.time() - tidying.REFRESHED_DAYS * tidying.DAY)
        self.tidying.brought()
        return f"{self.lake_root()}/{target}"

    def announce(self, asset: DataAsset) -> None:
        entities = need("azure.ai.ml.entities")
        refused = (
            need("azure.core.exceptions").ResourceExistsError,
            need("azure.ai.ml.exceptions").AssetPathException,
        )
        tags = {k: names.tag(v) for k, v in asset.tags.items()}
        data = entities.Data(
            name=asset.name, version=str(asset.version), type="uri_folder", path=asset.address, tags=tags
        )
        with self.workspace.asking(f"data asset {asset.name}"):
            try:
                self.workspace.client.data.create_or_update(data)
            except refused:  # it is there already: an asset's version never changes
                there = str(self.workspace.client.data.get(asset.name, str(asset.version)).path or "")
                if there.rstrip("/") != asset.address.rstrip("/"):
                    s = self.settings
                    where = f"--workspace-name {s.workspace} --resource-group {s.resource_group}"
                    raise ConflictError(
                        f"data asset {asset.name} version {asset.version} points to {there}, not to {asset.address}",
                        hint="an asset's address can't be changed, and another estate (or an earlier one) has this name in the workspace: "
                        "give the environment a workspace of its own, or the model another name; "
                        f"az ml data show --name {asset.name} --version {asset.version} {where} shows whose it is",
                    ) from None

    # jobs
    def work_folder(self, run: str, step: str, attempt: int, retry: int = 1) -> str:
        plain = step.replace(":", "-").replace("/", "-")
        return f"{self.lake_root()}/runs/{run}/{plain}/{attempt_name(attempt, retry)}"

    def submit(self, spec: str) -> str:
        return self.jobs.submit(spec)

    def follow(self, handle: str) -> JobState:
        return self.jobs.follow(handle)

    def cancel(self, handle: str) -> None:
        self.jobs.cancel(handle)

    def wait(self, handle: str, seconds: float) -> None:
        self.jobs.wait(handle, seconds)

    # tracking and registry
    def tracking_uri(self) -> str:
        ready(identity_of(self.cloud))
        return self.cloud.mlflow.format(region=self.settings.region, workspace=self.workspace.path)

    def artifact_root(self) -> str:
        return f"{self.lake_root()}/tracking"

    # serving
    def apply_endpoint(self, name: str, config: dict[str, Any]) -> None:
        self.endpoints.apply(name, config)

    def endpoint_state(self, name: str, *, fresh: bool = False) -> EndpointState:
        return self.endpoints.state(name, fresh)

    def stop_endpoint(self, name: str, revision: int = 0) -> None:
        self.endpoints.stop(name, revision)

    def endpoint_url(self, name: str, port: int) -> str:
        return self.endpoints.url(name)

    def aim(self, name: str, slot: str) -> dict[str, str]:
        return self.endpoints.aim(name, slot)

    # secrets, prices
    def put_secret(self, name: str, value: str) -> None:
        self.vault.put(name, value)

    def secret_names(self) -> list[str]:
        return self.vault.names()

    def get_secret(self, name: str, *, fresh: bool = False) -> str | None:
        return self.vault.get(name, fresh=fresh)

    def prices(self, nodes: Sequence[str] = ()) -> dict[str, float]:
        need("azure.core")
        return self.price_list.of(nodes)

    def bills(self) -> list[Bill]:
        return self.charges.this_month()

    def check(self, prices: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        return checks(self, prices or {})

    def close(self) -> None:
        """Jobs and endpoints go on in Azure; this process stops looking at them."""
        self.jobs.closing.set()
        self.endpoints.closing.set()
