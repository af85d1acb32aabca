"""A model that holds the estimator of a user's `train.py`, as it is: it reads the feature columns as a data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import UsageError
from esml_engine.training.models.classes import Classes
from esml_engine.training.models.preparing import as_table, kind_of, type_name
from esml_engine.training.models.signature import Columns, coerce

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Floats = NDArray[np.float64]


def library_of(estimator: Any) -> str:
    """`sklearn`, `lightgbm` or `xgboost`: the library whose safe format stores this estimator.

    Raises:
        UsageError: none does.
    """
    root = type(estimator).__module__.split(".")[0]
    if root not in ("sklearn", "lightgbm", "xgboost"):
        raise UsageError(
            f"train() returned {type(estimator).__module__}.{type(estimator).__qualname__}, which can't be stored without pickle",
            hint="return a fitted estimator of scikit-learn (pipelines too), LightGBM or XGBoost",
        )
    return root


class EstimatorModel:
    """One fitted estimator of a known library behind the `Predictor` protocol.

    Args:
        estimator: scikit-learn's object, or the bare `Booster` of LightGBM or XGBoost.
        library: `sklearn`, `lightgbm` or `xgboost`.
        class_name: the class that the user returned.
        signature: the feature columns in the order in which the estimator was fitted.
        label: name of the label.
        example: one row, by feature.
        task: `regression`; `class_model.EstimatorClassifier` is the one for classes.
    """

    kind = "estimator"
    classes = Classes()

    def __init__(
        self,
        estimator: Any,
        library: str,
        class_name: str,
        signature: Sequence[Mapping[str, str]],
        label: str,
        example: Mapping[str, Any],
        task: str = "regression",
    ) -> None:
        # the bare booster is what is stored: keep it from the start, so that nothing differs after loading
        if library == "lightgbm":
            estimator = getattr(estimator, "booster_", estimator)
        elif library == "xgboost" and hasattr(estimator, "get_booster"):
            booster = estimator.get_booster()
            best = (
                getattr(booster, "best_iteration", None)
                if estimator.get_params().get("early_stopping_rounds")
                else None
            )
            estimator = booster if best is None else booster[: best + 1]
        self.estimator, self.library, self.class_name = estimator, library, class_name
        self.signature = [dict(c) for c in signature]
        self.features = [c["name"] for c in self.signature]
        self.label, self.task, self.example = label, task, dict(example)

    def predict(self, frame: pa.Table | pd.DataFrame) -> NDArray[Any]:
        """Predictions (n,) for a table that holds the features; further columns are passed over.

        Raises:
            UsageError: a feature is missing or of another kind than at training.
        """
        return self._predict(self._frame(frame))

    def _frame(self, frame: pa.Table | pd.DataFrame) -> pd.DataFrame:
        """The features of a table, checked, in the order in which the estimator was fitted."""
        table = as_table(frame)
        for c in self.signature:
            if c["name"] not in table.column_names:
                raise UsageError(f"column '{c['name']}' is missing")
            given = type_name(table.schema.field(c["name"]).type)
            if kind_of(given) not in (kind_of(c["type"]), "empty"):
                raise UsageError(f"column '{c['name']}' is {given}, the model takes {c['type']}")
        made: pd.DataFrame = table.select(self.features).to_pandas()
        return made

    def _predict(self, frame: pd.DataFrame) -> Floats:
        if not len(frame):
            return np.zeros(0)
        out = np.asarray(self._raw(frame), dtype=np.float64)
        if out.size != len(frame):
            raise UsageError(
                f"the estimator answered {out.shape} for {len(frame)} rows, one number a row is needed"
            )
        return out.reshape(-1)

    def _raw(self, frame: pd.DataFrame) -> Any:
        """What the library answers."""
        if self.library == "xgboost":
            import xgboost as xgb

            return self.estimator.predict(xgb.DMatrix(frame, enable_categorical=True))
        return self.estimator.predict(frame)

    def predict_columns(self, columns: Mapping[str, Sequence[Any]]) -> NDArray[Any]:
        """Predictions (n,) for lists of values by column; errors as `coerce`."""
        return self._predict(self._frame_of_columns(columns))

    def _frame_of_columns(self, columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
        import pandas as pd

        plain = self.coerce(columns)
        made = {}
        for c in self.signature:
            kind = kind_of(c["type"])
            dtype = {"number": "float64", "category": "str", "date": "datetime64[us]"}.get(kind, "object")
            made[c["name"]] = pd.Series(plain[c["name"]], dtype=dtype)
        return pd.DataFrame(made)

    def coerce(self, columns: Mapping[str, Sequence[Any]]) -> Columns:
        """Values checked against the signature, as plain Python values; errors as `signature.coerce`."""
        return coerce(self.signature, columns)
