"""Costs as a page shows them: spent against budget, by anything, predictions held against what came, idle endpoints, scenarios."""

from __future__ import annotations

import calendar
import datetime as dt
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from cockpit.facts.costing import ACTS, Asked, Judged
from cockpit.facts.reads import days
from cockpit.views.figures import Figure
from cockpit.words import (
    MONTH_END,
    duration,
    has_bound,
    is_bound,
    money,
    plural,
    share,
    time_ago,
)

PERIODS = {"month": "this month", "last": "last month", "90": "90 days"}
BY = {"project": "project", "model": "model", "act": "act", "env": "env", "day": "day"}
HOURS = 730.0  # of a month


@dataclass(frozen=True)
class Period:
    """From `first` until before `end` (dates, UTC), and the same length before it."""

    first: dt.date
    end: dt.date
    label: str
    short: str
    before: tuple[dt.date, dt.date]
    current: bool = True  # it reaches until now


def period(key: str, today: dt.date) -> Period:
    """A period by its name in the address."""
    start = today.replace(day=1)
    last = (start - dt.timedelta(days=1)).replace(day=1)
    tomorrow = today + dt.timedelta(days=1)
    if key == "last":
        earlier = (last - dt.timedelta(days=1)).replace(day=1)
        return Period(last, start, f"{last:%B %Y}", "last month", (earlier, last), False)
    if key == "90":
        first = today - dt.timedelta(days=89)
        return Period(
            first, tomorrow, "the last 90 days", "in 90 days", (first - dt.timedelta(days=90), first)
        )
    gone = min((tomorrow - start).days, calendar.monthrange(last.year, last.month)[1])
    return Period(
        start, tomorrow, f"{start:%B %Y} so far", "this month", (last, last + dt.timedelta(days=gone))
    )


def figures(
    spent: float, before: float, budget: float, month_spent: float, month_end: float, p: Period, by_day: Mapping[str, float],
    next_runs: list[dict[str, Any]], idle: list[Endpoint], currency: str,
) -> list[Figure]:  # fmt: skip
    """Five cards: spent, month end, the next runs, how predictions did stands below, endpoints."""
    all_days = days(p.first, p.end - dt.timedelta(days=1))
    series = tuple(by_day.get(d, 0.0) for d in all_days)
    change = "nothing before" if not before else f"{spent / before - 1:+.0%} on {money(before, currency)} before"  # fmt: skip
    over = budget > 0 and month_end > budget
    p50, p90 = (sum(r["cost"][k] for r in next_runs) for k in ("p50", "p90"))
    bounds = sum(is_bound(r["cost"]["basis"]) for r in next_runs)
    quiet = [e for e in idle if e.idle]
    return [
        Figure(f"Spent {p.short}", money(spent, currency), change, series=series, chart="bar",
            help=f"Metered cost of all runs, {p.label}, by day (UTC), against the same time before."),
        Figure("Spent against budget", share(month_spent, budget) if budget else "no budget set",
            f"of {money(budget, currency)} a month" if budget else "set one below",
            help="Metered this month; the budget is the project's, or the sum over projects."),
        Figure("Month end, forecast", money(month_end, currency),
            f"{share(month_end, budget)} of budget" if budget else "no budget set", "inverse" if over else "off",
            "up" if over else "off", tuple(accumulate(series)) if p.current else (), "area", MONTH_END),
        Figure("Next runs, upper bound" if bounds else "Next runs, p50", money(p90 if bounds else p50, currency),
            f"{plural(bounds, 'run')} without a past, of {len(next_runs)}" if bounds else f"p90 {money(p90, currency)} · of {plural(len(next_runs), 'model')}",
            help=f"Predicted cost of the next run of each model; {bounds} of {len(next_runs)} are upper bounds: no run yet."),
        Figure("Idle endpoints", f"{len(quiet)} of {len(idle)}",
            f"{money(sum(e.month for e in quiet), currency)} a month for nothing" if quiet else f"all: {money(sum(e.month for e in idle), currency)} a month" if idle else "nothing is deployed",
            "inverse" if quiet else "off", help="Endpoints without a call for seven days."),
    ]  # fmt: skip


