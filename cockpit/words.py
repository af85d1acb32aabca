"""How figures and times are written, the same on every page."""

from __future__ import annotations

import datetime as dt
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NOT_MEASURED = "not measured"
NOT_SET_UP = "not set up"
ROLES = {
    "reader": "Reader", "analyst": "Analyst", "data_engineer": "Data engineer", "data_scientist": "Data scientist",
    "project_manager": "Project manager",
    "approver": "Approver", "steward": "Steward", "admin": "Administrator",
}  # fmt: skip
METRICS = {
    "rmse": "RMSE", "mae": "MAE", "r2": "R²", "mape": "MAPE", "smape": "sMAPE", "auc": "AUC", "f1": "F1", "log_loss": "Log loss",
    "accuracy": "Accuracy",
    "precision": "Precision", "recall": "Recall", "mcc": "MCC", "mase": "MASE", "nrmse": "NRMSE", "spearman": "Spearman",
}  # fmt: skip
STATES = {
    "queued": ("schedule", "gray", "queued"),
    "waiting": ("hourglass_top", "orange", "waiting"),
    "running": ("progress_activity", "blue", "running"),
    "done": ("check_circle", "green", "done"),
    "failed": ("error", "red", "failed"),
    "cancelled": ("block", "gray", "cancelled"),
    "skipped": ("skip_next", "gray", "skipped"),
}
_MARKS = {
    "queued": "◌",
    "waiting": "‖",
    "running": "▶",
    "done": "✓",
    "failed": "✕",
    "cancelled": "⊘",
    "skipped": "–",
}
_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}


def plural(n: int, one: str, many: str = "") -> str:
    """`1 file`, `4 files`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


MONTH_END = "Runs go on as so far this month (straight line); endpoints: what they cost so far, and every hour to the month's end of those that are up."
"""What the month-end forecast is made of."""


_CHECKS = {"drift:added": "new column", "drift:dropped": "column gone", "drift:retyped": "type changed"}


def check_word(q: Mapping[str, Any]) -> str:
    """What was looked at in a table: an expectation by its name in the settings, a file's changed shape in words."""
    name = str(q.get("check", "expectation"))
    return _CHECKS.get(name, name)


def money(amount: float | None, currency: str = "EUR") -> str:
    """An amount with as many digits as it needs: `€ 8,412`, `€ 4.10`, `€ 0.0004`."""
    if amount is None:
        return NOT_MEASURED
    sign = _SIGNS.get(currency, currency)
    size = abs(amount)
    if size == 0:
        text = "0"
    elif size >= 1000:
        text = f"{amount:,.0f}"
    elif size >= 0.01:
        text = f"{amount:,.2f}"
    elif size >= 0.0001:
        text = f"{amount:.4f}"
    else:
        return f"under {sign} 0.0001"
    return f"{sign} {text}"


def share(part: float, whole: float) -> str:
    """A share in per cent; a tiny one is not called 0."""
    p = 100 * part / whole
    return "under 0.1 %" if 0 < p < 0.1 else f"{p:.1f} %" if p < 10 else f"{p:.0f} %"


def is_bound(basis: str) -> bool:
    """Whether a prediction rests on no run at all."""
    return basis.startswith("upper bound")


def has_bound(basis: str) -> bool:
    """Whether a prediction is an upper bound, or counts a part of a pipeline with one."""
    return "upper bound" in basis


def predicted_cost(cost: dict[str, Any]) -> str:
    """`€ 4.10 (p90 € 6.30, 8 runs)`; without history an upper bound, named so."""
    currency = cost.get("currency", "EUR")
    if is_bound(cost.get("basis", "")):
        return f"at most {money(cost['p90'], currency)} (upper bound, no run yet)"
    return f"{money(cost['p50'], currency)} (p90 {money(cost['p90'], currency)}, {cost.get('basis', '')})"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `38 s`, `2 min 5 s`, `1 h 12 min`."""
    if seconds is None:
        return NOT_MEASURED
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        m, s = divmod(whole, 60)
        return f"{m} min {s} s" if s else f"{m} min"
    h, m = divmod(whole // 60, 60)
    return f"{h} h {m} min" if m else f"{h} h"


def moment(text: str | None) -> dt.datetime | None:
    """An ISO time of the store."""
    if not text:
        return None
    t = dt.datetime.fromisoformat(text)
    return t if t.tzinfo else t.replace(tzinfo=dt.UTC)


def ago(text: str | None, now: dt.datetime | None = None) -> str:
    """How old: `just now`, `5 min`, `2 h`, `3 d`; '' for nothing."""
    t = moment(text)
    if t is None:
        return ""
    s = ((now or dt.datetime.now(dt.UTC)) - t).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if s >= size:
            return f"{int(s // size)} {unit}"
    return "just now"


def time_ago(text: str | None, now: dt.datetime | None = None) -> str:
    """`5 min ago`, `just now`."""
    said = ago(text, now)
    return said if said in ("", "just now") else f"{said} ago"


def clock(text: str | dt.datetime | None, zone: str | None = None) -> str:
    """`24 Nov 14:32` in the viewer's zone; UTC, marked so, when the zone is not known; a date alone is that day everywhere."""
    if isinstance(text, str) and len(text) == len("2026-11-24"):
        return f"{dt.date.fromisoformat(text):%-d %b}"
    t = moment(text) if isinstance(text, str) or text is None else text
    if t is None:
        return ""
    if not zone:
        return f"{t.astimezone(dt.UTC):%-d %b %H:%M} UTC"
    try:
        return f"{t.astimezone(ZoneInfo(zone)):%-d %b %H:%M}"
    except (ZoneInfoNotFoundError, ValueError):
        return f"{t.astimezone(dt.UTC):%-d %b %H:%M} UTC"


def value(x: float | None) -> str:
    """A metric's value with four digits that count."""
    if x is None:
        return NOT_MEASURED
    return f"{x:,.1f}" if abs(x) >= 1000 else f"{x + 0.0:.4g}"  # -0.0 is 0


def metric(name: str | None) -> str:
    """A metric's name as people write it."""
    return METRICS.get(name or "", (name or "").replace("_", " "))


def role(name: str | None) -> str:
    """A role's name as people write it."""
    return ROLES.get(name or "", "")


def mark(state: str) -> str:
    """A run's state as sign and word, for tables."""
    return f"{_MARKS.get(state, '?')} {state}"


def plain(text: str) -> str:
    """What a person wrote, for a place that draws Markdown: shown as it is, no link, no picture, no heading."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~:$-])", r"\\\1", text.replace("\n", " "))


def sentence(text: str) -> str:
    """The text with a capital first letter, unless it begins with a command or a name: `esml split …`, `v2`, `gold_test`."""
    first = text.partition(" ")[0].rstrip(",:;.")
    return text[:1].upper() + text[1:] if first.isalpha() and first != "esml" else text


def tidy(text: str, estate_root: Path) -> str:
    """A message without this server's paths, and with the page instead of a command that shows the same."""
    for p in dict.fromkeys((str(estate_root), str(Path.home()), sys.prefix)):
        if len(p) > 1:
            text = text.replace(p + "/", "").replace(p, "the estate's folder")
    return text.replace("esml requests --state decided", "the page Approvals")


def safe(text: Any) -> Any:
    """A cell that a spreadsheet will not take for a formula."""
    return f"'{text}" if isinstance(text, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def safe_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of data for a table on a page: people download it as CSV from there, so no cell or header is a formula."""
    return [{safe(k): safe(v) for k, v in r.items()} for r in rows]
