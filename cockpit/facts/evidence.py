"""What the list of models rests on: a fixed number of queries, whatever the number of models."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cockpit.words import check_word, moment
from esml_engine.clock import now as now_text
from esml_engine.costs.forecast import month_end
from esml_engine.costs.prediction import HISTORY, Past, money, predict_seconds, usual_size
from esml_engine.costs.pricing import priced
from esml_engine.costs.records import ENDPOINT, parts, search_of
from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.lake.promises import Promise
from esml_engine.portfolio.waiting import Waits, waiting_files
from esml_engine.refs import ModelRef
from esml_engine.runs import records
from esml_engine.scored.commits import ledger_path
from esml_engine.serving import tally
from esml_engine.serving.hours import hourly, up_now
from esml_engine.store import schema as t
from esml_engine.training.acts import OVERHEAD_SECONDS

Place = tuple[str, str]  # (model, environment)
_AT_ONCE = 500  # names in one statement


@dataclass
class Evidence:
    """What the list of models rests on, by model name; days are UTC dates, times ISO."""

    waiting: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # IN files newer than bronze
    waits_in: dict[str, dict[tuple[str, str], int]] = field(
        default_factory=dict
    )  # the same by (environment, side)
    to_read: dict[Place, int] = field(
        default_factory=dict
    )  # bytes of those that the next refinement there reads
    rnd: dict[str, tuple[str, ...]] = field(default_factory=dict)  # environments where R&D mode is on
    late: dict[str, tuple[str, str]] = field(default_factory=dict)  # the dataset that is late longest, since
    refused: dict[str, int] = field(default_factory=dict)  # IN files that could not be read
    quarantined: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    fullest: dict[str, tuple[int, str, str]] = field(
        default_factory=dict
    )  # quarantine: rows, environment, table
    warned: dict[str, str] = field(default_factory=dict)  # an expectation that warned
    ill: dict[Place, set[str]] = field(
        default_factory=lambda: defaultdict(set)
    )  # layers with broken rows or warnings
    serving: dict[Place, int] = field(default_factory=dict)  # version with traffic
    served: dict[Place, str] = field(default_factory=dict)  # newest of its deployment and its last call
    answered: dict[Place, tuple[int, int] | None] = field(
        default_factory=dict
    )  # calls, those that it failed; None: not measured
    open_runs: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # runs since `week`
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # since `month`
    asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # requests that wait
    asked_since: dict[str, str] = field(default_factory=dict)  # the oldest of them
    exceptions: dict[str, tuple[float, str]] = field(default_factory=dict)  # amount, until
    evidence: dict[Place, str] = field(default_factory=dict)  # the newest pack
    crowned: dict[Place, str] = field(default_factory=dict)  # champion since
    spent_by_day: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failed_by_day: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    failed_before: int = 0  # in the seven days before `week`
    crowned_by_day: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # a first champion


def evidence(site: Site, names: list[str], month: str, week: str) -> Evidence:
    """Facts of these models. `month`, `week`: ISO times from which money and failures count."""
    out = Evidence()
    if not names:
        return out
    every = len(names) == len(site.files.models)  # then a list of names would only cost

    def ours(column: Any) -> Any:
        return sa.true() if every else column.in_(names)

    with site.store.read() as c:
        _quality(c, ours, out)
        _waiting(site, c, names, ours, out)
        _serving(site, c, ours, out)
        _runs(c, ours, week, out)
        _money(c, ours, month, out)
        _governance(c, ours, out)
    return out


def _quality(c: sa.Connection, ours: Any, out: Evidence) -> None:
    """Quarantined rows and failed expectations of every table's current version."""
    v = t.versions
    newest = (
        sa.select(v.c.object, v.c.env, v.c.name, sa.func.max(v.c.version).label("version"))
        .where(ours(v.c.object))
        .group_by(v.c.object, v.c.env, v.c.name)
        .subquery()
    )
    same = [v.c[k] == newest.c[k] for k in ("object", "env", "name", "version")]
    kept, bad = v.c.name.like("%/quarantine"), sa.cast(v.c.quality, sa.Text).like('%"passed": false%')
    heads = sa.select(v.c.object, v.c.env, v.c.name, v.c.rows, v.c.quality).join(newest, sa.and_(*same))
    for object_, env, name, rows, quality in c.execute(heads.where(sa.or_(kept, bad))):
        if name.endswith("/quarantine"):
            out.quarantined[object_] += int(rows)
            here = (int(rows), env, name)
            # of as many rows the first one's: dev, where they are mended
            out.fullest[object_] = min(out.fullest.get(object_, here), here, key=lambda x: (-x[0], *x[1:]))
            if rows:
                out.ill[(object_, env)].add("bronze")
        failed = next((q for q in quality or () if not q.get("passed", True)), None)
        if failed:
            what = f"{check_word(failed)} {failed.get('column') or ''}".strip()
            out.warned.setdefault(object_, f"{what} in {name} of {env}")
            out.ill[(object_, env)].add(name.rpartition("/")[2].partition("_")[0])