def table(spent: Mapping[str, float], before: Mapping[str, float], by: str, currency: str) -> list[dict[str, Any]]:  # fmt: skip
    """Money by anything, most first, with its share and the period before."""
    total = sum(spent.values())
    names = sorted({*spent, *before}, key=lambda k: (-spent.get(k, 0.0), k))
    head = {"project": "Project", "model": "Model", "act": "Act", "env": "Environment", "day": "Day"}[by]
    order = sorted(names, reverse=True) if by == "day" else names
    return [
        {
            head: k.replace("_", " ") if by == "act" else k, "Spent": money(spent.get(k, 0.0), currency),
            "Share": share(spent.get(k, 0.0), total) if total else "",
            "Period before": money(before.get(k, 0.0), currency) if by != "day" else "",
        }
        for k in order
        if k in spent or by != "day"
    ]  # fmt: skip


@dataclass(frozen=True)
class Endpoint:
    """One endpoint and what it costs."""

    model: str
    env: str
    version: int
    last: str  # its newest call, or its deployment
    month: float
    idle: bool


def endpoints(
    serving: Mapping[tuple[str, str], int],
    served: Mapping[tuple[str, str], str],
    prices: Mapping[tuple[str, str], float],
    now: dt.datetime,
    idle_days: int,
) -> list[Endpoint]:
    """Every endpoint, quietest first."""
    out = []
    for (model, env), version in serving.items():
        last = served[(model, env)]
        quiet = (now - dt.datetime.fromisoformat(last)).days >= idle_days
        out.append(Endpoint(model, env, version, last, prices.get((model, env), 0.0) * HOURS, quiet))
    return sorted(out, key=lambda e: e.last)


def endpoint_table(found: list[Endpoint], currency: str, now: dt.datetime) -> list[dict[str, str]]:
    """Endpoints as lines."""
    return [
        {
            "Endpoint": e.model, "Environment": e.env, "Serves": f"v{e.version}",
            "Last call or deployment": time_ago(e.last, now),
            "State": "! idle" if e.idle else "✓ in use",
            "Costs a month": f"{money(e.month, currency)} (1 node × {HOURS:g} h)",
        }
        for e in found
    ]  # fmt: skip


@dataclass(frozen=True)
class Accuracy:
    """How good predictions were, over all and by act."""

    said: str
    lines: list[dict[str, str]]


def accuracy(runs: list[dict[str, Any]], currency: str) -> Accuracy:
    """Predictions held against what came. A prediction without history, of a part even, is an upper bound and judged as one."""
    known = [r for r in runs if not has_bound(r["predicted"]["cost"].get("basis", ""))]
    bounds = [r for r in runs if r not in known]
    lines = []
    for act in sorted({r["act"] for r in runs}):
        mine = [r for r in known if r["act"] == act]
        its_bounds = [r for r in bounds if r["act"] == act]
        lines.append(
            {
                "Act": act.replace("_", " "), "Runs": str(len(mine)),
                "Cost at most p90": share(sum(_within(r) for r in mine), len(mine)) if mine else "no run after the first yet",
                "Median cost ÷ p50": f"{_ratio(mine, 'cost'):.2f}" if mine else "",
                "Median time ÷ p50": f"{_ratio(mine, 'seconds'):.2f}" if mine else "",
                "First runs": f"{sum(_within(r) for r in its_bounds)} of {len(its_bounds)} under their upper bound" if its_bounds else "none",
            }
        )  # fmt: skip
    if not known:
        return Accuracy("No prediction with a history was followed by a run yet.", lines)
    good = sum(_within(r) for r in known)
    return Accuracy(
        f"**{good} of {plural(len(known), 'run')} ({share(good, len(known))}) cost at most their p90**; nine of ten is what p90 promises. The median run cost {_ratio(known, 'cost'):.2f} × its p50.",
        lines,
    )


def _within(r: dict[str, Any]) -> bool:
    return bool((r["cost"] or 0.0) <= r["predicted"]["cost"]["p90"] * (1 + 1e-9))


