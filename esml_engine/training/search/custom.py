"""The user's `train.py`: called with frames of the kind its annotation asks for; what it returns becomes a model."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from esml_engine.errors import EsmlError, StepError
from esml_engine.training.models.class_model import EstimatorClassifier
from esml_engine.training.models.classes import Classes, Label
from esml_engine.training.models.custom_model import EstimatorModel, library_of
from esml_engine.training.models.preparing import type_name
from esml_engine.training.models.signature import example_of_columns


@dataclass(frozen=True)
class TrainContext:
    """What a step function is told: the model's settings, and which columns are label, key and features.

    `classes`: for classification the distinct labels of gold_train, sorted. An estimator that takes numbers only
    (XGBoost) is fitted on their places in it, 0 … k - 1, which predictions are then turned back from.
    """

    env: str
    task: str
    label: str
    key: str
    features: tuple[str, ...]
    seed: int
    purpose: str = "train"
    dataset: str = ""
    version: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[Label, ...] = ()


def train_custom(code: str | Path, train: pa.Table, validate: pa.Table, ctx: TrainContext) -> EstimatorModel:
    """Run `train(train, validate, ctx)` of the file `code` and wrap the estimator that it returns.

    Raises:
        StepError: the file can't be loaded, has no `train`, raises (named with its own line), learned from the
            label or the key, or what it returned can't predict.
        UsageError: the estimator can't be stored without pickle.
    """
    path = Path(code)
    function = _load(path)
    frames = [_as_asked(t, function) for t in (train, validate)]
    estimator = _guard(path, lambda: function(frames[0], frames[1], ctx))
    if not callable(getattr(estimator, "predict", None)):
        raise StepError(f"{path.name}: train() returned {type(estimator).__name__}, which has no predict")
    library = library_of(estimator)
    features = _features_of(estimator, ctx.features, train.column_names)
    taken = [f for f in features if f in (ctx.label, ctx.key)]
    if taken:
        raise StepError(
            f"{path.name}: the estimator was fitted on '{taken[0]}', the label or the key",
            hint="fit on train[list(ctx.features)]",
        )
    signature = [{"name": f, "type": type_name(train.schema.field(f).type)} for f in features]
    name = f"{type(estimator).__module__}.{type(estimator).__qualname__}"
    given = (estimator, library, name, signature, ctx.label, example_of_columns(train, features))
    model = (
        EstimatorClassifier(*given, _classes_of(path, estimator, ctx.classes))
        if ctx.task == "classification"
        else EstimatorModel(*given, ctx.task)
    )
    whole = train.select(features).drop_null()
    _guard(path, lambda: model.predict((whole if len(whole) else train).slice(0, 2)))  # it may not be fitted
    return model


def _classes_of(path: Path, estimator: Any, labels: tuple[Label, ...]) -> Classes:
    """The classes in the order of the estimator's probabilities.

    Raises:
        StepError: it gives no probabilities, or knows classes that are not the label's.
    """
    said = type(estimator).__name__
    bare = said == "Booster"
    if not bare and not callable(getattr(estimator, "predict_proba", None)):
        raise StepError(
            f"{path.name}: {said} gives no probabilities (predict_proba)",
            hint="classification needs them; CalibratedClassifierCV adds them to an estimator without",
        )
    known = None if bare else getattr(estimator, "classes_", None)
    if known is None:
        return Classes(labels)
    found = tuple(np.asarray(known).tolist())
    if set(map(_typed, found)) <= set(map(_typed, labels)) and list(found) == sorted(found):
        return Classes(found)
    if found == tuple(range(len(labels))):
        return Classes(labels)
    raise StepError(
        f"{path.name}: the estimator knows the classes {', '.join(map(repr, found[:5]))}, the label has {', '.join(map(repr, labels[:5]))}",
        hint="fit on train[ctx.label], or on places in ctx.classes: train[ctx.label].map({c: i for i, c in enumerate(ctx.classes)})",
    )


def _typed(label: Label) -> tuple[str, Label]:
    """1 and True are equal to Python, not to us."""
    return type(label).__name__, label


def _load(path: Path) -> Callable[..., Any]:
    def run() -> ModuleType:
        module = ModuleType(path.stem)
        module.__file__ = str(path)
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
        return module

    function = getattr(_guard(path, run), "train", None)
    if not callable(function):
        raise StepError(f"{path.name} has no function train(train, validate, ctx)")
    found: Callable[..., Any] = function
    return found


def _guard(path: Path, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except EsmlError:
        raise
    except SyntaxError as e:
        raise StepError(f"{path.name}:{e.lineno}: {e.msg}") from e
    except (
        Exception
    ) as e:  # the user's own code may raise anything; it is named with its own line and chained
        lines = [f.lineno for f in traceback.extract_tb(e.__traceback__) if Path(f.filename) == path]
        where = f"{path.name}:{lines[-1]}" if lines else path.name
        raise StepError(
            f"{where}: {type(e).__name__}: {e}", hint="see the step's log for the whole traceback"
        ) from e


def _as_asked(table: pa.Table, function: Callable[..., Any]) -> Any:
    first = next(iter(inspect.signature(function).parameters.values()), None)
    asked = "" if first is None or first.annotation is first.empty else str(first.annotation)
    if "polars" in asked or asked.startswith("pl."):
        import polars as pl

        return pl.from_arrow(table)
    if "pyarrow" in asked or asked.startswith("pa."):
        return table
    if "duckdb" in asked.lower():
        import duckdb

        return duckdb.from_arrow(table)
    return table.to_pandas()


def _features_of(estimator: Any, features: tuple[str, ...], columns: list[str]) -> list[str]:
    """The columns that the estimator was fitted on, in its order."""
    for attribute in ("feature_names_in_", "feature_name_"):
        given = getattr(estimator, attribute, None)
        names = [] if given is None else [str(n) for n in given]
        if names and all(n in columns for n in names):
            return names
    wide = getattr(estimator, "n_features_in_", len(features))
    if wide != len(features):
        raise StepError(
            f"the estimator was fitted on {wide} columns without names, the features are {len(features)}",
            hint="fit on a data frame, so that the estimator keeps the names of its columns",
        )
    return list(features)
