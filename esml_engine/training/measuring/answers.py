"""What a model said about rows whose truth is known: the one thing that metrics, gates and comparisons are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import NotYetError
from esml_engine.training.measuring.baselines import baseline_metrics, most_frequent
from esml_engine.training.measuring.metrics import Metrics, classification_metrics, regression_metrics
from esml_engine.training.models.class_model import EnsembleClassifier, EstimatorClassifier
from esml_engine.training.models.classes import Classes, classes_of, places_of
from esml_engine.training.models.labels import known_rows, labels

if TYPE_CHECKING:
    import pyarrow as pa

    from esml_engine.training.models.model import Predictor

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """Truth and answer of n rows, as arrays.

    Args:
        task: the model's task.
        truth: (n,) the label's values; for classification the place of the true class in `classes`, -1 for a class
            that the model does not know.
        prediction: (n,) the predicted values; for classification the place of the predicted class.
        probability: (n, k) for classification, else None.
        classes: names of the k classes.
        block: (n,) rows that stand or fall together (windows of a back-test); a bootstrap draws whole blocks. None:
            each row for itself.
        low, high: (n,) the prediction interval, where the model gives one.
        more: further arrays (n,) or numbers that the task's metrics need (forecasting: the scale of MASE).
    """

    task: str
    truth: NDArray[Any]
    prediction: NDArray[Any]
    probability: Floats | None = None
    classes: tuple[str, ...] = ()
    block: NDArray[Any] | None = None
    low: Floats | None = None
    high: Floats | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows were judged."""
        return len(self.truth)


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


def agreed(*given: Answers, more: Sequence[str] = ()) -> tuple[Answers, ...]:
    """Answers of classifiers to the same rows, told among the same classes: all that one of them, or `more`, knows.

    Measures of two classes are others than those of many: without this, a model that knows two is measured otherwise
    than one that knows three. Answers that know the same already, and those of other tasks, stay as they are.
    """
    first = given[0]
    names = tuple(dict.fromkeys([n for a in given for n in a.classes] + [*more]))
    if first.task != "classification" or all(len(a.classes) == len(names) for a in given):
        return given
    place = {n: i for i, n in enumerate(names)}
    truth = np.full(first.rows, -1, dtype=np.int64)
    told = []
    for a in given:
        here = np.array([*(place[n] for n in a.classes), -1], dtype=np.int64)
        truth = np.where(truth < 0, here[a.truth], truth)
        assert a.probability is not None
        wide = np.zeros((a.rows, len(names)))
        wide[:, here[:-1]] = a.probability
        told.append(replace(a, prediction=here[a.prediction], probability=wide, classes=names))
    return tuple(replace(a, truth=truth) for a in told)


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
