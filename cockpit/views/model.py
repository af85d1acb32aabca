"""The model's page: its track from IN to prod, champions, and the next step."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cockpit.facts.model import ChampionFacts, ModelFacts, Planned
from cockpit.views.estate import stands_with
from cockpit.views.intervals import coverage_of
from cockpit.views.lake import Cell
from cockpit.views.promotion import Asked
from cockpit.words import NOT_MEASURED, NOT_SET_UP, ago, metric, money, plural, sentence, value
from esml_engine.door.facts import Plan
from esml_engine.lake.catalogue import Version
from esml_engine.refs import TableName
from esml_engine.training.facts import DIRECTION


def track(facts: ModelFacts, now: dt.datetime) -> list[tuple[str, Cell]]:
    """IN, bronze, silver, gold and trained as they stand in one environment; test and prod by their champions."""
    lake, todo, have = facts.lake, facts.lake.todo, facts.lake.todo.have
    sets = list(lake.settings.datasets)
    came = sum(len(files) for files in lake.delivered.values())
    wait = sum(len(files) for files in todo.files.values())
    refused = sum(len(files) for files in lake.refused.values())
    out = [("IN", Cell("IN", "not reached", "cloud_off", "gray") if lake.away else _in(came, wait, refused))]
    for layer, moves in (("bronze", todo.bronze), ("silver", todo.silver)):
        versions = [v for ds in sets if (v := have.get(str(TableName(layer, ds, "train"))))]
        kept = [q for ds in sets if (q := have.get(str(TableName("quarantine", ds, "train"))))]
        out.append((layer.capitalize(), _layer(versions, len(sets), now, sum(q.rows for q in kept) if layer == "bronze" else 0,
            to_do=bool(moves))))  # fmt: skip
    out.append(("Gold", _layer([have["gold"]] if "gold" in have else [], 1, now, to_do=todo.gold)))
    if lake.settings.task == "analytics":
        return out
    newest = next(iter(facts.versions), None)
    out.append(
        (
            "Trained",
            Cell(
                "Trained",
                f"v{newest['version']} · {value(newest['metrics'].get(facts.metric))} · {ago(newest['at'], now)}",
                "check_circle",
                "green",
            )
            if newest
            else _open("Trained"),
        )
    )
    for stage in ("test", "prod"):
        name = f"In {stage}"
        if stage not in facts.environments:
            out.append((name, Cell(name, NOT_SET_UP, "remove", "gray")))
            continue
        champion = facts.champions.get(stage)
        out.append(
            (
                name,
                Cell(name, f"v{champion['version']} · {ago(champion['at'], now)}", "check_circle", "green")
                if champion
                else _open(name),
            )
        )
    return out


def _open(name: str) -> Cell:
    return Cell(name, "not yet", "radio_button_unchecked", "gray")


def _in(came: int, wait: int, refused: int) -> Cell:
    if not came:
        return Cell("IN", "no file yet", "radio_button_unchecked", "gray")
    if refused and not wait:
        return Cell("IN", f"{plural(refused, 'file')} of {came} refused", "report", "red")
    return (
        Cell("IN", f"{plural(wait, 'file')} waiting", "inbox", "orange")
        if wait
        else Cell("IN", f"{plural(came, 'file')}, all read", "check_circle", "green")
    )


def _layer(
    versions: list[Version], wanted: int, now: dt.datetime, kept_out: int = 0, *, to_do: bool = False
) -> Cell:
    """A layer over all datasets: the worst of its parts.

    Args:
        kept_out: rows that lie in quarantine beside it.
        to_do: the next refinement makes a newer version, as Lake says too.
    """
    name = ""
    if not versions:
        return Cell(name, "not yet", "radio_button_unchecked", "gray")
    newest = max(v.at for v in versions)
    numbers = sorted({v.version for v in versions})
    note = " / ".join(f"v{n}" for n in numbers) + f" · {ago(newest, now)}"
    bad = sum(not q.get("passed", True) for v in versions for q in v.quality)
    worse = [*([f"{kept_out:,} quarantined"] if kept_out else []), *([plural(bad, "warning")] if bad else [])]
    if worse:
        note += f" · {' · '.join(worse)}"
    if len(versions) < wanted:
        return Cell(name, f"{len(versions)} of {wanted} datasets · {note}", "hourglass_top", "orange")
    if worse:
        return Cell(name, note, "warning", "orange")
    if to_do:
        return Cell(name, f"{note} · a newer one is due", "update", "orange")
    return Cell(name, note, "check_circle", "green")


@dataclass(frozen=True)
class Champion:
    """One environment's card."""

    env: str
    version: int | None
    state: str  # champion v2 | no champion yet | not set up
    metric: str
    value: str
    note: str  # against the baseline
    better: bool | None
    data: str
    serves: int | None


