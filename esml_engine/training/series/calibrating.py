"""Residuals for a model's intervals: its members fitted anew on less and less of the past, asked about what follows.

Why not those of the search alone: they come from one short and late stretch, on which the members were also chosen.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import EsmlError
from esml_engine.training.causes import cause
from esml_engine.training.series.frames import Frame, Member

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# fits the members of the blend on y[:end]
Refit = Callable[[int], Sequence[Member]]

_BLOCKS = 8
_ORIGINS_A_BLOCK = 12
# an earlier history says little about the errors of a model that learned from three times as much
_FIRST = 0.3


@dataclass(frozen=True)
class Residuals:
    """Truth less forecast (k, h) at origins (k,) ascending; `fits`: how often the members were fitted for them."""

    origins: Ints
    values: Floats
    fits: int
    left_out: tuple[str, ...] = ()


def held_out(
    frame: Frame,
    observed: NDArray[np.bool_],
    *,
    least: int,
    horizon: int,
    refit: Refit,
    until: float,
    expected: float = 0.0,
) -> Residuals:
    """Rolling origins with an expanding window (Tashman 2000; Hyndman, Athanasopoulos 2021, section 5.10).

    From three tenths of the series on there are up to 8 blocks of up to 12 origins; at a block's begin the members are
    fitted on all before it, and the truth joins their history at each origin. The latest block comes first; no further
    one is begun that would not be done by `until` (of `time.monotonic`).

    Args:
        observed: (n,) rows with a truth.
        least: the shortest history to fit on.
        expected: seconds that the first block may take.
        refit: raises for a history that a member can't be fitted on; that block is left out, with its reason.
    """
    end = len(frame.y)
    first = min(max(least, int(_FIRST * end)), end - horizon)
    cuts = np.unique(np.linspace(first, end - horizon + 1, _BLOCKS + 1).round().astype(np.int64))
    found: list[tuple[Ints, Floats]] = []
    left_out: list[str] = []
    longest = expected
    for begin, stop in reversed(list(itertools.pairwise(cuts))):
        begun = time.monotonic()
        if begun + longest > until:
            left_out.append("the seconds were over")
            break
        count = min(_ORIGINS_A_BLOCK, int(stop - begin))
        origins = np.unique(np.linspace(begin, stop - 1, count).round().astype(np.int64))
        try:
            said = np.mean([m.forecast(frame, origins, horizon) for m in refit(int(begin))], axis=0)
        except EsmlError as e:
            left_out.append(e.message)
            continue
        except Exception as e:  # noqa: BLE001 - a library that can't cope with a shorter history: the reason is shown
            left_out.append(cause(e))
            continue
        longest = time.monotonic() - begun if not found else max(longest, time.monotonic() - begun)
        at = origins[:, None] + np.arange(horizon)
        values = np.where(observed[at] & np.isfinite(said), frame.y[at] - said, np.nan)
        found.append((origins, values))
    found.reverse()
    if not found:
        return Residuals(np.zeros(0, np.int64), np.zeros((0, horizon)), 0, tuple(left_out))
    return Residuals(
        np.concatenate([o for o, _ in found]), np.vstack([r for _, r in found]), len(found), tuple(left_out)
    )
