"""The port: what an environment's platform must do. Nothing imports an implementation but the functions at its end.

They ask an implementation whether an address is its own: what an address looks like is no business of the port.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from esml_engine.errors import EsmlError, UsageError


@dataclass(frozen=True)
class JobState:
    """Where a submitted job stands. `state`: running | done | failed | lost (no result and no process)."""

    state: str
    fraction: float = 0.0
    message: str = ""
    result: str = ""  # the result document's JSON, when done
    seconds: float | None = None  # how long its node was used, where the platform says so
    waits: bool = (
        False  # it runs, but has not begun (a queue, a node that starts): its time limit does not count yet
    )


@dataclass(frozen=True)
class EndpointState:
    """What runs behind an endpoint."""

    running: bool
    revision: int = -1
    slots: dict[str, Any] | None = None
    live: str = ""
    error: str = ""
    stuck: str = ""  # why it does not go on before somebody does something
    port_taken: int = 0  # the port that another program has, so that it is stuck
    stuck_at: int = -1  # the revision that `stuck` is about: a later one begins afresh
    hint: str = ""  # what to do about `stuck`, else about `error`
    log: str = ""  # how its log is read: a path, or a command
    keys: tuple[str, ...] | None = None  # SHA-256 of each key that opens it; None: the platform does not say


@dataclass(frozen=True)
class Capabilities:
    """What platforms differ in; asked before an act is planned, or a wait begun."""

    start_seconds: float = 90.0  # how long an endpoint may take to hold a new model ready
    endpoints_outlive: bool = False  # endpoints run on when the worker ends
    far_secrets: bool = False  # reading a secret is a call over the network
    serving_node: str = (
        ""  # node type that each instance of an endpoint has to itself; '': one process on the runs' node
    )
    drain_seconds: float = 2.0  # how often answered requests are fetched
    jobs_here: bool = True  # jobs run with this machine's own packages


@dataclass(frozen=True)
class DataAsset:
    """A table's version as the platform lists it for other tools: a projection of the catalogue."""

    name: str
    version: int
    address: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bill:
    """What the platform charged for a project in a month, in the estate's currency."""

    project: str
    amount: float
    currency: str
    until: str  # the day up to which charges are in


