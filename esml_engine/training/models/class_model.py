"""Models that classify: what they decide, and how it is told as labels and probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import UsageError
from esml_engine.training.models.classes import Classes, Label, Places
from esml_engine.training.models.custom_model import EstimatorModel
from esml_engine.training.models.model import EnsembleModel, Member
from esml_engine.training.models.preparing import Preparing

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Decided:
    """Of n rows the places (n,) of the predicted classes, and the probabilities (n, k)."""

    places: Places
    probability: Floats

    @classmethod
    def by(cls, probability: Floats) -> Decided:
        """The class with the largest probability, the first of equal ones."""
        return cls(probability.argmax(axis=1), probability)


class _Classifier:
    """What both kinds of classifiers tell, once they decided."""

    classes: Classes

    def decide(self, frame: pa.Table | pd.DataFrame) -> Decided:
        """Predicted classes and probabilities for a table that holds the features.

        Raises:
            UsageError: a feature is missing or of another kind than at training.
        """
        raise NotImplementedError

    def decide_columns(self, columns: Mapping[str, Sequence[Any]]) -> Decided:
        """As `decide`, for lists of values by column; errors as `coerce`."""
        raise NotImplementedError

    def predict(self, frame: pa.Table | pd.DataFrame) -> NDArray[Any]:
        """The predicted class labels (n,); errors as `decide`."""
        return self.classes.labels(self.decide(frame).places)

    def predict_proba(self, frame: pa.Table | pd.DataFrame) -> Floats:
        """Probabilities (n, k), in the order of `classes`; errors as `decide`."""
        return self.decide(frame).probability

    def predict_columns(self, columns: Mapping[str, Sequence[Any]]) -> NDArray[Any]:
        """The predicted class labels (n,); errors as `coerce`."""
        return self.classes.labels(self.decide_columns(columns).places)

    def predict_all(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """`{"prediction": labels, "probability": {class: [n]}}` as plain values; errors as `coerce`."""
        said = self.decide_columns(columns)
        labels: list[Label] = [self.classes.values[i] for i in said.places.tolist()]
        by_class = dict(zip(self.classes.names, said.probability.T.tolist(), strict=True))
        return {"prediction": labels, "probability": by_class}


class EnsembleClassifier(_Classifier, EnsembleModel):
    """Weighted members over one `Preparing`, whose probabilities are averaged.

    Args:
        members: with `classes` set, and weights that sum to 1.
        classes: in the order of the members' probabilities.
    """

    def __init__(
        self,
        members: Sequence[Member],
        preparing: Preparing,
        label: str,
        example: Mapping[str, Any],
        classes: Classes,
    ) -> None:
        super().__init__(members, preparing, label, example, "classification")
        self.classes = classes

    def decide(self, frame: pa.Table | pd.DataFrame) -> Decided:
        """As `_Classifier.decide`."""
        return Decided.by(self.predict_codes(self.encoder.codes(frame)))

    def decide_columns(self, columns: Mapping[str, Sequence[Any]]) -> Decided:
        """As `_Classifier.decide_columns`; made for few rows and one thread."""
        return Decided.by(self._of_columns(columns))


class EstimatorClassifier(_Classifier, EstimatorModel):
    """One fitted estimator of a user: its probabilities, and its own decision where it makes one.

    Args:
        classes: in the order of the estimator's probabilities. An estimator whose `classes_` are 0 … k - 1 while the
            classes are others was fitted on their places.
    """

    def __init__(
        self,
        estimator: Any,
        library: str,
        class_name: str,
        signature: Sequence[Mapping[str, str]],
        label: str,
        example: Mapping[str, Any],
        classes: Classes,
    ) -> None:
        super().__init__(estimator, library, class_name, signature, label, example, "classification")
        self.classes = classes

    def decide(self, frame: pa.Table | pd.DataFrame) -> Decided:
        """As `_Classifier.decide`."""
        return self._decide(self._frame(frame))

    def decide_columns(self, columns: Mapping[str, Sequence[Any]]) -> Decided:
        """As `_Classifier.decide_columns`."""
        return self._decide(self._frame_of_columns(columns))

    def _decide(self, frame: pd.DataFrame) -> Decided:
        k = len(self.classes)
        if not len(frame):
            return Decided.by(np.zeros((0, k)))
        if self.library == "sklearn":
            given = self._checked(self.estimator.predict_proba(frame), len(frame))
            # a tuned threshold, say, decides otherwise than the largest probability
            own = {v: i for i, v in enumerate(np.asarray(self.estimator.classes_).tolist())}
            said = np.asarray(self.estimator.predict(frame)).tolist()
            return Decided(np.array([own[v] for v in said], dtype=np.int64), given)
        return Decided.by(self._checked(self._raw(frame), len(frame)))

    def _checked(self, raw: Any, rows: int) -> Floats:
        given = np.asarray(raw, dtype=np.float64)
        if given.ndim == 1 and len(self.classes) == 2:  # the boosters' own: of the second class
            given = np.column_stack([1 - given, given])
        if given.shape != (rows, len(self.classes)) or not ((given >= 0) & (given <= 1)).all():
            raise UsageError(
                f"the estimator answered {given.shape} for {rows} rows, probabilities of {len(self.classes)} classes are needed",
                hint="fit for probabilities: objective binary or multiclass (LightGBM), binary:logistic or multi:softprob (XGBoost)",
            )
        return given
