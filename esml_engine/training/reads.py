"""What faces show of training: the leaderboard."""

from __future__ import annotations

from typing import Any

from esml_engine.door.site import Site
from esml_engine.refs import ModelRef
from esml_engine.training import records
from esml_engine.training.facts import DIRECTION


def leaderboard(site: Site, ref: ModelRef, env: str = "all") -> list[dict[str, Any]]:
    """Candidates, best first by the model's primary metric; *ready* is the verdict of the gates when it was judged."""
    settings = site.settings
    envs = settings.environments if env == "all" else (settings.check_env(env),)
    champions = {e: records.champion(site.store, ref, e) for e in envs}
    paid = records.paid(site.store, ref)
    out = []
    for r in records.candidates(site.store, ref):
        if r["env"] not in envs:
            continue
        k = champions[r["env"]]
        alias = None
        if r["version"] is not None:
            alias = (
                "champion"
                if k and k["version"] == r["version"]
                else "previous"
                if k and k["previous"] == r["version"]
                else "challenger"
            )
        verdict = (r["verdict"] or {}).get("verdict")
        out.append({
            "env": r["env"], "run": r["run"], "model_version": r["version"], "estimator": r["estimator"], "metrics": r["metrics"],
            "baseline": r["baseline"], "alias": alias,
            "ready": verdict == "promote" if verdict else False, "cost": paid.get(r["run"], r["cost"]), "data": r["data"], "at": r["at"],
            "gates": (r["verdict"] or {}).get("gates", []),
            "intervals": r["intervals"] or {},
        })  # fmt: skip
    metric = settings.profile(ref, envs[0]).metric
    sign = DIRECTION.get(metric, 1)
    return sorted(
        out, key=lambda r: (r["metrics"].get(metric) is None, -sign * (r["metrics"].get(metric) or 0.0))
    )
