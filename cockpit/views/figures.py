"""The estate's five figures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from cockpit.facts.evidence import Evidence
from cockpit.facts.reads import days
from cockpit.views.estate import KINDS, Row, counts
from cockpit.words import MONTH_END, money, share


@dataclass(frozen=True)
class Figure:
    """One card: a figure, what it is compared with, and its days."""

    label: str
    text: str
    note: str
    tone: str = "off"  # normal | inverse | off, as st.metric colours its delta
    arrow: str = "off"
    series: tuple[float, ...] = ()
    chart: str = "line"
    help: str = ""


def figures(
    found: list[Row], e: Evidence, money_: dict[str, Any], needy_by_day: Mapping[str, int], today: dt.date
) -> list[Figure]:
    """Five figures of real facts, each with a period and something to compare with.

    Args:
        needy_by_day: how many models needed somebody, on the days that are known.
    """
    month = days(today.replace(day=1), today)
    week = days(today - dt.timedelta(6), today)
    month_ago = days(today - dt.timedelta(29), today)
    crowned, prod = (
        [r for r in found if any(r.champions.values())],
        sum(bool(r.champions["prod"]) for r in found),
    )
    before = sum(n for d, n in e.crowned_by_day.items() if d < month_ago[0])
    champions = tuple(float(before + x) for x in accumulate(e.crowned_by_day.get(d, 0) for d in month_ago))
    needy = [r for r in found if r.needs]
    kinds, _ = counts(found)
    worst = next(iter(kinds), "")
    spent, budget, end, currency = money_["spent"], money_["budget"], money_["month_end"], money_["currency"]
    by_day = tuple(e.spent_by_day.get(d, 0.0) for d in month)
    failed = sum(e.failed_by_day.get(d, 0) for d in week)
    over = budget > 0 and end > budget
    return [
        Figure(
            "With a champion",
            f"{len(crowned)} of {len(found)}",
            f"{prod} in prod",
            series=champions,
            help="Models that have a champion in any environment; the line shows the last 30 days.",
        ),
        Figure(
            "Needs attention",
            f"{len(needy)} of {len(found)}",
            f"{KINDS[worst]} · {kinds[worst]}" if worst else "nothing waits",
            "inverse" if worst in ("failed", "policy", "budget") else "off",
            series=tuple(float(needy_by_day[d]) for d in month_ago if d in needy_by_day),
            help="Models with at least one open need; the note names the worst. The line: how many there were, on the days of the last 30 when you looked.",
        ),
        Figure(
            "Spent this month",
            money(spent, currency),
            f"{share(spent, budget)} of {money(budget, currency)}" if budget else "no budget set",
            series=by_day,
            chart="bar",
            help="Metered cost of all runs since the first of the month (UTC), by day; compared with the sum of the projects' budgets.",
        ),
        Figure(
            "Month end, forecast",
            money(end, currency),
            f"{share(end, budget)} of budget" if budget else "no budget set",
            "inverse" if over else "off",
            "up" if over else "off",
            tuple(accumulate(by_day)),
            "area",
            f"{MONTH_END} The area: metered cost so far.",
        ),
        Figure(
            "Failed runs, 7 d",
            str(failed),
            f"{failed - e.failed_before:+d} on the week before"
            if e.failed_before or failed
            else "none the week before",
            "inverse" if failed else "off",
            "off",
            tuple(float(e.failed_by_day.get(d, 0)) for d in week),
            "bar",
            "Runs that failed in the last seven days (UTC), by day.",
        ),
    ]
