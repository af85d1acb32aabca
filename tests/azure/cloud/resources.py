"""What exists in the cloud: workspaces with their names, and ARM resources by id."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.azure.cloud.wire import Call

PROVIDER = "Microsoft.MachineLearningServices"


@dataclass(frozen=True)
class Workspace:
    """One environment's place in Azure. `env`: dev, test or prod."""

    env: str
    subscription: str
    resource_group: str
    name: str
    region: str
    account: str  # storage account
    file_system: str
    vault: str
    compute: str
    node: str  # the compute's VM size
    principal: str  # who this environment's tokens are for
    storage_url: str = ""
    vault_url: str = ""

    @property
    def id(self) -> str:
        """The ARM id."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}/providers/{PROVIDER}/workspaces/{self.name}"

    @property
    def guid(self) -> str:
        """The workspace's own id, as in operation ids."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.id))

    def scope(self, provider: str = "") -> str:
        """The resource group's id, or one of a resource in it."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}" + (
            f"/providers/{provider}" if provider else ""
        )


def now() -> str:
    """As the service writes times."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def system_data(principal: str, created: dict[str, Any] | None = None) -> dict[str, Any]:
    """`systemData` of a resource written now."""
    at = now()
    made = created or {"createdAt": at, "createdBy": principal, "createdByType": "Application"}
    return {
        **{k: made[k] for k in ("createdAt", "createdBy", "createdByType")},
        "lastModifiedAt": at,
        "lastModifiedBy": principal,
        "lastModifiedByType": "Application",
    }


class Resources:
    """ARM resources by id (compared without case), in the order of their making."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._all: dict[str, dict[str, Any]] = {}

    def get(self, id: str) -> dict[str, Any] | None:
        """A resource, or None."""
        return self._all.get(id.lower().rstrip("/"))

    def put(
        self, id: str, collection: str, call: Call, properties: dict[str, Any], /, **more: Any
    ) -> tuple[dict[str, Any], bool]:
        """Make or replace; returns the resource and whether it is new."""
        with self.lock:
            old = self.get(id)
            made = {
                "id": id, "name": id.rsplit("/", 1)[1], "type": f"{PROVIDER}/workspaces/{collection}", "properties": properties,
                "systemData": system_data(call.principal, old["systemData"] if old else None), **more,
            }  # fmt: skip
            self._all[id.lower()] = made
            return made, old is None

    def remove(self, id: str) -> bool:
        """Take a resource and all below it away; whether it was there."""
        with self.lock:
            below = id.lower() + "/"
            for k in [k for k in self._all if k.startswith(below)]:
                del self._all[k]
            return self._all.pop(id.lower(), None) is not None

    def below(self, id: str) -> list[dict[str, Any]]:
        """The direct children of a collection's id."""
        start = id.lower() + "/"
        with self.lock:
            return [v for k, v in self._all.items() if k.startswith(start) and "/" not in k[len(start) :]]
