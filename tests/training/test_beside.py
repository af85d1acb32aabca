"""A champion is judged only on rows that it did not learn from, also when somebody split otherwise after it was trained."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from esml_engine.estate import Estate, open_estate
from esml_engine.model import Model
from esml_engine.training.acts import trained_value
from tests.conftest import esml

Numbers = Callable[[str, int, int], Path]


def estimators(root: Path, *names: str) -> Model:
    """The model, trained by these estimators alone and on whole gold."""
    path = root / "projects/p1/m1/model.toml"
    listed = ", ".join(f'"{n}"' for n in names)
    text = path.read_text()
    head, _, rest = text.partition("[train.dev]\n")
    lines = [x for x in rest.splitlines() if not x.startswith("estimators")]
    path.write_text(f"{head}[train.dev]\nestimators = [{listed}]\n" + "\n".join(lines) + "\n")
    return open_estate(root).model("p1/m1")


def gate(said: dict, name: str) -> dict:
    """The gate of that name in an answer of train."""
    return next(g for g in said["gates"] if g["gate"] == name)


@pytest.mark.parametrize(("rows", "left"), [(900, True), (60, False)])
def test_after_another_split_both_are_judged_by_the_rows_that_are_left(
    empty: Estate, numbers: Numbers, rows: int, left: bool
) -> None:
    root = empty.site.root
    model = estimators(root, "linear")
    model.ingest("d1", [numbers("a.csv", 0, rows)], "2026-01-01")
    with model.estate.hand.holding(warm=True):
        model.refine()
        model.split()
        assert model.train()["alias"] == "champion"
        tested = set(model.table("gold_test").read()["id"])
        model.split(seed=2)
        learned = set(model.table("gold_test").read()["id"]) - tested
        said = model.train()
    found = gate(said, "rows")
    value = trained_value(model.estate.site, said["run"])
    assert learned
    if left:
        assert found["passed"] and f"was trained on {len(learned)} others" in found["reason"]
        assert value["fair"]["left_out"] == len(learned) and value["champion_metrics"] is not None
        assert value["fair"]["metrics"] != value["metrics"], "the leaderboard shows all rows"
    else:
        assert said["alias"] == "challenger" and not found["passed"]
        assert f"was trained on {len(learned)} of the" in found["reason"]
        advice = found["would_pass_if"]["text"]
        assert "split as for the champion v1" in advice and "--seed 1" in advice
        words = shlex.split(advice.partition(": esml ")[2])
        esml(root, *words)
        again = model.train()
        assert all(g["gate"] != "rows" or g["passed"] for g in again["gates"]), (
            "the advice makes the gate pass"
        )


def test_with_the_same_split_no_row_is_left_out(empty: Estate, numbers: Numbers) -> None:
    model = estimators(empty.site.root, "linear")
    model.ingest("d1", [numbers("a.csv", 0, 90)], "2026-01-01")
    with model.estate.hand.holding(warm=True):
        model.refine()
        model.split()
        model.train()
        model.ingest("d1", [numbers("b.csv", 90, 150)], "2026-01-02")
        model.refine()
        model.split()
        said = model.train()
    assert [g["gate"] for g in said["gates"] if g["gate"] == "rows"] == []
    assert trained_value(model.estate.site, said["run"])["fair"] is None