_Mark = tuple[Any, ...]
_waits: dict[
    tuple[str, str], tuple[_Mark, Waits]
] = {}  # (store, model) -> what it was counted from, and what waits


def _waiting(site: Site, c: sa.Connection, names: list[str], ours: Any, out: Evidence) -> None:
    """IN files whose content bronze does not hold, and datasets whose promise is broken.

    Both sides only grow, so a model is counted again when the number or the newest of either has changed, or its R&D mode.
    """
    v, f, store = t.versions, t.in_files, site.store.url
    marks: dict[str, list[Any]] = {o: [] for o in names}
    newest: dict[tuple[str, str], str] = {}  # (model, dataset) -> its newest file for training
    bronze = v.c.name.like("%/bronze")
    read = (
        sa.select(v.c.object, sa.func.count(), sa.func.max(v.c.at))
        .where(ours(v.c.object), bronze)
        .group_by(v.c.object)
    )
    for object_, n, at in c.execute(
        read
    ).all():  # a whole result at once: row by row costs more than the query
        if object_ in marks:
            marks[object_] += (n, at)
    came = sa.select(f.c.object, f.c.purpose, f.c.dataset, sa.func.count(), sa.func.max(f.c.at))
    came = came.where(ours(f.c.object)).group_by(f.c.object, f.c.purpose, f.c.dataset)
    for object_, purpose, dataset, n, at in c.execute(came).all():
        if object_ in marks:
            marks[object_] += (purpose, dataset, n, at)
            if purpose == "train":
                newest[(object_, dataset)] = at
    rnd = site.settings.in_rnd(ModelRef(*o.split("/")) for o in names)
    for o, env in sorted(rnd):
        out.rnd[o] = (*out.rnd.get(o, ()), env)
        marks[o].append(env)
    none: tuple[_Mark, Waits] = ((), Waits())
    moved = [o for o, m in marks.items() if _waits.get((store, o), none)[0] != tuple(m)]
    for some in _chunks(moved):
        for o, its in waiting_files(c, some, rnd).items():
            _waits[(store, o)] = (tuple(marks[o]), its)
    for o in names:
        its = _waits.get((store, o), none)[1]
        if its.files:
            out.waiting[o] = its.count
            out.waits_in[o] = {place: n for place, (n, _) in its.files.items()}
            out.to_read.update({(o, env): its.bytes(env) for env, side in its.files if side == "train"})
        if its.refused:
            out.refused[o] = its.refused
    _late(site, names, newest, out)


def _late(site: Site, names: list[str], newest: dict[tuple[str, str], str], out: Evidence) -> None:
    now = dt.datetime.now(dt.UTC)
    for name in names:
        raw = site.files.models.get(ModelRef(*name.split("/"))) or {}
        for dataset, its in raw.get("datasets", {}).items():
            promise = Promise.parse(its.get("arrives") or "")
            since = promise.late_since(moment(newest.get((name, dataset))), now) if promise else None
            if since and (name not in out.late or since.isoformat() < out.late[name][1]):
                out.late[name] = (dataset, since.isoformat())


def _serving(site: Site, c: sa.Connection, ours: Any, out: Evidence) -> None:
    d, v = t.deployments, t.versions
    for object_, env, live, slots, at in c.execute(
        sa.select(d.c.object, d.c.env, d.c.live, d.c.slots, d.c.at).where(ours(d.c.object))
    ):
        if live and live in (slots or {}):
            out.serving[(object_, env)] = int(slots[live]["model_version"])
            out.served[(object_, env)] = at
            counts = tally.known(tally.path_of(ledger_path(site, ModelRef(*object_.split("/")), env)))
            out.answered[(object_, env)] = (counts.requests, counts.of(500, 599)) if counts else None
    if not out.serving:
        return
    # what an endpoint answered reaches the table within seconds, as a commit that names the drain
    calls = (
        sa.select(v.c.object, v.c.env, sa.func.max(v.c.at))
        .where(v.c.object.in_({o for o, _ in out.serving}), v.c.name == "scored", v.c.run.like("drain%"))
        .group_by(v.c.object, v.c.env)
    )
    for object_, env, at in c.execute(calls):
        if (object_, env) in out.served:
            out.served[(object_, env)] = max(at, out.served[(object_, env)])


