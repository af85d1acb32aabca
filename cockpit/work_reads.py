"""Reads behind My work and the count of approvals."""

from __future__ import annotations

import calendar
import datetime as dt
from typing import Any

import sqlalchemy as sa

from cockpit.views.work import Money
from esml_engine.clock import now as now_text
from esml_engine.costs.records import month_end, month_start
from esml_engine.door import access
from esml_engine.door.facts import Call
from esml_engine.estate import Estate
from esml_engine.store import schema as t


def may_decide(estate: Estate, request: dict[str, Any]) -> bool:
    """Whether this person's roles permit a decision on a request."""
    call = Call("approve", request["object"], request["env"], {"kind": request["kind"]})
    return estate.may(access.rule_name(call), call.project).allowed


def forecast(estate: Estate, projects: list[str], since: dt.datetime, currency: str) -> Money | None:
    """The month-end forecast as it stood at a moment of this month, and now; None when that moment was in another month."""
    start = month_start()
    if since.isoformat() < start or not projects:
        return None
    m = t.meter
    q = sa.select(sa.func.coalesce(sa.func.sum(m.c.cost), 0.0)).where(m.c.at >= start)
    if len(projects) != len(estate.site.files.projects):
        q = q.where(m.c.project.in_(projects))
    with estate.site.store.read() as c:
        now = float(c.execute(q).scalar_one())
        before = float(c.execute(q.where(m.c.at < since.isoformat())).scalar_one())
    days = calendar.monthrange(since.year, since.month)[1]
    gone = max(1.0, since.day - 1 + since.hour / 24)
    return Money(before / gone * days, month_end(now), currency)


def open_requests(estate: Estate) -> int:
    """How many requests wait that this person may see."""
    q = t.requests
    rows = sa.select(q.c.object).where(q.c.state == "waiting", q.c.expires >= now_text())
    with estate.site.store.read() as c:
        objects = list(c.execute(rows).scalars())
    if not objects:
        return 0
    seen = {str(r) for r in estate.visible()}
    return sum(o in seen for o in objects)
