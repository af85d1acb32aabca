"""What a month will have cost at its end: runs as they went so far, endpoints by the hours that are left."""

from __future__ import annotations

import calendar
import datetime as dt


def month_end(runs: float, endpoints: float, hourly: float, at: dt.datetime | None = None) -> float:
    """The month's metered spending as it will stand at the end of the UTC month of `at` (now).

        month end = runs / days gone * days of the month  +  endpoints  +  hourly * hours left

    The FinOps Framework (capability *Forecasting*, finops.org) has a forecast combine past spending with what is known of
    the future. Runs come now and then: theirs is the past, trend-based, drawn on as a straight line; in the first day of a
    month one day counts as gone. An endpoint costs its node for every hour that it is up, at the price that
    `costs.records.meter_endpoint` meters: what is up is taken to stay up until the month's end, and what was taken down
    costs no more than it did.

    Args:
        runs: metered for runs since the first of the month.
        endpoints: metered for endpoints since then.
        hourly: what the endpoints that are up cost an hour, together.
    """
    at = (at or dt.datetime.now(dt.UTC)).astimezone(dt.UTC)
    days = calendar.monthrange(at.year, at.month)[1]
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    gone = (at - first).total_seconds() / 86400
    return round(runs / max(1.0, gone) * days + endpoints + hourly * 24 * (days - gone), 6)
