"""Names of things, checked at one place (`[a-z][a-z0-9_]{1,39}`), so they are safe in paths, URLs and queries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from esml_engine.errors import UsageError

Purpose = Literal["train", "inference"]
ENVIRONMENTS = ("dev", "test", "prod")
STAGES = ("new", "in", "bronze", "silver", "gold", "trained", "test", "prod")
MODEL_TABLES = ("gold", "gold_train", "gold_validate", "gold_test", "to_score", "scored")
DATASET_LAYERS = ("bronze", "silver", "quarantine")
_PURPOSES = get_args(Purpose)
_NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")


def check_name(value: str, what: str) -> str:
    """Return `value` when it is a legal name.

    Raises:
        UsageError: otherwise, naming the rule.
    """
    if what == "dataset" and (value in MODEL_TABLES or value in _PURPOSES):
        raise UsageError(f"dataset {value!r} is a name of the lake's own", hint="call the dataset otherwise")
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise UsageError(
            f"{what} {value!r} is not a valid name",
            hint="a name starts with a lower-case letter, then 1 to 39 of a-z, 0-9 and _",
        )
    return value


def attempt_name(attempt: int, retry: int) -> str:
    """An attempt of a step among all of its run: `2` at the run's first beginning, `3.2` at its third.

    Attempts are counted anew each time that a run is begun again, and a job of before may still live.
    """
    return str(attempt) if retry <= 1 else f"{retry}.{attempt}"


def check_purpose(value: str) -> Purpose:
    """Return `value` when it is a purpose that data is delivered and refined for.

    Raises:
        UsageError: otherwise.
    """
    if value not in _PURPOSES:
        raise UsageError(f"no purpose {value!r}", hint=" or ".join(_PURPOSES))
    return "inference" if value == "inference" else "train"


@dataclass(frozen=True, order=True)
class ModelRef:
    """A model of a project; written `project/model`."""

    project: str
    model: str

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Parse `project/model`."""
        parts = text.split("/") if isinstance(text, str) else []
        if len(parts) != 2:
            raise UsageError(f"{text!r} is not a model", hint="write it as project/model")
        return cls(check_name(parts[0], "project"), check_name(parts[1], "model"))

    def __str__(self) -> str:
        return f"{self.project}/{self.model}"


@dataclass(frozen=True, order=True)
class TableName:
    """A table of a model: `ds01/silver`, `inference/ds01/bronze`, `gold`, `scored`."""

    layer: str
    dataset: str | None = None
    purpose: Purpose = "train"

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Parse the contract's spelling of a table."""
        parts = text.split("/")
        purpose: Purpose = "train"
        if parts[0] == "inference" and len(parts) == 3:
            purpose, parts = "inference", parts[1:]
        if len(parts) == 1 and parts[0] in MODEL_TABLES:
            side: Purpose = "inference" if parts[0] in ("to_score", "scored") else "train"
            return cls(parts[0], None, side)
        if len(parts) == 2 and parts[1] in DATASET_LAYERS:
            return cls(parts[1], check_name(parts[0], "dataset"), purpose)
        raise UsageError(
            f"{text!r} is not a table",
            hint=f"write DATASET/bronze|silver|quarantine, inference/DATASET/…, or one of {', '.join(MODEL_TABLES)}",
        )

    def __str__(self) -> str:
        if self.dataset is None:
            return self.layer
        prefix = "inference/" if self.purpose == "inference" else ""
        return f"{prefix}{self.dataset}/{self.layer}"

    def path(self) -> str:
        """Where the table lies below the model's folder of a lake."""
        if self.dataset is None:
            return f"{self.purpose}/{self.layer}"
        return f"{self.purpose}/{self.dataset}/out/{self.layer}"


def model_folder(ref: ModelRef) -> str:
    """The model's folder below a lake's root."""
    return f"projects/{ref.project}/{ref.model}"
