"""Grouped reads that pages need beside the SDK: a fixed number of queries, whatever the number of models."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from esml_engine.costs.prediction import HISTORY, Past, money, predict_seconds
from esml_engine.costs.records import month_end, price_of
from esml_engine.door import access
from esml_engine.door.site import Site
from esml_engine.door.start import local_admin
from esml_engine.estate import Estate
from esml_engine.refs import ModelRef
from esml_engine.runs import leases, records
from esml_engine.store import schema as t
from esml_engine.training.acts import OVERHEAD_SECONDS


@dataclass
class Evidence:
    """What the list of models rests on, by model name; days are UTC dates."""

    waiting: dict[str, int] = field(
        default_factory=lambda: defaultdict(int)
    )  # IN files newer than their bronze
    quarantined: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    warned: dict[str, str] = field(default_factory=dict)  # an expectation that warned
    serving: dict[tuple[str, str], int] = field(default_factory=dict)  # (model, env) -> version with traffic
    open_runs: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    last_run: dict[str, str] = field(default_factory=dict)
    spent_by_day: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failed_by_day: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    crowned_by_day: dict[str, int] = field(
        default_factory=lambda: defaultdict(int)
    )  # models that got their first champion


def evidence(site: Site, names: list[str], month: str, week: str) -> Evidence:
    """Facts of these models. `month`, `week`: ISO times from which money and failures count."""
    out = Evidence()
    if not names:
        return out
    v, d, r, m, h = t.versions, t.deployments, t.runs, t.meter, t.champion_history
    newest = (
        sa.select(v.c.object, v.c.env, v.c.name, sa.func.max(v.c.version).label("version"))
        .where(v.c.object.in_(names))
        .group_by(v.c.object, v.c.env, v.c.name)
        .subquery()
    )
    heads = sa.select(v.c.object, v.c.name, v.c.rows, v.c.quality).join(
        newest,
        sa.and_(
            v.c.object == newest.c.object,
            v.c.env == newest.c.env,
            v.c.name == newest.c.name,
            v.c.version == newest.c.version,
        ),
    )
    with site.store.read() as c:
        for object_, name, rows, quality in c.execute(heads):
            if name.endswith("/quarantine"):
                out.quarantined[object_] += int(rows)
            bad = next((q for q in quality or () if not q.get("passed", True)), None)
            if bad:
                out.warned.setdefault(
                    object_,
                    f"{bad.get('check', 'expectation')} {bad.get('column') or ''}".strip() + f" in {name}",
                )
        _count_waiting(c, names, out)
        for object_, env, live, slots in c.execute(
            sa.select(d.c.object, d.c.env, d.c.live, d.c.slots).where(d.c.object.in_(names))
        ):
            if live and live in (slots or {}):
                out.serving[(object_, env)] = int(slots[live]["model_version"])
        for object_, state, n, last in c.execute(
            sa.select(r.c.object, r.c.state, sa.func.count(), sa.func.max(r.c.run))
            .where(r.c.object.in_(names))
            .group_by(r.c.object, r.c.state)
        ):
            out.last_run[object_] = max(last, out.last_run.get(object_, ""))
            if state in records.OPEN:
                out.open_runs[object_] += int(n)
        for at, cost in c.execute(sa.select(m.c.at, m.c.cost).where(m.c.object.in_(names), m.c.at >= month)):
            out.spent_by_day[at[:10]] += float(cost)
        for ended in c.execute(
            sa.select(r.c.ended).where(r.c.object.in_(names), r.c.state == "failed", r.c.ended >= week)
        ).scalars():
            out.failed_by_day[ended[:10]] += 1
        for at in c.execute(
            sa.select(sa.func.min(h.c.at)).where(h.c.object.in_(names)).group_by(h.c.object)
        ).scalars():
            out.crowned_by_day[at[:10]] += 1
    return out


_Loaded = dict[
    tuple[str, str, str, str, str], str
]  # (model, env, table, date, name) -> hash that bronze holds
_loaded: dict[
    str, tuple[tuple[int, str], _Loaded]
] = {}  # by model: its bronze versions so far, as (count, newest)


def _count_waiting(c: sa.Connection, names: list[str], out: Evidence) -> None:
    """IN files whose content bronze does not hold. What bronze holds changes with its versions only, so it is kept between reads."""
    v, f = t.versions, t.in_files
    bronze = v.c.name.like("%/bronze")
    marks = {
        o: (int(n), at)
        for o, n, at in c.execute(
            sa.select(v.c.object, sa.func.count(), sa.func.max(v.c.at))
            .where(v.c.object.in_(names), bronze)
            .group_by(v.c.object)
        )
    }
    moved = [o for o in names if o in marks and _loaded.get(o, ((0, ""), {}))[0] != marks[o]]
    fresh: dict[str, _Loaded] = {o: {} for o in moved}
    for object_, env, name, facts in c.execute(
        sa.select(v.c.object, v.c.env, v.c.name, v.c.facts)
        .where(v.c.object.in_(moved), bronze)
        .order_by(v.c.version)
    ):
        for x in (facts or {}).get("files", []):
            fresh[object_][(object_, env, name, x["date"], x["name"])] = x["sha256"]
    for o in moved:
        _loaded[o] = (marks[o], fresh[o])
    newest: dict[tuple[str, str, str, str, str], tuple[str, str]] = {}
    columns = (f.c.object, f.c.env, f.c.purpose, f.c.dataset, f.c.date, f.c.name, f.c.sha256, f.c.stat)
    for object_, env, purpose, dataset, date, name, sha, stat in c.execute(
        sa.select(*columns).where(f.c.object.in_(names))
    ):
        table = f"{'inference/' if purpose == 'inference' else ''}{dataset}/bronze"
        key = (object_, env, table, date, name)
        written = stat.rpartition(":")[2]  # the file's modification time: the newest content counts
        if key not in newest or written > newest[key][0]:
            newest[key] = (written, sha)
    for key, (_, sha) in newest.items():
        have = _loaded[key[0]][1] if key[0] in marks else {}
        out.waiting[key[0]] += int(have.get(key) != sha)


def predictions(site: Site, refs: list[ModelRef], env: str) -> dict[str, dict[str, Any]]:
    """Next refine and train of each model, as `Estate.cost` says it for one, with the policy's limit; four queries for all of them."""
    settings, names = site.settings, [str(r) for r in refs]
    r, v = t.runs, t.versions
    acts = ("refine", "train")
    q = sa.select(r.c.object, r.c.act, r.c.run, r.c.predicted, r.c.seconds).where(
        r.c.object.in_(names),
        r.c.env == env,
        r.c.act.in_(acts),
        r.c.state == "done",
        r.c.seconds.is_not(None),
    )
    past: dict[tuple[str, str], list[Past]] = defaultdict(list)
    for x in site.store.rows(q.order_by(r.c.created)):
        past[(x["object"], x["act"])].append(
            Past(x["run"], float((x["predicted"] or {}).get("size", 0)), float(x["seconds"]))
        )
    newest = (
        sa.select(v.c.object, sa.func.max(v.c.version).label("n"))
        .where(v.c.object.in_(names), v.c.env == env, v.c.name == "gold_train")
        .group_by(v.c.object)
        .subquery()
    )
    heads = (
        sa.select(v.c.object, v.c.rows)
        .join(newest, sa.and_(v.c.object == newest.c.object, v.c.version == newest.c.n))
        .where(v.c.env == env, v.c.name == "gold_train")
    )
    rows = {x["object"]: float(x["rows"]) for x in site.store.rows(heads)}
    listed, prices, currency, step = (
        dict(settings.prices()),
        site.platform(env).prices(),
        settings.estate.currency,
        settings.estate.worker.max_step_seconds,
    )
    out = {}
    for ref in refs:
        policy, _ = settings.policy(ref, env)
        price = price_of(listed, prices, policy.nodes[0] if policy.nodes else "")
        said = {}
        for act in acts:
            history = past[(str(ref), act)][-HISTORY:]
            bound = 5 * step if act == "refine" else settings.profile(ref, env).seconds + OVERHEAD_SECONDS
            size = rows.get(str(ref), 0.0) if act == "train" else 0.0
            said[act] = money(
                predict_seconds(history, size or (history[-1].size if history else 0.0), bound),
                1,
                price,
                currency,
            )
        out[str(ref)] = {"predicted": said, "policy": {"limits": {"max_cost_run": policy.max_cost_run}}}
    return out