def _runs(c: sa.Connection, ours: Any, week: str, out: Evidence) -> None:
    r = t.runs
    openly = sa.select(r.c.object, sa.func.count()).where(ours(r.c.object), r.c.state.in_(records.OPEN))
    out.open_runs.update({o: int(n) for o, n in c.execute(openly.group_by(r.c.object))})
    since = (dt.datetime.fromisoformat(week) - dt.timedelta(days=7)).isoformat()
    ended = sa.select(r.c.object, r.c.ended).where(
        ours(r.c.object), r.c.state == "failed", r.c.ended >= since
    )
    for object_, at in c.execute(ended):
        if at < week:
            out.failed_before += 1
            continue
        out.failed[object_] += 1
        out.failed_by_day[at[:10]] += 1


def _money(c: sa.Connection, ours: Any, month: str, out: Evidence) -> None:
    m = t.meter
    day, cost = sa.func.substr(m.c.at, 1, 10), sa.func.sum(m.c.cost)
    spent = sa.select(m.c.object, day, cost).where(ours(m.c.object), m.c.at >= month)
    for object_, at, amount in c.execute(spent.group_by(m.c.object, day)).all():
        out.spent[object_] += float(amount)
        out.spent_by_day[at] += float(amount)


def _governance(c: sa.Connection, ours: Any, out: Evidence) -> None:
    q, x, e, k, h = t.requests, t.exceptions, t.evidence, t.champions, t.champion_history
    waits = sa.select(q.c.object, sa.func.count(), sa.func.min(q.c.at)).where(
        ours(q.c.object), q.c.state == "waiting", q.c.expires >= now_text()
    )
    for object_, n, oldest in c.execute(waits.group_by(q.c.object)):
        out.asked[object_], out.asked_since[object_] = int(n), oldest
    for object_, amount, until in c.execute(
        sa.select(x.c.object, x.c.amount, x.c.until).where(ours(x.c.object), x.c.until >= now_text())
    ):
        if amount >= out.exceptions.get(object_, (0.0, ""))[0]:
            out.exceptions[object_] = (float(amount), until)
    packs = sa.select(e.c.object, e.c.env, sa.func.max(e.c.at)).where(ours(e.c.object))
    out.evidence.update({(o, env): at for o, env, at in c.execute(packs.group_by(e.c.object, e.c.env))})
    stand = sa.select(k.c.object, k.c.env, k.c.at).where(ours(k.c.object))
    out.crowned.update({(o, env): at for o, env, at in c.execute(stand).all()})
    first = sa.select(sa.func.min(h.c.at)).where(ours(h.c.object)).group_by(h.c.object)
    for at in c.execute(first).scalars().all():
        out.crowned_by_day[at[:10]] += 1


def _chunks(names: Sequence[str]) -> Iterator[list[str]]:
    for n in range(0, len(names), _AT_ONCE):
        yield list(names[n : n + _AT_ONCE])


def platform_prices(site: Site, env: str) -> dict[str, float]:
    """What the platform knows of prices; nothing where it can't be reached: the estate's list counts then."""
    try:
        return site.platform(env).prices()
    except EsmlError:
        return {}


def predictions(
    site: Site,
    refs: list[ModelRef],
    env: str,
    to_read: Mapping[Place, int],
    acts: dict[str, tuple[str, ...]] | None = None,
) -> dict[str, dict[str, Any]]:
    """The next refine and train of each model, as `Estate.cost` says it for one, with the policy's limit; two queries.

    `to_read`: bytes of the IN files that wait; a refinement of none is taken to be as large as the last. `acts`: by model,
    which of the two are wanted; nothing: both.
    """
    settings, names = site.settings, [str(r) for r in refs]
    every = len(names) == len(site.files.models)
    past, rows = _past(site, names, env, every, acts), _gold_rows(site, names, env, every)
    prices = platform_prices(site, env)
    currency, step = settings.estate.currency, settings.estate.worker.max_step_seconds
    limits = _limits(site, env)
    out = {}
    for ref, name in zip(refs, names, strict=True):
        max_cost_run, node = limits(ref)
        at = priced(settings, node, lambda _: prices)
        said, times = {}, {}
        for act in acts.get(name, ()) if acts is not None else ("refine", "train"):
            history = past.get((name, act), [])[-HISTORY:]
            search = 0.0 if act == "refine" else float(settings.profile(ref, env).seconds)
            bound = 5 * step if act == "refine" else search + OVERHEAD_SECONDS
            size = rows.get(name, 0.0) if act == "train" else float(to_read.get((name, env), 0))
            found = predict_seconds(history, usual_size(history, size), bound, search)
            said[act] = money(found, 1, at.counted, currency)
            times[act] = {"p50": found.p50, "p90": found.p90, "basis": found.basis}
        out[name] = {
            "predicted": said,
            "seconds": times,
            "policy": {"limits": {"max_cost_run": max_cost_run}},
        }
    return out


