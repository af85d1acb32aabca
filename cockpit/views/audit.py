"""Audit events as a page and a file show them."""

from __future__ import annotations

import csv as csv_
import datetime as dt
import io
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from cockpit.words import plain, safe

# key in the address, label, icon, width
FIELDS = (
    ("from", "From (YYYY-MM-DD)", "event", 155),
    ("to", "To, that day too", "event", 150),
    ("actor", "Actor", "person", 165),
    ("act", "Act", "bolt", 120),
    ("object", "Project or model", "deployed_code", 190),
    ("result", "Result", "flag", 120),
)
COLUMNS = {
    "n": {"width": 55},
    "Env": {"width": 50},
    "Object": {"width": 175},
    "Why, or with what": {"width": 250},
    "Run": {"width": 150},
}
ORDER = ("n", "When", "Who", "Act", "Object", "Env", "Result", "Why, or with what", "Run")
_SIGNS = {"done": "✓", "started": "▶", "refused": "⊘", "failed": "✕", "waiting": "‖", "promoted": "↑", "cancelled": "⊘",
    "joined": "=", "nothing to do": "–"}  # fmt: skip
_COLUMNS = ("n", "at", "actor", "as", "act", "object", "env", "result", "run", "detail", "prev", "hash")


def unread(wanted: dict[str, str]) -> str:
    """The first of the two dates that is none."""
    for k in ("from", "to"):
        try:
            dt.date.fromisoformat(wanted[k] or "2026-01-01")
        except ValueError:
            return wanted[k]
    return ""


def table(events: list[dict[str, Any]], when: Callable[[str], str]) -> list[dict[str, Any]]:
    """One line an event; `when` writes a time in the viewer's zone."""
    return [
        {
            "n": e["n"], "When": when(e["at"]),
            "Who": f"{e['as']} ({e['actor']})" if e["as"] and e["as"] != e["actor"] else e["actor"],
            "Act": e["act"].replace("_", " "), "Object": e["object"], "Env": e["env"] or "",
            "Result": f"{_SIGNS.get(e['result'], '·')} {e['result']}", "Why, or with what": why(e), "Run": e["run"] or "",
        }
        for e in events
    ]  # fmt: skip


def lines(events: list[dict[str, Any]], when: Callable[[str], str]) -> list[str]:
    """One text an event, for a phone: what, how it ended, who and when, and why."""
    out = []
    for r in table(events, when):
        where = " in ".join(x for x in (r["Object"], r["Env"]) if x)
        more = f"  \n:gray[{plain(r['Why, or with what'])}]" if r["Why, or with what"] else ""
        out.append(f"**{r['Act']}** {plain(where)} · {r['Result']}  \n{plain(r['Who'])} · {r['When']}{more}")
    return out


def why(e: dict[str, Any]) -> str:
    """The event's detail in a line: a refusal's reason, a setting's value, a role."""
    d = e["detail"] or {}
    if d.get("message"):
        return str(d["message"])
    if "key" in d and "value" in d:
        return f"{d['key']} = {json.dumps(d['value'])}"
    if "role" in d:
        return f"{d['actor']}: {d['role'].replace('_', ' ')}"
    if "roles" in d:
        return f"{d['actor']}: {', '.join(d['roles']).replace('_', ' ')}"
    if "amount" in d:
        return f"up to {d['amount']:g} until {str(d.get('until', ''))[:10]}"
    return str(d.get("request") or "")


def summary(events: list[dict[str, Any]]) -> str:
    """`12 done · 2 refused`."""
    return " · ".join(f"{n} {r}" for r, n in Counter(e["result"] for e in events).most_common())


def csv(events: list[dict[str, Any]]) -> bytes:
    """Every column of every event; no cell is a formula."""
    out = io.StringIO()
    writer = csv_.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for e in events:
        writer.writerow(safe(json.dumps(e[k]) if k == "detail" else e.get(k) or "") for k in _COLUMNS)
    return out.getvalue().encode("utf-8-sig")
