"""The estate's page: five figures and the models, those that need somebody first."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cockpit.facts.evidence import Evidence
from cockpit.views.promotion import asks, expires
from cockpit.words import ago, is_bound, metric, money, plural, role, share, time_ago, value
from esml_engine.portfolio.status import AN_EXCEPTION
from esml_engine.refs import STAGES

KINDS = {
    "failed": "Failed run", "approval": "Waits for approval", "policy": "Over policy", "budget": "Over budget",
    "late": "Late data", "nodata": "No data yet", "waiting": "IN waits",
    "serving": "Serves old champion", "quality": "Quality", "rnd": "R&D",
}  # fmt: skip


RANK = {k: n for n, k in enumerate(KINDS)}
SORTS = {"attention": "by attention", "model": "by name", "stage": "by stage", "spent": "by money spent",
    "next": "by next run"}  # fmt: skip


@dataclass(frozen=True)
class Owner:
    """A project's people and risk."""

    team: str
    owner: str
    risk: str


@dataclass(frozen=True)
class Need:
    """Why a model needs somebody."""

    kind: str
    text: str
    table: tuple[str, str] | None = None  # (environment, table) whose quarantine holds most of it

    @property
    def rank(self) -> int:
        """Worst first."""
        return RANK[self.kind]


@dataclass(frozen=True)
class Row:
    """One model in the list."""

    model: str
    needs: tuple[Need, ...]
    stage: str
    progress: float
    since: str
    age: str
    turn: str
    metric: str
    champions: dict[str, str]
    next_p50: float | None
    next_text: str
    running: int
    act: str = ""
    next_p90_text: str = ""
    fresh: str = ""
    spent: float = 0.0
    layers: dict[str, str] = field(
        default_factory=dict
    )  # of the first environment: bronze, silver, gold -> warned | due

    @property
    def project(self) -> str:
        """Its project."""
        return self.model.split("/")[0]

    @property
    def name(self) -> str:
        """Its own name."""
        return self.model.split("/")[1]

    @property
    def attention(self) -> str:
        """The worst need, and how many more there are."""
        if not self.needs:
            return ""
        more = f" (+{len(self.needs) - 1})" if len(self.needs) > 1 else ""
        return self.needs[0].text + more


def needs_of(
    status: dict[str, Any],
    e: Evidence,
    cost: dict[str, Any] | None,
    budget: dict[str, Any] | None,
    now: dt.datetime,
) -> tuple[Need, ...]:
    """Everything about one model that waits for somebody, worst first. An environment that is not set up is no need."""
    model = status["model"]
    out = []
    blocked = status["blocked_by"] or ""
    if " failed in " in blocked:
        out.append(Need("failed", "Failed: " + blocked.split(":")[0].replace(" failed in ", " in ")))
    elif e.asked.get(model, 0):
        out.append(Need("approval", f"Approval waits, {ago(e.asked_since.get(model), now) or 'just now'}"))
    elif blocked:
        out.append(Need("nodata", "No IN file yet" if "no IN file" in blocked else blocked))
    act = status["next"] if status["next"] in PRICED else None
    if cost and act in cost["predicted"]:
        p, limit = cost["predicted"][act], cost["policy"]["limits"]["max_cost_run"]
        if p["p90"] > limit:
            out.append(
                Need(
                    "policy",
                    f"Policy: {act} {money(p['p90'], p['currency'])} > {money(limit, p['currency'])}",
                )
            )
    if budget and budget["budget"] > 0 and budget["month_end"] > budget["budget"]:
        out.append(Need("budget", f"Budget: month end {share(budget['month_end'], budget['budget'])}"))
    if model in e.late:
        dataset, since = e.late[model]
        out.append(Need("late", f"Late IN: {dataset}, {ago(since, now)}"))
    if n := e.waiting.get(model, 0):
        out.append(
            Need("waiting", _waits(n, e.waits_in.get(model, {}), next(iter(status["environments"]), "")))
        )
    for env, its in status["environments"].items():
        live = e.serving.get((model, env))
        if live is not None and its["champion"] is not None and live != its["champion"]:
            out.append(Need("serving", f"{env} serves v{live}, not v{its['champion']}"))
    if e.refused.get(model, 0):
        out.append(Need("quality", f"{plural(e.refused[model], 'IN file')} refused"))
    if e.quarantined.get(model, 0):
        text = f"{plural(e.quarantined[model], 'row')} in quarantine, all environments"
        out.append(Need("quality", text, e.fullest[model][1:] if model in e.fullest else None))
    if model in e.warned:
        out.append(Need("quality", f"Warned: {e.warned[model]}"))
    if model in e.rnd:  # nothing goes up from there, and one version is kept
        out.append(Need("rnd", f"R&D mode in {', '.join(e.rnd[model])}"))
    return tuple(sorted(out, key=lambda n: n.rank))


