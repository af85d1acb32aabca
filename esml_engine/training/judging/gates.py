"""The rules of promotion as pure functions. Doubt refuses: a missing, unknown or undefined value never passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from esml_engine.training.causes import cause
from esml_engine.training.facts import (
    DIRECTION,
    PRIMARY_METRIC,
    TASK_METRICS,
    Evidence,
    Gate,
    Value,
    Verdict,
)
from esml_engine.training.judging import advice

Thresholds = Mapping[str, Any]

__all__ = ["Evidence", "Gate", "Verdict", "judge"]

_KNOWN = {"min_gain", "floor", "ceiling", "interval", "weights", "max_cost_1000_rows"}
_NO_CHAMPION = "no champion stands here: floors and baseline take its place"
_COMPARING = ("min_gain:", "interval:", "weights")


def judge(evidence: Evidence, thresholds: Thresholds) -> Verdict:
    """Judge a challenger by all gates that the thresholds (the `[gates]` table) name, and by those that always hold.

    Never raises: what goes wrong inside a gate is that gate's refusal.
    """
    gates: list[Gate] = []
    unknown = sorted(set(thresholds) - _KNOWN)
    if unknown:
        gates.append(Gate("settings", False, reason=f"unknown gate setting '{unknown[0]}'"))

    for name, key, rule in (
        ("min_gain", "min_gain", min_gain),
        ("floor", "floor", floor),
        ("floor", "ceiling", ceiling),
    ):
        table = thresholds.get(key)
        if table is not None and not isinstance(table, Mapping):
            gates.append(Gate("settings", False, reason=f"'{key}' is not a table of metric = number"))
            continue
        gates += [
            _suited(f"{name}:{m}", m, evidence, partial(rule, m, v, evidence))
            for m, v in (table or {}).items()
        ]
    bands = thresholds.get("interval")
    if bands is not None and not isinstance(bands, list | tuple):
        gates.append(Gate("settings", False, reason="'interval' is not a list of metrics"))
    else:
        gates += [
            _suited(f"interval:{m}", str(m), evidence, partial(interval, str(m), evidence))
            for m in bands or ()
        ]
    if thresholds.get("weights") not in (None, {}):
        gates.append(_closed("weights", lambda: weights(thresholds["weights"], evidence)))
    if evidence.has_champion and not any(g.gate.startswith(_COMPARING) for g in gates):
        gates.append(Gate("settings", False, reason="no gate compares the challenger with the champion"))
    if not evidence.has_champion or evidence.baseline is not None:
        gates.append(_closed("baseline", lambda: baseline(evidence)))
    gates.append(_closed("expectations", lambda: expectations(evidence)))
    gates.append(_closed("rnd", lambda: rnd(evidence)))
    gates.append(_closed("signature", lambda: signature(evidence)))
    if thresholds.get("max_cost_1000_rows") is not None:
        gates.append(_closed("cost", lambda: cost(thresholds["max_cost_1000_rows"], evidence)))
    return Verdict("promote" if all(g.passed for g in gates) else "refuse", tuple(gates))


def min_gain(metric: str, limit: Any, evidence: Evidence) -> Gate:
    """Challenger must be better than the champion by `limit` (negative: may be worse by that much)."""
    name = f"min_gain:{metric}"
    least = _number(limit)
    if least is None:
        mine_said = _value(evidence.challenger, metric)
        return Gate(
            name, False, challenger=mine_said, reason=f"the threshold {limit!r} is not a finite number"
        )
    pair = _against(name, metric, evidence)
    if isinstance(pair, Gate):
        return pair
    mine, theirs = pair
    gain = advice.gain(metric, mine, theirs)
    if not math.isfinite(gain):
        return Gate(name, False, theirs, mine, reason="the difference is not finite")
    band = evidence.intervals.get(metric)
    if gain >= least:
        return Gate(
            name, True, theirs, mine, gain, band, gain - least, _gain_text(metric, gain, least, theirs)
        )
    need = advice.reach(
        theirs + DIRECTION[metric] * least, metric, lambda v: advice.gain(metric, v, theirs) >= least
    )
    change = advice.change(f"min_gain.{metric}", gain, metric, need, mine)
    reason = _gain_text(metric, gain, least, theirs)
    if not advice.reachable(metric, need):
        reason += f"; no {metric} can: beside the champion's {theirs:.6g} it would have to be {advice.beyond(metric, need)}"
    return Gate(name, False, theirs, mine, gain, band, gain - least, reason, change)


def _against(name: str, metric: str, evidence: Evidence) -> tuple[float, float] | Gate:
    """The challenger's and the champion's value, or the gate's verdict where one of them is not there."""
    mine = _value(evidence.challenger, metric)
    if mine is None:
        return _undefined(name, "challenger", metric, None, None)
    if not evidence.has_champion:
        return Gate(name, True, challenger=mine, reason=_NO_CHAMPION)
    theirs = _value(evidence.champion, metric)
    return _undefined(name, "champion", metric, None, mine) if theirs is None else (mine, theirs)


