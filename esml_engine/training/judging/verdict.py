"""The verdict at the end of a training: the gates of its environment, on what the job measured on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from esml_engine.door.site import Site
from esml_engine.lake.catalogue import all_latest
from esml_engine.refs import ModelRef
from esml_engine.training import records
from esml_engine.training.facts import Gate
from esml_engine.training.judging.gates import Evidence, Verdict, judge
from esml_engine.training.judging.overlap import BY_ROW
from esml_engine.training.judging.ways import way_on


def verdict_of(site: Site, ref: ModelRef, env: str, value: dict[str, Any]) -> Verdict:
    """The gates of an environment, on what the training job measured on the same rows.

    A past run was measured beside the champion of its day: where another stands by now, nothing is known of the two.
    """
    settings = site.settings.model(ref)
    now_champion = records.champion(site.store, ref, env)
    old = records.get_version(site.store, ref, env, now_champion["version"]) if now_champion else None
    fair = value.get("fair") or value  # on the rows that the champion did not learn from
    quality = [q for v in all_latest(site.store, ref, env).values() if v.name == "gold" for q in v.quality]
    evidence = Evidence(
        task=settings.task, challenger=fair["metrics"], baseline=fair["baseline"], has_champion=old is not None,
        champion=value.get("champion_metrics"), champion_task=old["task"] if old else None,
        challenger_signature=value.get("signature"), champion_signature=old["detail"]["signature"] if old else None,
        challenger_classes=value.get("classes"), champion_classes=old["detail"].get("classes") if old else None,
        expectations=all(q["passed"] or q["level"] == "warn" for q in quality), rnd=bool(value.get("rnd")),
        primary=site.settings.profile(ref, env).metric,
        intervals={m: (float(low), float(high)) for m, (low, high) in (value.get("champion_gains") or {}).items()},
        rows=int(value.get("champion_rows") or 0),
    )  # fmt: skip
    wanted = settings.gates.model_dump()
    thresholds = {k: v for k, v in wanted.items() if k != "max_cost_1000_rows" and v}
    if old is not None and not thresholds.get("min_gain"):
        thresholds["min_gain"] = {evidence.primary: 0.0}
    said = judge(evidence, thresholds)
    beside, stands = value.get("champion_version"), old["version"] if old else None
    if beside == stands:
        return said if old is None else _with_rows(said, value, lambda o: way_on(site, ref, env, old, o))
    measured = f"beside v{beside}" if beside else "with no champion beside it"
    reason = f"the champion is {f'v{stands}' if stands else 'none'} by now, this run was measured {measured}: train again"
    return Verdict("refuse", (*said.gates, Gate("champion", False, reason=reason)))


def _with_rows(
    said: Verdict, value: dict[str, Any], way: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> Verdict:
    """The verdict with the gate `rows`, where the champion had learned from some of them or could not be asked."""
    if value.get("champion_error"):
        change = way(value["overlap"]) if value.get("overlap") else None
        gate = Gate("rows", False, reason=value["champion_error"], would_pass_if=change)
        return Verdict("refuse", (*said.gates, gate))
    if fair := value.get("fair"):
        windows = f" in {fair['windows']} windows" if fair.get("windows") else ""
        told = f" ({BY_ROW})" if fair.get("by") == "row" else ""
        reason = f"both judged on {fair['rows']} rows of gold_test{windows}: the champion was trained on {fair['left_out']} others{told}, after another split"
        return Verdict(said.verdict, (*said.gates, Gate("rows", True, reason=reason)))
    return said
