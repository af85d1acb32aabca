"""The deployments' page: what serves in each environment, how well, and what it costs while nobody calls."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cockpit.words import NOT_MEASURED, ago, duration, moment, money, plural, time_ago
from esml_engine.serving.reads import Served

IDLE_DAYS = 7


@dataclass(frozen=True)
class Card:
    """One endpoint: its state in a word, figures with their notes, a line below."""

    env: str
    state: str
    icon: str
    color: str
    title: str
    figures: tuple[tuple[str, str, str], ...]  # name, value, note
    note: str
    trouble: str


def card(s: Served, month: Mapping[str, Any], champion: int | None, now: dt.datetime) -> Card:
    """From an endpoint's facts, the predicted cost of its month, and the version that is champion there."""
    state, icon, color = _state(s, champion, now)
    f = s.counts
    if f is None:
        speed = errors = (NOT_MEASURED, "its process told no counts yet")
    else:
        p50 = f.quantile(0.5)
        beside_it = f"p50 {duration_ms(p50)} · all calls" if p50 is not None else "no call yet"
        speed = (duration_ms(f.quantile(0.95)), beside_it)
        errors = (f"{f.of(500, 599):,}", f"of {plural(f.requests, 'call')} · {f.of(400, 499):,} refused")
    figures = (
        ("Kept calls, 7 days", NOT_MEASURED, "their table can't be read now") if s.calls_7_days is None else
        ("Kept calls, 7 days", f"{s.calls_7_days:,}", f"last {time_ago(s.last_call, now)}" if s.last_call else "none kept yet"),
        ("p95 of an answer", *speed),
        ("Errors", *errors),
        ("Costs a month", money(month["p50"] if s.version is not None else 0, month["currency"]),
            month["basis"] if s.version is not None else "nothing is up"),
    )  # fmt: skip
    title = f"v{s.version} · 100 % of traffic" if s.version is not None else "Nothing is deployed"
    beside = f" · v{s.previous} stands beside it" if s.previous is not None else ""
    kept = "answers are kept as scored data" if s.save else "answers are not kept"
    counted = " · speed and errors are of every call since it was first up" if f is not None else ""
    note = f"{s.endpoint} · since {ago(s.since, now)} · by {s.by} · {kept}{beside}{counted}"
    return Card(s.env, state, icon, color, title, figures, note, s.trouble)


def _state(s: Served, champion: int | None, now: dt.datetime) -> tuple[str, str, str]:
    if s.version is None:
        return "ended", "stop_circle", "gray"
    if not s.running:
        return "does not answer", "error", "red"
    if s.trouble:
        return "in trouble", "error", "red"
    days = idle_days(s, now)
    if days >= IDLE_DAYS:
        return f"idle for {days} days", "bedtime", "orange"
    errors = s.counts.of(500, 599) if s.counts else 0
    if errors:
        return f"answers · {plural(errors, 'error')}", "warning", "orange"
    if champion is not None and champion != s.version:
        return f"answers · champion is v{champion}", "history", "orange"
    return "answers", "check_circle", "green"


def idle_days(s: Served, now: dt.datetime) -> int:
    """Whole days since its last kept answer, or since it was deployed."""
    if s.calls_7_days is None:  # not known
        return 0
    last = moment(s.last_call) or moment(s.since)
    return max(0, (now - last).days) if last else 0


def duration_ms(seconds: float | None) -> str:
    """`12 ms`, `1.2 s`."""
    if seconds is None:
        return NOT_MEASURED
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else duration(seconds)


def answered(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One line a row that was sent: prediction, interval or probabilities."""
    out = []
    for n, prediction in enumerate(said["predictions"]):
        line = {"Row": n, "Prediction": prediction}
        line |= {k: said[k][n] for k in ("low", "high") if said.get(k)}
        line |= {k: v[n] for k, v in (said.get("probabilities") or {}).items()}
        out.append(line)
    return out


def curl(url: str, example: Mapping[str, Any]) -> str:
    """The same call from a shell."""
    import json

    body = json.dumps(
        {"input_data": {"columns": list(example), "data": [list(example.values())]}}, default=str
    )
    return (
        f"curl {url} \\\n  -H 'Authorization: Bearer KEY' -H 'X-Caller-Id: ME' \\\n"
        f"  -H 'Content-Type: application/json' \\\n  -d '{body}'"
    )
