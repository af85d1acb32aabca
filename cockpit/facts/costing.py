"""Reads behind the page Costs: metered money by anything, how good predictions were, and scenarios over the plans' own prediction."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cockpit.facts.evidence import platform_prices
from esml_engine.costs import records as costs
from esml_engine.costs.prediction import Past, usual_size
from esml_engine.costs.pricing import endpoint_node, endpoint_nodes, priced
from esml_engine.costs.whatif import Answer, Scenario, what_if
from esml_engine.door.policy import broken, verdict
from esml_engine.door.site import Site
from esml_engine.lake.catalogue import all_latest
from esml_engine.portfolio.waiting import waiting_bytes
from esml_engine.refs import ModelRef
from esml_engine.settings import ServingSettings
from esml_engine.store import schema as t
from esml_engine.training.acts import OVERHEAD_SECONDS, profile_of

ACTS = ("refine", "train", "score_batch")


def spent_by(
    site: Site,
    by: str,
    *,
    since: str,
    until: str = "",
    project: str = "",
    model: str = "",
    env: str = "",
    projects: list[str] | None = None,
) -> dict[str, float]:
    """Metered money by `day`, `project`, `model`, `act`, `env` or `node`; `projects`: only these (sight)."""
    m = t.meter
    what: Any = {"day": sa.func.substr(m.c.at, 1, 10), "project": m.c.project, "model": m.c.object, "act": m.c.act,
        "env": m.c.env, "node": m.c.node}[by]  # fmt: skip
    q = sa.select(what, sa.func.sum(m.c.cost)).where(m.c.at >= since)
    for column, value in ((m.c.project, project), (m.c.object, model), (m.c.env, env)):
        if value:
            q = q.where(column == value)
    if until:
        q = q.where(m.c.at < until)
    if projects is not None and not project and len(projects) != len(site.files.projects):
        q = q.where(m.c.project.in_(projects))
    with site.store.read() as c:
        return {str(k): float(v) for k, v in c.execute(q.group_by(what))}


def judged_runs(
    site: Site, *, objects: list[str] | None, env: str, days: int = 90, most: int = 2000
) -> list[dict[str, Any]]:
    """Ended runs that had a prediction, newest first: `{"run", "object", "env", "act", "predicted", "seconds", "cost", "ended"}`."""
    r = t.runs
    since = (dt.datetime.now(dt.UTC) - dt.timedelta(days=days)).isoformat()
    columns = (r.c.run, r.c.object, r.c.env, r.c.act, r.c.predicted, r.c.seconds, r.c.cost, r.c.ended)
    q = sa.select(*columns).where(r.c.state == "done", r.c.seconds.is_not(None), r.c.ended >= since)
    if env:
        q = q.where(r.c.env == env)
    if objects is not None:
        q = q.where(r.c.object.in_(objects))
    found = site.store.rows(q.order_by(r.c.ended.desc()).limit(most))
    return [x for x in found if (x["predicted"] or {}).get("cost", {}).get("p90")]


def hour_price(site: Site, model: str, env: str) -> float:
    """What an hour of a model's endpoint costs in an environment: one colour, all its instances."""
    ref, can = ModelRef.parse(model), site.platform(env).capabilities
    policy, _ = site.settings.policy(ref, env)
    serving = site.settings.model(ref).serving.get(env, ServingSettings())  # type: ignore[call-overload]
    node = endpoint_node(site.settings, policy, lambda _: platform_prices(site, env), can)
    return node.counted * endpoint_nodes(can, serving.instances)


@dataclass(frozen=True)
class Asked:
    """A scenario as the page's fields say it."""

    model: str
    act: str
    env: str
    node: str
    nodes: int
    rows: int
    profile: str


@dataclass(frozen=True)
class Judged:
    """A scenario's answer with the policy's word on it."""

    asked: Asked
    answer: Answer
    allowed: bool
    policy: str