def _ratio(runs: list[dict[str, Any]], what: str) -> float:
    found = [
        r[what] / r["predicted"][what]["p50"] for r in runs if r["predicted"].get(what, {}).get("p50") and r[what]
    ]  # fmt: skip
    return statistics.median(found) if found else 0.0


def points(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Predicted p50 and p90 beside what came, a point a run, upper bounds left out."""
    return [
        {"run": r["run"], "act": r["act"], "predicted": r["predicted"]["cost"]["p50"], "p90": r["predicted"]["cost"]["p90"],
            "actual": r["cost"], "side": "at most p90" if _within(r) else "over p90"}
        for r in runs
        if r["cost"] and r["predicted"]["cost"]["p50"] and not has_bound(r["predicted"]["cost"].get("basis", ""))
    ]  # fmt: skip


# scenarios
_FIELDS = ("model", "act", "env", "node", "nodes", "rows", "profile")


def written(a: Asked) -> str:
    """A scenario as the address says it: `model:p/m;act:train;…`."""
    return ";".join(f"{k}:{getattr(a, k)}" for k in _FIELDS)


def scenario(text: str, base: Asked) -> tuple[Asked, tuple[str, ...]]:
    """From the address, over `base`; what can't be read is named, not dropped in silence."""
    values: dict[str, Any] = {k: getattr(base, k) for k in _FIELDS}
    bad = []
    for part in (x for x in text.split(";") if x):
        k, found, v = part.partition(":")
        number = k in ("nodes", "rows")
        if (
            not found
            or k not in _FIELDS
            or (number and not (v.isdigit() and len(v) < 12))
            or (k == "act" and v not in ACTS)
        ):
            bad.append(part)
            continue
        values[k] = int(v) if number else v
    values["nodes"] = max(1, values["nodes"])
    return Asked(**values), tuple(bad)


def times(ratio: float) -> str:
    """`1.50 ×`, `4,032 ×`: how many times as much."""
    return f"{ratio:,.0f} ×" if ratio >= 100 else f"{ratio:.2f} ×"


def against(now: Judged, then: Judged, currency: str) -> list[dict[str, str]]:
    """The next run as it is beside the scenario, figure by figure."""

    def time(j: Judged) -> str:
        s = j.answer.seconds
        return f"at most {duration(s.p90)}" if is_bound(s.basis) else f"{duration(s.p50)} (p90 {duration(s.p90)})"  # fmt: skip

    def cost(p: Mapping[str, Any]) -> str:  # what it rests on stands below
        high = money(p["p90"], currency)
        return f"upper bound {high}" if is_bound(p["basis"]) else f"{money(p['p50'], currency)} (p90 {high})"

    a, b = now.answer.cost, then.answer.cost
    change = times(b["p50"] / a["p50"]) if a["p50"] else ""
    return [
        {"": "Nodes", "As it is": f"{now.asked.node} × {now.asked.nodes}",
            "If": f"{then.asked.node} × {then.asked.nodes}", "Change": ""},
        {"": "Rows", "As it is": f"{now.asked.rows:,}", "If": f"{then.asked.rows:,}",
            "Change": times(then.asked.rows / now.asked.rows) if now.asked.rows else ""},
        {"": "Time", "As it is": time(now), "If": time(then),
            "Change": times(then.answer.seconds.p50 / now.answer.seconds.p50) if now.answer.seconds.p50 else ""},
        {"": "Cost", "As it is": cost(a), "If": cost(b), "Change": change},
        {"": "Policy", "As it is": now.policy, "If": then.policy, "Change": ""},
    ]  # fmt: skip


def next_acts(said: dict[str, Any]) -> list[dict[str, str]]:
    """Predicted costs of the next runs as a table."""
    names = {
        "refine": "Refine",
        "train": "Train",
        "score_1000_rows": "Score 1,000 rows (batch)",
        "endpoint_month": "Endpoint, one month",
    }
    out = []
    for act, p in said["predicted"].items():
        bound = is_bound(p["basis"])
        out.append({
            "Next": names.get(act, act), "p50": "" if bound else money(p["p50"], p["currency"]),
            "p90": ("≤ " if bound else "") + money(p["p90"], p["currency"]),
            "Rests on": p["basis"],
        })  # fmt: skip
    return out
