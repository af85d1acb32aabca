"""A model's candidates as a table: metric, baseline, data, cost, and whether each may go up."""

from __future__ import annotations

from typing import Any

from cockpit.views.model import against
from cockpit.views.promotion import Asked, asked_up
from cockpit.words import money, value


def table(rows: list[dict[str, Any]], main: str, currency: str, became: Asked) -> list[dict[str, Any]]:
    """Candidates (of `leaderboard.with_costs`) as a table, best first. `became`: by environment, what became of requests for versions."""
    out = []
    for r in rows:
        x, base = r["metrics"].get(main), r["baseline"].get(main)
        bad = [g["gate"] for g in r["gates"] if not g["passed"]]
        verdict = "not registered" if r["model_version"] is None else _ready(r, bad, became)
        low_high = (r.get("intervals") or {}).get(main)
        out.append({
            "Env": r["env"], "Version": f"v{r['model_version']}" + (f" · {r['alias']}" if r["alias"] in ("champion", "previous") else "") if r["model_version"] is not None else "",
            "Estimator": r["estimator"].replace("_", " "), "metric": x,
            "Ready?": verdict, "Against baseline": against(x, base, main)[0].split(" than")[0],
            "95 % interval": f"{value(low_high[0])} to {value(low_high[1])}" if low_high else "",
            "Data": f"gold v{r['data'].get('gold')}" if r["data"].get("gold") else "",
            "Training cost": money(r["training_cost"], currency) if r["training_cost"] is not None else "",
           
            "baseline": base, "at": r["at"], "Run": r["run"],
        })  # fmt: skip
    return out


def _ready(r: dict[str, Any], bad: list[str], became: Asked) -> str:
    """Ready for the next environment, or why not."""
    b = asked_up(r, became)
    if b:
        to = r["ready_to"]
        return f"‖ waits for approval into {to}" if b.state == "waiting" else f"✕ refused for {to} by people"
    if r["ready"]:
        return f"✓ ready for {r['ready_to']}"
    if r["ready"] is False:
        return f"✕ {', '.join(bad)}" if bad else f"✕ {r['ready_reason']}"
    return f"✕ {', '.join(bad)}" if bad and r["alias"] == "challenger" else r["ready_reason"]


def over_versions(rows: list[dict[str, Any]], main: str) -> list[dict[str, Any]]:
    """Metric and baseline of each registered version, oldest first."""
    return [
        {"version": r["version"], "env": r["env"], "value": r["metrics"][main], "baseline": r["baseline"].get(main)}
        for r in sorted(rows, key=lambda r: r["version"]) if r["metrics"].get(main) is not None
    ]  # fmt: skip
