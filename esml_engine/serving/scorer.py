"""A loaded model behind one method, whatever its task."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from esml_engine.errors import FailedError, SettingsError, UsageError
from esml_engine.scored.facts import Shape, stored_type
from esml_engine.serving.facts import LOADER, Predictor

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Predicted:
    """What a model says about some rows, as JSON values (no NaN, no infinity)."""

    prediction: list[Any]
    probability: dict[str, list[Any]] = field(default_factory=dict)
    low: list[Any] | None = None
    high: list[Any] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)  # what the model says about the whole answer

    def part(self, start: int, stop: int) -> Predicted:
        """The rows [start, stop)."""
        return Predicted(
            self.prediction[start:stop],
            {name: values[start:stop] for name, values in self.probability.items()},
            None if self.low is None else self.low[start:stop],
            None if self.high is None else self.high[start:stop],
            self.more,
        )

    def document(self) -> dict[str, Any]:
        """The answer's part: `predictions`, and what else the model gives."""
        out: dict[str, Any] = {"predictions": self.prediction}
        if self.probability:
            out["probabilities"] = self.probability
        if self.low is not None:
            out["low"], out["high"] = self.low, self.high
        return {**out, **self.more}

    def frame(self, features: Mapping[str, list[Any]]) -> dict[str, Any]:
        """The ledger's frame of these rows."""
        out: dict[str, Any] = {"features": features, "prediction": self.prediction}
        if self.probability:
            out["probability"] = self.probability
        if self.low is not None:
            out["low"], out["high"] = self.low, self.high
        return out


class Scorer:
    """A model version that answers: checks columns, predicts, and knows how its rows are stored."""

    def __init__(self, model: Predictor, model_version: int) -> None:
        self.model = model
        self.model_version = model_version
        self.features = [str(column["name"]) for column in model.signature]
        self.example: dict[str, Any] = dict(model.example)
        self.seconds = 0.0  # processor time of the last group: says whether the model is called in a thread
        # False: an answer rests on all rows of its request, so those of several callers stay apart
        self.joins_requests: bool = getattr(model, "joins_requests", True)
        self._all: Callable[[Columns], Mapping[str, Any]] | None = getattr(model, "predict_all", None)

    def coerce(self, columns: Mapping[str, list[Any]]) -> Columns:
        """The signature's columns, typed.

        Raises:
            UsageError: a column is missing, unknown, or holds what it should not, with column and row.
        """
        typed = self.model.coerce(columns)
        return {name: _listed(typed[name]) for name in self.features}

    def predict(self, columns: Columns) -> Predicted:
        """Predict rows that `coerce` returned.

        Raises:
            FailedError: the model did not give one prediction a row.
        """
        said = (
            {"prediction": self.model.predict_columns(columns)} if self._all is None else self._all(columns)
        )
        probability = {str(name): _json(values) for name, values in (said.get("probability") or {}).items()}
        low, high = (None if said.get(side) is None else _json(said[side]) for side in ("low", "high"))
        predicted = Predicted(_json(said["prediction"]), probability, low, high, said.get("more") or {})
        rows = len(next(iter(columns.values())))
        lists = [
            predicted.prediction,
            *probability.values(),
            *(side for side in (low, high) if side is not None),
        ]
        if any(len(values) != rows for values in lists):
            raise FailedError(f"model version {self.model_version} did not answer each of {rows} rows once")
        return predicted

    def shape(self) -> Shape:
        """How rows of this model lie in `scored`, tried out on its own example.

        Raises:
            Exception: whatever the model raises on its example; a model that fails there must not answer.
        """
        said = self.predict(self.coerce({name: [self.example[name]] for name in self.features}))
        kinds = {str(column["name"]): stored_type(str(column["type"])) for column in self.model.signature}
        value = said.prediction[0]
        prediction = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "double"
        if isinstance(value, int) and prediction == "double" and "classification" in self.model.task:
            prediction = "int64"
        return Shape(kinds, prediction, tuple(said.probability), said.low is not None)


def load(folder: str, sha256: str, model_version: int, loader: str = LOADER) -> Scorer:
    """Load a model version through the engine's loader (imported here: it is heavy)."""
    module, _, name = loader.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"the model loader {loader} can't be imported: {error}") from error
    return Scorer(function(folder, sha256), model_version)


def _listed(values: Any) -> list[Any]:
    if isinstance(values, list):
        return values
    if getattr(getattr(values, "dtype", None), "kind", "") == "M":  # NumPy lists nanoseconds as bare numbers
        values = values.astype("datetime64[us]")
    return list(values.tolist() if hasattr(values, "tolist") else values)


def _json(values: Any) -> list[Any]:
    listed = _listed(values)
    if any(isinstance(v, float) and not math.isfinite(v) for v in listed):
        return [None if isinstance(v, float) and not math.isfinite(v) else v for v in listed]
    return listed


def columns_of(document: Any) -> tuple[dict[str, list[Any]], int]:
    """Columns and row count of a request's body `{"input_data": {"columns", "data"}}`.

    Raises:
        UsageError: it is shaped otherwise.
    """
    hint = 'send {"input_data": {"columns": [names], "data": [[values of a row], …]}}'
    given = document.get("input_data") if isinstance(document, dict) else None
    if (
        not isinstance(given, dict)
        or not isinstance(given.get("columns"), list)
        or not isinstance(given.get("data"), list)
    ):
        raise UsageError("the body has no input_data with columns and data", hint=hint)
    names: Sequence[Any] = given["columns"]
    data: list[Any] = given["data"]
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise UsageError("columns must be names, each once", hint=hint)
    if not data:
        raise UsageError("data has no rows", hint=hint)
    width = len(names)
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != width:
            raise UsageError(f"row {number} does not have {width} values, one a column", hint=hint)
    if len(data) == 1:
        return {name: [value] for name, value in zip(names, data[0], strict=True)}, 1
    return dict(zip(names, map(list, zip(*data, strict=True)), strict=True)), len(data)
