"""What would make a failed gate pass: exact values, and only such as can be reached."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from esml_engine.training.facts import DIRECTION, RANGE


def gain(metric: str, mine: float, theirs: float) -> float:
    """By how much `mine` is better than `theirs`."""
    return DIRECTION[metric] * (mine - theirs)


def reach(start: float, metric: str, passes: Callable[[float], bool]) -> float:
    """The value near `start` that passes: rounding may leave `start` itself just short, so step on in doubling ulps."""
    value, step = start, math.ulp(start)
    while not passes(value):
        value += DIRECTION[metric] * step
        step *= 2
    # the steps may have gone over the best value there is, which may do itself
    best = RANGE[metric][1 if DIRECTION[metric] > 0 else 0]
    return best if not reachable(metric, value) and math.isfinite(best) and passes(best) else value


def reachable(metric: str, value: float) -> bool:
    """Whether a model's metric can have this value at all."""
    low, high = RANGE[metric]
    return low <= value <= high


def beyond(metric: str, value: float) -> str:
    """What a value that no model can have would have to be, in words."""
    low, high = RANGE[metric]
    return f"above {high:g}" if value > high else f"below {low:g}"


def change(setting: str, value: float, metric: str, need: float, mine: float) -> dict[str, Any]:
    """A threshold's failed gate would pass with the metric at `need`, where that can be, or with `value` set."""
    value = value + 0.0  # no minus zero in advice
    setting = f"gates.{setting}"  # as `esml set` takes it
    if not reachable(metric, need):
        return {"setting": setting, "value": value, "text": f"{setting} set to {value!r}"}
    text = f"{metric} of {need:.6g} ({need - mine:+.6g}), or {setting} set to {value!r}"
    return {"setting": setting, "value": value, "metric": metric, "challenger": need, "text": text}