def _waits(count: int, places: Mapping[tuple[str, str], int], first: str) -> str:
    """How many IN files wait; where, unless it is the first environment's training side alone."""
    said = f"{plural(count, 'IN file')} {'waits' if count == 1 else 'wait'}"
    if not places or list(places) == [(first, "train")]:
        return said
    where = [
        f"{n}{' of inference' if side == 'inference' else ''} in {env}" for (env, side), n in places.items()
    ]
    return f"{said}: {', '.join(where)}"


def champion_text(its: dict[str, Any] | None) -> str:
    """`v6 · 0.081`; '' when nothing is champion there."""
    if its is None or its["champion"] is None:
        return ""
    return f"v{its['champion']}" + (f" · {value(its['value'])}" if its["value"] is not None else "")


TURNS = {"waiting": "data_engineer", "late": "data_engineer", "quality": "data_engineer", "nodata": "data_engineer",
    "serving": "data_scientist", "rnd": "data_scientist", "policy": "project_manager", "budget": "project_manager"}  # fmt: skip


def stands_with(status: dict[str, Any]) -> str:
    """Whose turn a status says it is; an exception is decided by either of two roles."""
    if (status["blocked_by"] or "").startswith(AN_EXCEPTION):
        return f"{role('approver')} or {role('project_manager').lower()}"
    return role(status["turn"])


def _whose(status: dict[str, Any], needs: tuple[Need, ...]) -> str:
    """Whose turn it is: that of what needs somebody most, else that of the next stage."""
    if not needs or (status["blocked_by"] and status["turn"]) or needs[0].kind == "approval":
        return stands_with(status)
    if needs[0].kind == "failed":
        refined = (status["blocked_by"] or "").split(" ")[0] in ("refine", "split", "ingest")
        return role("data_engineer" if refined else "data_scientist")
    return role(TURNS.get(needs[0].kind))


def turn(row: Row, need: Need) -> str:
    """Whose turn one of a model's needs is: the worst one's is the model's own."""
    return row.turn if need is row.needs[0] else role(TURNS.get(need.kind))


PRICED = ("refine", "train")
"""The acts that a list of many models predicts a price for."""


def due_act(status: dict[str, Any], env: str, e: Evidence) -> str:
    """What is to be done now in an environment: files that wait come first, a split is for a training; '' for nothing."""
    if e.to_read.get((status["model"], env)):
        return "refine"
    due = {"split": "train"}.get(status["next"] or "", str(status["next"] or ""))
    return due if due != "train" or env == next(iter(status["environments"]), env) else ""


def next_act(status: dict[str, Any], env: str, e: Evidence) -> str:
    """What the model's next run in an environment does, of the two that a price is predicted for: on every page the same."""
    if (due := due_act(status, env, e)) in PRICED:
        return due
    trains = status["task"] != "analytics" and env == next(iter(status["environments"]), env)
    return "train" if trains else "refine"  # models are trained in the first environment


def _row(
    s: dict[str, Any],
    needs: tuple[Need, ...],
    environments: tuple[str, ...],
    cost: dict[str, Any] | None,
    e: Evidence,
    now: dt.datetime,
) -> Row:
    goal = (
        "gold"
        if s["task"] == "analytics"
        else "prod"
        if "prod" in environments
        else "test"
        if "test" in environments
        else "trained"
    )
    act = next_act(s, environments[0], e)
    p = cost["predicted"].get(act) if cost else None
    bound = bool(p) and is_bound(p["basis"]) if p else False
    names = [its["metric"] for its in s["environments"].values() if its["metric"]]
    return Row(
        model=s["model"], needs=needs, stage=s["stage"], progress=min(1.0, STAGES.index(s["stage"]) / STAGES.index(goal)),
        since=s["since"] or "", age=ago(s["since"], now), turn=_whose(s, needs),
        metric=metric(names[0]) if names else "", champions={env: champion_text(s["environments"].get(env)) for env in ("dev",
            "test", "prod")},
        next_p50=None if p is None else p["p50"], next_text="" if p is None else ("≤ " if bound else "") + money(p["p50"],
            p["currency"]), running=e.open_runs.get(s["model"], 0),
        act=act, next_p90_text="" if p is None else ("≤ " if bound else "") + money(p["p90"], p["currency"]),
        fresh=s["fresh"] or "", spent=e.spent.get(s["model"], 0.0), layers=_layers(s["model"], environments[0], e),
    )  # fmt: skip