class Files(Protocol):
    """A lake as files. A name is relative to the lake's root, or a full address (path or URI)."""

    def lake_root(self) -> str:
        """Root of the lake: a path, or a URI."""
        ...

    def storage_options(self) -> dict[str, str]:
        """What delta-rs needs to reach the lake; empty for paths. Never stored."""
        ...

    def make_skeleton(self, folders: list[str]) -> None:
        """Make folders below the lake's root."""
        ...

    def folders(self, folder: str) -> list[str]:
        """Names of the folders right in a folder, sorted; none where it is not there."""
        ...

    def put_file(self, source: Path, target: str) -> None:
        """Copy a local file to `target`: whole or not at all."""
        ...

    def list_files(self, folder: str) -> list[tuple[str, int, int]]:
        """(path below the root, bytes, modified ns) of every file under a folder."""
        ...

    def read_file(self, name: str) -> bytes | None:
        """A file's content, None when it is not there."""
        ...

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file: whole or not at all."""
        ...

    def create_file(self, name: str, content: bytes) -> bool:
        """Write a file only if none is there; False when one is."""
        ...

    def remove_file(self, name: str) -> None:
        """Remove a file; one that is gone already is fine."""
        ...

    def here(self, folder: str, names: Sequence[str] | None = None, *, fixed: bool = True) -> str:
        """A folder of this machine with these files (None: all) of a folder: itself, or a copy.

        `fixed`: the files never change under their name, so that an earlier copy of them serves.
        """
        ...

    def drafts(self, folder: str) -> str:
        """A folder of this machine where new files of `folder` are written before they are handed in; itself, or another."""
        ...

    def hand_in(self, folder: str, names: Sequence[str]) -> None:
        """Bring files from `drafts(folder)` into `folder`."""
        ...


class Platform(Files, Protocol):
    """One environment's platform."""

    env: str
    kind: str
    capabilities: Capabilities

    def bring(self, folder: str, key: str, names: Sequence[str] | None = None) -> str:
        """Have files of a folder of this machine where this platform's jobs read them; returns that folder's address.

        `key` names the content, so that a repetition copies nothing.
        """
        ...

    def announce(self, asset: DataAsset) -> None:
        """List a table's version for other tools; saying it again is harmless."""
        ...

    # jobs
    def work_folder(self, run: str, step: str, attempt: int, retry: int = 1) -> str:
        """Folder of one attempt: holds spec.json, progress.json, model files, and result.json last.

        `retry`: how often the run was begun; no attempt of another beginning has the same folder.
        """
        ...

    def submit(self, spec: str) -> str:
        """Start the job of a specification; returns its handle, which is the specification's address.

        Submitting it again, also by another worker, starts no second job where the first one lives on by itself.

        Raises:
            EsmlError: none was started.
        """
        ...

    def follow(self, handle: str) -> JobState:
        """Look at a job without waiting."""
        ...

    def cancel(self, handle: str) -> None:
        """End a job now."""
        ...

    def wait(self, handle: str, seconds: float) -> None:
        """Return when the job ended, after so many seconds, or when it is worth another look."""
        ...

    # tracking and registry
    def tracking_uri(self) -> str:
        """The MLflow address of this environment, ready to use."""
        ...

    def artifact_root(self) -> str:
        """Where files beside tracked runs are kept: a path, or an address in the lake."""
        ...

    # serving
    def apply_endpoint(self, name: str, config: dict[str, Any]) -> None:
        """Make the endpoint what `config` says (start or update it), or go on with that; never waits long."""
        ...

    def endpoint_state(self, name: str, *, fresh: bool = False) -> EndpointState:
        """What runs behind an endpoint.

        Args:
            fresh: as it is now, whatever was seen a moment ago.
        """
        ...

    def stop_endpoint(self, name: str, revision: int = 0) -> None:
        """End an endpoint, or go on with that; never waits long, and saying it again is harmless.

        Args:
            revision: at which that is wanted; what went wrong at an earlier one is forgotten.
        """
        ...

    def endpoint_url(self, name: str, port: int) -> str:
        """The address that callers use; ends in `/score`."""
        ...

    def aim(self, name: str, slot: str) -> dict[str, str]:
        """Headers that aim a request at a slot without traffic; what it answers is not kept."""
        ...

    # secrets, prices
    def put_secret(self, name: str, value: str) -> None:
        """Keep a secret."""
        ...

    def get_secret(self, name: str, *, fresh: bool = False) -> str | None:
        """A secret, or None. `fresh`: as it is kept now; else it may be as old as a platform remembers it."""
        ...

    def secret_names(self) -> list[str]:
        """Names of the secrets that are kept, sorted; never a value."""
        ...

    def prices(self, nodes: Sequence[str] = ()) -> dict[str, float]:
        """Price per node hour by node type, where the platform knows better than the estate's list."""
        ...

    def bills(self) -> list[Bill]:
        """What was charged this month, by project; empty where nobody sends a bill."""
        ...

    def check(self, prices: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """`doctor`: `[{"part", "ok", "message", "hint"}]`, made by `platforms.rows`; `ok` None: not checked.

        `prices`: the estate's own, which stand where the platform can't say one.
        """
        ...

    def close(self) -> None:
        """End what this process started."""
        ...


def open_platform(root: Path, env: str, settings: Any, currency: str = "EUR", warm: Any = None) -> Platform:
    """The platform of an environment: the one place that knows the implementations.

    `warm`: a worker's pool of warm children, for jobs that run on this machine.
    """
    if settings.platform == "local":
        from esml_engine.platforms.local.platform import LocalPlatform

        return LocalPlatform(root, env, warm)
    from esml_engine.platforms.azure.platform import AzurePlatform

    return AzurePlatform(root, env, settings, currency)


def open_files(address: str, scratch: Path) -> Files:
    """The lake that a job reads from and writes to, by an address in it; `scratch` takes copies."""
    if "://" not in address:
        from esml_engine.platforms.local.files import LocalFiles

        return LocalFiles(Path(address).parent)
    from esml_engine.platforms.azure.delta import is_azure

    if is_azure(address):
        from esml_engine.platforms.azure.lake import job_files

        return job_files(address, scratch)
    raise UsageError(
        f"no platform keeps a lake at {address}", hint="it is a path, or an address that a platform gave"
    )


def lake_error(uri: str, error: Exception) -> EsmlError | None:
    """The engine's error for what a lake elsewhere answered to Delta's client; None where the lake is this machine's."""
    if "://" not in uri:
        return None
    from esml_engine.platforms.azure.delta import is_azure, translated

    return translated(uri, error) if is_azure(uri) else None


def keep_quiet() -> None:
    """Have this process's log say what clients of services elsewhere warn of, and not what they ask."""
    from esml_engine.platforms.azure.quiet import CHATTY

    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def tracking_error(uri: str, error: Exception) -> EsmlError | None:
    """The engine's error for what the MLflow service at `uri` answered; None where it is MLflow's own to say."""
    if not uri.startswith("http"):
        return None
    from esml_engine.platforms.azure.tracking import is_azure, translated

    return translated(uri, error) if is_azure(uri) else None
