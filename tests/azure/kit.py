"""Estates and platforms whose environments lie on the stand-in, made as a user would: settings and a file of addresses."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

from esml_engine.platforms.azure.platform import AzurePlatform
from esml_engine.platforms.places import place_of
from esml_engine.runs.facts import JobSpec
from tests.azure.cloud.stand_in import Cloud

SHORT = {
    "ESML_AZURE_POLL": "0.2",
    "ESML_AZURE_DRAIN": "1",
    "ESML_AZURE_LONGEST_WAIT": "0.5",
    "ESML_AZURE_TRIES": "2",
    "ESML_AZURE_TIMEOUT": "30",
}


def settings_of(cloud: Cloud, env: str, root: Path) -> dict[str, Any]:
    """The environment's table in estate.toml; the cloud's addresses are written beside it."""
    ws = cloud.workspaces[env]
    (root / f"cloud-{env}.json").write_text(json.dumps(cloud.document(env)), encoding="utf-8")
    return {
        "platform": "azure", "subscription": ws.subscription, "resource_group": ws.resource_group, "workspace": ws.name,
        "storage_account": ws.account, "file_system": ws.file_system, "key_vault": ws.vault, "region": ws.region,
        "compute": ws.compute,
        "cloud": f"cloud-{env}.json", "image": "registry.test/esml-cockpit:test",
    }  # fmt: skip


def in_lake_of_its_own(cloud: Cloud, env: str, root: Path, file_system: str = "") -> dict[str, Any]:
    """`settings_of`, in a file system that no other test uses: tables that are there would be taken into the catalogue."""
    name = file_system or new_file_system()
    cloud.azurite.send(cloud.workspaces[env].account, "PUT", name, "restype=container")
    return {**settings_of(cloud, env, root), "file_system": name}


def platform_of(cloud: Cloud, env: str, root: Path, file_system: str = "") -> AzurePlatform:
    """An environment's platform, opened as the engine opens it."""
    settings = in_lake_of_its_own(cloud, env, root, file_system)
    return AzurePlatform(root, env, place_of(settings), "EUR")


def new_file_system() -> str:
    """A name that no other test uses."""
    return f"t-{uuid.uuid4().hex[:16]}"


def spec_at(p: AzurePlatform, run: str, kind: str = "no.such.kind") -> str:
    """A specification whose job fails at once."""
    work = p.work_folder(run, "s", 1)
    spec = JobSpec(run, "s", 1, kind, "dev", "p1", "m1", {}, work)
    p.write_file(f"{work}/spec.json", spec.to_json().encode())
    return f"{work}/spec.json"


def ended(p: AzurePlatform, handle: str) -> Any:
    """A job's state once it ended."""
    end = time.monotonic() + 120
    while (state := p.follow(handle)).state == "running":
        assert time.monotonic() < end, state
        p.wait(handle, 0.1)
    return state
