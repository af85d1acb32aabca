"""A fitted model: weighted members over one encoding. It predicts for tables and, fast, for single rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from esml_engine.training.models import learners
from esml_engine.training.models.classes import Classes
from esml_engine.training.models.forest import Forest, XgboostForest, extra_trees_forest, lightgbm_forest
from esml_engine.training.models.preparing import Encoder, Preparing
from esml_engine.training.models.signature import Columns, coerce

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Floats = NDArray[np.float64]

FEW_ROWS = 16


class Predictor(Protocol):
    """What serving and scoring need of any model, however it was made."""

    task: str
    label: str
    signature: list[dict[str, str]]
    features: list[str]
    example: dict[str, Any]
    classes: Classes

    def predict(self, frame: pa.Table | pd.DataFrame) -> NDArray[Any]:
        """Predictions (n,), numbers or class labels, for a table that holds the features; more columns are passed over."""

    def predict_columns(self, columns: Mapping[str, Sequence[Any]]) -> NDArray[Any]:
        """Predictions (n,) for lists of values by column, checked as by `coerce`."""

    def coerce(self, columns: Mapping[str, Sequence[Any]]) -> Columns:
        """Values checked against the signature, as plain Python values."""


class Matrices:
    """The matrices of one set of rows, each made when first asked for."""

    def __init__(self, encoder: Encoder, codes: Floats) -> None:
        self.encoder, self.codes = encoder, codes

    @cached_property
    def filled(self) -> Floats:
        """Codes without NaN (n, f)."""
        return self.encoder.filled(self.codes)

    @cached_property
    def scaled(self) -> Floats:
        """Standardised and one-hot (n, g)."""
        return self.encoder.scaled(self.codes)

    def of(self, kind: str) -> Floats:
        """The matrix that a kind of learner reads."""
        matrix: Floats = getattr(self, learners.MATRIX[kind])
        return matrix


@dataclass(frozen=True)
class Member:
    """One estimator and setting: the models of its folds, whose predictions are averaged.

    `classes`: how many there are; 0 for regression.
    """

    kind: str
    params: dict[str, Any]
    parts: tuple[Any, ...]
    weight: float = 1.0
    classes: int = 0

    def predict(self, matrices: Matrices, threads: int = 1) -> Floats:
        """Mean prediction (n,) of the parts; of classes their mean probabilities (n, k)."""
        x = matrices.of(self.kind)
        total = np.zeros((len(x), self.classes) if self.classes else len(x))
        for part in self.parts:
            total += learners.predict(self.kind, part, x, threads, self.classes)
        return total / len(self.parts)

    def predict_few(self, matrices: Matrices) -> Floats:
        """As `predict`, by the quickest way for a few rows."""
        if self.classes:
            few = self._few_classes
            return self.predict(matrices) if few is None else few(matrices)
        if self.kind == "extra_trees":
            rows = matrices.filled.astype(np.float32)
            forest = self._extra_trees
            return np.array([float((forest.sums(r) / forest.groups).mean()) for r in rows])
        if self.kind == "lightgbm":
            return np.array([float(self._lightgbm.leaves(r).sum()) for r in matrices.codes]) / len(self.parts)
        if self.kind == "xgboost":
            return np.array([self._xgboost.mean(r) for r in matrices.codes.astype(np.float32)])
        if self.kind == "linear":
            weights, constant = self._linear
            return np.asarray(matrices.scaled @ weights + constant)
        return self.predict(matrices)

    @cached_property
    def _few_classes(self) -> Callable[[Matrices], Floats] | None:
        from esml_engine.training.models.class_few import few_rows

        return few_rows(self.kind, self.parts, self.classes)

    @cached_property
    def _extra_trees(self) -> Forest:
        return extra_trees_forest(self.parts)

    @cached_property
    def _lightgbm(self) -> Forest:
        return lightgbm_forest(self.parts)

    @cached_property
    def _xgboost(self) -> XgboostForest:
        return XgboostForest(self.parts)

    @cached_property
    def _linear(self) -> tuple[Floats, float]:
        coefficients = np.mean([p.coef_ for p in self.parts], axis=0)
        return coefficients, float(np.mean([p.intercept_ for p in self.parts]))


class EnsembleModel:
    """Weighted members over one `Preparing`: what the portfolio makes.

    Args:
        members: with weights that sum to 1.
        preparing: how the features are read.
        label: name of the label.
        example: one row, by feature.
        task: `regression`; `class_model.EnsembleClassifier` is the one for classes.
    """

    kind = "ensemble"
    classes = Classes()

    def __init__(
        self,
        members: Sequence[Member],
        preparing: Preparing,
        label: str,
        example: Mapping[str, Any],
        task: str = "regression",
    ) -> None:
        self.members = tuple(members)
        self.preparing = preparing
        self.encoder = Encoder(preparing)
        self.label, self.task, self.example = label, task, dict(example)
        self.signature = preparing.signature
        self.features = [c["name"] for c in self.signature]

    @property
    def estimator(self) -> str:
        """A short name: the member's kind, or `ensemble`."""
        return self.members[0].kind if len(self.members) == 1 else "ensemble"

    def predict(self, frame: pa.Table | pd.DataFrame) -> NDArray[Any]:
        """Predictions (n,) for a table that holds the features; further columns are passed over.

        Raises:
            UsageError: a feature is missing or of a type that it can't be read from.
        """
        return self.predict_codes(self.encoder.codes(frame))

    def predict_codes(self, codes: Floats, threads: int | None = None) -> Floats:
        """Predictions (n,), of classes probabilities (n, k), for a codes matrix (n, f) of this model's encoder."""
        if not len(codes):
            return np.zeros((0, len(self.classes)) if self.classes else 0)
        matrices = Matrices(self.encoder, codes)
        many = learners.threads_for(len(codes)) if threads is None else threads
        return np.asarray(sum(m.weight * m.predict(matrices, many) for m in self.members))

    def predict_columns(self, columns: Mapping[str, Sequence[Any]]) -> NDArray[Any]:
        """Predictions (n,) for lists of values by column; made for few rows and one thread.

        Raises:
            UsageError: as `coerce`.
        """
        return self._of_columns(columns)

    def _of_columns(self, columns: Mapping[str, Sequence[Any]]) -> Floats:
        """As `predict_codes`, for lists of values by column."""
        plain = self.coerce(columns)
        rows = len(next(iter(plain.values())))
        codes = self.encoder.codes_of_rows(plain, rows)
        if not 0 < rows <= FEW_ROWS:
            return self.predict_codes(codes)
        matrices = Matrices(self.encoder, codes)
        return np.asarray(sum(m.weight * m.predict_few(matrices) for m in self.members))

    def coerce(self, columns: Mapping[str, Sequence[Any]]) -> Columns:
        """Values checked against the signature, as plain Python values.

        Raises:
            UsageError: names the missing, unknown or wrong-typed column and the row.
        """
        return coerce(self.signature, columns)