def as_it_is(site: Site, ref: ModelRef, act: str, env: str) -> Asked:
    """The next run as things are: the fields that its plan would have."""
    policy, _ = site.settings.policy(ref, env)
    return Asked(str(ref), act, env, policy.nodes[0] if policy.nodes else "", 1, _rows(site, ref, act, env),
        env if act == "train" else "")  # fmt: skip


def _rows(site: Site, ref: ModelRef, act: str, env: str) -> int:
    have = all_latest(site.store, ref, env)
    table = {"train": "gold_train", "refine": "gold", "score_batch": "to_score"}[act]
    return int(have[table].rows) if table in have else 0


def judge(site: Site, asked: Asked) -> Judged:
    """What the run would take under a scenario, on the same history and through the same code as a plan.

    Raises:
        NotFoundError: no such model, environment or profile.
    """
    ref, settings = ModelRef.parse(asked.model), site.settings
    settings.check_env(asked.env)
    policy, origin = settings.policy(ref, asked.env)
    currency, step = settings.estate.currency, settings.estate.worker.max_step_seconds
    usual = as_it_is(site, ref, asked.act, asked.env)
    seconds = 0.0
    if asked.act == "train":
        profile = profile_of(site, ref, asked.env, {"profile": asked.profile} if asked.profile != asked.env else {})  # fmt: skip
        seconds = float(profile.seconds)
    limit = {"refine": 5 * step, "train": seconds + OVERHEAD_SECONDS, "score_batch": step}[asked.act]
    history = _history(site, ref, asked)
    waiting = float(waiting_bytes(site, ref, asked.env)) if asked.act == "refine" else 0.0
    size = float(usual.rows) if asked.act == "train" else usual_size(history, waiting)
    scaled = size * asked.rows / usual.rows if usual.rows and asked.rows else size
    node = priced(settings, asked.node, lambda _: platform_prices(site, asked.env))
    answer = what_if(
        history, Scenario(asked.node, asked.nodes, node.counted, scaled, limit, seconds), currency, measured_on=usual.node,
        usual_size=size
    )  # fmt: skip
    if asked.nodes > policy.max_nodes:
        return Judged(asked, answer, False,
            f"refused: {asked.nodes} nodes, {policy.max_nodes} allowed ({origin['max_nodes']})")  # fmt: skip
    over = broken(
        policy, origin, {"cost": answer.cost, "node": asked.node, "price": node.price}, env=asked.env, train_seconds=seconds,
        spent_month=costs.spent(site.store, project=ref.project, env=asked.env, since=costs.month_start()),
    )  # fmt: skip
    said = verdict(over, policy, home=asked.env, ok=origin["max_cost_run"])
    if said["verdict"] == "ok":
        return Judged(asked, answer, True,
            f"allowed: at most {policy.max_cost_run:g} {currency} a run ({said['origin']})")  # fmt: skip
    word = "asks for an approval" if said["verdict"] == "ask" else "refused"
    return Judged(asked, answer, False, f"{word}: {said['reason']} ({said['origin']})")


def _history(site: Site, ref: ModelRef, asked: Asked) -> list[Past]:
    """The history that a plan would use; with another training profile only runs under that very profile count."""
    if asked.act != "train" or asked.profile == asked.env:
        return costs.history(site.store, str(ref), asked.env, asked.act)
    wanted = profile_of(site, ref, asked.env, {"profile": asked.profile}).model_dump(mode="json")
    r = t.runs
    q = sa.select(r.c.run, r.c.predicted, r.c.seconds, r.c.plan).where(
        r.c.object == str(ref), r.c.act == "train", r.c.state == "done", r.c.seconds.is_not(None)
    )
    return [
        Past(x["run"], float((x["predicted"] or {}).get("size", 0)), float(x["seconds"]))
        for x in site.store.rows(q.order_by(r.c.created))
        if ((x["plan"] or {}).get("params") or {}).get("profile") == wanted
    ][-30:]