def floor(metric: str, limit: Any, evidence: Evidence) -> Gate:
    """Challenger's value must not be below the limit; meeting it exactly passes."""
    return _bound("floor", metric, limit, evidence)


def ceiling(metric: str, limit: Any, evidence: Evidence) -> Gate:
    """Challenger's value must not be above the limit; meeting it exactly passes."""
    return _bound("ceiling", metric, limit, evidence)


def _bound(kind: str, metric: str, limit: Any, evidence: Evidence) -> Gate:
    name = f"floor:{metric}"
    bound = _number(limit)
    mine = _value(evidence.challenger, metric)
    if bound is None:
        return Gate(name, False, challenger=mine, reason=f"the threshold {limit!r} is not a finite number")
    if mine is None:
        return _undefined(name, "challenger", metric, None, None)
    sign = +1 if kind == "floor" else -1
    margin = sign * (mine - bound)
    passed = mine >= bound if kind == "floor" else mine <= bound
    says = "at least" if kind == "floor" else "at most"
    reason = f"{metric} is {mine:.6g}, must be {says} {bound:.6g}"
    change = None if passed else advice.change(f"{kind}.{metric}", mine, metric, bound, mine)
    if not passed and not advice.reachable(metric, bound):
        reason += f"; no {metric} can: it would have to be {advice.beyond(metric, bound)}"
    return Gate(name, passed, None, mine, None, None, margin, reason, change)


def interval(metric: str, evidence: Evidence) -> Gate:
    """The paired bootstrap interval of the difference must lie above zero."""
    name = f"interval:{metric}"
    pair = _against(name, metric, evidence)
    if isinstance(pair, Gate):
        return pair
    mine, theirs = pair
    band = evidence.intervals.get(metric)
    if band is None or len(band) != 2 or not all(_number(v) is not None for v in band) or band[0] > band[1]:
        return Gate(
            name, False, theirs, mine, reason=f"no valid interval of the difference in {metric} was computed"
        )
    gain = advice.gain(metric, mine, theirs)
    passed = band[0] > 0
    reason = f"the interval of the gain in {metric} is {band[0]:.6g} to {band[1]:.6g}, must lie above 0"
    change = None if passed else advice.narrower(metric, gain, band[0], evidence.rows)
    if not passed and change is None:
        reason += "; more rows would not help: the challenger is not better on those there are"
    return Gate(name, passed, theirs, mine, gain, (band[0], band[1]), band[0], reason, change)


