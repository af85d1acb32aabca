"""The port: what an environment's platform must do. Nothing imports an implementation but `open_platform`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from esml_engine.errors import NotYetError


@dataclass(frozen=True)
class JobState:
    """Where a submitted job stands. `state`: running | done | failed | lost (no result and no process)."""

    state: str
    fraction: float = 0.0
    message: str = ""
    result: str = ""  # the result document's JSON, when done


@dataclass(frozen=True)
class EndpointState:
    """What runs behind an endpoint."""

    running: bool
    revision: int = -1
    slots: dict[str, Any] | None = None
    live: str = ""
    error: str = ""


class Platform(Protocol):
    """One environment's platform."""

    env: str
    kind: str

    # lake
    def lake_root(self) -> str:
        """Root of the lake: a path, or an `abfss://` URI."""
        ...

    def storage_options(self) -> dict[str, str]:
        """What delta-rs needs to reach the lake; empty for paths."""
        ...

    def make_skeleton(self, folders: list[str]) -> None:
        """Make folders below the lake's root."""
        ...

    def put_file(self, source: Path, target: str) -> None:
        """Copy a local file to `target` below the lake's root: whole or not at all."""
        ...

    def list_files(self, folder: str) -> list[tuple[str, int, int]]:
        """(path below the root, bytes, modified ns) of every file under a folder."""
        ...

    # jobs
    def work_folder(self, run: str, step: str, attempt: int) -> str:
        """Scratch folder of one attempt, made if absent."""
        ...

    def submit(self, spec_path: str) -> str:
        """Start the job; returns a handle that finds it again by name."""
        ...

    def follow(self, handle: str) -> JobState:
        """Look at a job without waiting."""
        ...

    def cancel(self, handle: str) -> None:
        """End a job now."""
        ...

    def wait(self, handle: str, seconds: float) -> None:
        """Return when the job ended, or after so many seconds."""
        ...

    # tracking and registry
    def tracking_uri(self) -> str:
        """The MLflow address of this environment, ready to use."""
        ...

    # serving
    def apply_endpoint(self, name: str, config: dict[str, Any]) -> None:
        """Make the endpoint what `config` says (start or update it)."""
        ...

    def endpoint_state(self, name: str) -> EndpointState:
        """What runs behind an endpoint."""
        ...

    def stop_endpoint(self, name: str) -> None:
        """End an endpoint's process."""
        ...

    def endpoint_url(self, name: str, port: int) -> str:
        """The address that callers use; ends in `/score`."""
        ...

    # secrets, prices
    def put_secret(self, name: str, value: str) -> None:
        """Keep a secret."""
        ...

    def get_secret(self, name: str) -> str | None:
        """A secret, or None."""
        ...

    def secret_names(self) -> list[str]:
        """Names of the secrets that are kept, sorted; never a value."""
        ...

    def prices(self) -> dict[str, float]:
        """Price per node hour by node type, where the platform knows better than the estate's list."""
        ...

    def check(self) -> list[dict[str, Any]]:
        """`doctor`: `[{"part", "ok", "message", "hint"}]`."""
        ...

    def close(self) -> None:
        """End what this process started."""
        ...


def open_platform(root: Path, env: str, settings: Any) -> Platform:
    """The one place that knows the implementations."""
    if settings.platform == "local":
        from esml_engine.platforms.local.platform import LocalPlatform

        return LocalPlatform(root, env)
    raise NotYetError(
        f"environment {env}: the azure platform is not in this version yet",
        hint='set platform = "local" in estate.toml',
    )