def budgets(site: Site, projects: list[str], month: str) -> dict[str, dict[str, Any]]:
    """Spent since `month`, budget and forecast of each project; one query."""
    m, settings = t.meter, site.settings
    q = (
        sa.select(m.c.project, sa.func.sum(m.c.cost).label("cost"))
        .where(m.c.project.in_(projects), m.c.at >= month)
        .group_by(m.c.project)
    )
    spent = {x["project"]: float(x["cost"]) for x in site.store.rows(q)}
    return {
        p: {
            "spent": spent.get(p, 0.0),
            "budget": settings.project(p).budget.month,
            "month_end": month_end(spent.get(p, 0.0)),
        }
        for p in projects
    }


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

    roles = access.RULES.get(rule, frozenset()) | (frozenset() if rule in access.STRICT else {"admin"})
    m = t.members
    rows = site.store.rows(
        sa.select(m.c.actor, m.c.role)
        .where(m.c.scope.in_(("estate", project)), m.c.role.in_(sorted(roles)))
        .order_by(m.c.actor)
    )
    said = list(dict.fromkeys(f"{r['actor']} ({role(r['role'])})" for r in rows))
    return ", ".join(said[:limit]) + (f" and {len(said) - limit} more" if len(said) > limit else "")


def people(site: Site) -> list[str]:
    """Everybody who has a role somewhere."""
    with site.store.read() as c:
        return [
            str(a)
            for a in c.execute(sa.select(t.members.c.actor).distinct().order_by(t.members.c.actor)).scalars()
        ]


