"""My work: what waits for this person, from requests, status, runs and IN files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cockpit.views.dataset import quarantine_of
from cockpit.views.estate import KINDS, TURNS, Row
from cockpit.views.promotion import asks, refusal
from cockpit.views.runs import not_made_good
from cockpit.words import ago, money, plain, plural, role
from esml_engine.refs import ENVIRONMENTS


@dataclass(frozen=True)
class Item:
    """One thing to do, and the page that it is done on."""

    kind: str  # blocked | next | failed | files
    text: str
    note: str
    label: str
    page: str
    query: Mapping[str, str]


def mine(
    requests: list[dict[str, Any]], may: Callable[[dict[str, Any]], bool], me: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Waiting requests: that this person may decide on, that they asked for themselves, and that wait for others."""
    decide = [r for r in requests if r["by"] != me and may(r) and me not in {d["by"] for d in r["decisions"]}]
    own = [r for r in requests if r["by"] == me]
    return decide, own, [r for r in requests if r not in decide and r not in own]


def turns(
    statuses: list[dict[str, Any]],
    roles: Callable[[str], frozenset[str]],
    now: dt.datetime,
    runs: list[dict[str, Any]] | None = None,
) -> tuple[list[Item], list[Item]]:
    """Models that are blocked and whose turn is mine, and models whose next step is mine.

    What a failed run of `runs` (newest first) blocks leads to that run.
    """
    broken = {(r["object"], f"{r['act']} failed in {r['env']}"): r["run"] for r in not_made_good(runs or [])}
    blocked, next_ = [], []
    for s in statuses:
        project, model = s["model"].split("/")
        if not s["turn"] or s["next"] in ("approve", "answer") or not {s["turn"], "admin"} & roles(project):
            continue  # what waits for a decision has a list of its own
        query = {"project": project, "model": model}
        since = f"{s['stage']} since {ago(s['since'], now)}" if s["since"] else "new"
        run = broken.get((s["model"], (s["blocked_by"] or "").split(":")[0]))
        if run:
            blocked.append(Item("failed", f"**{model}**: {s['blocked_by']}", f"{since} · {role(s['turn'])}", "Log", "run",
                {"run": run}))  # fmt: skip
        elif s["blocked_by"]:
            blocked.append(Item("blocked", f"**{model}**: {s['blocked_by']}", f"{since} · {role(s['turn'])}", "Open", "model",
                query))  # fmt: skip
        elif s["next"]:
            step = s["next"].replace("_", " ")
            next_.append(Item("next", f"**{model}**: {step}", f"{since} · {role(s['turn'])}", f"{step.capitalize()}", "model",
                query))  # fmt: skip
    return blocked, next_


_ELSEWHERE = {
    "failed",
    "approval",
    "nodata",
    "waiting",
    "late",
    "rnd",
}  # have lists of their own, or are nobody's turn


def needs(rows: Sequence[Row], roles: Callable[[str], frozenset[str]]) -> list[Item]:
    """What else the estate's list names and this person's roles answer for: policy, budget, an old champion that serves, quality."""
    out = []
    for r in rows:
        for n in r.needs:
            role_ = TURNS.get(n.kind, "")
            if n.kind in _ELSEWHERE or not {role_, "admin"} & roles(r.project):
                continue
            query = {"project": r.project, "model": r.name}
            page, label = {"serving": ("deployments", "Deployments"), "quality": ("lake", "Lake")}.get(n.kind,
                ("costs", "Costs"))  # fmt: skip
            if n.table:
                page, label, query = "dataset", "Quarantine", {**query, **quarantine_of(*n.table)}
            out.append(Item(n.kind, f"**{r.name}**: {n.text}", f"{KINDS[n.kind].lower()} · {role(role_)}", label, page,
                query))  # fmt: skip
    return out


def answers(
    decided: list[dict[str, Any]], me: str, since: dt.datetime, now: dt.datetime, when: Callable[[str], str]
) -> list[Item]:
    """My requests that did not go through since a moment, a day ago at least, each with who refused it and why; what went up stands among the changes."""
    from_ = min(since, now - dt.timedelta(days=1)).isoformat()
    words = {"expired": "nobody decided in time", "stale": "what it rested on changed: ask again"}
    out = []
    for r in decided:
        at = r["decided"] or r["expires"]
        if r["by"] != me or at < from_ or r["state"] not in ("refused", *words):
            continue
        what, _ = asks(r, "", now)
        said = words.get(r["state"]) or f"refused by {refusal(r, when)}"
        out.append(Item(r["state"], f"{what}: {said}", f"{ago(at, now)} · asked by you", "Open", "approvals",
            {"request": r["request"]}))  # fmt: skip
    return out


