"""The rules of promotion: doubt refuses, and what would pass does pass."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esml_engine.training.facts import DIRECTION, RANGE, TASK_METRICS
from esml_engine.training.judging.gates import Evidence, Gate, judge

SIGNATURE = [{"name": "age", "type": "int64"}]
NAMES = TASK_METRICS["regression"]
GOOD = Evidence(
    task="regression",
    challenger={"rmse": 50.0, "mae": 40.0, "r2": 0.5},
    baseline={"rmse": 77.0},
    has_champion=True,
    champion={"rmse": 55.0, "mae": 42.0, "r2": 0.45},
    champion_task="regression",
    challenger_signature=SIGNATURE,
    champion_signature=SIGNATURE,
    expectations=True,
    rnd=False,
    intervals={"rmse": (1.0, 9.0)},
    cost_1000_rows=0.1,
)
ALL: dict[str, Any] = {
    "min_gain": {"rmse": 1.0},
    "floor": {"r2": 0.3},
    "ceiling": {"rmse": 60.0},
    "interval": ["rmse"],
    "weights": {"rmse": 1.0, "mae": 0.5},
    "max_cost_1000_rows": 0.5,
}


def gate(evidence: Evidence, thresholds: dict[str, Any], name: str) -> Gate:
    return next(g for g in judge(evidence, thresholds).gates if g.gate == name)


def test_a_better_challenger_is_promoted() -> None:
    verdict = judge(GOOD, ALL)
    assert verdict.verdict == "promote" and not verdict.refusals
    names = [g.gate for g in verdict.gates]
    for name in (
        "min_gain:rmse",
        "floor:r2",
        "interval:rmse",
        "weights",
        "baseline",
        "expectations",
        "rnd",
        "signature",
        "cost",
    ):
        assert name in names
    rmse = gate(GOOD, ALL, "min_gain:rmse")
    assert (rmse.difference, rmse.margin, rmse.would_pass_if) == (5.0, 4.0, None)
    json.dumps(asdict(verdict), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"challenger": None}, "min_gain:rmse"),
        ({"challenger": {"rmse": math.nan, "mae": 1.0, "r2": 0.9}}, "min_gain:rmse"),
        ({"challenger": {"rmse": None, "mae": 1.0, "r2": 0.9}}, "min_gain:rmse"),
        ({"challenger": {"rmse": "50"}}, "min_gain:rmse"),
        ({"challenger": {"rmse": 50.0}}, "floor:r2"),
        ({"champion": None}, "min_gain:rmse"),
        ({"champion": {}}, "weights"),
        ({"champion_task": "classification"}, "min_gain:rmse"),
        ({"champion_task": None}, "signature"),
        ({"task": "forecasting", "champion_task": "forecasting"}, "floor:r2"),
        ({"expectations": None}, "expectations"),
        ({"expectations": False}, "expectations"),
        ({"rnd": True}, "rnd"),
        ({"rnd": None}, "rnd"),
        ({"challenger_signature": None}, "signature"),
        ({"challenger_signature": [*SIGNATURE, {"name": "new", "type": "double"}]}, "signature"),
        ({"challenger_signature": [{"name": "age", "type": "string"}]}, "signature"),
        ({"champion_signature": [{"wrong": 1}]}, "signature"),
        ({"intervals": {}}, "interval:rmse"),
        ({"intervals": {"rmse": (-1.0, 3.0)}}, "interval:rmse"),
        ({"intervals": {"rmse": (math.nan, 3.0)}}, "interval:rmse"),
        ({"baseline": {}}, "baseline"),
        ({"baseline": {"rmse": 50.0}}, "baseline"),
        ({"cost_1000_rows": None}, "cost"),
        ({"champion": {"rmse": 0.0, "mae": 1.0}}, "weights"),
    ],
)
def test_doubt_refuses(change: dict[str, Any], refused: str) -> None:
    verdict = judge(replace(GOOD, **change), ALL)
    assert verdict.verdict == "refuse"
    by_name = {g.gate: g for g in verdict.gates}
    assert not by_name[refused].passed and by_name[refused].reason


@pytest.mark.parametrize(
    "thresholds",
    [
        {"min_gain": {"speed": 1.0}},
        {"min_gain": {"auc": 0.0}},
        {"min_gain": {"rmse": math.nan}},
        {"min_gain": {"rmse": "much"}},
        {"min_gain": [1]},
        {"floor": {"r2": None}},
        {"floor": {"r2": True}},
        {"weights": {"rmse": -1.0}},
        {"weights": [1]},
        {"interval": "rmse"},
        {"interval": 3},
        {"max_cost_1000_rows": "free"},
        {"min_gian": {"rmse": 0.0}},
        {},
        {"floor": {"r2": 0.1}},
        {"min_gain": 0},
        {"weights": 0},
    ],
)
def test_a_wrong_threshold_refuses(thresholds: dict[str, Any]) -> None:
    assert judge(GOOD, thresholds).verdict == "refuse"


@pytest.mark.parametrize("mine,passes", [(["a", "b"], True), (["a", "b", "c"], True), (["a", "c"], False),
    (None, False)])  # fmt: skip
def test_a_challenger_knows_every_class_of_the_champion(mine: list[str] | None, passes: bool) -> None:
    got = gate(replace(GOOD, challenger_classes=mine, champion_classes=["a", "b"]), {}, "signature")
    assert got.passed is passes and (passes or "class" in got.reason)
    assert mine is not None or "could not be told" in got.reason


@pytest.mark.parametrize("price", [2.15e-06, 0.0123, 1.0, 99.9])
def test_the_advice_on_cost_has_room_for_the_next_timing(price: float) -> None:
    got = gate(replace(GOOD, cost_1000_rows=price), {"max_cost_1000_rows": 1e-9}, "cost")
    change = got.would_pass_if
    assert change is not None and "timing" in change["text"] and change["setting"] in change["text"]
    most = change["value"]
    assert 2 * price <= most <= 2.2 * price and float(f"{most:.1e}") == most
    for measured in (price, 1.9 * price, most):
        assert gate(replace(GOOD, cost_1000_rows=measured), {"max_cost_1000_rows": most}, "cost").passed


def test_a_difference_of_rounding_is_not_shown_as_one() -> None:
    from math import nextafter

    same = replace(GOOD, challenger={**(GOOD.challenger or {}), "rmse": 0.929699})
    trivial = gate(replace(same, baseline={"rmse": 0.929699}), {}, "baseline")
    assert not trivial.passed and trivial.would_pass_if is not None
    assert trivial.would_pass_if["text"] == "any rmse better than 0.929699"
    near = replace(same, champion={**(GOOD.champion or {}), "rmse": nextafter(0.929699, 0)})
    gain = gate(near, {"min_gain": {"rmse": 0.0}}, "min_gain:rmse")
    assert not gain.passed and "e-1" not in gain.reason and "rounding alone" in gain.reason
    assert gain.would_pass_if is not None and "(-" not in gain.would_pass_if["text"]


def test_without_a_champion_floors_and_baseline_take_its_place() -> None:
    first = replace(GOOD, has_champion=False, champion=None, champion_task=None, champion_signature=None)
    assert judge(first, ALL).verdict == "promote"
    assert judge(replace(first, baseline=None), ALL).verdict == "refuse"
    assert judge(first, {**ALL, "floor": {"r2": 0.51}}).verdict == "refuse"
    assert judge(replace(first, challenger={"r2": 0.5}), ALL).verdict == "refuse"


def test_integers_may_become_floats_in_a_signature_but_not_back() -> None:
    wide = [{"name": "age", "type": "double"}]
    assert gate(replace(GOOD, challenger_signature=wide), ALL, "signature").passed
    assert not gate(replace(GOOD, champion_signature=wide), ALL, "signature").passed
    assert gate(replace(GOOD, challenger_signature=[]), ALL, "signature").passed


BIG = st.floats(-1e9, 1e9, allow_nan=False, allow_subnormal=False)


@st.composite
def values(draw: st.DrawFn, count: int) -> tuple[str, str, list[float]]:
    """A task, one of its metrics, and values that models can have of it."""
    task = draw(st.sampled_from(sorted(TASK_METRICS)))
    name = draw(st.sampled_from(TASK_METRICS[task]))
    low, high = RANGE[name]
    one = st.floats(max(low, -1e9), min(high, 1e9), allow_subnormal=False)
    return task, name, [draw(one) for _ in range(count)]


def evidence_for(task: str, challenger: dict[str, float], **more: Any) -> Evidence:
    return replace(GOOD, task=task, champion_task=task, challenger=challenger, **more)


def followed(got: Gate, challenger: dict[str, float]) -> dict[str, float]:
    """The challenger's metrics once the advice on one of them is followed; it must be one that can be."""
    change = got.would_pass_if
    assert change is not None
    low, high = RANGE[change["metric"]]
    assert low <= change["challenger"] <= high
    return {**challenger, change["metric"]: change["challenger"]}