def roles_on(estate: Estate) -> Callable[[str], frozenset[str]]:
    """The actor's roles on each project; on a laptop the operating system's user is administrator everywhere."""
    who = estate.actor.rights
    if who == local_admin():
        return lambda project: frozenset({"admin"})
    found = access.roles_of(estate.site.store, frozenset({who}))
    nobody: frozenset[str] = frozenset()
    return lambda project: found.get((who, project), nobody) | found.get((who, "estate"), nobody)


def waiting_files(site: Site, names: list[str]) -> dict[str, int]:
    """IN files that bronze does not hold, by model."""
    out = Evidence()
    if names:
        with site.store.read() as c:
            _count_waiting(c, names, out)
    return dict(out.waiting)


def crowned(estate: Estate, limit: int = 50) -> list[dict[str, Any]]:
    """Champions of the models that the actor may see, newest first."""
    h = t.champion_history
    names = [str(r) for r in estate.visible()]
    return estate.site.store.rows(
        h.select().where(h.c.object.in_(names)).order_by(h.c.at.desc()).limit(limit)
    )


def runs_of(estate: Estate, ref: ModelRef, env: str = "", limit: int = 50) -> list[dict[str, Any]]:
    """A model's runs, newest first.

    Raises:
        NotAllowedError: the actor has no sight of the project.
    """
    estate.require("read_status", ref.project)
    return records.listing(estate.site.store, objects=[str(ref)], env=env, limit=limit)


def newest_run(
    estate: Estate, ref: ModelRef, env: str, acts: tuple[str, ...], purpose: str = ""
) -> dict[str, Any] | None:
    """The newest run of these acts on a model; `purpose`: only runs on that side of the lake."""
    estate.require("read_status", ref.project)
    r = t.runs
    q = (
        sa.select(r.c.run, r.c.params)
        .where(r.c.object == str(ref), r.c.env == env, r.c.act.in_(acts))
        .order_by(r.c.run.desc())
        .limit(20)
    )
    for row in estate.site.store.rows(q):
        if not purpose or (row["params"] or {}).get("purpose", "train") == purpose:
            return records.listing(estate.site.store, run=row["run"])[0]
    return None


def log_tail(work: str | None, folder: Path, lines: int = 40, most: int = 64_000) -> str | None:
    """The last lines of a step's log; None when there is none. Reads at most `most` bytes, only inside `folder`."""
    if not work:
        return None
    # a job elsewhere: its log is copied here while it is followed
    place = folder.joinpath("runs", *work.split("/")[-3:]) if "://" in work else Path(work)
    path = (place / "log.txt").resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    with path.open("rb") as f:
        f.seek(max(0, path.stat().st_size - most))
        text = f.read().decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-lines:])
