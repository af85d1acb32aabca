"""The Azure ML workspace behind an environment: its client, and what it says about itself."""

from __future__ import annotations

import logging
import threading
from functools import cached_property
from importlib.metadata import version
from typing import Any

from esml_engine.errors import SettingsError
from esml_engine.platforms.azure import limits, names
from esml_engine.platforms.azure.clouds import Cloud
from esml_engine.platforms.azure.errors import AzureMissingError, asking
from esml_engine.platforms.azure.extra import need
from esml_engine.platforms.azure.identity import identity_of
from esml_engine.platforms.azure.rest import Rest

IMAGE = "esml-cockpit"
_lock = threading.RLock()
_clouds: dict[str, str] = {}  # name -> resource manager: the client keeps one address a name and process


class Workspace:
    """One workspace. Nothing is asked before it is needed."""

    def __init__(self, cloud: Cloud, settings: Any) -> None:
        self.cloud, self.settings = cloud, settings
        self.path = (
            f"/subscriptions/{settings.subscription}/resourceGroups/{settings.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{settings.workspace}"
        )

    @cached_property
    def client(self) -> Any:
        """The MLClient."""
        ml, s = need("azure.ai.ml"), self.settings
        _quiet()
        given: dict[str, Any] = {"cloud": self.cloud.name}
        with _lock, asking("the Azure ML client"):
            if not self.cloud.built_in:
                known = _clouds.setdefault(self.cloud.name, self.cloud.resource_manager)
                if known != self.cloud.resource_manager:
                    raise SettingsError(
                        f"two clouds are called {self.cloud.name}", hint="give each its own name"
                    )
                given["cloud_metadata"] = _metadata(self.cloud)
            how = {
                "enable_telemetry": False, "show_progress": False, "retry_policy": limits.policy(),
                "read_timeout": limits.timeout(),
                "polling_interval": max(0.2, limits.poll()),
            }  # fmt: skip
            identity = identity_of(self.cloud)
            try:
                made = ml.MLClient(identity, s.subscription, s.resource_group, s.workspace, **given, **how)
            except AttributeError:  # the client knows this name already
                del given["cloud_metadata"]
                made = ml.MLClient(identity, s.subscription, s.resource_group, s.workspace, **given, **how)
            # set to INFO by making a client: its begin and end of each call, 404s as errors; what fails is raised anyway
            logging.getLogger("azure.ai.ml._telemetry").setLevel(logging.CRITICAL)
            return made

    @cached_property
    def rest(self) -> Rest:
        """Requests in this process's name."""
        return Rest(identity_of(self.cloud), self.cloud.audience, self.asking)

    def url(self, below: str) -> str:
        """The ARM address of something of the workspace."""
        return f"{self.cloud.resource_manager.rstrip('/')}{self.path}/{below}"

    def grant(self, role: str = "AzureML Data Scientist") -> str:
        """The command that gives this process its right on the workspace."""
        who = identity_of(self.cloud).who()
        return f'az role assignment create --assignee {who} --role "{role}" --scope {self.path}'

    def admit(self) -> str:
        """The command that lets machines outside its network reach the workspace."""
        s = self.settings
        return f"az ml workspace update --name {s.workspace} --resource-group {s.resource_group} --public-network-access Enabled"

    def asking(self, what: str, keys: str = "workspace, resource_group or subscription") -> Any:
        """Errors in the engine's words; `keys`: the settings that name the thing."""
        need("azure.core")
        return asking(f"{what} in workspace {self.settings.workspace}", self.grant, self.admit, keys)

    def forget(self) -> None:
        """Ask again what the workspace and its compute say about themselves: in a process that stays up they may have changed."""
        for said in ("about", "api", "sku"):
            self.__dict__.pop(said, None)

    @cached_property
    def about(self) -> Any:
        """The workspace as it describes itself."""
        with self.asking("the workspace"):
            return self.client.workspaces.get(self.settings.workspace)

    @cached_property
    def api(self) -> str:
        """The address of the workspace's own services (run history)."""
        said = self.rest.send("the workspace's services", "GET", str(self.about.discovery_url)).json()
        return str(said["api"]).rstrip("/")

    @cached_property
    def sku(self) -> str:
        """The node type of the environment's compute."""
        with self.asking(f"compute {self.settings.compute}", "compute"):
            return str(self.client.compute.get(self.settings.compute).size or "")

    def image(self, name: str = IMAGE) -> str:
        """The image with the engine: the setting, else the engine's own version in the workspace's registry.

        Raises:
            AzureMissingError: no image is set, and the workspace has no registry.
            SettingsError: no image is set, and the cloud's description does not say how registries are addressed.
        """
        if self.settings.image:
            return str(self.settings.image) if name == IMAGE else f"{self.settings.image}-scoring"
        registry = str(self.about.container_registry or "").rpartition("/")[2]
        if not registry:
            raise AzureMissingError(
                f"workspace {self.settings.workspace} has no container registry, so there is no image with the engine",
                hint="set image in estate.toml, or attach a registry: az ml workspace update --container-registry <its id> --update-dependent-resources",
            )
        tag = f"{name}:{version('esml-cockpit')}"
        if not self.cloud.registry:
            raise SettingsError(
                f"cloud {self.cloud.name} does not say what stands behind the name of registry {registry} in its address",
                hint=f'set image in estate.toml to what az acr show --name {registry} --query loginServer says, with "/{tag}" behind it; '
                "or registry in the cloud's description",
            )
        return f"{registry}.{self.cloud.registry}/{tag}"

    def environment(self, name: str, image: str, inference: dict[str, Any] | None = None) -> str:
        """`name:version` of the registered environment of an image; another image, or other routes, is another version."""
        version = names.environment_version(image, inference)
        key = (self.path, name, version)
        with _lock:
            if key not in _environments:
                entities = need("azure.ai.ml.entities")
                made = entities.Environment(
                    name=name, version=version, image=image, inference_config=inference
                )
                with self.asking(f"environment {name}"):
                    try:
                        self.client.environments.get(name, version)
                    except need("azure.core.exceptions").ResourceNotFoundError:
                        self.client.environments.create_or_update(made)
                _environments.add(key)
        return f"{name}:{version}"


def _quiet() -> None:
    """Keep the client's dots and notes off standard output, which may be somebody's JSON."""
    polling = need("azure.ai.ml._utils._azureml_polling")
    vars(polling)["print"] = lambda *_, **__: None
    logging.getLogger("azure.ai.ml").setLevel(logging.ERROR)


_environments: set[tuple[str, str, str]] = set()


def _metadata(cloud: Cloud) -> dict[str, str]:
    return {
        "azure_portal": cloud.portal, "resource_manager": cloud.resource_manager.rstrip("/") + "/",
        "active_directory": cloud.active_directory,
        "aml_resource_id": cloud.aml_resource_id, "storage_endpoint": cloud.storage_suffix,
        "registry_discovery_endpoint": cloud.resource_manager.rstrip("/") + "/",
    }  # fmt: skip
