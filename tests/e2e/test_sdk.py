"""What somebody in a notebook asks of a model beside its acts."""

from __future__ import annotations

import pytest

from esml_engine.errors import NotFoundError, NotYetError, UsageError
from esml_engine.estate import Estate


def test_features_and_label_of_a_split(split_small: Estate) -> None:
    model = split_small.model("p1/m1")
    frame = model.gold_validate.read()
    features, label = model.gold_validate.Xy()
    assert list(features.columns) == ["x"] and label.name == "y"
    assert list(features["x"]) == list(frame["x"]) and list(label) == list(frame["y"])
    split_small.set("p1/m1", "label", "z")
    with pytest.raises(UsageError, match="gold_test of p1/m1 has no label"):
        split_small.model("p1/m1").gold_test.Xy()


def test_a_table_is_not_written_by_hand(split_small: Estate) -> None:
    """Who comes from ESML asks for `save_silver`: the answer says where the same code belongs."""
    model = split_small.model("p1/m1")
    for table, place in ((model.dataset("d1").silver, "steps/d1.py"), (model.gold, "steps/gold.py")):
        with pytest.raises(NotYetError, match="by hand comes later") as e:
            table.write(table.read())
        assert place in e.value.hint


def test_an_act_that_is_not_predicted_is_named(split_small: Estate) -> None:
    costs = split_small.model("p1/m1").cost()
    assert costs.predicted("train")["currency"] == "EUR"
    with pytest.raises(NotFoundError, match="'dance'") as e:
        costs.predicted("dance")
    assert "train" in e.value.hint