def weights(table: Any, evidence: Evidence) -> Gate:
    """Σ weight × gain / |champion| over the weighted metrics must be above zero."""
    if not isinstance(table, Mapping):
        return Gate("weights", False, reason="'weights' is not a table of metric = number")
    if not evidence.has_champion:
        return Gate("weights", True, reason=_NO_CHAMPION)
    terms: dict[str, tuple[float, float, float]] = {}
    for metric, raw in table.items():
        wrong = _unsuited(metric, evidence)
        weight, mine = _number(raw), _value(evidence.challenger, metric)
        theirs = _value(evidence.champion, metric)
        if wrong:
            return Gate("weights", False, reason=wrong)
        if weight is None or weight < 0:
            return Gate(
                "weights", False, reason=f"the weight of {metric} is not a number of 0 or more: {raw!r}"
            )
        if mine is None or theirs is None:
            return _undefined("weights", "challenger" if mine is None else "champion", metric, theirs, mine)
        if theirs == 0:
            return Gate(
                "weights", False, 0.0, mine, reason=f"the champion's {metric} is 0: no relative gain exists"
            )
        terms[metric] = (weight, mine, theirs)

    def total(values: Mapping[str, float]) -> float:
        return sum(w * advice.gain(m, values[m], theirs) / abs(theirs) for m, (w, _, theirs) in terms.items())

    mine_all = {m: mine for m, (_, mine, _) in terms.items()}
    score = total(mine_all)
    if not math.isfinite(score):
        return Gate("weights", False, reason="the weighted sum of relative gains is not finite")
    shown = 0.0 if -advice.ROUNDING < score <= 0 else score
    reason = f"the weighted sum of relative gains is {shown:+.6g}, must be above 0"
    if score > 0:
        return Gate("weights", True, difference=score, margin=score, reason=reason)

    def would(name: str, v: float) -> bool:
        return total({**mine_all, name: v}) > 0

    for name in sorted(terms, key=lambda m: -terms[m][0]):
        weight, mine, theirs = terms[name]
        if weight == 0:
            break
        start = mine + DIRECTION[name] * abs(theirs) * -score / weight
        need = advice.reach(start, name, partial(would, name))
        if advice.reachable(name, need):
            text = f"{advice.at(name, need, mine)}, all else equal"
            change = {"metric": name, "challenger": need, "text": text}
            return Gate("weights", False, difference=score, margin=score, reason=reason, would_pass_if=change)
    none = (
        "all weights are 0"
        if not any(w for w, _, _ in terms.values())
        else "no metric alone can make up for it"
    )
    return Gate("weights", False, difference=score, margin=score, reason=f"{reason}; {none}")


def baseline(evidence: Evidence) -> Gate:
    """Challenger must be strictly better than the trivial baseline in the primary metric.

    Where the baseline has no value in the chosen metric (a constant answer has no correlation), the task's own
    primary metric stands in.
    """
    metric = evidence.primary or PRIMARY_METRIC.get(evidence.task, "")
    wrong = _unsuited(metric, evidence)
    if wrong:
        return Gate("baseline", False, reason=wrong)
    if evidence.baseline is not None and _value(evidence.baseline, metric) is None:
        metric = PRIMARY_METRIC.get(evidence.task, metric)
    mine, trivial = _value(evidence.challenger, metric), _value(evidence.baseline, metric)
    if mine is None:
        return _undefined("baseline", "challenger", metric, None, None)
    if trivial is None:
        return _undefined("baseline", "baseline", metric, None, mine)
    gain = advice.gain(metric, mine, trivial)
    if not math.isfinite(gain):
        return Gate("baseline", False, None, mine, reason="the difference is not finite")
    reason = f"{metric} is {mine:.6g}, the trivial baseline's {trivial:.6g}"
    if gain > 0:
        return Gate("baseline", True, None, mine, gain, None, gain, reason)
    need = advice.reach(trivial, metric, lambda v: advice.gain(metric, v, trivial) > 0)
    change = {"metric": metric, "challenger": need, "text": advice.at(metric, need, mine)}
    if not advice.reachable(metric, need):
        return Gate("baseline", False, None, mine, gain, None, gain, f"{reason}: no {metric} is better")
    return Gate("baseline", False, None, mine, gain, None, gain, reason, change)


def expectations(evidence: Evidence) -> Gate:
    """The expectations of the data behind the challenger passed."""
    if evidence.expectations is True:
        return Gate("expectations", True, reason="the data's expectations passed")
    said = "failed" if evidence.expectations is False else "are not known to have passed"
    return Gate("expectations", False, reason=f"the data's expectations {said}")


def rnd(evidence: Evidence) -> Gate:
    """The challenger was not trained in R&D mode."""
    if evidence.rnd is False:
        return Gate("rnd", True, reason="not trained in R&D mode")
    said = (
        "it was trained in R&D mode"
        if evidence.rnd is True
        else "whether it was trained in R&D mode is not known"
    )
    return Gate("rnd", False, reason=said)


