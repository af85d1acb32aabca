"""What a model, or the trivial one beside it, says about rows and what that is worth: each task's own way, chosen here alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from esml_engine.errors import NotYetError
from esml_engine.training.measuring.answers import Answers, agreed
from esml_engine.training.measuring.baselines import baseline_metrics, most_frequent
from esml_engine.training.measuring.metrics import Metrics, classification_metrics, regression_metrics
from esml_engine.training.models.class_model import EnsembleClassifier, EstimatorClassifier
from esml_engine.training.models.classes import Classes, classes_of, places_of
from esml_engine.training.models.labels import known_rows, labels

if TYPE_CHECKING:
    import pyarrow as pa

    from esml_engine.training.models.model import Predictor


def answers_of(
    model: Predictor, test: pa.Table, train: pa.Table | None = None, horizon: int | None = None
) -> Answers:
    """Ask a model about every row of `test` that has a label.

    Args:
        test: rows with the model's features and its label.
        train: the rows that lie before them, for tasks that need a history (forecasting).
        horizon: steps that a forecast is asked for at once (None: the model's own); two models that are compared
            are asked for the same.

    Raises:
        UsageError: a feature or the label is missing or of another type.
        NotYetError: a task whose answers are not built yet.
    """
    if model.task == "regression":
        rows, truth = labels(test, model.label)
        return Answers(model.task, truth, np.asarray(model.predict(rows), dtype=np.float64))
    if isinstance(model, EnsembleClassifier | EstimatorClassifier):
        rows, places = places_of(test, model.label, model.classes)
        said = model.decide(rows)
        return Answers(model.task, places, said.places, said.probability, model.classes.names)
    if model.task == "forecasting":
        from esml_engine.training.series.judging import answers_of_series
        from esml_engine.training.series.model import SeriesModel

        assert isinstance(model, SeriesModel)
        return answers_of_series(model, test, train, horizon=horizon)
    raise NotYetError(f"answers for task '{model.task}' are not built yet")


def metrics_of(answers: Answers) -> Metrics:
    """All metrics of the task; undefined ones are None.

    Raises:
        UsageError: there is no row, or a value is not finite.
    """
    if answers.task == "regression":
        return regression_metrics(answers.truth, answers.prediction)
    if answers.task == "classification" and answers.probability is not None:
        return classification_metrics(answers.truth, answers.prediction, answers.probability)
    if answers.task == "forecasting":
        from esml_engine.training.series.measures import forecasting_metrics

        return forecasting_metrics(answers)
    raise NotYetError(f"metrics of task '{answers.task}' are not built yet")


def baseline_of(
    task: str,
    label: str,
    test: pa.Table,
    train: pa.Table,
    before: pa.Table | None = None,
    forecast: Mapping[str, Any] | None = None,
    *,
    beside: Answers | None = None,
) -> Metrics:
    """Metrics of the trivial answer on `test`, made from the labels of `train` alone.

    Args:
        before: for forecasting the rows that lie before the test rows (training and validation), whose season is
            repeated; `forecast` is then the model's `[forecast]` table.
        beside: a model's answers to the same rows: classes are those of both.

    Raises:
        UsageError: label or time column can't be used. NotYetError: another task.
    """
    if task == "forecasting":
        from esml_engine.training.series.data import Layout
        from esml_engine.training.series.judging import naive_answers, whole_of
        from esml_engine.training.series.measures import forecasting_metrics

        layout = Layout.parse(forecast or {}, label)
        whole, at = whole_of(test, train if before is None else before, layout)
        return forecasting_metrics(naive_answers(whole, at, layout.horizon))
    classes = classes_of([train], label) if task == "classification" else Classes()
    _, y_train = known_rows(train.select([label]), label, classes)
    _, y_test = known_rows(test.select([label]), label, classes)
    if task == "classification":
        answer, probability = most_frequent(y_train, len(y_test), len(classes))
        trivial = Answers(task, y_test, answer, probability, classes.names)
        return metrics_of(trivial if beside is None else agreed(beside, trivial)[1])
    return baseline_metrics(task, y_train, y_test)
