"""What the next run will take: a robust fit on this model's own history, or an upper bound before there is any.

One run: scaled by size. Several: Theil-Sen line of seconds over size (median of pairwise slopes; Sen 1968),
with the 50 % and 90 % quantiles of its residuals. None: the limit that the run can't pass, marked as such.
A training under another time limit than the history's takes that beside what starting costs: the search takes what it is given.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

HISTORY = 30
UNKNOWN = "upper bound: no run yet"
"""The basis of a prediction without any history."""


@dataclass(frozen=True)
class Past:
    """One ended run of the same act on the same object. `size` 0: not recorded; `search`: seconds that its training was allowed."""

    run: str
    size: float
    seconds: float
    search: float = 0.0


@dataclass(frozen=True)
class Seconds:
    """Predicted seconds with what they rest on."""

    p50: float
    p90: float
    basis: str
    runs: tuple[str, ...] = ()


_ALL_OF_IT = 0.8  # of its limit: a training that took less was ended by its trials
_STARTING = 0.1  # of a run's time, at least: what does not depend on the limit


def usual_size(history: list[Past], waiting: float = 0.0) -> float:
    """Size of the next run: of what waits for it, else as the last one had it; 0: not known."""
    return waiting or (history[-1].size if history else 0.0)


def predict_seconds(history: list[Past], size: float, bound: float, search: float = 0.0) -> Seconds:
    """Predict the seconds of a run of this size (same unit as the history's); never above `bound` when one is given.

    Args:
        search: seconds that its training is allowed; 0: it trains nothing.
    """
    if bound == 0:
        return Seconds(0.0, 0.0, "spends nothing")
    if not history:
        return Seconds(bound, bound, UNKNOWN)
    # what a shorter limit cut off tells nothing that runs of this very limit do not
    if any(h.search == search for h in history):
        history = [h for h in history if not (0 < h.search < search and _used_up(h))]
    found = _by_size(history, size)
    other = [h for h in history if search > 0 and h.search > 0 and h.search != search]
    if other:
        longest = search > max(h.search for h in history)
        usual = _by_size([replace(h, seconds=_limited(h, search)) for h in history], size)
        most = _by_size([replace(h, seconds=_limited(h, search, whole=longest)) for h in history], size)
        basis = f"{found.basis}{' and' if 'scaled' in found.basis else ', scaled'} to {search:g} s"
        found = replace(found, p50=usual.p50, p90=max(usual.p90, most.p90), basis=basis)
    return replace(found, p50=min(found.p50, bound), p90=min(found.p90, bound))


def _used_up(h: Past) -> bool:
    return h.seconds >= _ALL_OF_IT * h.search


def _limited(h: Past, search: float, *, whole: bool = False) -> float:
    """What a run would have taken with `search` seconds for its training.

    What starting costs stays beside the search. A longer limit counts for those that used theirs up, with `whole` for all.
    """
    if not search or not h.search or h.search == search:
        return h.seconds
    used_up = whole or _used_up(h)
    if search > h.search and not used_up:
        return h.seconds
    then = max(h.seconds - h.search, _STARTING * h.seconds) + search
    return then if search > h.search else min(h.seconds, then)


def _by_size(history: list[Past], size: float) -> Seconds:
    history = [h if h.size > 0 else replace(h, size=size) for h in history]  # unknown: as of the asked size
    names = tuple(h.run for h in history)
    if len(history) == 1:
        h = history[0]
        scale = size / h.size if h.size > 0 and size > 0 else 1.0
        p50 = h.seconds * max(
            scale, 0.2
        )  # a tenth of the rows does not take a tenth of the time: starting costs
        return Seconds(p50, p50 * 1.5, "1 run, scaled by size", names)
    slopes = [
        (b.seconds - a.seconds) / (b.size - a.size) for a, b in combinations(history, 2) if b.size != a.size
    ]
    slope = max(0.0, statistics.median(slopes)) if slopes else 0.0
    rest = sorted(h.seconds - slope * h.size for h in history)
    middle = statistics.median(rest)
    high = rest[min(len(rest) - 1, int(0.9 * len(rest)))]
    p50 = max(slope * size + middle, 0.5 * min(h.seconds for h in history))  # starting costs: never near 0
    p90 = max(slope * size + high, p50 * 1.1)
    return Seconds(p50, p90, f"{len(history)} runs", names)


def money(seconds: Seconds, nodes: int, price_hour: float, currency: str) -> dict[str, Any]:
    """cost = nodes × hours × price, as the contract's `{"p50", "p90", "currency", "basis"}`."""
    return {
        "p50": round(nodes * seconds.p50 / 3600 * price_hour, 6),
        "p90": round(nodes * seconds.p90 / 3600 * price_hour, 6),
        "currency": currency,
        "basis": seconds.basis,
        "runs": list(seconds.runs),
    }