def signature(evidence: Evidence) -> Gate:
    """Who calls the champion today can call the challenger unchanged: same task, no new column, no other type, no class less."""
    mine = evidence.challenger_signature
    if mine is None:
        return Gate("signature", False, reason="the challenger's signature is missing")
    if not evidence.has_champion:
        return Gate("signature", True, reason="no champion stands here")
    if evidence.champion_task != evidence.task:
        return Gate(
            "signature",
            False,
            reason=f"the champion's task is {evidence.champion_task}, the challenger's {evidence.task}",
        )
    theirs = evidence.champion_signature
    if theirs is None:
        return Gate("signature", False, reason="the champion's signature is missing")
    known = {c["name"]: c["type"] for c in theirs}
    for column in mine:
        name, kind = column["name"], column["type"]
        if name not in known:
            return Gate(
                "signature",
                False,
                reason=f"the challenger needs column '{name}', which the champion does not take",
            )
        if not _widens(known[name], kind):
            return Gate(
                "signature",
                False,
                reason=f"column '{name}' is {known[name]} for the champion, {kind} for the challenger",
            )
    if evidence.champion_classes and evidence.challenger_classes is None:
        return Gate(
            "signature",
            False,
            reason="which classes the challenger knows could not be told: it was not measured",
        )
    lost = [c for c in evidence.champion_classes or () if c not in (evidence.challenger_classes or ())]
    if lost:
        said = ", ".join(str(c) for c in lost[:5])
        return Gate(
            "signature", False, reason=f"the challenger does not know the champion's class {said} any more"
        )
    return Gate("signature", True, reason="compatible with the champion's")


def cost(limit: Any, evidence: Evidence) -> Gate:
    """The predicted cost of scoring 1,000 rows is within the limit."""
    most, price = _number(limit), _number(evidence.cost_1000_rows)
    if most is None:
        return Gate("cost", False, reason=f"the threshold {limit!r} is not a finite number")
    if price is None:
        return Gate("cost", False, reason="the cost of scoring 1,000 rows could not be predicted")
    passed = price <= most
    room = advice.with_room(price)
    text = f"gates.max_cost_1000_rows set to {room!r}: twice what was measured, for the cost is a timing and the next one differs"
    change = None if passed else {"setting": "gates.max_cost_1000_rows", "value": room, "text": text}
    return Gate(
        "cost",
        passed,
        None,
        price,
        None,
        None,
        most - price,
        f"1,000 rows cost {price:.6g}, at most {most:.6g}",
        change,
    )


def _closed(name: str, rule: Callable[[], Gate]) -> Gate:
    try:
        return rule()
    except Exception as e:  # noqa: BLE001 - fail closed: whatever goes wrong while judging is a refusal with its reason
        return Gate(name, False, reason=f"could not be judged: {cause(e)}")


def _suited(name: str, metric: str, evidence: Evidence, rule: Callable[[], Gate]) -> Gate:
    def checked() -> Gate:
        wrong = _unsuited(metric, evidence)
        return Gate(name, False, reason=wrong) if wrong else rule()

    return _closed(name, checked)


def _unsuited(metric: str, evidence: Evidence) -> str:
    if metric not in DIRECTION:
        return f"unknown metric '{metric}': its direction is not known"
    if metric not in TASK_METRICS.get(evidence.task, ()):
        return f"metric '{metric}' does not belong to task '{evidence.task}'"
    if evidence.has_champion and evidence.champion_task != evidence.task:
        return f"the champion's task is {evidence.champion_task}, the challenger's {evidence.task}: they can't be compared"
    return ""


def _number(raw: Any) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    return float(raw) if math.isfinite(raw) else None


def _value(metrics: Mapping[str, Value] | None, name: str) -> float | None:
    return None if metrics is None else _number(metrics.get(name))


def _undefined(name: str, who: str, metric: str, champion: Value, challenger: Value) -> Gate:
    return Gate(name, False, champion, challenger, reason=f"the {who}'s {metric} is missing or undefined")


def _gain_text(metric: str, gain: float, least: float, theirs: float) -> str:
    word = "better" if gain >= 0 else "worse"
    much = "rounding alone" if gain and advice.same(theirs + gain, theirs) else f"{abs(gain):.6g}"
    return f"{metric} is {word} by {much}, the least allowed gain is {least:+.6g}"


def _widens(given: str, wanted: str) -> bool:
    """Whether values of type `given` are accepted where `wanted` is asked (integers for floats)."""
    if given == wanted:
        return True
    ints, floats = ("int", "uint"), ("double", "float", "halffloat", "decimal")
    if given.startswith(ints) and wanted.startswith((*ints, *floats)):
        return True
    if given.startswith(floats) and wanted.startswith(floats):
        return True
    text = ("string", "large_string", "dictionary")
    return given.startswith(text) and wanted.startswith(text)
