"""Four lenses on the list of models: progress, health, money, governance. Each makes a model's line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cockpit.facts.evidence import Evidence
from cockpit.views.estate import Owner, Row
from cockpit.words import NOT_MEASURED, NOT_SET_UP, ago, money, plural, share
from esml_engine.refs import ENVIRONMENTS

IDLE_DAYS = 7
# needs that are about health, and their sign
_ILL = {"failed": "✕", "late": "!", "nodata": "◌", "waiting": "!", "serving": "!", "quality": "!"}


@dataclass(frozen=True)
class Seen:
    """What a lens looks at beside the model's row."""

    facts: Evidence
    budgets: dict[str, dict[str, Any]]
    projects: dict[str, Owner]
    currency: str
    now: dt.datetime
    environments: tuple[str, ...]


def _head(r: Row) -> dict[str, Any]:
    return {"Needs attention": r.attention, "Project": r.project, "Model": r.name, "Stage": r.stage}


def progress(r: Row, s: Seen) -> dict[str, Any]:
    """How far, whose turn, champions."""
    return {
        **_head(r), "Stage": f"{r.stage} · {r.age}" if r.age else r.stage, "progress": r.progress, "Whose turn": r.turn,
        "Metric": r.metric, **{e: r.champions[e] if e in s.environments else NOT_SET_UP for e in ENVIRONMENTS},
        "Next run": r.next_text,
    }  # fmt: skip


def health(r: Row, s: Seen) -> dict[str, Any]:
    """Data age, quality, failed runs, what serves. Drift is not measured yet, and says so."""
    f = s.facts
    late = f.late.get(r.model)
    kept, warned = f.quarantined.get(r.model, 0), f.warned.get(r.model)
    failed = f.failed.get(r.model, 0)
    return {
        "Health": worst(r), "Project": r.project, "Model": r.name, "Data age": ago(r.fresh, s.now) or "no data yet",
        "IN": f"{late[0]} late {ago(late[1], s.now)}" if late else plural(f.waiting[r.model],
            "file") + " waiting" if f.waiting.get(r.model) else "up to date" if r.fresh else "no file yet",
        "Quality": f"warned: {warned}" if warned else f"{plural(kept, 'row')} in quarantine" if kept else "passed" if r.fresh else "no data yet",
        "Failed, 7 d": failed, "Serves": ", ".join(f"{e} v{f.serving[(r.model, e)]}" for e in ENVIRONMENTS if (r.model,
            e) in f.serving) or "none", "Endpoint errors": _errors(r, f), "Drift": NOT_MEASURED,
    }  # fmt: skip


def _errors(r: Row, f: Evidence) -> str:
    """Answers with a server error, of all since the endpoint was first deployed."""
    found = [f.answered[(r.model, e)] for e in ENVIRONMENTS if (r.model, e) in f.answered]
    told = [n for n in found if n is not None]
    if found and not told:
        return NOT_MEASURED
    calls, bad = sum(n for n, _ in told), sum(n for _, n in told)
    return f"{bad} of {plural(calls, 'call')}" if calls else "no call yet" if found else "none"


def worst(r: Row) -> str:
    """The worst part by name with its sign: colour never stands alone."""
    ill = [n for n in r.needs if n.kind in _ILL]
    if not ill:
        return "✓ good"
    more = f" (+{len(ill) - 1})" if len(ill) > 1 else ""
    return f"{_ILL[ill[0].kind]} {ill[0].text}{more}"


def spending(r: Row, s: Seen) -> dict[str, Any]:
    """Spent, budget, month end, the next run, what idles."""
    b = s.budgets.get(r.project, {"budget": 0.0, "month_end": 0.0, "spent": 0.0})
    over = (
        f"{share(b['month_end'], b['budget'])} of {money(b['budget'], s.currency)}"
        if b["budget"]
        else "no budget"
    )
    return {
        **_head(r), "Spent, month": money(s.facts.spent.get(r.model, 0.0), s.currency),
        "Month end, project": f"{money(b['month_end'], s.currency)} · {over}",
        "Next run": f"{r.act} {r.next_text}" if r.next_text else "", "p90": r.next_p90_text, "Idle": idle(r, s),
    }  # fmt: skip


def idle(r: Row, s: Seen) -> str:
    """Its endpoints without a call for a week: where, how long."""
    if not any((r.model, e) in s.facts.served for e in ENVIRONMENTS):
        return "nothing deployed"
    called = {e: at for e in ENVIRONMENTS if (at := s.facts.served.get((r.model, e)))}
    return ", ".join(f"{e} {ago(at, s.now)}" for e, at in called.items() if _days(at, s.now) >= IDLE_DAYS) or "none"  # fmt: skip


def _days(at: str, now: dt.datetime) -> float:
    return (now - dt.datetime.fromisoformat(at)).total_seconds() / 86400


def governance(r: Row, s: Seen) -> dict[str, Any]:
    """Owner, risk, who stands where since when, on which evidence, what is open."""
    f, owner = s.facts, s.projects.get(r.project, Owner("", "", ""))
    top = next((env for env in ("prod", "test", "dev") if (r.model, env) in f.crowned), "")
    pack = f.evidence.get((r.model, top))
    lifted = f.exceptions.get(r.model)
    return {
        **_head(r), "Owner": owner.owner or "nobody named", "Risk": owner.risk,
        "Champion": f"{top} {r.champions[top].split(' · ')[0]} · since {ago(f.crowned[(r.model, top)], s.now)}" if top and r.champions.get(top) else "none yet",
        "Evidence": f"{ago(pack, s.now)} old" if pack else "none yet" if top in ("", "dev") else "none kept",
        "Open": f.asked.get(r.model, 0),
        "Exceptions": f"{money(lifted[0], s.currency)} until {lifted[1][:10]}" if lifted else "none",
    }  # fmt: skip


LENSES: dict[str, Callable[[Row, Seen], dict[str, Any]]] = {
    "progress": progress,
    "health": health,
    "money": spending,
    "governance": governance,
}
