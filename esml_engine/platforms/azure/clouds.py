"""Which cloud: Azure's own three, or another whose addresses stand in a file. Unknown or unsafe addresses are refused."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from esml_engine.errors import SettingsError

VARIABLE = "ESML_AZURE_CLOUD"
"""Environment variable that tells a job or a deployment its cloud (a name, or the JSON text): no estate.toml is there."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Cloud:
    """A cloud's addresses. `{account}`, `{name}`, `{region}` and `{workspace}` (an ARM path) are filled in on use.

    Args:
        audience: of ARM tokens; `vault_audience`, and storage's is the same in all clouds.
        storage_auth: `token`, or `key`: the account's key from AZURE_STORAGE_ACCOUNT_KEY.
        registry: what stands behind a container registry's name in its address; empty: environments must say their `image`.
        discovery: False where the authority is private: no instance discovery, no comparison of vault challenges.
    """

    name: str = "AzureCloud"
    resource_manager: str = "https://management.azure.com/"
    active_directory: str = "https://login.microsoftonline.com/"
    portal: str = "https://portal.azure.com/"
    audience: str = "https://management.azure.com"
    aml_resource_id: str = "https://ml.azure.com/"
    storage_suffix: str = "core.windows.net"
    blob: str = "https://{account}.blob.core.windows.net"
    dfs: str = "https://{account}.dfs.core.windows.net"
    vault: str = "https://{name}.vault.azure.net"
    vault_audience: str = "https://vault.azure.net"
    mlflow: str = "https://{region}.api.azureml.ms/mlflow/v1.0{workspace}"
    prices: str = "https://prices.azure.com/api/retail/prices"
    storage_auth: str = "token"
    discovery: bool = True
    registry: str = ""

    @property
    def built_in(self) -> bool:
        """One of Azure's own."""
        return self == _CLOUDS.get(self.name)

    def text(self) -> str:
        """As a job or a deployment is told; holds no secret."""
        return self.name if self.built_in else json.dumps(asdict(self), sort_keys=True)

    def root(self, account: str, file_system: str) -> str:
        """The address of a lake."""
        return f"abfss://{file_system}@{account}.dfs.{self.storage_suffix}"


_CLOUDS = {
    "AzureCloud": Cloud(registry="azurecr.io"),
    "AzureChinaCloud": Cloud(
        "AzureChinaCloud", "https://management.chinacloudapi.cn/", "https://login.chinacloudapi.cn/", "https://portal.azure.cn/",
        "https://management.chinacloudapi.cn", "https://ml.azure.cn/", "core.chinacloudapi.cn",
        "https://{account}.blob.core.chinacloudapi.cn",
        "https://{account}.dfs.core.chinacloudapi.cn", "https://{name}.vault.azure.cn", "https://vault.azure.cn",
        "https://{region}.api.ml.azure.cn/mlflow/v1.0{workspace}", registry="azurecr.cn",
    ),
    "AzureUSGovernment": Cloud(
        "AzureUSGovernment", "https://management.usgovcloudapi.net/", "https://login.microsoftonline.us/",
        "https://portal.azure.us/",
        "https://management.usgovcloudapi.net", "https://ml.azure.us/", "core.usgovcloudapi.net",
        "https://{account}.blob.core.usgovcloudapi.net",
        "https://{account}.dfs.core.usgovcloudapi.net", "https://{name}.vault.usgovcloudapi.net",
        "https://vault.usgovcloudapi.net",
        "https://{region}.api.ml.azure.us/mlflow/v1.0{workspace}", registry="azurecr.us",
    ),
}  # fmt: skip


def cloud_of(said: str = "", folder: Path | None = None) -> Cloud:
    """The cloud of a setting: a name, or a JSON file in `folder`; without one what the environment variable says.

    Raises:
        SettingsError: neither a name nor a readable file; an unknown key; an address that is not https.
    """
    said = said or os.environ.get(VARIABLE, "") or "AzureCloud"
    if said in _CLOUDS:
        return _CLOUDS[said]
    text = said
    if not said.startswith("{"):
        try:
            text = ((folder or Path()) / said).read_text(encoding="utf-8")
        except OSError as e:
            raise SettingsError(
                f"cloud {said!r} is neither {', '.join(_CLOUDS)} nor a file of the estate",
                hint="correct cloud in estate.toml",
            ) from e
    try:
        raw = json.loads(text)
        cloud = Cloud(**raw)
    except (ValueError, TypeError) as e:
        raise SettingsError(
            f"the description of the cloud is wrong: {e}", hint="see Clouds in docs/azure.md"
        ) from e
    missing = {f.name for f in fields(Cloud)} - set(raw) - {"storage_auth", "discovery", "registry"}
    if missing or cloud.storage_auth not in ("token", "key"):
        wrong = ", ".join(sorted(missing)) or "storage_auth"
        raise SettingsError(f"the description of the cloud lacks {wrong}", hint="see Clouds in docs/azure.md")
    for key in ("resource_manager", "active_directory", "blob", "dfs", "vault", "mlflow", "prices"):
        _check(key, str(getattr(cloud, key)))
    return cloud


def _check(key: str, address: str) -> None:
    parts = urlsplit(address.replace("{", "").replace("}", ""))
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise SettingsError(f"cloud: {key} is not an https address", hint="tokens go over https alone")
