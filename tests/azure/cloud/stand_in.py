"""The stand-in as a whole: its listeners, its state, and how clients are pointed at it."""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.azure.cloud import (  # noqa: F401 - handlers enter themselves into the table
    account,
    assets,
    costs,
    deployments,
    execution,
    history,
    identity,
    inference,
    jobs,
    manage,
    online,
    scoring,
    storage,
    tracking,
    vault,
    warm,
)
from tests.azure.cloud.azurite import Azurite
from tests.azure.cloud.certificates import Authority
from tests.azure.cloud.faults import Faults, Recorder
from tests.azure.cloud.processes import Processes, Program
from tests.azure.cloud.resources import Resources, Workspace
from tests.azure.cloud.server import Listener
from tests.azure.cloud.tokens import TENANT, StandInCredential, Tokens
from tests.azure.cloud.wire import ARM, STORAGE, VAULT, Call, Refusal

ENVS = ("dev", "test", "prod")
ROLES = {
    ARM: "AzureML Data Scientist",
    STORAGE: "Storage Blob Data Contributor",
    VAULT: "Key Vault Secrets Officer",
    "cost": "Cost Management Reader",
}


class Cloud:
    """A small Azure on loopback with one workspace for each of dev, test and prod, each in a subscription of its own.

    Attributes:
        workspaces: env -> `Workspace` (subscription, resource_group, name, region, account, file_system, vault, compute,
            storage_url, vault_url).
        url: the management address (https, resource manager, MLflow, run history, prices, scoring).
        faults: `faults.add("Jobs_CreateOrUpdate", times=2, status=429, headers={"Retry-After": "1"})`.
        recorder: what was asked and answered.
        spend: bill lines (`costs.Spend`); ended jobs add theirs.
        images: part of an image's name -> the command of its container (an image's command is not in ARM).
        pace: milliseconds between polls of long operations (retry-after-ms); the service sends none (clients then wait 5 to 30 s between polls).
        node_extra: environment variables that every node gets on top.
        broken: failures of the stand-in itself; a test that finds any fails.
    """

    def __init__(self, folder: Path, envs: tuple[str, ...] = ENVS) -> None:
        self.folder, self.closed = folder, False
        self.processes = Processes()
        self.tokens, self.faults, self.recorder, self.resources = Tokens(), Faults(), Recorder(), Resources()
        self.broken: list[str] = []
        self.client_secret = secrets.token_urlsafe(24)
        self.operations: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, execution.Run] = {}
        self.asked: dict[str, dict[str, Any]] = {}
        self.spend: list[costs.Spend] = []
        self.node_extra: dict[str, str] = {}
        self.pace = "100"
        self.log_signature = secrets.token_urlsafe(24)
        self.trackers = tracking.Trackers(self)
        self.keys: dict[str, dict[str, str]] = {}
        self.warm = warm.WarmNodes(folder, self.processes)
        self.servers = scoring.Servers(self)
        self.images: dict[str, list[str]] = {"": [sys.executable, "-m", "esml_engine.serving.managed"]}
        self._slots: dict[str, threading.Semaphore] = {}
        self._ending = threading.Lock()
        self._ended: dict[str, str] = {}
        self._ends: dict[str, Callable[[str], None]] = {}
        self.missing_roles: set[tuple[str, str]] = set()
        self.authority = Authority(folder)
        spaces = [_workspace(e, i) for i, e in enumerate(envs)]
        state = folder / "azurite"
        state.mkdir()
        self.azurite = Azurite(state, self.processes, [w.account for w in spaces])
        self._context = self.authority.context()
        self._listeners = [self._listen(ARM, "")]
        self.url = self._listeners[0].url
        self.workspaces: dict[str, Workspace] = {}
        self.vaults: dict[str, vault.Vault] = {}
        self.accounts: dict[str, account.Account] = {}
        self.node_secrets: dict[str, Workspace] = {}
        for w in spaces:
            store, safe = self._listen(STORAGE, w.account), self._listen(VAULT, w.vault)
            made = replace(w, storage_url=store.url, vault_url=safe.url)
            self.workspaces[w.env] = made
            self.vaults[w.vault] = vault.Vault(safe.url)
            self.accounts[w.account] = account.Account(self.azurite, w.account, store.url)
            self.node_secrets[secrets.token_urlsafe(24)] = made
            self.azurite.send(w.account, "PUT", w.file_system, "restype=container")
            manage.furnish(self, made)

    def _listen(self, service: str, account: str) -> Listener:
        return Listener(self, self._context, service, account)

    def run(self, command: str, *, env: dict[str, str], cwd: Path, log: Path) -> Program:
        """Start a command of a node or a container, from a warm Python where it is the product's and one is ready."""
        argv = warm.module_of(command)
        made = self.warm.start(argv, env=env, cwd=cwd, log=log) if argv else None
        return made or self.processes.start(["bash", "-c", command], env=env, cwd=cwd, log=log)

    def ready_soon(self, envs: Sequence[str]) -> None:
        """Start what a whole cycle needs, beside what the caller does next: warm nodes, each workspace's tracking."""
        self.warm.begin()
        for env in envs:
            threading.Thread(target=self._ready, args=(self.workspaces[env],), daemon=True).start()

    def _ready(self, ws: Workspace) -> None:
        try:
            self.trackers.port(ws)
        except (RuntimeError, OSError):
            if not self.closed:  # else the tests ended before it was ready
                raise

    def slots(self, ws: Workspace) -> threading.Semaphore:
        """The nodes of a workspace's cluster: more jobs than nodes wait in state Queued."""
        return self._slots.setdefault(ws.env, threading.Semaphore(4))

    def when(self, id: str, end: Callable[[str], None]) -> None:
        """Call `end` with the status once the long operation `id` is through (at once when it is)."""
        with self._ending:
            status = self._ended.get(id)
            if status is None:
                self._ends[id] = end
        if status is not None:
            end(status)

    def finish(self, id: str, status: str) -> None:
        """A long operation is through: tell its resource."""
        with self._ending:
            self._ended[id] = status
            end = self._ends.pop(id, None)
        if end is not None:
            end(status)

    def credential(self, env: str) -> StandInCredential:
        """A credential object for the clients, in the name of an environment's principal."""
        return StandInCredential(self.tokens, self.workspaces[env].principal)

    def environ(self, env: str | None = None) -> dict[str, str]:
        """What a process needs to reach this cloud with `DefaultAzureCredential`, as on a node of `env` (default: the first).

        Certificates for requests, rustls and OpenSSL; MSI_ENDPOINT and MSI_SECRET of an Azure ML node.
        """
        ws = self.workspaces[env or next(iter(self.workspaces))]
        secret = next(s for s, w in self.node_secrets.items() if w.env == ws.env)
        ca = str(self.authority.ca_file)
        return {
            "REQUESTS_CA_BUNDLE": ca, "SSL_CERT_FILE": ca, "CURL_CA_BUNDLE": ca,
            "MSI_ENDPOINT": f"{self.url}/msi/token", "MSI_SECRET": secret, "AZURE_TENANT_ID": TENANT,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }  # fmt: skip

    def metadata(self) -> dict[str, str]:
        """`cloud_metadata=` of MLClient; the cloud's name must be one a port (`cloud_name`)."""
        return {
            "azure_portal": f"{self.url}/portal", "resource_manager": f"{self.url}/", "active_directory": self.url,
            "aml_resource_id": "https://ml.azure.com", "storage_endpoint": "stand-in.invalid",
            "registry_discovery_endpoint": f"{self.url}/",
        }  # fmt: skip

    def document(self, env: str) -> dict[str, Any]:
        """The cloud's description for an environment's setting `cloud`: written as JSON to a file beside estate.toml.

        One an environment, since a vault and a storage account are ports here, not host names.
        """
        ws = self.workspaces[env]
        return {
            "name": self.cloud_name, "resource_manager": self.url, "active_directory": self.url, "portal": f"{self.url}/portal",
            "audience": "https://management.azure.com", "aml_resource_id": "https://ml.azure.com",
            "storage_suffix": "core.windows.net",
            "blob": ws.storage_url, "dfs": ws.storage_url, "vault": ws.vault_url, "vault_audience": "https://vault.azure.net",
            "mlflow": f"{self.url}/mlflow/v1.0{{workspace}}", "prices": f"{self.url}/api/retail/prices",
            "storage_auth": "token", "discovery": False,
        }  # fmt: skip

    @property
    def cloud_name(self) -> str:
        """A name that is this cloud's alone in this process."""
        return f"StandIn{self.url.rsplit(':', 1)[1]}"

    def ml_client(self, env: str, **more: Any) -> Any:
        """An MLClient of a workspace: short polls, no waiting between retries unless said otherwise."""
        from azure.ai.ml import MLClient, _azure_environments

        ws = self.workspaces[env]
        metadata = (
            {}
            if self.cloud_name in _azure_environments._environments
            else {"cloud_metadata": self.metadata()}
        )
        how = {"polling_interval": 0.2, "retry_backoff_factor": 0.0, **more}
        return MLClient(
            self.credential(env), ws.subscription, ws.resource_group, ws.name,
            cloud=self.cloud_name, enable_telemetry=False, **metadata, **how,
        )  # fmt: skip

    def check_token(self, audience: str, call: Call) -> str:
        """The principal of a call's token; 401 when there is none that fits, 403 when the role on what it asks for was taken away."""
        if call.service == VAULT and not call.headers.get("authorization"):
            raise vault.challenge(self)
        principal = self.tokens.check(call.headers.get("authorization"), self._audiences(audience))
        env = next((w.env for w in self.workspaces.values() if self._is_of(w, call)), "")
        if (ARM if audience == "data" else audience, env) in self.missing_roles:
            raise _forbidden(audience, call, principal)
        return principal

    def _is_of(self, ws: Workspace, call: Call) -> bool:
        return call.account in (ws.account, ws.vault) if call.account else ws.subscription in call.path

    def _audiences(self, audience: str) -> set[str]:
        if audience == VAULT:
            return {vault.RESOURCE}
        if audience == STORAGE:
            return {"https://storage.azure.com"}
        own = {"https://management.azure.com", "https://management.core.windows.net", self.url}
        return own | {"https://ml.azure.com"} if audience == "data" else own

    @contextmanager
    def without_role(self, service: str, env: str) -> Iterator[str]:
        """Take a role away for a while (`arm`, `storage`, `vault` or `cost`); yields the role's name."""
        self.missing_roles.add((service, env))
        try:
            yield ROLES[service]
        finally:
            self.missing_roles.discard((service, env))

    def close(self) -> None:
        """End the listeners and every program."""
        self.closed = True
        self.servers.close()
        for one in self._listeners:
            one.shutdown()
            one.server_close()
        self.processes.close()


