"""The estate as one person sees it: read once, kept until something happens, at most a minute."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import sqlalchemy as sa

from cockpit.evidence import Evidence, budgets, evidence, predictions
from cockpit.views import estate as view
from cockpit.views import lenses
from esml_engine.costs.records import month_start
from esml_engine.estate import Estate
from esml_engine.refs import ModelRef
from esml_engine.store import schema as t

_SECONDS = 60.0  # ages move on by themselves; what people and runs do shows at once
_MOST = 64


@dataclass
class Overview:
    """Everything that the list of models shows, for all four lenses."""

    statuses: list[dict[str, Any]]
    facts: Evidence
    budgets: dict[str, dict[str, Any]]
    rows: list[view.Row]
    figures: list[view.Figure]
    kinds: dict[str, int]
    stages: dict[str, int]
    projects: dict[str, view.Owner]
    read: dt.datetime
    currency: str
    environments: tuple[str, ...]
    _frames: dict[str, pd.DataFrame] = field(default_factory=dict)

    def frame(self, lens: str) -> pd.DataFrame:
        """The whole list through a lens, in the order of `rows`; made once."""
        if lens not in self._frames:
            seen = lenses.Seen(
                self.facts, self.budgets, self.projects, self.currency, self.read, self.environments
            )
            self._frames[lens] = pd.DataFrame([lenses.LENSES[lens](r, seen) for r in self.rows])
        return self._frames[lens]


def read(estate: Estate) -> Overview:
    """Read everything afresh."""
    site, now = estate.site, dt.datetime.now(dt.UTC)
    statuses, projects = estate.status(), estate.projects()
    month, week = month_start(), (now - dt.timedelta(days=7)).isoformat()
    facts = evidence(site, [s["model"] for s in statuses], month, week)
    refs = [ModelRef(*s["model"].split("/")) for s in statuses]
    wanted: dict[str, tuple[str, ...]] = {s["model"]: (view.next_act(s),) for s in statuses}
    costs = predictions(site, refs, estate.environments[0], wanted)
    spent = budgets(site, projects, month)
    settings = site.settings
    owners = {p: view.Owner(s.team, s.owner, s.risk) for p in projects if (s := settings.project(p))}
    rows = view.rows(statuses, facts, estate.environments, costs, spent, now)
    currency = settings.estate.currency
    total = {k: sum(b[k] for b in spent.values()) for k in ("spent", "budget", "month_end")}
    kinds, stages = view.counts(rows)
    return Overview(
        statuses, facts, spent, rows, view.figures(rows, facts, total | {"currency": currency}, now.date()), kinds, stages, owners, now, currency, estate.environments
    )  # fmt: skip


_Key = tuple[str, str, str]
_kept: OrderedDict[_Key, tuple[tuple[Any, ...], Overview]] = OrderedDict()
_locks: dict[_Key, threading.Lock] = {}
_guard = threading.Lock()


def overview(estate: Estate) -> Overview:
    """What this person sees, as of the newest audit event; older than a minute it is read again."""
    key = (str(estate.site.root), estate.actor.name, estate.actor.rights)
    with _guard:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:  # two tabs of one person read once
        stamp = _stamp(estate)
        found = _kept.get(key)
        if found is None or found[0] != stamp:
            found = (stamp, read(estate))
            with _guard:
                _kept[key] = found
                _kept.move_to_end(key)
                while len(_kept) > _MOST:
                    _kept.popitem(last=False)
        return found[1]


def _stamp(estate: Estate) -> tuple[Any, ...]:
    """Changes with every act, every run's start and end, and every settings file."""
    a = t.audit
    with estate.site.store.read() as c:
        head = c.execute(sa.select(a.c.n, a.c.hash).order_by(a.c.n.desc()).limit(1)).first()
    return (tuple(head or ()), id(estate.site.files), int(time.time() / _SECONDS))