def _past(
    site: Site, names: list[str], env: str, every: bool, acts: dict[str, tuple[str, ...]] | None
) -> dict[Place, list[Past]]:
    r = t.runs
    size = r.c.predicted["size"].as_float()
    q = sa.select(r.c.object, r.c.act, r.c.run, size, r.c.seconds, search_of(r.c.plan), r.c.created).where(
        r.c.env == env, r.c.act.in_(("refine", "train")), r.c.state == "done", r.c.seconds.is_not(None)
    )
    out: dict[Place, list[tuple[str, Past]]] = defaultdict(list)
    with site.store.read() as c:
        found = c.execute((q if every else q.where(r.c.object.in_(names))).order_by(r.c.created)).all()
        for object_, act, run, its, seconds, search, at in found:
            if acts is not None and act not in acts.get(object_, ()):
                continue
            out[(object_, act)].append((at, Past(run, float(its or 0), float(seconds), float(search or 0))))
    for place, its_parts in parts(site.store, env, ("refine", "train"), None if every else names).items():
        out[place] = sorted([*out[place], *its_parts], key=lambda x: x[0])
    return {place: [past for _, past in its] for place, its in out.items()}


def _gold_rows(site: Site, names: list[str], env: str, every: bool) -> dict[str, float]:
    v = t.versions
    mine = [v.c.env == env, v.c.name == "gold_train", *(() if every else (v.c.object.in_(names),))]
    newest = (
        sa.select(v.c.object, sa.func.max(v.c.version).label("n"))
        .where(*mine)
        .group_by(v.c.object)
        .subquery()
    )
    heads = sa.select(v.c.object, v.c.rows).join(
        newest, sa.and_(v.c.object == newest.c.object, v.c.version == newest.c.n)
    )
    with site.store.read() as c:
        return {o: float(n) for o, n in c.execute(heads.where(*mine)).all()}


def _limits(site: Site, env: str) -> Any:
    """(max_cost_run, node type) of a model; models that say nothing of their own share their project's, judged once."""
    settings = site.settings
    own = {o.scope for o in settings.overrides}
    shared: dict[str, tuple[float, str]] = {}

    def of(ref: ModelRef) -> tuple[float, str]:
        alone = str(ref) in own or bool(site.files.models[ref].get("policy"))
        where = str(ref) if alone else ref.project
        if where not in shared:
            bare = not alone and ref.project not in own and not site.files.projects[ref.project].get("policy")
            where_ = "estate" if bare else where
            if where_ not in shared:
                policy, _ = settings.policy(where_, env)
                shared[where_] = (policy.max_cost_run, policy.nodes[0] if policy.nodes else "")
            shared[where] = shared[where_]
        return shared[where]

    return of


def budgets(site: Site, projects: list[str], month: str) -> dict[str, dict[str, Any]]:
    """Spent since `month`, budget and forecast of each project; two queries, and one for the worker where anything is deployed."""
    m, settings = t.meter, site.settings
    serving = sa.func.sum(sa.case((m.c.act == ENDPOINT, m.c.cost), else_=0.0))
    q = sa.select(m.c.project, sa.func.sum(m.c.cost), serving).where(m.c.at >= month)
    if len(projects) != len(site.files.projects):
        q = q.where(m.c.project.in_(projects))
    with site.store.read() as c:
        spent = {p: (float(cost), float(its)) for p, cost, its in c.execute(q.group_by(m.c.project))}
    up, nothing = up_now(site), (0.0, 0.0)
    return {
        p: {
            "spent": cost,
            "budget": settings.project(p).budget.month,
            "month_end": month_end(cost - its, its, hourly(up, project=p)),
        }
        for p in projects
        for cost, its in (spent.get(p, nothing),)
    }
