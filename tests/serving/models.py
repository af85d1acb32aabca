"""A tiny model for the endpoint's tests: real arithmetic, and two switches that tests need (a slow and a failing row)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esml_engine.errors import UsageError


class Linear:
    """`slope * age + 1`; computes for `bmi` seconds when bmi is below 10 (and says so by a file `slow` in its folder); fails on age -666."""

    task = "regression"

    def __init__(self, slope: float, folder: Path | None = None) -> None:
        self.slope, self.folder = slope, folder
        self.signature = [
            {"name": "age", "type": "int64"},
            {"name": "bmi", "type": "double"},
            {"name": "sex", "type": "string"},
        ]
        self.features = [c["name"] for c in self.signature]
        self.example: dict[str, Any] = {"age": 50, "bmi": 25.0, "sex": "f"}

    def coerce(self, columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        for name in self.features:
            if name not in columns:
                raise UsageError(
                    f"column {name!r} is missing", hint=f"the model takes {', '.join(self.features)}"
                )
        for name in ("age", "bmi"):
            for row, value in enumerate(columns[name]):
                if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                    raise UsageError(
                        f"column {name!r}, row {row}: {value!r} is not a number", hint=f"{name} is a number"
                    )
        return dict(columns)

    def predict_columns(self, columns: Mapping[str, list[Any]]) -> list[float]:
        if -666 in columns["age"]:
            raise ZeroDivisionError("the model's own error")
        pause = max((b for b in columns["bmi"] if b is not None and b < 10), default=0)
        if pause:
            if self.folder is not None:
                (self.folder / "slow").touch()
            end = time.perf_counter() + pause
            while time.perf_counter() < end:  # a slow model computes, it does not sleep
                pass
        return [self.slope * (a or 0) + 1 for a in columns["age"]]


def load(folder: str, sha256: str) -> Linear:
    """Reads `model.json` of the folder: {"slope", "wait": path that must exist before the load ends, optional}."""
    document = json.loads((Path(folder) / "model.json").read_text())
    if "error" in document:
        raise ValueError(document["error"])
    while "wait" in document and not Path(document["wait"]).exists():
        time.sleep(0.01)
    return Linear(document["slope"], Path(folder))