@given(values(2), BIG)
def test_following_would_pass_if_of_a_gain_passes(case: tuple[str, str, list[float]], least: float) -> None:
    task, name, (mine, theirs) = case
    evidence = evidence_for(task, {name: mine}, champion={name: theirs})
    got = gate(evidence, {"min_gain": {name: least}}, f"min_gain:{name}")
    assert got.difference == DIRECTION[name] * (mine - theirs)
    assert got.passed == (got.difference >= least)
    if got.passed:
        return
    change = got.would_pass_if
    assert change is not None and change["setting"] == f"gates.min_gain.{name}"
    assert gate(evidence, {"min_gain": {name: change["value"]}}, got.gate).passed
    best = RANGE[name][1 if DIRECTION[name] > 0 else 0]
    if "challenger" in change:
        better = replace(evidence, challenger=followed(got, {name: mine}))
        assert gate(better, {"min_gain": {name: least}}, got.gate).passed
    else:
        assert f"no {name} can" in got.reason and name not in change["text"].replace(change["setting"], "")
        ideal = replace(evidence, challenger={name: best})
        assert not gate(ideal, {"min_gain": {name: least}}, got.gate).passed, "the best there is would not do"


@given(values(1), BIG, st.sampled_from(["floor", "ceiling"]))
def test_following_would_pass_if_of_a_floor_passes(
    case: tuple[str, str, list[float]], limit: float, kind: str
) -> None:
    task, name, (mine,) = case
    evidence = evidence_for(task, {name: mine})
    got = gate(evidence, {kind: {name: limit}}, f"floor:{name}")
    assert got.passed == (mine >= limit if kind == "floor" else mine <= limit)
    if got.passed:
        return
    change = got.would_pass_if
    assert change is not None
    assert gate(evidence, {kind: {name: change["value"]}}, got.gate).passed
    low, high = RANGE[name]
    if low <= limit <= high:
        better = replace(evidence, challenger=followed(got, {name: mine}))
        assert gate(better, {kind: {name: limit}}, got.gate).passed
    else:
        assert "challenger" not in change and f"no {name} can" in got.reason


