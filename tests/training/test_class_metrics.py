"""Metrics of classes beside scikit-learn's: two and many, a class that a test set lacks or a model does not know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from esml_engine.errors import UsageError
from esml_engine.training.facts import TASK_METRICS
from esml_engine.training.measuring.baselines import baseline_metrics
from esml_engine.training.measuring.metrics import classification_metrics, confusion, metric


def judged(rows: list[tuple[int, list[float]]]) -> tuple[Any, Any, Any]:
    truth = np.array([t for t, _ in rows])
    raw = np.array([p for _, p in rows]) + 0.01
    probability = raw / raw.sum(axis=1, keepdims=True)
    return truth, probability.argmax(axis=1), probability


SHARE = st.floats(0, 1).map(lambda v: round(v, 2))


def rows_of(classes: int) -> Any:
    row = st.tuples(st.integers(0, classes - 1), st.lists(SHARE, min_size=classes, max_size=classes))
    return st.lists(row, min_size=2, max_size=40)


@given(rows_of(2))
def test_metrics_of_two_classes_are_those_of_scikit_learn(rows: list[tuple[int, list[float]]]) -> None:
    truth, said, probability = judged(rows)
    got = classification_metrics(truth, said, probability)
    assert set(got) == set(TASK_METRICS["classification"])
    for name, function in (
        ("precision", sk.precision_score),
        ("recall", sk.recall_score),
        ("f1", sk.f1_score),
    ):
        value = function(truth, said, zero_division=np.nan)
        assert got[name] == (None if np.isnan(value) else pytest.approx(value))
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(truth, said))
    assert got["log_loss"] == pytest.approx(sk.log_loss(truth, probability, labels=[0, 1]))
    if len(set(truth)) == 2:
        assert got["auc"] == pytest.approx(sk.roc_auc_score(truth, probability[:, 1]))
    else:
        assert got["auc"] is None
    if len(set(truth)) == 2 and len(set(said)) == 2:
        assert got["mcc"] == pytest.approx(sk.matthews_corrcoef(truth, said))
    else:
        assert got["mcc"] is None


@given(rows_of(4))
def test_metrics_of_many_classes_are_those_of_scikit_learn(rows: list[tuple[int, list[float]]]) -> None:
    truth, said, probability = judged(rows)
    got = classification_metrics(truth, said, probability)
    for name, function in (
        ("precision", sk.precision_score),
        ("recall", sk.recall_score),
        ("f1", sk.f1_score),
    ):
        assert got[name] == pytest.approx(function(truth, said, average="weighted", zero_division=0))
    assert got["log_loss"] == pytest.approx(sk.log_loss(truth, probability, labels=[0, 1, 2, 3]))
    if len(set(truth)) > 1 and len(set(said)) > 1:
        assert got["mcc"] == pytest.approx(sk.matthews_corrcoef(truth, said))
    if len(set(truth)) == 4:
        expected = sk.roc_auc_score(truth, probability, multi_class="ovr", average="weighted")
        assert got["auc"] == pytest.approx(expected)


def test_a_class_that_the_test_rows_lack_takes_no_part() -> None:
    truth, probability = np.array([0, 0, 2]), np.array([[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.1, 0.3, 0.6]])
    got = classification_metrics(truth, probability.argmax(axis=1), probability)
    assert got["auc"] == 1.0 and got["accuracy"] == got["f1"] == got["mcc"] == 1.0


def test_a_class_that_the_model_does_not_know_is_wrong_whatever_it_says() -> None:
    probability = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
    truth, said = np.array([0, 1, -1, 1]), probability.argmax(axis=1)
    got = classification_metrics(truth, said, probability)
    # as three classes of which the third is never predicted
    three = np.column_stack([probability, np.zeros(4)])
    truth_of_three = np.where(truth < 0, 2, truth)
    assert got["accuracy"] == 0.75
    assert got["recall"] == pytest.approx(0.75)
    expected = sk.precision_score(truth_of_three, said, average="weighted", zero_division=0)
    assert got["precision"] == pytest.approx(expected)
    assert got["mcc"] == pytest.approx(sk.matthews_corrcoef(truth_of_three, said))
    assert got["auc"] == pytest.approx(
        sk.roc_auc_score(truth_of_three, three, multi_class="ovr", average="weighted")
    )
    assert got["log_loss"] == pytest.approx(sk.log_loss(truth_of_three, three, labels=[0, 1, 2]))
    assert confusion(truth, said, ["a", "b"]) == {
        "classes": ["a", "b"],
        "matrix": [[1, 0], [0, 2]],
        "unknown": [1, 0],
    }


@given(rows_of(3))
def test_the_confusion_matrix_is_scikit_learn_s(rows: list[tuple[int, list[float]]]) -> None:
    truth, said, _ = judged(rows)
    got = confusion(truth, said, ["a", "b", "c"])
    assert got["matrix"] == sk.confusion_matrix(truth, said, labels=[0, 1, 2]).tolist()
    assert got["unknown"] == [0, 0, 0]


def test_what_can_not_be_judged_is_refused() -> None:
    good = np.array([[0.5, 0.5]])
    for truth, said, probability in (
        ([], [], np.zeros((0, 2))),
        ([0, 1], [0, 1], good),
        ([0], [0], np.array([[np.nan, 1]])),
    ):
        with pytest.raises(UsageError):
            classification_metrics(truth, said, probability)
    with pytest.raises(UsageError, match="probabilities"):
        metric("auc", [1.0], [1.0])


def test_the_baseline_is_the_majority_with_the_frequencies() -> None:
    got = baseline_metrics("classification", np.array([1, 1, 1, 0]), np.array([0, 1]))
    assert got["accuracy"] == 0.5 and got["auc"] == 0.5 and got["mcc"] is None
    assert got["log_loss"] == pytest.approx(-(np.log(0.25) + np.log(0.75)) / 2)