def _forbidden(audience: str, call: Call, principal: str) -> Refusal:
    if audience == STORAGE:
        code = "AuthorizationPermissionMismatch"
        return Refusal(
            403,
            code,
            "This request is not authorized to perform this operation using this permission.",
            {"x-ms-error-code": code},
        )
    if audience == VAULT:
        return Refusal(
            403,
            "Forbidden",
            f"Caller is not authorized to perform action on resource. Caller: appid={principal}; Action: 'Microsoft.KeyVault/vaults/secrets'. DeniedBy: RBAC",
        )
    return Refusal(
        403,
        "AuthorizationFailed",
        f"The client '{principal}' with object id '{principal}' does not have authorization to perform action '{call.method}' over scope '{call.path}' or the scope is invalid.",
    )


def _workspace(env: str, number: int) -> Workspace:
    return Workspace(
        env=env, subscription=f"0000000{number + 1}-aaaa-4bbb-8ccc-dddddddddddd", resource_group=f"rg-esml-{env}",
        name=f"mlw-esml-{env}",
        region="westeurope", account=f"stesml{env}", file_system="lake", vault=f"kv-esml-{env}", compute="cpu-cluster",
        node="Standard_DS3_v2",
        principal=f"9999999{number + 1}-aaaa-4bbb-8ccc-dddddddddddd",
    )  # fmt: skip
