"""Runs: rows for the list, and the facts of one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cockpit.views.lake import made as of_tables
from cockpit.words import duration, mark, metric, money, plural, value
from esml_engine.runs.records import ENDED, OPEN
from esml_engine.settings import PRIMARY_METRIC

STATES = (*OPEN, *ENDED)
ORDER = {"running": 0, "queued": 1, "waiting": 1, "failed": 2, "cancelled": 3, "done": 3}


def people(rows: list[dict[str, Any]]) -> list[str]:
    """Who asked for them."""
    return sorted({asked_by(r) for r in rows})


def asked_by(row: dict[str, Any]) -> str:
    """The person, and whose rights were used where that differs."""
    return f"{row['actor']} as {row['as']}" if row["as"] and row["as"] != row["actor"] else str(row["actor"])


def not_made_good(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Failed runs (rows: newest first) that no later run of the same act on the same model and environment made good; the newest of each."""
    seen: set[tuple[str, str, str]] = set()
    out = []
    for r in rows:
        key = (r["object"], r["env"], r["act"])
        if r["state"] == "failed" and key not in seen:
            out.append(r)
        if r["state"] in ("done", "failed"):
            seen.add(key)
    return out


def kinds(rows: list[dict[str, Any]]) -> list[str]:
    """The acts that ran, by name."""
    return sorted({r["act"] for r in rows})


def filtered(rows: list[dict[str, Any]], states: list[str], by: str, kind: str = "") -> list[dict[str, Any]]:
    """Open ones first, then newest first."""
    found = [
        r
        for r in rows
        if (not states or r["state"] in states) and (not by or asked_by(r) == by) and kind in ("", r["act"])
    ]
    return sorted(found, key=lambda r: 0 if r["state"] in OPEN else 1)


def predicted_seconds(row: dict[str, Any]) -> str:
    """`4.0 s`, or `≤ 15 min` for an upper bound."""
    s = (row["predicted"] or {}).get("seconds")
    if not s:
        return ""
    return (
        f"≤ {duration(s['p90'])}" if str(s.get("basis", "")).startswith("upper bound") else duration(s["p50"])
    )


def predicted_cost(row: dict[str, Any]) -> str:
    """`€ 0.01`, or `≤ € 0.03` for an upper bound."""
    c = (row["predicted"] or {}).get("cost")
    if not c:
        return ""
    return (
        f"≤ {money(c['p90'], c['currency'])}"
        if str(c.get("basis", "")).startswith("upper bound")
        else money(c["p50"], c["currency"])
    )


def table(rows: list[dict[str, Any]], when: Callable[[str | None], str]) -> list[dict[str, str]]:
    """Rows as the list shows them; `when` writes a time in the viewer's zone."""
    return [
        {
            "State": mark("cancelled") if r["cancel"] and r["state"] in ENDED and r["state"] != "done" else mark(r["state"]),
            "Act": r["act"].replace("_", " "), "Model": r["object"], "Env": r["env"],
            "Started": when(r["started"] or r["created"]), "Time": duration(r["seconds"]) if r["seconds"] is not None else "",
            "Predicted": predicted_seconds(r),
            "Cost": money(r["cost"], _currency(r)) if r["cost"] is not None else "", "Predicted cost": predicted_cost(r),
            "By": asked_by(r), "Run": r["run"],
        }
        for r in rows
    ]  # fmt: skip


def _currency(row: dict[str, Any]) -> str:
    return str((row["predicted"] or {}).get("cost", {}).get("currency", "EUR"))


def summary(rows: list[dict[str, Any]]) -> str:
    """`1 running · 2 failed · 40 done`."""
    counts = {s: sum(r["state"] == s for r in rows) for s in STATES}
    return " · ".join(f"{n} {s}" for s, n in counts.items() if n) or plural(0, "run")


def made(row: dict[str, Any]) -> list[str]:
    """What a run that is done made, in words: tables with their rows, a model version with its metric, who leads, who serves."""
    r = row["result"] or {}
    out = of_tables(r)
    if row["act"] in ("train", "register", "pipeline") and r.get("model_version"):
        main = PRIMARY_METRIC.get(str(r.get("task")), "")
        found = (r.get("metrics") or {}).get(main)
        measured = f", {metric(main)} {value(found)}" if found is not None else ""
        out.append(f"model v{r['model_version']} ({str(r.get('estimator', '')).replace('_', ' ')}{measured})")
    stands = r.get("state", "promoted") == "promoted"
    if row["act"] in ("promote", "rollback", "pipeline") and r.get("champion") and stands:
        out.append(f"v{r['champion']} is the champion")
    if row["act"] == "deploy" and r.get("deployment"):
        out.append(
            f"{r['deployment']} serves {r.get('traffic', {}).get(r['deployment'], 0):g} % of the calls"
        )
    if row["act"] == "score_batch" and r.get("rows") is not None:
        out.append(f"{plural(r['rows'], 'row')} scored by v{r['model_version']}")
    return out


def outcome(row: dict[str, Any]) -> str:
    """A sentence on what a run that is done came to; '' where there is nothing to say."""
    state = (row["result"] or {}).get("state")
    if row["act"] == "promote" and state != "promoted":
        return f"Decided: {state}. Nothing moved; the page Promotion says why."
    lines = made(row)
    return "It made: " + " · ".join(lines) if lines else ""


def steps(row: dict[str, Any]) -> list[dict[str, str]]:
    """A run's steps as a table."""
    return [
        {
            "State": mark(s["state"]),
            "Step": s["name"],
            "Time": duration(s["seconds"]) if s["seconds"] is not None else "",
            "Tries": str(s["attempt"] or ""),
        }
        for s in row["steps"]
    ]


def inputs(plan: dict[str, Any]) -> list[dict[str, str]]:
    """What a run's plan read: files below the model's folder with the start of their hash, tables with their version."""
    out = []
    for i in plan.get("inputs", []):
        if "file" in i:
            out.append({"What": i["file"].split("/", 3)[-1], "Version": str(i.get("sha256", ""))[:12]})
        elif "table" in i:
            out.append({"What": i["table"], "Version": f"v{i['version']}"})
        elif "model_version" in i:
            out.append({"What": "model", "Version": f"v{i['model_version']}"})
    return out


def facts(value: Any, prefix: str = "", most: int = 60) -> list[tuple[str, str]]:
    """A result as pairs of name and text, nested names joined by dots; long lists are counted."""
    out: list[tuple[str, str]] = []
    if isinstance(value, dict):
        for k, v in value.items():
            out += facts(v, f"{prefix}.{k}" if prefix else str(k), most)
    elif isinstance(value, list) and value and all(isinstance(v, dict) for v in value) and len(value) <= 8:
        for n, v in enumerate(value, 1):
            out += facts(v, f"{prefix} {n}", most)
    elif isinstance(value, list):
        out.append((prefix, ", ".join(map(str, value)) if len(value) <= 8 else f"{len(value)} values"))
    elif value is not None:
        out.append((prefix, f"{value:.6g}" if isinstance(value, float) else str(value)))
    return out[:most]
