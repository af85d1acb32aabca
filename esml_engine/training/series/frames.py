"""What a member sees: times and regressors that go beyond the history, and the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from esml_engine.training.series.frequency import Times

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """Args:
    times: (n,) datetime64[us], on the grid.
    y: (m,) the history, m <= n; a forecast from an origin reads y[:origin] alone.
    x: (n, q) known regressors without NaN.
    """

    times: Times
    y: Floats
    x: Floats


class Member(Protocol):
    """One fitted method: its parameters are fixed, the history it forecasts from is given each time."""

    kind: str
    params: dict[str, Any]
    reads_regressors: bool

    def forecast(self, frame: Frame, origins: NDArray[np.int64], steps: int) -> Floats:
        """Forecasts (k, steps): row i for times[origins[i]] and the steps after it, from y[:origins[i]].

        `frame.times` and `frame.x` reach to the last of these rows.
        """

    def to_json(self) -> dict[str, Any]:
        """Kind, parameters and fitted numbers as plain JSON."""
