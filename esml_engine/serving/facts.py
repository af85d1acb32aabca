"""Frozen facts of the serving room: the endpoint process's configuration, its control file, and what a model is to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from esml_engine import replacing
from esml_engine.errors import SettingsError

LOADER = "esml_engine.training.storage:load"
LONGEST_NAME = 200  # bytes of a request id or a caller


class Predictor(Protocol):
    """A loaded model, as `esml_engine.training.storage.load(folder, sha256)` gives it.

    A model with more to say than its prediction also has `predict_all(columns)`, which answers
    `{"prediction": …, "probability": {class: …}, "low": …, "high": …, "more": {…}}` (all but the first optional;
    `more` goes into the answer as it is, such as `"stale": true`). One whose answer rests on all rows of a request says
    `joins_requests = False`.
    """

    signature: Sequence[Mapping[str, str]]  # {"name", "type"}
    features: Sequence[str]
    task: str
    example: Mapping[str, Any]

    def coerce(self, columns: Mapping[str, list[Any]]) -> Mapping[str, Any]:
        """Check and type columns; raises UsageError naming the wrong column and row."""
        ...

    def predict_columns(self, columns: Mapping[str, Any]) -> Any:
        """One prediction a row."""
        ...


@dataclass(frozen=True)
class Config:
    """What the endpoint process is started with, as a JSON file.

    Args:
        endpoint: name, for logs and metrics.
        ledger: path of the endpoint's ledger (SQLite).
        control: path of the control file, see `Control`.
        key_sha256: hexadecimal SHA-256 of the bearer key; holds only while the control file lists no keys.
        max_rows, max_body_bytes: limits of one request (413).
        queue: requests that may be under way at once; more are sent away (429).
        log: path of the log file, "" for standard error.
        parent: process id that this process must not outlive, 0 for none. On Linux the kernel tells it when the
            *thread* that started it ends: start it from one that stays.
        instance: told on the health page, so that nobody mistakes another estate's endpoint for this one.
        loader: `module:function` that loads a model from (folder, sha256); tests put their own here.
        answered: where several processes share one endpoint, the folder of a lake that takes each answered request
            (`esml_engine.scored.answered`); "" where `ledger` is this process's own.
        smoke_sha256: for an endpoint whose keys and slots somebody in front of it looks after: hexadecimal SHA-256 of
            what a request that aims at a slot must know. Then keys are not checked here.
    """

    endpoint: str
    ledger: str
    control: str
    port: int
    host: str = "127.0.0.1"
    key_sha256: str = ""
    max_rows: int = 10_000
    max_body_bytes: int = 16 * 1024 * 1024
    queue: int = 256
    log: str = ""
    parent: int = 0
    loader: str = LOADER
    instance: str = ""
    answered: str = ""
    smoke_sha256: str = ""

    @classmethod
    def read(cls, path: str | Path) -> Config:
        """Read the configuration file.

        Raises:
            SettingsError: unknown or missing keys.
        """
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise SettingsError(f"{Path(path).name} is not an endpoint's configuration: {error}") from error

    def write(self, path: str | Path) -> None:
        """Write the configuration file, readable by its owner only."""
        target = Path(path)
        target.touch(mode=0o600)
        target.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Slot:
    """One model that the endpoint should hold ready."""

    folder: str
    sha256: str
    model_version: int
    deployment: str = ""
    instances: int = 1  # of the endpoint's process, where the platform runs several


@dataclass(frozen=True)
class Control:
    """What the endpoint should be doing: written by the worker (atomically), watched by the endpoint.

    Args:
        revision: grows with each write.
        live: the slot that answers when `traffic` is empty.
        slots: models to hold, by slot name (`blue`, `green`).
        traffic: percent of the requests by slot; slots not named get none.
        save: log rows to `scored`; answers are kept for retries either way.
        key_sha256: hexadecimal SHA-256 of each key that opens the endpoint (two while a key is rotated).
    """

    revision: int
    live: str
    slots: dict[str, Slot]
    traffic: dict[str, int] = field(default_factory=dict)
    save: bool = True
    key_sha256: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> Control:
        """Read the control file.

        Raises:
            SettingsError: it is not one, or shifts traffic to a slot that it does not define.
        """
        try:
            raw = json.loads(Path(path).read_text(encoding="utf-8"))
            slots = {name: Slot(**slot) for name, slot in raw.pop("slots").items()}
            control = cls(slots=slots, key_sha256=tuple(raw.pop("key_sha256", ())), **raw)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise SettingsError(f"{Path(path).name} is not an endpoint's control file: {error}") from error
        unknown = set(control.shares()) - set(slots)
        if unknown:
            raise SettingsError(f"traffic goes to {', '.join(sorted(unknown))}, which is not among the slots")
        return control

    def shares(self) -> dict[str, int]:
        """Traffic by slot, slots without any left out."""
        return {name: share for name, share in self.traffic.items() if share > 0} or (
            {self.live: 100} if self.live else {}
        )

    def write(self, path: str | Path) -> None:
        """Replace the control file in one step."""
        replacing.put(Path(path), json.dumps(asdict(self)), mode=0o600)