POSITIVE = st.floats(1e-3, 1e6)


@given(
    st.dictionaries(
        st.sampled_from(NAMES), st.tuples(POSITIVE, POSITIVE, st.just(0.0) | st.floats(0.01, 10)), min_size=1
    )
)
def test_following_would_pass_if_of_weights_passes(table: dict[str, tuple[float, float, float]]) -> None:
    table = {m: (min(v[0], RANGE[m][1]), min(v[1], RANGE[m][1]), v[2]) for m, v in table.items()}
    mine, theirs = {m: v[0] for m, v in table.items()}, {m: v[1] for m, v in table.items()}
    evidence = replace(GOOD, challenger=mine, champion=theirs)
    thresholds = {"weights": {m: v[2] for m, v in table.items()}}
    got = gate(evidence, thresholds, "weights")
    if got.passed:
        return
    if got.would_pass_if is not None:
        assert gate(replace(evidence, challenger=followed(got, mine)), thresholds, "weights").passed
        return
    assert "no metric alone" in got.reason or "all weights are 0" in got.reason
    for m in table:
        best = {**mine, m: RANGE[m][1] if DIRECTION[m] > 0 else 0.0}
        assert not gate(replace(evidence, challenger=best), thresholds, "weights").passed


@given(values(2))
def test_following_would_pass_if_of_the_baseline_passes(case: tuple[str, str, list[float]]) -> None:
    task, name, (mine, trivial) = case
    evidence = evidence_for(task, {name: mine}, champion={name: mine}, baseline={name: trivial}, primary=name)
    got = gate(evidence, {}, "baseline")
    assert got.passed == (DIRECTION[name] * (mine - trivial) > 0)
    if got.passed:
        return
    if got.would_pass_if is not None:
        assert gate(replace(evidence, challenger=followed(got, {name: mine})), {}, "baseline").passed
    else:
        assert (
            trivial == RANGE[name][1 if DIRECTION[name] > 0 else 0] and f"no {name} is better" in got.reason
        )


