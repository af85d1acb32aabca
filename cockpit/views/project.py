"""One project as a page shows it: its models as tracks, what is blocked and whose turn, money, people, the next runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cockpit.facts.evidence import Evidence
from cockpit.views.estate import RANK, Row, due_act, next_act
from cockpit.views.figures import Figure
from cockpit.words import MONTH_END, ago, duration, is_bound, money, plural, predicted_cost, role, share
from esml_engine.refs import STAGES

NAMES = {"in": "IN", "bronze": "Bronze", "silver": "Silver", "gold": "Gold", "trained": "Trained", "test": "Test",
    "prod": "Prod"}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One stop of a track. `state`: done | again (new files wait, or late ones) | warned (rows in quarantine) | next | blocked | later | none (the estate has no such environment)."""

    name: str
    state: str


@dataclass(frozen=True)
class Track:
    """One model on its way."""

    model: str
    task: str
    steps: tuple[Step, ...]
    said: str  # what blocks it or comes next, and whose turn
    blocked: bool
    page: str  # where the blocked step is mended
    act: str
    query: dict[str, str]
    rank: tuple[int, str]
    short: str  # the need in a few words


_PAGES = {
    "ingest": "lake",
    "refine": "lake",
    "split": "lake",
    "promote": "promotion",
    "approve": "approvals",
    "answer": "approvals",
}


def tracks(statuses: list[dict[str, Any]], rows: list[Row], environments: tuple[str, ...]) -> list[Track]:
    """The project's models, the one that needs somebody most first."""
    by = {r.model: r for r in rows}
    out = [_track(s, by[s["model"]], environments) for s in statuses]
    return sorted(out, key=lambda t: t.rank)


def _track(s: dict[str, Any], row: Row, environments: tuple[str, ...]) -> Track:
    project, model = s["model"].split("/")
    reached = STAGES.index(s["stage"])
    end = "gold" if s["task"] == "analytics" else "prod"
    blocked = bool(s["blocked_by"])
    steps = []
    for n, stage in enumerate(STAGES[1:], 1):
        if n > STAGES.index(end):
            break
        absent = stage in ("test", "prod") and stage not in environments
        state = (
            "none"
            if absent
            else "again"
            if n == 1 and n <= reached and {"waiting", "late"} & {x.kind for x in row.needs}
            else row.layers[stage]
            if stage in row.layers and n <= reached
            else "done"
            if n <= reached
            else ("blocked" if blocked else "next")
            if n == reached + 1
            else "later"
        )
        steps.append(Step(NAMES[stage], state))
    whose = f" Whose turn: **{row.turn}**." if row.turn else ""
    since = f"{NAMES.get(s['stage'], 'new')} since {ago(s['since'])}" if s["since"] else "It is new"
    if blocked:
        said = f"**Blocked:** {s['blocked_by']}.{whose}"
    elif row.needs:
        said = f"**{row.attention}**.{whose}"
    elif s["next"]:
        said = f"Next: {s['next']}.{whose}"
    else:
        said = "It is where it shall be."
    failed = row.needs and row.needs[0].kind == "failed"
    page = (
        "model"
        if failed
        else _PAGES.get(s["next"] or "", "model")
        if blocked or not row.needs
        else "lake"
        if row.needs[0].kind in ("waiting", "late", "quality", "nodata")
        else "model"
    )
    query = {"project": project, "model": model}
    if page == "promotion":
        last = next((e for e in reversed(environments) if row.champions.get(e)), environments[0])
        following = environments[environments.index(last) + 1 :]
        query["env"] = following[0] if following else last
    rank = RANK[row.needs[0].kind] if row.needs else 90 if s["next"] else 99
    return Track(
        model,
        s["task"],
        tuple(steps),
        f"{said} {since}.",
        blocked or bool(row.needs),
        page,
        s["next"] or "",
        query,
        (rank, model),
        f"{row.attention or 'blocked'}.{whose}",
    )


_BADGES = {"done": ("green", "check"), "again": ("orange", "inbox"), "warned": ("orange", "warning"), "due": ("orange", "update"),
    "next": ("blue", "arrow_forward"), "blocked": ("red", "block"), "later": ("gray", "radio_button_unchecked"),
    "none": ("gray", "remove")}  # fmt: skip


