"""The embedded platform: everything real, on this machine's disk and cores."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from esml_engine.errors import disk_full, least_free
from esml_engine.platforms.base import Bill, Capabilities, DataAsset, EndpointState, JobState
from esml_engine.platforms.local.endpoints import Endpoints
from esml_engine.platforms.local.files import LocalFiles
from esml_engine.platforms.local.jobs import Jobs
from esml_engine.platforms.local.secrets import SecretStore
from esml_engine.processes import ProcessTable
from esml_engine.refs import attempt_name


class LocalPlatform(LocalFiles):
    """One environment on this machine. Lake under `lake/<env>`, tracking under `tracking/<env>`."""

    kind = "local"
    capabilities = Capabilities()

    def __init__(self, root: Path, env: str, warm: Jobs | None = None) -> None:
        super().__init__(root / "lake" / env)
        self.root = root
        self.env = env
        self.state = root / ".esml"
        self.state.mkdir(exist_ok=True)
        self.table = ProcessTable(self.state)
        self.jobs = warm or Jobs(self.table, warm=False)
        self.endpoints = Endpoints(self.state, env, self.table)
        self.secrets = SecretStore(self.state / "secrets" / env)

    def bring(self, folder: str, key: str, names: Sequence[str] | None = None) -> str:
        return folder

    def announce(self, asset: DataAsset) -> None:
        document = {
            "name": asset.name,
            "version": asset.version,
            "address": asset.address,
            "tags": dict(asset.tags),
        }
        self.write_file(f"assets/{asset.name}/{asset.version}.json", json.dumps(document, indent=1).encode())

    def work_folder(self, run: str, step: str, attempt: int, retry: int = 1) -> str:
        plain = step.replace(":", "-").replace("/", "-")
        folder = self.state / "runs" / run / plain / attempt_name(attempt, retry)
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def submit(self, spec: str) -> str:
        return self.jobs.submit(spec)

    def follow(self, handle: str) -> JobState:
        return self.jobs.follow(handle)

    def cancel(self, handle: str) -> None:
        self.jobs.cancel(handle)

    def wait(self, handle: str, seconds: float) -> None:
        self.jobs.wait(handle, seconds)

    def tracking_uri(self) -> str:
        folder = self.root / "tracking" / self.env
        folder.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{folder / 'mlflow.db'}"

    def artifact_root(self) -> str:
        return str(self.root / "tracking" / self.env / "artifacts")

    def apply_endpoint(self, name: str, config: dict[str, Any]) -> None:
        self.endpoints.apply(name, config)

    def endpoint_state(self, name: str, *, fresh: bool = False) -> EndpointState:
        return self.endpoints.state(name)

    def stop_endpoint(self, name: str, revision: int = 0) -> None:
        self.endpoints.stop(name)

    def endpoint_url(self, name: str, port: int) -> str:
        return f"http://127.0.0.1:{port}/score"

    def aim(self, name: str, slot: str) -> dict[str, str]:
        return {"x-esml-slot": slot}

    def put_secret(self, name: str, value: str) -> None:
        self.secrets.put(name, value)

    def get_secret(self, name: str, *, fresh: bool = False) -> str | None:
        return self.secrets.get(name)

    def secret_names(self) -> list[str]:
        return self.secrets.names()

    def prices(self, nodes: Sequence[str] = ()) -> dict[str, float]:
        return {}

    def bills(self) -> list[Bill]:
        return []

    def check(self, prices: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        rows = []
        lake = Path(self.lake_root())
        # one that is away is not made anew by asking for it: it could not be put back to its place
        there = next(p for p in (lake, *lake.parents) if p.is_dir())
        try:
            probe = there / f".probe-{uuid.uuid4().hex[:8]}"
            probe.write_text("ok", encoding="utf-8")
            probe.unlink()
            said = "can be written" if there == lake else "is not there yet, and can be made"
            rows.append({"part": f"{self.env} lake", "ok": True, "message": f"{lake} {said}", "hint": ""})
        except OSError as e:
            full = disk_full(e, folders=[lake])
            rows.append(
                {
                    "part": f"{self.env} lake",
                    "ok": False,
                    "message": f"{lake}: {e.strerror}",
                    "hint": full.hint if full else f"give this user the right to write to {lake}",
                }
            )
        where, free = least_free([lake, self.state, self.root / "tracking" / self.env]) or (self.root, 0)
        rows.append(
            {
                "part": f"{self.env} disk",
                "ok": free > 1 << 30,
                "message": f"{free / 1e9:.1f} GB free under {where}",
                "hint": "" if free > 1 << 30 else f"free at least 1 GB there: df -h {where}",
            }
        )
        how = "parent-death signal" if sys.platform == "linux" else "watch on the parent (portable fallback)"
        rows.append(
            {
                "part": f"{self.env} jobs",
                "ok": True,
                "message": f"children end with the worker by {how}",
                "hint": "",
            }
        )
        return rows

    def close(self) -> None:
        self.jobs.close()
        self.endpoints.close()
