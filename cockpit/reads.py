"""Grouped reads that pages need beside the SDK: a fixed number of queries, whatever the number of models."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from esml_engine.door import access
from esml_engine.door.site import Site
from esml_engine.estate import Estate
from esml_engine.refs import ModelRef
from esml_engine.runs import leases, records
from esml_engine.store import schema as t


@dataclass
class Evidence:
    """What the list of models rests on, by model name; days are UTC dates."""

    waiting: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # IN files newer than their bronze
    quarantined: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    warned: dict[str, str] = field(default_factory=dict)  # an expectation that warned
    serving: dict[tuple[str, str], int] = field(default_factory=dict)  # (model, env) -> version with traffic
    open_runs: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    last_run: dict[str, str] = field(default_factory=dict)
    spent_by_day: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failed_by_day: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    crowned_by_day: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # models that got their first champion


def evidence(site: Site, names: list[str], month: str, week: str) -> Evidence:
    """Facts of these models. `month`, `week`: ISO times from which money and failures count."""
    out = Evidence()
    if not names:
        return out
    v, f, d, r, m, h = t.versions, t.in_files, t.deployments, t.runs, t.meter, t.champion_history
    newest = sa.select(v.c.object, v.c.env, v.c.name, sa.func.max(v.c.version).label("version")).where(v.c.object.in_(names)).group_by(v.c.object, v.c.env, v.c.name).subquery()
    heads = sa.select(v.c.object, v.c.env, v.c.name, v.c.rows, v.c.at, v.c.quality).join(newest, sa.and_(v.c.object == newest.c.object, v.c.env == newest.c.env, v.c.name == newest.c.name, v.c.version == newest.c.version))
    bronze: dict[tuple[str, str, str], str] = {}
    with site.store.read() as c:
        for object_, env, name, rows, at, quality in c.execute(heads):
            if name.endswith("/bronze"):
                bronze[(object_, env, name)] = at
            if name.endswith("/quarantine"):
                out.quarantined[object_] += int(rows)
            bad = next((q for q in quality or () if not q.get("passed", True)), None)
            if bad:
                out.warned.setdefault(object_, f"{bad.get('check', 'expectation')} {bad.get('column') or ''}".strip() + f" in {name}")
        for object_, env, purpose, dataset, at in c.execute(sa.select(f.c.object, f.c.env, f.c.purpose, f.c.dataset, f.c.at).where(f.c.object.in_(names))):
            table = f"{'inference/' if purpose == 'inference' else ''}{dataset}/bronze"
            out.waiting[object_] += int(at > bronze.get((object_, env, table), ""))
        for object_, env, live, slots in c.execute(sa.select(d.c.object, d.c.env, d.c.live, d.c.slots).where(d.c.object.in_(names))):
            if live and live in (slots or {}):
                out.serving[(object_, env)] = int(slots[live]["model_version"])
        for object_, state, n, last in c.execute(sa.select(r.c.object, r.c.state, sa.func.count(), sa.func.max(r.c.run)).where(r.c.object.in_(names)).group_by(r.c.object, r.c.state)):
            out.last_run[object_] = max(last, out.last_run.get(object_, ""))
            if state in records.OPEN:
                out.open_runs[object_] += int(n)
        for at, cost in c.execute(sa.select(m.c.at, m.c.cost).where(m.c.object.in_(names), m.c.at >= month)):
            out.spent_by_day[at[:10]] += float(cost)
        for ended in c.execute(sa.select(r.c.ended).where(r.c.object.in_(names), r.c.state == "failed", r.c.ended >= week)).scalars():
            out.failed_by_day[ended[:10]] += 1
        for at in c.execute(sa.select(sa.func.min(h.c.at)).where(h.c.object.in_(names)).group_by(h.c.object)).scalars():
            out.crowned_by_day[at[:10]] += 1
    return out


def days(first: dt.date, last: dt.date) -> list[str]:
    """ISO dates from `first` to `last`, both in."""
    return [(first + dt.timedelta(n)).isoformat() for n in range((last - first).days + 1)]


def worker_alive(site: Site) -> bool:
    """Whether somebody would take a run now."""
    found = leases.holder(site.store)
    return bool(found and found.alive)


def who_can(site: Site, rule: str, project: str, limit: int = 3) -> str:
    """People whose roles permit it: `engineer@demo (Data engineer)`; '' when nobody was given such a role."""
    from cockpit.words import role

    roles = access.RULES.get(rule, frozenset()) | {"admin"}
    m = t.members
    rows = site.store.rows(sa.select(m.c.actor, m.c.role).where(m.c.scope.in_(("estate", project)), m.c.role.in_(sorted(roles))).order_by(m.c.actor))
    said = list(dict.fromkeys(f"{r['actor']} ({role(r['role'])})" for r in rows))
    return ", ".join(said[:limit]) + (f" and {len(said) - limit} more" if len(said) > limit else "")


def people(site: Site) -> list[str]:
    """Everybody who has a role somewhere."""
    with site.store.read() as c:
        return [str(a) for a in c.execute(sa.select(t.members.c.actor).distinct().order_by(t.members.c.actor)).scalars()]


def runs_of(estate: Estate, ref: ModelRef, env: str = "", limit: int = 50) -> list[dict[str, Any]]:
    """A model's runs, newest first.

    Raises:
        NotAllowedError: the actor has no sight of the project.
    """
    estate.require("read_status", ref.project)
    return records.listing(estate.site.store, objects=[str(ref)], env=env, limit=limit)


def log_tail(work: str | None, folder: Path, lines: int = 40, most: int = 64_000) -> str | None:
    """The last lines of a step's log; None when there is none. Reads at most `most` bytes, only inside `folder`."""
    if not work:
        return None
    path = (Path(work) / "log.txt").resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    with path.open("rb") as f:
        f.seek(max(0, path.stat().st_size - most))
        text = f.read().decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-lines:])
