"""A champion is judged only on rows that it did not learn from, also when somebody split otherwise after it was trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from esml_engine.estate import Estate, open_estate
from esml_engine.model import Model
from esml_engine.settings import ModelSettings
from esml_engine.training.judging.ways import again, command, newer_rows
from esml_engine.training.registering import trained_value

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
        assert (
            "at least 20 are needed" in found["reason"]
            and "esml split p1/m1" in found["would_pass_if"]["text"]
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


@pytest.mark.parametrize("seed", [2, 3])
def test_following_the_advice_of_a_refused_gate_makes_it_pass(
    empty: Estate, numbers: Numbers, seed: int
) -> None:
    model = estimators(empty.site.root, "linear")
    model.ingest("d1", [numbers("a.csv", 0, 60)], "2026-01-01")
    with model.estate.hand.holding(warm=True):
        model.refine()
        model.split()
        assert model.train()["alias"] == "champion"
        model.split(seed=seed)
        advice = gate(model.train(), "rows")["would_pass_if"]
        # the champion's own split; what is trained on it may be champion next, of the same rows
        model.split(**advice["value"])
        said = model.train()
        value = trained_value(model.estate.site, said["run"])
        assert value["champion_error"] == "" and value["fair"] is None, "no row was learned"
        assert [g for g in said["gates"] if g["gate"] == "rows" and not g["passed"]] == []
        # and newer rows, split as before
        assert advice["rows"] and f"about {advice['rows']} newer rows" in advice["text"]
        model.ingest("d1", [numbers("b.csv", 60, 60 + advice["rows"])], "2026-01-02")
        model.refine()
        model.split(seed=seed)
        said = model.train()
    assert gate(said, "rows")["passed"] and trained_value(model.estate.site, said["run"])["fair"]


def test_no_split_is_advised_that_may_give_other_sides() -> None:
    settings = ModelSettings.model_validate(
        {"task": "regression", "label": "y", "key": "id", "datasets": {"d1": {}}}
    )
    split = {"train": 0.6, "validate": 0.2, "test": 0.2, "seed": 0, "by": "key", "group": None, "stratify": None, "key": "id",
        "time_column": None}  # fmt: skip
    assert again(settings, split) == split
    assert again(settings, None) is None
    assert again(settings, {**split, "key": "other"}) is None, "the key decides the sides"
    assert again(settings, {**split, "stratify": "y"}) is None, "the rows there were decide the sides"
    assert command("p1/m1", "dev",
        split) == "esml split p1/m1 --env dev --train 0.6 --validate 0.2 --test 0.2 --by key --seed 0"  # fmt: skip


@given(
    known=st.integers(30, 400),
    newer=st.integers(0, 19),
    over=st.floats(0.05, 1.0),
    fewest=st.integers(20, 60),
)
def test_by_time_the_number_of_newer_rows_is_exact(known: int, newer: int, over: float, fewest: int) -> None:
    n = known + newer  # the champion learned the first of them
    test = newer / n + over * (0.95 - newer / n)  # gold_test reaches back into what it learned

    def judged(rows: int) -> tuple[int, int]:
        """Learned rows of gold_test and those left, after that many newer rows."""
        begins = math.ceil((n + rows) * (1 - test) - 1e-9)
        return max(0, known - begins), n + rows - max(begins, known)

    overlap, left = judged(0)
    assume(overlap and left < fewest)
    more = newer_rows({"by": "time", "test": test}, left, fewest)
    overlap, after = judged(more)
    assert not overlap or after >= fewest
    overlap, before = judged(more - 1)
    assert not overlap or before < fewest
