"""What travels between the worker and a job: data only, JSON on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

INTERNAL = ("trained", "copied")
"""Keys of a step's answer that are for the steps after it; faces leave them out."""


def step_env(step: str, env: str) -> str:
    """The environment of a step: its run's, unless the step is named `<env>@<name>`."""
    other, at, _ = step.partition("@")
    return other if at else env


@dataclass(frozen=True)
class FileOut:
    """One parquet file that a job wrote into a table's folder (not yet a fact: the worker commits it)."""

    path: str  # relative to the table's folder
    rows: int
    bytes: int
    stats: str  # Delta statistics, JSON: numRecords, minValues, maxValues, nullCount
    partition: dict[str, str] = field(default_factory=dict)
    source: str = ""  # name of the IN file behind it (bronze, quarantine), else ""


@dataclass(frozen=True)
class TableOut:
    """What a job wants to become the next version of one table."""

    table: str  # contract name, e.g. "ds01/bronze"
    schema: str  # Arrow schema, base64 of its IPC message
    add: tuple[FileOut, ...]
    remove: tuple[str, ...] = ()  # relative paths of files that leave the table
    remove_all: bool = False
    rows: int = 0  # rows of the table after this version
    quality: tuple[dict[str, Any], ...] = ()  # expectation results
    facts: dict[str, Any] = field(default_factory=dict)  # e.g. per-file counts, split parameters


@dataclass(frozen=True)
class TableIn:
    """One table version that a job reads."""

    table: str
    uri: str  # the table's folder
    version: int | None  # the engine's version; None: the table does not exist yet
    files: tuple[str, ...] = ()  # relative paths, in commit order
    schema: str = ""
    rows: int = 0


@dataclass(frozen=True)
class JobSpec:
    """One step of a run, as data: `python -m esml_engine.job SPEC` executes it in a process of its own."""

    run: str
    step: str
    attempt: int
    kind: str  # name in esml_engine.bindings.JOBS
    env: str
    project: str
    model: str
    params: dict[str, Any]
    work: str  # folder of this attempt; holds spec.json, progress.json, result.json, log.txt
    inputs: dict[str, TableIn] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)  # table name -> folder to write parquet files into
    tracking: str = ""  # MLflow tracking URI
    max_seconds: float = 0.0  # 0: no limit
    retry: int = 1  # how often the run was begun; sets its jobs, and their folders, apart from those before

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> JobSpec:
        """Inverse of `to_json`; what another version of the engine noted beside its own fields is left out."""
        known = {f.name for f in fields(cls)}
        raw = {k: v for k, v in json.loads(text).items() if k in known}
        raw["inputs"] = {k: _table_in(v) for k, v in raw["inputs"].items()}
        return cls(**raw)


def _table_in(raw: dict[str, Any]) -> TableIn:
    return TableIn(**{**raw, "files": tuple(raw["files"])})


@dataclass(frozen=True)
class JobResult:
    """What a job left: the last thing that it writes."""

    ok: bool
    seconds: float
    value: dict[str, Any] = field(default_factory=dict)  # the step's own answer
    tables: tuple[TableOut, ...] = ()
    error: dict[str, Any] | None = None  # {"code", "message", "hint"}
    peak_mb: float = 0.0
    node_seconds: float | None = None  # how long its node was used, where the platform says so

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> JobResult:
        """Inverse of `to_json`."""
        raw = json.loads(text)
        raw["tables"] = tuple(table_out(t) for t in raw["tables"])
        return cls(**raw)


def table_out(raw: dict[str, Any]) -> TableOut:
    """A `TableOut` from its JSON."""
    add = tuple(FileOut(**f) for f in raw["add"])
    return TableOut(**{**raw, "add": add, "remove": tuple(raw["remove"]), "quality": tuple(raw["quality"])})
