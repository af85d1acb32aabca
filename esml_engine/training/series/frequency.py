"""The grid of a series: pandas' offset of a frequency, its seasons, and where a timestamp lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from esml_engine.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

Times = NDArray[np.datetime64]

# what people write for a calendar unit without saying where it begins: the first that fits the timestamps is taken
_UNITS: dict[str, tuple[str, ...]] = {
    "W": ("W-SUN", "W-MON", "W-TUE", "W-WED", "W-THU", "W-FRI", "W-SAT"),
    "M": ("MS", "ME"),
    "MS": ("MS",),
    "Q": ("QS-JAN", "QE-DEC", "QS-FEB", "QE-JAN", "QS-MAR", "QE-FEB"),
    "QS": ("QS-JAN", "QS-FEB", "QS-MAR"),
    "QE": ("QE-DEC", "QE-JAN", "QE-FEB"),
    "Y": ("YS", "YE"),
    "A": ("YS", "YE"),
    "H": ("h",),
    "T": ("min",),
    "S": ("s",),
}
_HINT = "write a pandas offset alias, such as D, B, W, MS, QS, h or 15min"
_CYCLE = {"B": (5,), "W": (52,), "MS": (12,), "ME": (12,), "QS": (4,), "QE": (4,), "D": (7, 365)}
_DAY_SECONDS = 86_400
# a season counts when the series holds this many of it
_SEASONS = 3


def offset_of(alias: str) -> pd.DateOffset:
    """The offset of a complete alias.

    Raises:
        UsageError: pandas knows no such frequency.
    """
    from pandas.tseries.frequencies import to_offset

    try:
        offset: Any = to_offset(alias)
    except ValueError as e:
        raise UsageError(f"the frequency {alias!r} is unknown", hint=_HINT) from e
    if offset is None or offset.n < 1:
        raise UsageError(f"the frequency {alias!r} does not go forward", hint=_HINT)
    return offset  # type: ignore[no-any-return]


def check_alias(alias: str) -> None:
    """Refuse what no timestamps could follow.

    Raises:
        UsageError: pandas knows no such frequency, or it does not go forward.
    """
    for whole in _UNITS.get(alias, (alias,)):
        offset_of(whole)


def resolve(alias: str, times: Times, name: str) -> str:
    """The complete alias on whose grid all of `times` (n,), ascending and each once, lie; inferred when empty.

    Raises:
        UsageError: the alias is unknown, a timestamp lies beside the grid, or nothing regular can be inferred.
    """
    import pandas as pd

    if not alias:
        found = pd.infer_freq(pd.DatetimeIndex(times)) if len(times) >= 3 else None
        if found is None:
            raise UsageError(
                f"{name} has no regular frequency{_first_odd(times)}",
                hint="set forecast.frequency in model.toml (D, W, MS, h …); missing timestamps are filled then",
            )
        return str(found)
    choices = _UNITS.get(alias, (alias,))
    for choice in choices:
        if beside(choice, times) is None:
            return choice
    odd = beside(choices[0], times)
    raise UsageError(
        f"{name} holds {shown(odd)}, which is no timestamp of the frequency {alias}",
        hint="correct the frequency, or bring the timestamps onto it in a step",
    )


def _first_odd(times: Times) -> str:
    if len(times) < 3:
        return f": it has {len(times)} timestamps"
    gaps = np.diff(times)
    values, counts = np.unique(gaps, return_counts=True)
    odd = int(np.flatnonzero(gaps != values[np.argmax(counts)])[0])
    return f": after {shown(times[odd])} comes {shown(times[odd + 1])}"


def beside(alias: str, times: Times) -> np.datetime64 | None:
    """The first of `times` (n,) that is no point of the grid through them, or None."""
    full = grid(alias, times[0], times[-1])
    missing = ~np.isin(times, full)
    return times[int(np.argmax(missing))] if missing.any() else None


def grid(alias: str, first: np.datetime64, last: np.datetime64) -> Times:
    """All points from `first` to `last`, as datetime64[us]."""
    import pandas as pd

    index = pd.date_range(pd.Timestamp(first), pd.Timestamp(last), freq=offset_of(alias))
    return index.to_numpy().astype("datetime64[us]")


def following(alias: str, last: np.datetime64, steps: int) -> Times:
    """The `steps` points after `last`, as datetime64[us]."""
    import pandas as pd

    index = pd.date_range(pd.Timestamp(last), periods=steps + 1, freq=offset_of(alias))
    return index.to_numpy().astype("datetime64[us]")[1:]


def seasons_of(alias: str, rows: int) -> tuple[int, ...]:
    """Season lengths in steps, the shortest first, of which `rows` holds at least three each; (1,) when there is none.

    Weeks and years for days, days and weeks below a day, else years.
    """
    offset = offset_of(alias)
    unit = offset.name.partition("-")[0]
    seconds = {"h": 3_600, "min": 60, "s": 1}.get(unit)
    if seconds is not None:
        step = seconds * offset.n
        cycles = tuple(c // step for c in (_DAY_SECONDS, 7 * _DAY_SECONDS) if c % step == 0)
    else:
        cycles = tuple(c // offset.n for c in _CYCLE.get(unit, ()) if c % offset.n == 0)
    return tuple(c for c in cycles if c > 1 and rows >= _SEASONS * c) or (1,)


def season_of(alias: str, rows: int) -> int:
    """The main season (the shortest of `seasons_of`): what the naive forecast repeats."""
    return seasons_of(alias, rows)[0]


def shown(moment: Any) -> str:
    """A timestamp for people: the date alone at midnight."""
    text = str(np.datetime64(moment, "s"))
    return text.removesuffix("T00:00:00").replace("T", " ")
