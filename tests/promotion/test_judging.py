"""Doubt refuses, at the level of a comparison: whatever is missing, wrong or unknown never promotes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esml_engine.promotion.facts import Case, Side, case_from
from esml_engine.promotion.judging import judged, without_rows
from esml_engine.training.facts import Verdict

SIGNATURE = ({"name": "x", "type": "int64"},)
DATA = tuple({"table": n, "version": 1} for n in ("gold", "gold_train", "gold_validate", "gold_test"))
NEW = Side(2, "dev", "dev", "r-2", "b" * 64, "f2", "regression", "linear", False, SIGNATURE, DATA)
OLD = replace(NEW, version=1, env="test", run="r-1", sha256="a" * 64, folder="f1")
CASE = Case(
    object="p/m", source="dev", target="test", task="regression", label="y", key="id", challenger=NEW, champion=OLD, revision=1,
    test={"env": "test", "version": 3, "rows": 100}, train={"env": "test", "version": 3, "rows": 300, "validate": 3},
    thresholds={"min_gain": {"rmse": 0.0}, "interval": ["rmse"], "max_cost_1000_rows": 0.5}, primary="rmse",
    policy={"evidence": "target", "approvals": 0, "nodes": ["local.small"]}, origin={},
)  # fmt: skip
SEEN = {"rows": 0, "examples": [], "by": "key", "error": ""}
MODEL = {"metrics": {"rmse": 5.0, "mae": 4.0, "r2": 0.8}, "signature": list(SIGNATURE), "seconds": 0.1, "rows": 100,
    "error": ""}  # fmt: skip
MEASURED: dict[str, Any] = {
    "rows": 100, "trained_on": {"challenger": SEEN, "champion": SEEN}, "challenger": MODEL,
    "champion": {**MODEL, "metrics": {"rmse": 6.0, "mae": 5.0, "r2": 0.7}},
    "baseline": {"rmse": 9.0}, "baseline_error": "", "difference": {"intervals": {"rmse": [0.5, 1.5]}}, "difference_error": "",
}  # fmt: skip


def verdict(case: Case = CASE, measured: dict[str, Any] | None = MEASURED, **more: Any) -> Verdict:
    known = {"expectations": True, "rnd": False, "price": 0.1, **more}
    return judged(case, measured, **known)


def refused(said: Verdict) -> set[str]:
    assert said.verdict == "refuse"
    assert all(g.reason for g in said.refusals)
    return {g.gate for g in said.refusals}


def test_a_good_case_is_promoted() -> None:
    said = verdict()
    assert said.verdict == "promote" and not said.refusals
    assert case_from(CASE.document()) == CASE and case_from(CASE.document()).facts == CASE.facts


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"rows": 0}, "rows"),
        ({"trained_on": {}}, "rows"),
        ({"trained_on": {"challenger": SEEN, "champion": {**SEEN, "rows": 3, "examples": ["id 1"]}}}, "rows"),
        ({"trained_on": {"challenger": {**SEEN, "rows": None, "error": "gone"}, "champion": SEEN}}, "rows"),
        ({"challenger": {**MODEL, "metrics": None, "error": "it raised"}}, "models"),
        ({"challenger": {**MODEL, "error": "it raised"}}, "models"),
        ({"champion": None}, "models"),
        ({"champion": {**MODEL, "metrics": None, "error": "the model's hash is another"}}, "models"),
        ({"difference": None}, "models"),
        ({"difference_error": "not the same rows"}, "models"),
        ({"difference": {"intervals": {}}}, "interval:rmse"),
        ({"baseline": None}, "baseline"),
        ({"challenger": {**MODEL, "metrics": {"rmse": math.nan}}}, "min_gain:rmse"),
        ({"challenger": {**MODEL, "metrics": {"mae": 1.0}}}, "min_gain:rmse"),
        ({"challenger": {**MODEL, "seconds": None}}, "cost"),
    ],
)
def test_what_was_measured_badly_refuses(change: dict[str, Any], gate: str) -> None:
    assert gate in refused(verdict(measured={**MEASURED, **change}))


@pytest.mark.parametrize(
    ("case", "more", "gate"),
    [
        (replace(CASE, test=None), {}, "rows"),
        (replace(CASE, challenger=replace(NEW, data=())), {}, "rows"),
        (replace(CASE, champion=replace(OLD, task="classification")), {}, "signature"),
        (replace(CASE, challenger=replace(NEW, signature=None)), {}, "signature"),
        (
            replace(CASE, challenger=replace(NEW, signature=({"name": "z", "type": "int64"},))),
            {},
            "signature",
        ),
        (CASE, {"rnd": True}, "rnd"),
        (CASE, {"rnd": None}, "rnd"),
        (CASE, {"expectations": None}, "expectations"),
        (CASE, {"expectations": False}, "expectations"),
        (CASE, {"price": None}, "cost"),
    ],
)
def test_what_is_unknown_or_wrong_refuses(case: Case, more: dict[str, Any], gate: str) -> None:
    assert gate in refused(verdict(case, **more))


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.floats(), st.text(max_size=3), st.integers(-5, 5), st.just({}), st.just([])
)


@given(st.sampled_from(sorted(MEASURED)), ANYTHING)
def test_nothing_odd_in_place_of_a_measurement_ever_promotes_unless_it_says_nothing_is_wrong(
    key: str, value: Any
) -> None:
    try:
        said = verdict(measured={**MEASURED, key: value})
    except (AttributeError, TypeError, ValueError):
        return  # the run fails: nothing is promoted
    harmless = (key in ("baseline_error",)) or (key == "difference_error" and not value)
    if key == "rows" and type(value) is int and value > 0:
        return  # that is a number of rows
    assert said.verdict == "refuse" or harmless


@given(st.floats(-3, 3), st.floats(0.5, 10))
def test_following_the_advice_of_a_threshold_passes_its_gate(limit: float, rmse: float) -> None:
    case = replace(CASE, thresholds={"min_gain": {"rmse": limit}})
    measured = {**MEASURED, "challenger": {**MODEL, "metrics": {**MODEL["metrics"], "rmse": rmse}}}
    gate = next(g for g in verdict(case, measured).gates if g.gate == "min_gain:rmse")
    if gate.passed:
        return
    assert gate.would_pass_if is not None
    eased = replace(case, thresholds={"min_gain": {"rmse": gate.would_pass_if["value"]}})
    again = next(g for g in verdict(eased, measured).gates if g.gate == "min_gain:rmse")
    assert again.passed


def test_an_interval_that_is_too_wide_says_about_how_many_rows_would_do() -> None:
    measured = {**MEASURED, "difference": {"intervals": {"rmse": [-1.0, 3.0]}}}
    gate = next(g for g in verdict(measured=measured).gates if g.gate == "interval:rmse")
    # the gain is 1, its lower half-width 2: four times the rows, 300 more
    assert gate.would_pass_if is not None
    assert gate.would_pass_if["estimate"] is True and 300 <= gate.would_pass_if["rows"] <= 302
    worse = {**measured, "challenger": {**MODEL, "metrics": {"rmse": 7.0}}}
    gate = next(g for g in verdict(measured=worse).gates if g.gate == "interval:rmse")
    assert gate.would_pass_if is None and "would not help" in gate.reason


def test_facts_change_with_everything_that_a_verdict_rests_on() -> None:
    others = [
        replace(CASE, challenger=replace(NEW, sha256="c" * 64)), replace(CASE, champion=replace(OLD, sha256="c" * 64)),
        replace(CASE, champion=None), replace(CASE, revision=2),
        replace(CASE, test={"env": "test", "version": 4, "rows": 100}), replace(CASE, thresholds={}),
        replace(CASE, policy={**CASE.policy, "approvals": 1}),
        replace(CASE, primary="mae"), replace(CASE, challenger=replace(NEW, trained_in="test")), replace(CASE, key=""),
    ]  # fmt: skip
    assert len({c.facts for c in (CASE, *others)}) == len(others) + 1


def test_what_needs_no_rows_is_judged_at_once() -> None:
    assert without_rows(CASE, expectations=True, rnd=False) == ()
    assert {g.gate for g in without_rows(CASE, expectations=True, rnd=True)} == {"rnd"}
    assert {g.gate for g in without_rows(replace(CASE, test=None), expectations=True, rnd=False)} == {"rows"}
    no = replace(CASE, challenger=replace(NEW, signature=None))
    assert {g.gate for g in without_rows(no, expectations=False, rnd=False)} == {"expectations", "signature"}


def test_both_models_and_what_the_baseline_knows_are_measured_among_the_same_classes() -> None:
    import numpy as np

    from esml_engine.promotion.steps import _measured
    from esml_engine.training.measuring.answers import Answers

    place = np.arange(40) % 2
    said = np.where(np.arange(40) % 5 == 0, 1 - place, place)
    sure = np.where(said[:, None] == np.arange(2), 0.8, 0.2)
    two = Answers("classification", place, said, sure, ("b", "c"))
    wide = np.column_stack([np.zeros(40), sure])
    three = Answers("classification", place + 1, said + 1, wide, ("a", "b", "c"))
    got = _measured({"challenger": ({"error": ""}, two), "champion": ({"error": ""}, three)}, ("d",))
    (mine, its), (theirs, _) = got["challenger"], got["champion"]
    assert mine["error"] == theirs["error"] == ""
    assert mine["metrics"] == pytest.approx(theirs["metrics"], rel=1e-12)
    assert its is not None and set(its.classes) == {"a", "b", "c", "d"}
    # answers that are not of the same rows stay apart, and the comparison says so
    other = replace(three, truth=(place + 1)[::-1].copy())
    apart = _measured({"challenger": ({}, two), "champion": ({}, other)}, ())
    assert apart["challenger"][1] is two and apart["champion"][1] is other


def test_rows_told_without_a_key_say_so() -> None:
    def reason(by: str) -> str:
        seen = {
            **MEASURED["trained_on"],
            "challenger": {"rows": 2, "examples": ["a 1"], "by": by, "error": ""},
        }
        return next(
            g.reason for g in verdict(measured={**MEASURED, "trained_on": seen}).gates if g.gate == "rows"
        )

    assert "found by key" in reason("key")
    assert "told by all shared columns" in reason("row") and "a key would tell them apart" in reason("row")