def champions(facts: Mapping[str, ChampionFacts], now: dt.datetime) -> list[Champion]:
    """dev, test and prod; an environment that the estate does not have is said to be not set up."""
    out = []
    for env in ("dev", "test", "prod"):
        its = facts.get(env)
        if its is None:
            out.append(Champion(env, None, NOT_SET_UP, "", "", "", None, "", None))
            continue
        main, crowned, row = its.metric, its.champion, its.version
        if crowned is None:
            out.append(Champion(env, None, "no champion yet", metric(main), NOT_MEASURED, "", None, "", None))
            continue
        x, base = row["metrics"].get(main), row["baseline"].get(main)
        gold, where = next(
            ((i["version"], i.get("env", env)) for i in row["inputs"] if i.get("table") == "gold"),
            (None, env),
        )
        text, better = against(x, base, main)
        note = text.replace(f"than baseline {value(base)}", "than baseline")
        deployed, band = its.deployment, its.interval
        serves = (
            int(deployed["slots"][deployed["live"]]["model_version"])
            if deployed and deployed["live"] in deployed["slots"]
            else None
        )
        data = " · ".join(
            x
            for x in (
                f"95 % interval {value(band[0])} to {value(band[1])}" if band else "",
                f"baseline {value(base)}",
                coverage_of(row),
                f"gold v{gold}" + (f" of {where}" if where != env else "") if gold else "",
                f"champion since {ago(crowned['at'], now)}",
                f"serves v{serves}" if serves else "not deployed",
            )
            if x
        )
        out.append(
            Champion(
                env,
                crowned["version"],
                f"champion v{crowned['version']}",
                f"{metric(main)} on gold_test",
                value(x),
                note,
                better,
                data,
                serves,
            )
        )
    return out


def against(x: float | None, base: float | None, name: str) -> tuple[str, bool | None]:
    """`26 % better than baseline 80.1`."""
    if x is None or base is None:
        return "baseline " + NOT_MEASURED, None
    better = (x - base) * DIRECTION.get(name, 1) > 0
    share = f"{abs(x - base) / abs(base) * 100:.0f} % " if base else ""
    return f"{share}{'better' if better else 'worse'} than baseline {value(base)}", better


@dataclass(frozen=True)
class Step:
    """The next step, with its plan; without one, what there is to say."""

    act: str
    label: str
    icon: str
    plan: Plan | None
    said: str = ""


_STEPS = {
    "refine": ("Refine", "play_arrow"), "split": ("Split gold", "call_split"), "train": ("Train", "model_training"),
    "deploy": ("Deploy the champion", "rocket_launch"),
}  # fmt: skip


def to_plan(facts: ModelFacts, promotion: Step | None) -> list[str]:
    """The acts that may be next, in their order. `promotion`: one that is next stands before a deployment."""
    if facts.lake.settings.task == "analytics":
        return ["refine"]
    acts = ["refine", "split"]
    if facts.env == facts.environments[0] and not _trained(facts):  # further up a version comes by promotion
        acts.append("train")
    if promotion is None and facts.env in facts.champions:
        acts.append("deploy")
    return acts


def next_step(facts: ModelFacts, found: Planned | None, promotion: Step | None) -> Step:
    """The act that was found, else the promotion, else what there is to say.

    Args:
        found: the first of `to_plan` that has something to do, or has to wait.
        promotion: the one that is next, from `goes_up`.
    """
    if found:
        label, icon = _STEPS[found.act]
        if found.plan is None:
            return Step(found.act, label, "info", None, f"{sentence(found.waits)}.")
        if found.act == "deploy":
            label = f"{label} v{found.plan.draft.params['version']}"
        return Step(found.act, label, icon, found.plan)
    if promotion:
        return promotion
    env, settings = facts.env, facts.lake.settings
    if not any(facts.lake.delivered.values()):
        first = next(iter(settings.datasets))
        return Step(
            "ingest",
            "",
            "inbox",
            None,
            f"Nothing is here yet. Deliver a file of {first} to {env}: page *Lake*, *Deliver files*.",
        )
    crowned = facts.champions.get(env)
    if settings.task == "analytics":
        return Step(
            "", "", "check_circle", None, f"Everything in {env} is current: an analytics model ends at gold."
        )
    first = facts.environments[0]
    if not facts.versions and env != first:
        return Step("promote", env, "hourglass_empty", None, f"No version is in {env} yet: models are trained in {first} and come up by promotion.")  # fmt: skip
    if not facts.versions:
        waits = ", ".join(facts.lake.todo.blocked)
        why = f"gold waits for {waits}, which has no IN file" if waits else "nothing more can be done now"
        return Step("ingest", "", "hourglass_empty", None, f"Nothing is trained in {env} yet: {why}. Page *Lake* says where the data stands.")  # fmt: skip
    if crowned is None:
        return Step(
            "",
            "",
            "gpp_maybe",
            None,
            f"Trained, but no version passed the gates in {env}: the Runs tab shows which gate and by how much.",
        )
    return Step(
        "",
        "",
        "check_circle",
        None,
        f"Everything in {env} is current: champion v{crowned['version']} serves. New IN files start the next round.",
    )


