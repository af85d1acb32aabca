"""A model behind one method, and requests predicted together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from esml_engine.errors import FailedError, SettingsError
from esml_engine.scored.facts import Shape
from esml_engine.serving.batching import Batcher
from esml_engine.serving.openapi import with_score
from esml_engine.serving.scorer import Scorer, load
from tests.serving.models import Linear


class Classes(Linear):
    """Two classes and an interval, in NumPy's types."""

    task = "classification"

    def predict_all(self, columns: Mapping[str, list[Any]]) -> dict[str, Any]:
        ages = np.array(columns["age"], dtype=float)
        return {
            "prediction": np.where(ages > 50, "old", "young"),
            "probability": {"old": ages / 100, "young": 1 - ages / 100},
            "low": ages - 1,
            "high": np.array([np.inf] * len(ages)),
        }


class Counting(Linear):
    """Remembers how many rows each call had."""

    def __init__(self) -> None:
        super().__init__(1)
        self.calls: list[int] = []

    def predict_columns(self, columns: Mapping[str, list[Any]]) -> list[float]:
        self.calls.append(len(columns["age"]))
        return super().predict_columns(columns)


def row(age: int, bmi: float = 20.0) -> dict[str, list[Any]]:
    return {"age": [age], "bmi": [bmi], "sex": ["f"]}


def test_classes_and_intervals() -> None:
    scorer = Scorer(Classes(1), 3)
    assert scorer.shape() == Shape(
        {"age": "int64", "bmi": "double", "sex": "string"}, "string", ("old", "young"), True
    )
    said = scorer.predict(row(75))
    assert said.document() == {
        "predictions": ["old"],
        "probabilities": {"old": [0.75], "young": [0.25]},
        "low": [74.0],
        "high": [None],
    }
    assert said.frame(row(75))["probability"] == {"old": [0.75], "young": [0.25]}
    both = scorer.predict({"age": [75, 10], "bmi": [1, 1], "sex": ["f", "f"]})
    assert both.part(1, 2).document()["probabilities"]["young"] == [0.9]
    operation = with_score({"paths": {}}, scorer)["paths"]["/score"]["post"]
    assert "age: integer" in str(operation)


def test_a_model_must_answer_each_row() -> None:
    model = Linear(1)
    model.predict_columns = lambda columns: [1.0]  # type: ignore[method-assign]
    with pytest.raises(FailedError, match="each of 2 rows"):
        Scorer(model, 1).predict({"age": [1, 2], "bmi": [20, 20], "sex": ["f", "f"]})


def test_a_loader_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match="no_such_module:load"):
        load("", "", 1, "no_such_module:load")


def test_what_arrives_together_is_predicted_together() -> None:
    model = Counting()
    scorer = Scorer(model, 1)

    async def ask() -> list[Any]:
        batcher = Batcher()
        small = [batcher.predict(scorer, row(n), 1) for n in range(10)]
        many = {"age": list(range(300)), "bmi": [20.0] * 300, "sex": ["f"] * 300}
        return await asyncio.gather(*small, batcher.predict(scorer, many, 300))

    *small, many = asyncio.run(ask())
    assert [s.prediction for s in small] == [[n + 1] for n in range(10)]
    assert many.prediction == [n + 1 for n in range(300)]
    assert sorted(model.calls) == [10, 300]


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_one_requests_failure_is_its_own(seconds: float) -> None:
    """In the event loop (a quick model) and in threads (a slow one), with more groups than lanes."""
    scorer = Scorer(Linear(1), 1)
    scorer.seconds = seconds
    ages = [1, -666, 3]

    async def ask() -> list[Any]:
        batcher = Batcher()
        answers: list[Any] = []
        asked = []
        for _ in range(4):
            asked += [asyncio.ensure_future(batcher.predict(scorer, row(a, 0.02), 1)) for a in ages]
            await asyncio.sleep(0)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return answers

    answers = asyncio.run(ask())
    assert len(answers) == 12
    for age, said in zip(ages * 4, answers, strict=True):
        if age == -666:
            assert isinstance(said, ZeroDivisionError)
        else:
            assert said.prediction == [age + 1]
