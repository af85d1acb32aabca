"""What faces show of endpoints: what runs behind each, and how it answers."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from esml_engine.door.site import Site
from esml_engine.refs import ModelRef
from esml_engine.scored import reads as scored
from esml_engine.scored.facts import ScoredFilter
from esml_engine.scored.query import query
from esml_engine.serving import records


@dataclass(frozen=True)
class Figures:
    """What an endpoint's process counted since it began; it forgets at its restart."""

    requests: int
    errors: int  # answers of 500 and above
    refused: int  # answers of 400 to 499
    rows: int
    p50: float | None  # seconds
    p95: float | None


@dataclass(frozen=True)
class Served:
    """One endpoint as wanted and as it stands."""

    env: str
    endpoint: str
    url: str
    version: int | None  # that answers; None: nothing is deployed
    previous: int | None  # that stands beside it
    since: str
    by: str
    save: bool
    running: bool
    trouble: str  # '' when it is well
    figures: Figures | None  # None: not running, or the platform does not tell
    last_call: str | None
    calls_7_days: int


def of_model(site: Site, ref: ModelRef) -> list[Served]:
    """Every endpoint of a model that there ever was, in the order of the environments."""
    out = []
    for env in site.settings.environments:
        row = records.get(site.store, ref, env)
        if row is not None:
            out.append(_served(site, ref, env, row))
    return out


def _served(site: Site, ref: ModelRef, env: str, row: dict[str, Any]) -> Served:
    platform = site.platform(env)
    slots, live = row["slots"], row["live"]
    others = [int(v["model_version"]) for s, v in slots.items() if s != live]
    url = platform.endpoint_url(row["endpoint"], row["port"])
    running, trouble, figures = False, "", None
    if live:
        state = platform.endpoint_state(row["endpoint"])
        running = state.running
        its = (state.slots or {}).get(live, {})
        trouble = (
            state.error or "it does not answer"
            if not running
            else str(its.get("error") or "")
            if its.get("state") == "failed"
            else ""
        )
        figures = figures_of(url) if running else None
    last, calls = _calls(site, ref, env)
    return Served(
        env, row["endpoint"], url, int(slots[live]["model_version"]) if live in slots else None, others[0] if others else None,
        row["at"], row["by"], bool(row["save"]), running, trouble, figures, last, calls,
    )  # fmt: skip


def _calls(site: Site, ref: ModelRef, env: str) -> tuple[str | None, int]:
    """(moment of the last kept answer, calls of the last 7 days)."""
    source = scored.source(site, ref, env)
    newest = query(source, ScoredFilter(limit=1))["rows"]
    week = dt.datetime.now(dt.UTC) - dt.timedelta(days=7)
    found = query(source, ScoredFilter(since=week, count_only=True))
    return (newest[0]["scored_at"] if newest else None), int(found["calls"])


def figures_of(url: str) -> Figures | None:
    """An endpoint's own counts, from its `/metrics`; None where it does not tell."""
    import httpx

    try:
        reply = httpx.get(url.removesuffix("/score") + "/metrics", timeout=2.0)
        reply.raise_for_status()
    except httpx.HTTPError:
        return None
    return parsed(reply.text)


def parsed(text: str) -> Figures:
    """Prometheus text to figures; p50 and p95 by linear interpolation in the histogram's buckets."""
    by_status: dict[int, int] = {}
    rows, buckets = 0, []
    for line in text.splitlines():
        name, _, number = line.rpartition(" ")
        if line.startswith("esml_requests_total{"):
            by_status[int(_label(name, "status"))] = int(float(number))
        elif line.startswith("esml_rows_total{"):
            rows = int(float(number))
        elif line.startswith("esml_request_seconds_bucket{"):
            buckets.append((float(_label(name, "le").replace("+Inf", "inf")), float(number)))
    buckets.sort()
    return Figures(
        sum(by_status.values()),
        sum(n for s, n in by_status.items() if s >= 500),
        sum(n for s, n in by_status.items() if 400 <= s < 500),
        rows,
        quantile(buckets, 0.5),
        quantile(buckets, 0.95),
    )


def _label(name: str, key: str) -> str:
    return name.split(f'{key}="', 1)[1].split('"', 1)[0]


def quantile(buckets: list[tuple[float, float]], q: float) -> float | None:
    """A quantile of a cumulative histogram `[(upper bound, count so far)]`; None when it is empty."""
    total = buckets[-1][1] if buckets else 0.0
    if not total:
        return None
    low, before = 0.0, 0.0
    for high, count in buckets:
        if count >= q * total:
            if high == float("inf"):
                return low
            return low + (high - low) * (q * total - before) / ((count - before) or 1.0)
        low, before = high, count
    return low
