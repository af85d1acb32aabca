"""Policies, settings, prices and roles as pages show them: the value in force, where it comes from, what it replaced."""

from __future__ import annotations

import json
from typing import Any, get_args

from cockpit.words import role
from esml_engine.refs import ENVIRONMENTS
from esml_engine.settings import PolicySettings, Settings, dig

WORDS = {
    "nodes": "Node types", "max_nodes": "Most nodes", "max_cost_run": "Most that a run may cost",
    "max_cost_month": "Most a month", "max_train_seconds": "Longest training",
    "over": "Over the limit", "approvals": "Approvals for promotion into it", "evidence": "Evidence from",
}  # fmt: skip


def in_words(key: str) -> str:
    """A policy's key or a price as people say it; other keys as the files write them."""
    parts = key.split(".")
    if parts[0] == "policy" and parts[-1] in WORDS:
        return WORDS[parts[-1]] + (f", {parts[1]}" if len(parts) == 3 else "")
    if key.startswith("prices."):
        what = key.removeprefix("prices.")
        return {"as_of": "Date of the list", "storage_gb_month": "Storage, a GB and month"}.get(
            what, f"{what}, an hour"
        )
    return key


def kind_of_value(settings: Settings, key: str) -> tuple[str, list[str]]:
    """`number`, `one` or `several` (of the choices) or `text`: how the value of a policy or a price is given."""
    last = key.rsplit(".", 1)[-1]
    if key.startswith("prices."):
        return ("text" if last == "as_of" else "number"), []
    if not key.startswith("policy.") or last not in PolicySettings.model_fields:
        return "text", []
    if last == "nodes":
        return "several", [k for k in settings.prices() if k not in ("as_of", "storage_gb_month")]
    choices = [str(x) for x in get_args(PolicySettings.model_fields[last].annotation)]
    return ("one", choices) if choices else ("number", [])


def shown(value: Any, key: str = "", currency: str = "") -> str:
    """A value as people read it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return json.dumps(value)
    if key.startswith("max_cost"):
        return f"{value:g} {currency}"
    return (
        f"{value:g} s"
        if key.endswith("seconds")
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def policy(settings: Settings, scope: str, env: str) -> list[dict[str, str]]:
    """Each policy in force for a scope in an environment, its origin, and what file and overrides of this very scope say."""
    currency = settings.estate.currency
    found, origin = settings.policy(scope, env)
    raw = settings.files.raw(scope)
    live = {o.key: o for o in settings.live(scope)}
    gone = {o.key: o for o in settings.superseded(scope)}
    out = []
    for k in PolicySettings.model_fields:
        keys = (f"policy.{env}.{k}", f"policy.{k}")
        file = next((v for key in keys if (v := dig(raw, key)) is not None), None)
        over = next((live[key] for key in keys if key in live), None)
        old = next((gone[key] for key in keys if key in gone), None)
        out.append(
            {
                "Policy": WORDS.get(k, k), "In force": shown(getattr(found, k), k, currency), "Origin": origin[k],
                "File here": shown(file, k, currency) if file is not None else "says nothing",
                "Override here": f"{shown(over.value, k, currency)} by {over.by}, {over.at[:10]}" if over else f"superseded: {shown(old.value, k, currency)} by {old.by}, {old.at[:10]}" if old else "none",
                "Key": f"policy.{k}",
            }
        )  # fmt: skip
    return out


def policy_keys(env: str) -> list[str]:
    """Keys that an override of policy may set: for every environment, or for one."""
    return [f"policy.{k}" if not env else f"policy.{env}.{k}" for k in PolicySettings.model_fields]


def prices(settings: Settings) -> tuple[list[dict[str, str]], str]:
    """The price list in force and its date."""
    listed = settings.prices()
    raw = settings.files.raw("estate").get("prices", {})
    live = {o.key.removeprefix("prices."): o for o in settings.live("estate") if o.key.startswith("prices.")}
    currency = settings.estate.currency
    rows = [
        {
            "What": k, "Price": f"{float(v):g} {currency}", "Per": "GB and month" if k.startswith("storage") else "node and hour",
            "Origin": f"override by {live[k].by}, {live[k].at[:10]}" if k in live else "estate.toml" if k in raw else "built-in",
        }
        for k, v in sorted(listed.items())
        if k != "as_of"
    ]  # fmt: skip
    date, changed = (
        str(listed.get("as_of", "no date")),
        max((o.at[:10] for k, o in live.items() if k != "as_of"), default=""),
    )
    return rows, f"{date}, changed here on {changed}" if changed > date else date


def values(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Every effective setting of a scope but its policies: value, origin, superseded."""
    out = []
    for r in rows:
        if r["key"].startswith("policy.") or r["key"] == "policy":
            continue
        gone = r["superseded"]
        out.append(
            {
                "Setting": r["key"], "Value": shown(r["value"]),
                "Origin": f"override by {r['by']}, {r['at'][:10]}" if r["by"] else r["origin"],
                "Superseded": f"{shown(gone['value'])} by {gone['by']}: the file changed after it" if gone else "",
            }
        )  # fmt: skip
    return out


def roles(members: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Who has which role where, the estate's first."""
    rows = sorted(members, key=lambda m: (m["on"] != "estate", m["actor"], m["on"], m["role"]))
    return [{"Person": m["actor"], "Role": role(m["role"]), "On": m["on"]} for m in rows]


def environment(env: str, settings: Any) -> str:
    """Where an environment lives, in a line; no secret is among its settings."""
    raw = settings.model_dump(mode="json")
    said = [f"{k.replace('_', ' ')} {v}" for k, v in raw.items() if v and k != "platform"]
    place = {e: n for n, e in enumerate(ENVIRONMENTS)}.get(env, 0)
    return f"platform {raw['platform']}" + (f" · {' · '.join(said)}" if said else "") + f" · place {place + 1} on the way"  # fmt: skip
