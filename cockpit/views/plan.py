"""A plan as a card shows it, and whether its button may be pressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cockpit.words import ROLES, duration, is_bound, money, plural
from esml_engine.door.policy import LIFTED


def without_underscores(text: str) -> str:
    """Role and act names as words: `data_engineer` is a name of the engine's, not of a person's."""
    for name, words in ROLES.items():
        text = text.replace(name, words.lower())
    return text


@dataclass(frozen=True)
class Card:
    """Four figures with their notes, lines below, and the button's state."""

    reads: tuple[str, str]
    time: tuple[str, str]
    cost: tuple[str, str]
    rests: str  # what time and cost are predicted from
    left: tuple[str, str]
    will: tuple[str, ...]
    makes: str
    policy: str
    irreversible: tuple[str, ...]
    hash: str
    blocked: str  # why the button is disabled; '' when it may be pressed
    asks: str  # why pressing asks for an approval first; '' when it starts at once
    month: str  # what it costs a month while it is up; '' for what ends
    kind: str  # ready | running | nothing | forbidden | refused | waits | worker | away


def _short(basis: str) -> str:
    """What a prediction rests on, in two words; the whole stands behind the figure's help."""
    parts = basis.split("; ")
    return f"{len(parts)} parts" if len(parts) > 1 else parts[0].split(",")[0]


def reads_of(document: dict[str, Any]) -> tuple[str, str]:
    """What the act reads: IN files, else tables, else what a run read before, else a model, else its steps."""
    inputs = document["inputs"]
    files = [i for i in inputs if "file" in i]
    tables = [i for i in inputs if "table" in i]
    if files:
        return plural(len(files), "file"), f"{plural(len(document['steps']), 'step')}"
    if tables:
        first = tables[0]
        if first["version"] is None:
            return f"no {first['table']} yet", plural(len(document["steps"]), "step")
        return f"{first['table']} v{first['version']}", f"and {plural(len(tables) - 1, 'more table')}" if len(
            tables
        ) > 1 else plural(len(document["steps"]), "step")
    again = [i for i in inputs if "attempt" in i]
    if again:
        return "the same again", f"attempt {again[0]['attempt'] + 1}"
    versions = [i for i in inputs if "model_version" in i]
    if versions:
        return f"model v{versions[0]['model_version']}", plural(len(document["steps"]), "step")
    return "nothing", ""


def _month(cost: dict[str, Any] | None) -> str:
    return f"{money(cost['p50'], cost['currency'])} a month while it is up ({cost['basis']})" if cost else ""


def _asks(policy: dict[str, Any]) -> str:
    """Whose policy wants an approval for what, and what will be asked for after it."""
    said = f"Policy of {policy['origin']} asks for an approval first: {policy['reason']}"
    return said + (f". After it, one each: {'; '.join(policy['also'])}" if policy.get("also") else "")


def card(
    document: dict[str, Any],
    *,
    worker: bool,
    who: str = "",
    durable: bool = True,
    running: str | None = None,
    waits: bool = True,
    away: str = "",
) -> Card:
    """From the plan's document. `who`: people who could do it; `durable`: the act runs on the worker; `running`: the open run of this very plan; `waits`: the act can wait for an approval; `away`: the environment that it works in and that can't be reached."""
    seconds, cost, policy = (
        document["predicted"]["seconds"],
        document["predicted"]["cost"],
        document["policy"],
    )
    currency, bound = cost["currency"], is_bound(cost["basis"])
    left = document["budget_left"]
    kind, blocked = "ready", ""
    if away:  # what lies there is not known, so that there is nothing to do is not known either
        kind, blocked = (
            "away",
            f"The environment {away} can't be reached: start it when {away} answers again.",
        )
    elif document["nothing_to_do"] and not running:
        kind, blocked = "nothing", document["nothing_to_do"]
    elif not document["allowed"]:
        kind, blocked = (
            "forbidden",
            f"You may not: {without_underscores(document['reason'] or 'no role permits it')}. "
            + (f"Who can: {who}." if who else "Nobody was given such a role yet: ask an administrator."),
        )
    elif policy["verdict"] == "refuse":
        kind, blocked = "refused", f"Policy of {policy['origin']} refuses: {policy['reason']}."
    elif policy["verdict"] == "ask" and not waits:
        kind, blocked = (
            "refused",
            f"Policy of {policy['origin']} asks for an approval: {policy['reason']}. Start the act itself anew: it asks for one.",
        )
    elif policy["verdict"] == "ask":
        kind = "waits"  # pressing asks; the run begins when somebody else approved
    if kind in ("ready", "waits") and running:
        kind, blocked = "running", f"Run `{running}` does exactly this now: it is followed on this page."
    elif kind in ("ready", "waits") and durable and not worker:
        kind, blocked = "worker", "The worker is not running. Start it with `esml up`."
    limit = policy.get("limits", {}).get("max_cost_run")
    lifted = policy["origin"].startswith(f"{LIFTED} ")  # it names its own amount
    line = (
        f"policy of {policy['origin']}: at most {money(limit, currency)} a run"
        if limit is not None and not lifted
        else policy["origin"]
    )
    return Card(
        reads=reads_of(document),
        time=(f"≤ {duration(seconds['p90'])}", cost["basis"]) if bound else (duration(seconds["p50"]),
            f"p90 {duration(seconds['p90'])}") if seconds["p90"] else (("some seconds",
            "a run without a job") if durable and document["steps"] else ("at once", "no job")),
        cost=(f"≤ {money(cost['p90'], currency)}", cost["basis"]) if bound else (money(cost["p50"], currency),
            f"p90 {money(cost['p90'], currency)} · {_short(cost['basis'])}"), rests=cost["basis"],
        left=(money(left, currency) if left is not None else "unchanged",
            "this month, at p90" if left is not None else "spends nothing"),
        will=tuple(document["will"]), makes=", ".join(document["makes"]), policy=line,
        irreversible=tuple(document["irreversible"]), hash=document["hash"], blocked=blocked, kind=kind,
        asks=_asks(policy) if kind == "waits" else "", month=_month(document["predicted"].get("endpoint_month")),
    )  # fmt: skip
