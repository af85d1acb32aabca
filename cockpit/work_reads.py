"""Reads behind My work and the count of approvals."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from cockpit.views.work import Money
from esml_engine.clock import now as now_text
from esml_engine.costs.forecast import month_end
from esml_engine.costs.records import ENDPOINT, month_start
from esml_engine.door import access
from esml_engine.door.facts import Call
from esml_engine.estate import Estate
from esml_engine.serving.hours import hourly, up_now
from esml_engine.store import schema as t

_WAITING = sa.select(t.requests.c.object).where(
    t.requests.c.state == "waiting", t.requests.c.expires >= sa.bindparam("at")
)
"""What requests that wait are about: asked at each rerun."""


def may_decide(estate: Estate, request: dict[str, Any]) -> bool:
    """Whether this person's roles permit a decision on a request."""
    call = Call("approve", request["object"], request["env"], {"kind": request["kind"]})
    return estate.may(access.rule_name(call), call.project).allowed


def forecast(estate: Estate, projects: list[str], since: dt.datetime, currency: str) -> Money | None:
    """The month-end forecast as it stood at a moment of this month, and now; None when that moment was in another month."""
    start = month_start()
    if since.isoformat() < start or not projects:
        return None
    m, hour = t.meter, since.astimezone(dt.UTC).isoformat()[:13]
    serves = m.c.act == ENDPOINT
    its = sa.func.coalesce(sa.func.sum(sa.case((serves, m.c.cost), else_=0.0)), 0.0)
    q = sa.select(sa.func.coalesce(sa.func.sum(m.c.cost), 0.0), its).where(m.c.at >= start)
    up = sa.select(sa.func.coalesce(sa.func.sum(m.c.price), 0.0)).where(serves, m.c.step == hour)
    if len(projects) != len(estate.site.files.projects):
        q, up = q.where(m.c.project.in_(projects)), up.where(m.c.project.in_(projects))
    with estate.site.store.read() as c:
        total, serving = c.execute(q).one()
        before, served = c.execute(q.where(m.c.at < since.isoformat())).one()
        then = float(c.execute(up).scalar_one())  # of what was metered in that hour
    now = hourly([u for u in up_now(estate.site) if u.project in projects])
    was = month_end(float(before) - float(served), float(served), then, since)
    return Money(was, month_end(float(total) - float(serving), float(serving), now), currency)


def open_requests(estate: Estate) -> int:
    """How many requests wait that this person may see."""
    with estate.site.store.read() as c:
        objects = list(c.execute(_WAITING, {"at": now_text()}).scalars())
    if not objects:
        return 0
    seen = {str(r) for r in estate.visible()}
    return sum(o in seen for o in objects)