def test_a_margin_beyond_the_champion_s_whole_error_is_said_in_words() -> None:
    got = gate(GOOD, {"min_gain": {"rmse": 101.0}}, "min_gain:rmse")
    assert got.would_pass_if == {
        "setting": "gates.min_gain.rmse",
        "value": 5.0,
        "text": "gates.min_gain.rmse set to 5.0",
    }
    assert got.reason.endswith("no rmse can: beside the champion's 55 it would have to be below 0")
    over = gate(GOOD, {"min_gain": {"r2": 0.6}}, "min_gain:r2")
    assert over.reason.endswith("it would have to be above 1")


def test_every_metric_has_its_range() -> None:
    assert set(RANGE) == set(DIRECTION)


JUNK = (
    st.none()
    | st.booleans()
    | st.floats()
    | st.sampled_from(["", "x", "0.5"])
    | st.lists(st.integers(), max_size=2)
)


@given(
    st.dictionaries(st.sampled_from([*NAMES, "auc", "x"]), JUNK),
    st.dictionaries(st.sampled_from(list(ALL)), JUNK),
)
def test_junk_never_raises_and_never_promotes_an_undefined_metric(
    metrics: dict[str, Any], thresholds: dict[str, Any]
) -> None:
    verdict = judge(replace(GOOD, challenger=metrics), thresholds)
    rmse = metrics.get("rmse")
    if isinstance(rmse, bool) or not isinstance(rmse, float) or not math.isfinite(rmse):
        assert verdict.verdict == "refuse"


def test_facts_and_gates_import_nothing_heavy() -> None:
    code = (
        "import sys, esml_engine.training.judging.gates;"
        "print([m for m in ('numpy','pandas','pyarrow','sklearn','lightgbm','mlflow') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_where_the_baseline_has_no_value_the_task_s_primary_metric_stands_in() -> None:
    mine = {"auc": 0.8, "mcc": 0.4}
    first = replace(
        GOOD, task="classification", primary="mcc", challenger=mine, has_champion=False, champion=None
    )
    got = gate(replace(first, baseline={"mcc": None, "auc": 0.5}), {}, "baseline")
    assert got.passed and "auc" in got.reason
    assert not gate(replace(first, baseline={"mcc": None, "auc": 0.9}), {}, "baseline").passed
    assert not gate(replace(first, baseline={"mcc": None}), {}, "baseline").passed
    assert gate(replace(first, baseline={"mcc": 0.1, "auc": 0.9}), {}, "baseline").passed
