"""The estate as one person sees it: read once, kept until something happens, about a minute at most."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd
import sqlalchemy as sa

from cockpit.facts import attention
from cockpit.facts.evidence import Evidence, budgets, evidence, predictions
from cockpit.views import estate as view
from cockpit.views import figures as estate_figures
from cockpit.views import lenses
from esml_engine.costs.records import month_start
from esml_engine.errors import EsmlError
from esml_engine.estate import Estate
from esml_engine.refs import ModelRef
from esml_engine.store import schema as t

log = logging.getLogger("esml.cockpit")
_SECONDS = 60.0  # ages move on by themselves
_AT_ONCE = 0.25  # seconds that a page may wait for the estate to be read
_TOO_OLD = 600.0  # seconds after which it waits in any case
_MOST = 64
_HEAD = sa.select(t.audit.c.n, t.audit.c.hash, t.audit.c.actor, t.audit.c.as_actor).order_by(
    t.audit.c.n.desc()).limit(1)  # fmt: skip
"""The newest entry of the audit: asked at each rerun."""


@dataclass
class Overview:
    """Everything that the list of models shows, for all four lenses."""

    statuses: list[dict[str, Any]]
    facts: Evidence
    budgets: dict[str, dict[str, Any]]
    costs: dict[str, dict[str, Any]]  # the next run of each model in the first environment
    rows: list[view.Row]
    figures: list[estate_figures.Figure]
    kinds: dict[str, int]
    stages: dict[str, int]
    projects: dict[str, view.Owner]
    read: dt.datetime
    currency: str
    environments: tuple[str, ...]
    _frames: dict[str, pd.DataFrame] = field(default_factory=dict)

    @cached_property
    def models(self) -> list[str]:
        """The model of each row; with all places, what a page without filters shows: thousands, and the same at each rerun."""
        return [r.model for r in self.rows]

    @cached_property
    def places(self) -> list[int]:
        """The place of each row."""
        return list(range(len(self.rows)))

    @cached_property
    def teams(self) -> list[str]:
        """Teams that own a project."""
        return sorted({o.team for o in self.projects.values() if o.team})

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
    refs, first = [ModelRef(*s["model"].split("/")) for s in statuses], estate.environments[0]
    wanted: dict[str, tuple[str, ...]] = {
        s["model"]: tuple(
            {view.next_act(s, first, facts), *((s["next"],) if s["next"] in view.PRICED else ())}
        )
        for s in statuses
    }
    costs = predictions(site, refs, first, facts.to_read, wanted)
    spent = budgets(site, projects, month)
    settings = site.settings
    owners = {p: view.Owner(s.team, s.owner, s.risk) for p in projects if (s := settings.project(p))}
    rows = view.rows(statuses, facts, estate.environments, costs, spent, now)
    currency = settings.estate.currency
    total = {k: sum(b[k] for b in spent.values()) for k in ("spent", "budget", "month_end")}
    kinds, stages = view.counts(rows)
    needy = attention.by_day(site, estate.actor.rights, now.date(), sum(bool(r.needs) for r in rows))
    figures = estate_figures.figures(rows, facts, total | {"currency": currency}, needy, now.date())
    return Overview(
        statuses, facts, spent, costs, rows, figures, kinds, stages,
        owners, now, currency, estate.environments
    )  # fmt: skip


@dataclass
class _Kept:
    """An overview with what it was read from, and how long that took."""

    seen: Overview
    stamp: tuple[Any, ...]
    took: float
    at: float = field(default_factory=time.monotonic)
    behind: threading.Thread | None = None  # reads it again while pages show this one


_Key = tuple[str, str, str]
_kept: OrderedDict[_Key, _Kept] = OrderedDict()
_locks: dict[_Key, threading.Lock] = {}
_guard = threading.Lock()


def overview(estate: Estate) -> Overview:
    """What this person sees. It is read again when something happened, and each minute.

    A small estate is read at once. A large one, whose reading a page would have to wait for, is read behind it, but for
    what this person did themselves, and when nobody looked for ten minutes: that is waited for.
    """
    key = (str(estate.site.root), estate.actor.name, estate.actor.rights)
    with _guard:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:  # two tabs of one person read once
        stamp, mine = _stamp(estate)
        kept = _kept.get(key)
        if kept is None:
            return _keep(key, estate, stamp).seen
        age = time.monotonic() - kept.at
        changed = kept.stamp != stamp
        if not changed and age < _SECONDS:
            return kept.seen
        if kept.took < _AT_ONCE or (changed and mine) or age > _TOO_OLD:
            return _keep(key, estate, stamp).seen
        if kept.behind is None or not kept.behind.is_alive():
            kept.behind = threading.Thread(target=_behind, args=(key, estate, stamp), daemon=True)
            kept.behind.start()
        return kept.seen


def _keep(key: _Key, estate: Estate, stamp: tuple[Any, ...]) -> _Kept:
    began = time.monotonic()
    seen = read(estate)
    made = _Kept(seen, stamp, time.monotonic() - began)
    with _guard:
        _kept[key] = made
        _kept.move_to_end(key)
        while len(_kept) > _MOST:
            _kept.popitem(last=False)
    return made


def _behind(key: _Key, estate: Estate, stamp: tuple[Any, ...]) -> None:
    try:
        _keep(key, estate, stamp)
    except EsmlError as e:  # the next page that has to wait says it
        log.warning("the estate could not be read behind a page: %s (%s)", e.message, e.id)


def _stamp(estate: Estate) -> tuple[tuple[Any, ...], bool]:
    """What changes with every act, every run's start and end, and every settings file; and whether the newest act was this person's own."""
    me = estate.actor
    with estate.site.store.read() as c:
        head = c.execute(_HEAD).first()
    mine = head is not None and (head.actor, head.as_actor) == (me.name, me.acting_as)
    return ((head.n, head.hash) if head else (), estate.site.files), mine