def _layers(model: str, env: str, e: Evidence) -> dict[str, str]:
    """What is not as it shall be of an environment's layers, as the page of the model says it: `warned` before `due`."""
    due = ("bronze", "silver", "gold") if e.to_read.get((model, env)) else ()
    return dict.fromkeys(due, "due") | dict.fromkeys(e.ill.get((model, env), ()), "warned")


def rows(
    statuses: list[dict[str, Any]], e: Evidence, environments: tuple[str, ...], costs: dict[str, dict[str, Any]],
    budgets: dict[str, dict[str, Any]], now: dt.datetime,
) -> list[Row]:  # fmt: skip
    """The list: worst need first, then the longest in its stage."""
    out = []
    for s in statuses:
        cost = costs.get(s["model"])
        needs = needs_of(s, e, cost, budgets.get(s["model"].split("/")[0]), now)
        out.append(_row(s, needs, environments, cost, e, now))
    return sorted(out, key=lambda r: (r.needs[0].rank if r.needs else 99, r.since or "9", r.model))


@dataclass(frozen=True)
class Wanted:
    """What the address asks for."""

    q: str = ""
    stages: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    team: str = ""
    sort: str = "attention"


EVERYTHING = Wanted()
"""Nothing is asked for: all rows, by attention."""


def chosen(found: list[Row], w: Wanted, projects: dict[str, Owner]) -> list[int]:
    """Places of the rows that every filter leaves, in the order that is asked for; `found` stands by attention."""
    words = w.q.lower().split()
    out = [
        n for n, r in enumerate(found)
        if (not w.stages or r.stage in w.stages) and (not w.kinds or any(x.kind in w.kinds for x in r.needs)) and (not w.team or _owner(projects,
            r).team == w.team)
        and (not words or all(x in _said(r, projects) for x in words))
    ]  # fmt: skip
    order: dict[str, Any] = {
        "model": lambda n: found[n].model,
        "stage": lambda n: -STAGES.index(found[n].stage),
        "spent": lambda n: -found[n].spent,
        "next": lambda n: -(found[n].next_p50 or 0.0),
    }
    return sorted(out, key=order[w.sort]) if w.sort in order else out


def _owner(projects: dict[str, Owner], r: Row) -> Owner:
    return projects.get(r.project, Owner("", "", ""))


def _said(r: Row, projects: dict[str, Owner]) -> str:
    owner = _owner(projects, r)
    return f"{r.model} {owner.team} {owner.owner} {r.attention}".lower()


def counts(found: list[Row]) -> tuple[dict[str, int], dict[str, int]]:
    """How many rows each need and each stage has, in their own order; empty ones left out."""
    kinds, stages = dict.fromkeys(KINDS, 0), dict.fromkeys(STAGES, 0)
    for r in found:
        stages[r.stage] += 1
        for k in {n.kind for n in r.needs}:
            kinds[k] += 1
    return {k: n for k, n in kinds.items() if n}, {s: n for s, n in stages.items() if n}


EXPLAINED = {
    "progress": "≤ marks an upper bound: no run yet.",
    "health": "Health is the worst of its parts, and the part is named. Drift is not measured yet.",
    "money": "Metered this month (UTC); p50 and p90 of the next run in the first environment; ≤ marks an upper bound.",
    "governance": "Evidence is the newest pack of the environment where the champion stands.",
}


def wanted(one: Mapping[str, str], many: Mapping[str, Sequence[str]]) -> Wanted:
    """From the address; a stage, need or order that there is not is left out."""
    return Wanted(
        one.get("q", ""), tuple(s for s in many.get("stage", ()) if s in STAGES),
        tuple(k for k in many.get("attention", ()) if k in KINDS), one.get("team", ""),
        one.get("sort", "attention"),
    )  # fmt: skip


def decisions(mine: list[dict[str, Any]], currency: str, now: dt.datetime) -> str:
    """`**2 decisions wait for you.** Oldest: Promote …, 3 d, expires in 4 d`."""
    oldest = min(mine, key=lambda r: r["at"])
    what, _ = asks(oldest, currency, now)
    count = (
        "1 decision waits for you." if len(mine) == 1 else f"{plural(len(mine), 'decision')} wait for you."
    )
    return f"**{count}** Oldest: {what.replace('**', '')}, asked {time_ago(oldest['at'], now)}, {expires(oldest, now)}"
