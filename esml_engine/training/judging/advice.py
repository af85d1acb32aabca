"""What would make a failed gate pass: exact values, and only such as can be reached."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any

from esml_engine.training.facts import DIRECTION, RANGE

ROUNDING = 1e-12
"""A relative difference below this is none, in what people read."""


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


def same(a: float, b: float) -> bool:
    """Whether two values differ by rounding alone."""
    return math.isclose(a, b, rel_tol=ROUNDING, abs_tol=1e-15)


def at(metric: str, need: float, mine: float) -> str:
    """The value that would do, and how far from there the model's own is, in words."""
    if same(need, mine):
        return f"any {metric} better than {mine:.6g}"
    return f"{metric} of {need:.6g} ({need - mine:+.6g})"


def with_room(measured: float) -> float:
    """A limit that holds for the next timing too: twice the measured, rounded up to two digits."""
    room = 2 * measured
    if not math.isfinite(room):
        return measured
    return float(Context(prec=2, rounding=ROUND_CEILING).create_decimal(Decimal(room)))


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
    text = f"{at(metric, need, mine)}, or {setting} set to {value!r}"
    return {"setting": setting, "value": value, "metric": metric, "challenger": need, "text": text}


def narrower(metric: str, gain_: float, low: float, rows: int) -> dict[str, Any] | None:
    """About how many test rows more would lift an interval's lower end above zero: its width goes with 1 / sqrt(rows).

    None where no number would: there is no gain on the rows that there are, or it is not known how many they are.
    """
    if gain_ <= 0 or not rows:
        return None
    more = math.ceil(rows * ((gain_ - low) / gain_) ** 2 * 1.0001) + 1 - rows
    text = f"about {more} more test rows (an estimate: the interval narrows with the root of the rows)"
    return {"rows": more, "estimate": True, "metric": metric, "text": text}
