"""What it did and what it will cost: predicted, spent, budget, month end, policy; four different figures, always named."""

from __future__ import annotations

from typing import Any

from esml_engine.costs import records as costs
from esml_engine.costs.forecast import month_end
from esml_engine.costs.prediction import money, predict_seconds, usual_size
from esml_engine.costs.pricing import endpoint_month, endpoint_node, endpoint_nodes, next_node
from esml_engine.door.policy import limits_of
from esml_engine.door.site import Site
from esml_engine.lake.catalogue import Version, all_latest
from esml_engine.portfolio.waiting import waiting_bytes
from esml_engine.refs import ModelRef
from esml_engine.serving.hours import hourly, up_now
from esml_engine.settings import ServingSettings
from esml_engine.training.acts import OVERHEAD_SECONDS


def cost(site: Site, scope: str, env: str) -> dict[str, Any]:
    """The contract's answer for the estate, a project or a model.

    Predictions and policy are those of `env`; spent, budget and month's end are of all environments, `spent_in` of each.
    """
    settings = site.settings
    since = costs.month_start()
    currency = settings.estate.currency
    if "/" not in scope:
        project = "" if scope == "estate" else scope
        if project:
            settings.project(project)
        names = sorted(settings.files.projects) if not project else [project]
        spent = costs.spent(site.store, project=project, since=since)
        endpoints = costs.spent(site.store, project=project, since=since, act=costs.ENDPOINT)
        an_hour = hourly(up_now(site), project=project)
        budget = sum(settings.project(p).budget.month for p in names)
        refs = [r for r in settings.models() if r.project in names]
        total: dict[str, Any] = {}
        for ref in refs:
            for k, v in predicted(site, ref, env).items():
                old = total.get(k, {"p50": 0.0, "p90": 0.0, "currency": currency, "basis": "sum over models"})
                total[k] = {
                    **old,
                    "p50": round(old["p50"] + v["p50"], 6),
                    "p90": round(old["p90"] + v["p90"], 6),
                }
    else:
        ref = ModelRef.parse(scope)
        spent = costs.spent(site.store, object_=scope, since=since)
        endpoints = costs.spent(site.store, object_=scope, since=since, act=costs.ENDPOINT)
        an_hour = hourly(up_now(site), object_=scope)
        budget = settings.project(ref.project).budget.month
        total = predicted(site, ref, env)
    policy, origin = settings.policy(scope, env)
    charged = billed(site, scope, env)
    whose = {"object_": scope} if "/" in scope else {"project": "" if scope == "estate" else scope}
    by_env = {e: costs.spent(site.store, **whose, env=e, since=since) for e in settings.environments}
    return {
        **({"billed": charged} if charged else {}),
        "predicted": total,
        "spent": round(spent, 6),
        "spent_in": {e: round(v, 6) for e, v in by_env.items()},
        "spent_on": {"runs": round(spent - endpoints, 6), "endpoints": round(endpoints, 6)},
        "currency": currency,
        "budget": budget,
        "month_end": month_end(spent - endpoints, endpoints, an_hour),
        "policy": {"limits": limits_of(policy), "origin": origin},
        "period": since[:7],
    }


def billed(site: Site, scope: str, env: str) -> dict[str, Any] | None:
    """What the platform charged this month for the estate or a project; None where nobody bills, or not by model."""
    if "/" in scope or not env:
        return None
    found = [b for b in site.platform(env).bills() if scope in ("estate", b.project)]
    if not found:
        return None
    return {
        "amount": round(sum(b.amount for b in found), 6),
        "currency": found[0].currency,
        "until": min(b.until for b in found),
    }


def predicted(site: Site, ref: ModelRef, env: str) -> dict[str, dict[str, Any]]:
    """p50 and p90 of the next refine, train, of scoring 1000 rows in batch, and of an endpoint's month."""
    settings = site.settings
    policy, _ = settings.policy(ref, env)
    platform = site.platform(env)
    node = next_node(settings, policy, platform.prices)
    price = node.counted
    currency = settings.estate.currency
    step = settings.estate.worker.max_step_seconds
    have = all_latest(site.store, ref, env)
    rows = float(have["gold_train"].rows) if "gold_train" in have else 0.0
    out = {}
    trains = settings.task(ref) != "analytics"
    search = float(settings.profile(ref, env).seconds)
    for act, bound, size, allowed in (
        ("refine", 5 * step, float(waiting_bytes(site, ref, env)), 0.0),
        *((("train", search + OVERHEAD_SECONDS, rows, search),) if trains else ()),
    ):
        history = costs.history(site.store, str(ref), env, act)
        out[act] = money(
            predict_seconds(history, usual_size(history, size), bound, allowed),
            1,
            price,
            currency,
        )
    if not trains:  # an analytics model ends at gold
        return _unpriced(out, node.unpriced)
    history = costs.history(site.store, str(ref), env, "score_batch")
    out["score_1000_rows"] = money(
        predict_seconds(history, _bytes_of_1000(have) if history else 0.0, step), 1, price, currency
    )
    out = _unpriced(out, node.unpriced)
    instances = settings.model(ref).serving.get(env, ServingSettings()).instances  # type: ignore[call-overload]
    standing = endpoint_node(settings, policy, platform.prices, platform.capabilities)
    nodes = endpoint_nodes(platform.capabilities, instances)
    out["endpoint_month"] = endpoint_month(standing, nodes, currency)
    return out


def _unpriced(out: dict[str, dict[str, Any]], why: str) -> dict[str, dict[str, Any]]:
    return {k: {**v, "basis": why} for k, v in out.items()} if why else out


def _bytes_of_1000(have: dict[str, Version]) -> float:
    """Bytes of 1,000 rows to score, from the newest table that is shaped like them; 0 when there is none yet."""
    for name in ("to_score", "gold_test", "gold"):
        v = have.get(name)
        if v is not None and v.rows:
            return 1_000 * v.bytes / v.rows
    return 0.0