def failed(
    runs: list[dict[str, Any]], now: dt.datetime, days: int = 7, *, told: Sequence[Item] = ()
) -> list[Item]:
    """Runs of the last days that failed, that no later run of the same act made good and that no item told of already."""
    known = {i.query.get("run") for i in told}
    since = (now - dt.timedelta(days=days)).isoformat()
    out = []
    for r in not_made_good(runs):
        if (r["ended"] or "") >= since and r["run"] not in known:
            why = (r["error"] or {}).get("message", "no reason was recorded")
            text = f"**{r['act'].replace('_', ' ')}** of {r['object'].split('/')[-1]} in {r['env']} failed"
            out.append(Item("failed", text, f"{ago(r['ended'], now)} · {plain(why)}", "Log", "run",
                {"run": r["run"]}))  # fmt: skip
    return out


def files(
    waiting: Mapping[str, int],
    late: Mapping[str, tuple[str, str]],
    roles: Callable[[str], frozenset[str]],
    now: dt.datetime,
) -> list[Item]:
    """IN files that are late, then those that wait to be refined, for people who refine."""
    out = []
    for name in sorted({*waiting, *late}, key=lambda n: (n not in late, n)):
        project, model = name.split("/")
        if not {"data_engineer", "steward", "admin"} & roles(project):
            continue
        query = {"project": project, "model": model}
        if name in late:
            dataset, since = late[name]
            out.append(Item("late", f"**{model}**: {dataset} is late", f"promised {ago(since, now)} ago, nothing came since",
                "Lake", "lake", query))  # fmt: skip
        if n := waiting.get(name, 0):
            out.append(Item("files", f"**{model}**: {plural(n, 'IN file')} not refined yet", "delivered, newer than bronze",
                "Lake", "lake", query))  # fmt: skip
    return out


@dataclass(frozen=True)
class Change:
    """One thing that happened."""

    icon: str
    text: str
    at: str


@dataclass(frozen=True)
class Money:
    """The month-end forecast then and now."""

    before: float
    now: float
    currency: str


def changes(
    crowned: list[dict[str, Any]],
    runs: list[dict[str, Any]],
    late: Mapping[str, tuple[str, str]],
    money_: Money | None,
    since: dt.datetime,
    most: int = 6,
) -> list[Change]:
    """What happened since a moment: champions first, then late data, money, counts of runs."""
    from_ = since.isoformat()
    new: list[
        list[dict[str, Any]]
    ] = []  # a version on its way through the environments is one change, a later rollback another
    newest: dict[str, list[dict[str, Any]]] = {}
    for k in crowned:
        if k["at"] < from_:
            continue
        its = newest.get(k["object"])
        if its is None or its[0]["version"] != k["version"]:
            its = newest[k["object"]] = []
            new.append(its)
        its.append(k)
    out = []
    for its in new[:most]:
        object_, version = its[0]["object"], its[0]["version"]
        envs = " and ".join(e for e in ENVIRONMENTS if e in {k["env"] for k in its})
        out.append(Change("upgrade", f"v{version} of **{object_.split('/')[-1]}** became champion in {envs}",
            its[0]["at"]))  # fmt: skip
    if len(new) > most:
        out.append(Change("upgrade", f"and {plural(len(new) - most, 'more champion')}", ""))
    behind = [d for d, at in late.values() if at >= from_]
    if behind:
        out.append(Change("schedule", f"{plural(len(behind), 'dataset')} late: {', '.join(behind[:3])}", ""))
    if money_ and abs(money_.now - money_.before) > 0.05 * max(money_.before, 1e-9):
        way = "rose" if money_.now > money_.before else "fell"
        was = f" from {money(money_.before, money_.currency)}" if money_.before else ""
        out.append(Change("payments", f"Month-end forecast {way}{was} to {money(money_.now, money_.currency)}", ""))  # fmt: skip
    recent = [r for r in runs if (r["ended"] or "") >= from_]
    bad = sum(r["state"] == "failed" for r in recent)
    good = sum(r["state"] == "done" for r in recent)
    if good:
        out.append(Change("check_circle", f"{plural(good, 'run')} done", ""))
    out.append(
        Change(
            "error" if bad else "check_circle", f"{plural(bad, 'failed run')}" if bad else "No failed run", ""
        )
    )
    return out


def since_words(last: dt.datetime | None, shown: str, now: dt.datetime) -> tuple[dt.datetime, str, str]:
    """From when changes are shown, the heading, and how the caption says it. `shown`: that moment in the viewer's zone."""
    if last is None:
        return now - dt.timedelta(days=7), "Last 7 days", "your first visit"
    days = (now - last).days
    head = f"Since {last:%A}" if days < 7 else f"Since {shown}"
    return last, head if days else "Since your last visit", f"since your last visit, {shown}"