def not_reached(env: str) -> Step:
    """What is next where an environment does not answer."""
    return Step(
        "",
        "",
        "cloud_off",
        None,
        f"{env} can't be reached: what is next there is known when it answers again.",
    )


def goes_up(facts: ModelFacts, asked: Sequence[Mapping[str, Any]], became: Asked) -> Step | None:
    """The promotion that is next: this environment's champion is not the next one's.

    Args:
        asked: the model's requests for promotions, newest first.
        became: by environment, what became of requests for versions.
    """
    to, mine = facts.after, facts.champions.get(facts.env)
    if to is None or mine is None:
        return None
    theirs = facts.champions.get(to)
    if theirs and theirs["version"] >= mine["version"]:  # the same, or one before it after a rollback here
        return None
    against_ = f"its champion there is v{theirs['version']}" if theirs else f"{to} has no champion yet"
    waits = next((r for r in asked if r["env"] == to and r["state"] == "waiting"), None)
    if waits:
        said = f"v{waits['detail'].get('challenger')} waits for a decision: {waits['by']} asked for {to}."
        return Step("promote", to, "hourglass_top", None, said)
    if (b := became.get(to, {}).get(mine["version"])) and b.said:
        said = f"v{mine['version']} was refused for {to} by {b.said}. Train a better one, or ask again with what has changed."
        return Step("promote", to, "block", None, said)
    return Step(
        "promote", to, "upgrade", None, f"v{mine['version']} of {facts.env} may go up to {to}: {against_}."
    )


def _trained(facts: ModelFacts) -> bool:
    head = facts.lake.todo.have.get("gold_train")
    return head is not None and any(
        {"table": "gold_train", "version": head.version} in v["inputs"] for v in facts.versions
    )


def blocked(status: dict[str, Any], running: int, waits: str = "") -> tuple[str, str]:
    """(icon, sentence): what blocks the model, and whose turn it is. `waits`: what else the estate's list names about it."""
    turn = stands_with(status)
    whose = f" Whose turn: **{turn}**." if turn else ""
    if running:
        return "progress_activity", f"**{plural(running, 'run')} in progress.**{whose}"
    if status["blocked_by"]:
        return "block", f"**Blocked.** {sentence(status['blocked_by'])}.{whose}"
    since = f", since {ago(status['since'])}" if ago(status["since"]) not in ("", "just now") else ""
    if waits:
        then = f" Next: *{status['next']}*." if status["next"] else ""
        return "priority_high", f"**Stage: {status['stage']}**{since}. {waits}{then}"
    if not status["next"]:
        return "check_circle", f"**Stage: {status['stage']}**{since}. Nothing blocks it."
    return (
        "flag",
        f"**Stage: {status['stage']}**{since}. Next: *{status['next']}*.{whose}",
    )


def activity(
    runs: list[dict[str, Any]], crowns: list[dict[str, Any]], currency: str, most: int = 12
) -> list[tuple[str, str]]:
    """(time, line) of what happened, newest first."""
    out = []
    for r in runs:
        result = r["result"] or {}
        what = {
            "train": f"v{result.get('model_version')}" if result.get("model_version") else "",
            "deploy": str(result.get("deployment") or ""),
        }.get(r["act"], "")
        cost = f" · {money(r['cost'], currency)}" if r["cost"] is not None else ""
        where = f"in {r['env']}" if r["env"] else ""
        act = " ".join(x for x in (f"**{r['act'].replace('_', ' ')}**", what, where, r["state"]) if x)
        line = f"{act}{cost} · {r['as'] or r['actor']} · `{r['run']}`"
        out.append((r["ended"] or r["started"] or r["created"], line))
    out += [
        (k["at"], f"**champion** of {k['env']} is v{k['version']} · {k['why']} · {k['by']}") for k in crowns
    ]
    return sorted(out, reverse=True)[:most]