def line(track: Track) -> str:
    """The track as badges, each with icon and word; a phone wraps them."""
    out = []
    for s in track.steps:
        color, icon = _BADGES[s.state]
        said = f"{s.name}: not set up" if s.state == "none" else s.name
        out.append(f":{color}-badge[:material/{icon}: {said}]")
    return " ".join(out)


def headline(found: list[Track]) -> str:
    """`**1 of 4 models needs somebody.** First: m13_risk_report …`."""
    needy = [t for t in found if t.blocked]
    if not needy:
        return f"**Nothing is blocked.** {plural(len(found), 'model')}, each where it shall be or on its way."
    first = needy[0]
    verb = "needs" if len(needy) == 1 else "need"
    return f"**{len(needy)} of {plural(len(found), 'model')} {verb} somebody.** First: *{first.model}*: {first.short}"


def figures(
    found: list[Track], budget: dict[str, Any], runs: list[dict[str, Any]], currency: str, by_day: list[float]
) -> list[Figure]:
    """Four cards: how far, spent, month end, what the next runs cost."""
    last = [t for t in found if t.steps and t.steps[-1].state == "done"]
    spent, limit, end = budget["spent"], budget["budget"], budget["month_end"]
    over = limit > 0 and end > limit
    p50, p90 = sum(r["cost"]["p50"] for r in runs), sum(r["cost"]["p90"] for r in runs)
    bound = sum(is_bound(r["cost"]["basis"]) for r in runs)
    return [
        Figure("Arrived", f"{len(last)} of {len(found)}", f"{sum(t.blocked for t in found)} need somebody",
            help="Models in the last stage that they have: prod, or gold for analytics."),
        Figure("Spent this month", money(spent, currency),
            f"{share(spent, limit)} of {money(limit, currency)}" if limit else "no budget set", series=tuple(by_day),
            chart="bar", help="Metered cost since the first of the month, UTC, by day."),
        Figure("Month end, forecast", money(end, currency), f"{share(end, limit)} of budget" if limit else "no budget set",
            "inverse" if over else "off", "up" if over else "off", help=MONTH_END),
        Figure("Next runs, upper bound" if bound else "Next runs, p50", money(p90 if bound else p50, currency),
            f"{plural(bound, 'run')} without a past, of {len(runs)}" if bound else f"p90 {money(p90, currency)} · {plural(len(runs), 'run')}",
            help=f"Predicted cost of the next run of each model, in the first environment; {bound} of {len(runs)} are upper bounds: no run yet."),
    ]  # fmt: skip


def next_runs(
    statuses: list[dict[str, Any]], costs: dict[str, dict[str, Any]], e: Evidence, env: str
) -> list[dict[str, Any]]:
    """The next run of each model with its predicted cost and time: those that are due first, then the dearest."""
    out = []
    for s in statuses:
        its = costs.get(s["model"], {})
        act = next_act(s, env, e)
        if cost := its.get("predicted", {}).get(act):
            out.append({"model": s["model"], "act": act, "env": env, "cost": cost, "seconds": its["seconds"][act],
                "due": act == due_act(s, env, e)})  # fmt: skip
    return sorted(out, key=lambda r: (not r["due"], -r["cost"]["p90"]))


def runs_table(runs: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Next runs as lines."""
    return [
        {
            "Model": r["model"].split("/")[-1], "Act": r["act"], "Environment": r["env"],
            "When": "due now" if r["due"] else "when data or settings change",
            "Predicted time": _time(r["seconds"]), "Predicted cost": predicted_cost(r["cost"]),
        }
        for r in runs
    ]  # fmt: skip


def _time(seconds: dict[str, Any] | None) -> str:
    if not seconds:
        return ""
    if is_bound(str(seconds["basis"])):
        return f"at most {duration(seconds['p90'])}"
    return f"{duration(seconds['p50'])} (p90 {duration(seconds['p90'])})"


def people(members: list[dict[str, Any]], project: str) -> list[dict[str, str]]:
    """Who has which roles here, and where they come from; one line a person."""
    by: dict[str, list[str]] = {}
    for m in members:
        if m["on"] in (project, "estate"):
            said = role(m["role"]) + (" (estate)" if m["on"] == "estate" else "")
            by.setdefault(m["actor"], []).append(said)
    return [{"Person": a, "Roles": ", ".join(sorted(roles))} for a, roles in sorted(by.items())]
