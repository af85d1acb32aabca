"""Acting from a page: the plan card with its button, and runs that are followed live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from cockpit.facts.reads import runs_now, who_can, worker_alive
from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.components import Choice, badge, when
from cockpit.frame.reaching import away
from cockpit.frame.saying import draw_again, failure, keep, not_yet, said_now
from cockpit.views.plan import Card, card, without_underscores
from cockpit.views.runs import outcome
from cockpit.words import duration, money, plain, predicted_cost, sentence, tidy
from esml_engine.clock import seconds_since
from esml_engine.door import access, requests
from esml_engine.door.facts import Plan
from esml_engine.errors import EsmlError, NotFoundError, UsageError
from esml_engine.estate import Estate
from esml_engine.runs import records

RECENT = 300.0
"""For how many seconds after its end a run that was let go on is shown."""


def plan_card(
    estate: Estate,
    plan: Plan,
    label: str,
    start: Callable[[str], dict[str, Any]],
    *,
    key: str,
    icon: str = "play_arrow",
    durable: bool = True,
    primary: bool = True,
    waits: bool = True,
) -> None:
    """The plan, and the button that starts exactly this plan. `start` takes the plan's hash; `waits`: it can wait for an approval."""
    site = estate.site
    rule = access.rule_name(plan.call)
    alive = worker_alive(site)
    with site.store.read() as connection:
        running = records.same_open(connection, plan.hash) or records.still_open(connection, plan.draft.joins)
    c = card(
        plan.document(),
        worker=alive,
        who="" if plan.allowed else who_can(site, rule, plan.call.project),
        durable=durable,
        running=running,
        waits=waits,
        away=plan.call.env if (durable or plan.call.act == "ingest") and away(site, plan.call.env) else "",
    )
    with st.container(border=True):
        said_now(key)
        if c.kind != "nothing":
            with st.grid(4, min_column_width=150):
                for name, (text, note) in (
                    ("Will read", c.reads),
                    ("Predicted time", c.time),
                    ("Predicted cost", c.cost),
                    ("Budget left after", c.left),
                ):
                    rests = f"Rests on: {c.rests}." if name.startswith("Predicted") and c.rests else None
                    st.metric(name, text, note or None, delta_color="off", delta_arrow="off", help=rests)
        if c.month and c.kind != "nothing":
            st.markdown(f":material/payments: Costs **{c.month}**")
        start_button(
            c, label, start, key=key, icon=icon, primary=primary, about=plan.call.object, env=plan.call.env
        )


def start_button(
    c: Card,
    label: str,
    start: Callable[[str], dict[str, Any]],
    *,
    key: str,
    icon: str,
    primary: bool = True,
    about: str = "",
    env: str = "",
) -> None:
    """The button, the plan's lines behind a second one, and what it makes, or the reason why it can't be pressed.

    `primary`: this is what the page is for; the way back is not. `about`: the model that it is about, in `env`.
    """

    def pressed() -> None:
        try:
            answer = start(c.hash)
        except EsmlError as e:
            keep(key, e)
            return
        if answer.get("joined"):
            keep(key, f"Run {answer['run']} does this already: you follow it now.")

    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            f"Ask for approval: {label[:1].lower()}{label[1:]}" if c.asks else label,
            key=key,
            icon=":material/approval:" if c.asks else f":material/{icon}:",
            type="primary" if primary else "secondary",
            disabled=bool(c.blocked),
            on_click=pressed,
        )
        if c.kind != "nothing":
            with st.popover("Plan in full", icon=":material/list_alt:"):
                st.markdown(
                    "\n".join(f"{n}. {plain(tidy(w, opening.root()))}" for n, w in enumerate(c.will, 1))
                )
                st.caption(f"{sentence(c.policy)}. Plan `{c.hash[:8]}`.")
        if c.kind == "refused":
            where = dict(zip(("project", "model"), about.split("/"), strict=True)) if "/" in about else {}
            where |= {"env": env} if env else {}
            st.page_link(
                **to("costs", tab="Change", **where),
                label="Policy, or an exception",
                icon=":material/policy:",
            )
        if c.blocked:
            sign = {
                "nothing": "check",
                "forbidden": "lock",
                "refused": "policy",
                "worker": "power_off",
                "away": "cloud_off",
                "running": "progress_activity",
            }[c.kind]
            st.markdown(f":material/{sign}: {sentence(c.blocked)}", width="content")
        elif c.asks:
            st.markdown(
                f":material/policy: {c.asks}. It starts when somebody else approves.", width="content"
            )
        else:
            last = (
                f" Cannot be undone: {'; '.join(c.irreversible)}."
                if c.irreversible
                else " Nothing is overwritten."
            )
            st.caption(f"Makes {c.makes}.{last}" if c.makes else last, width="content")


def planned(plan: Callable[[], Plan]) -> Plan | None:
    """The plan, or None after its refusal was shown."""
    try:
        return plan()
    except UsageError as e:  # what it needs is not there yet: nothing was tried, so nothing failed
        not_yet(e)
    except EsmlError as e:
        failure(e)
    return None


def act_card(
    choice: Choice,
    plan: Plan,
    label: str,
    act: str,
    *,
    icon: str = "play_arrow",
    place: str = "",
    primary: bool = True,
    **params: Any,
) -> None:
    """`plan_card` for an act of the chosen model, started on the worker under exactly this plan."""
    start = getattr(choice.model, act)
    plan_card(
        choice.estate,
        plan,
        label,
        lambda h: start(plan=h, detach=True, **params),
        key=f"{place}{act}",
        icon=icon,
        primary=primary,
    )


# runs
def retry_card(estate: Estate, run: str, *, key: str) -> None:
    """Retry under its plan, or why it can't be done again."""
    plan = planned(lambda: estate.retry(run, dry_run=True))
    if plan is not None:
        plan_card(estate, plan, "Retry", lambda h: estate.retry(run, detach=True, plan=h), key=key, icon="refresh",
            primary=False, waits=False)  # fmt: skip


def cancel_button(estate: Estate, run: str, *, key: str) -> None:
    """Cancel, with the plan's verdict as the reason when it can't be pressed.

    Without the plan's hash: a run that went on by a step since it was drawn is still the one that was meant.
    """

    def pressed() -> None:
        try:
            estate.cancel(run)
        except EsmlError as e:
            keep(key, e)

    said_now(key)
    try:
        plan: Plan = estate.cancel(run, dry_run=True)
    except NotFoundError:
        return
    why = ""
    if not plan.allowed:
        who = who_can(estate.site, access.rule_name(plan.call), plan.call.project) or "an administrator"
        why = f"You may not: {without_underscores(plan.reason)}. Who can: {who}."
    st.button(
        "Cancel", key=key, icon=":material/cancel:", disabled=bool(why), help=why or None, on_click=pressed
    )


def progress_of(
    estate: Estate, row: dict[str, Any], *, key: str, link: bool = True, named: bool = False
) -> None:
    """One run: state, step, progress, predicted beside actual; cancel while it is open. `named`: with model and environment."""
    is_open = row["state"] in records.OPEN
    with st.container(horizontal=True, vertical_alignment="center"):
        badge(row["state"], "cancelling" if is_open and row["cancel"] else "")
        where = f" of {row['object']}" + (f" in {row['env']}" if row["env"] else "") if named else ""
        st.markdown(f"**{row['act'].replace('_', ' ')}**{where} · run `{row['run']}`", width="content")
        said = outcome(row) if row["state"] == "done" else ""
        st.caption(" · ".join(x for x in (said, run_line(row)) if x), width="content")
        if link:
            st.page_link(**to("run", run=row["run"]), label="Steps and log", icon=":material/list:")
        if (
            row["state"] == "waiting"
            and (asked := requests.of_run(estate.site.store, row["run"])) is not None
        ):
            st.page_link(**to("approvals", request=asked["request"]), label=f"Request {asked['request']}", icon=":material/gavel:")  # fmt: skip
        if is_open and not row["cancel"]:
            cancel_button(estate, row["run"], key=f"{key}:cancel")
    if is_open:
        done = sum(s["state"] == "done" for s in row["steps"])
        now = next((s["name"] for s in row["steps"] if s["state"] == "running"), "")
        text = (
            f"{row['run']} · {done} of {len(row['steps'])} steps"
            + (f" · {now}" if now else "")
            + (f" · {row['message']}" if row["message"] and row["state"] != "waiting" else "")
        )
        st.progress(min(1.0, max(0.0, row["progress"])), text)
        if row["state"] == "waiting":
            st.info(
                f"{sentence(row['message'] or 'It waits for a decision')}. It goes on by itself when it is approved.",
                icon=":material/hourglass_top:",
            )
        elif not worker_alive(estate.site):
            st.warning(
                "The worker is not running: this run waits. Start it with `esml up`.",
                icon=":material/power_off:",
            )
    elif row["state"] == "cancelled" and (error := row["error"]):
        st.warning(
            f"**It ended:** {tidy(error['message'], estate.site.root)}.  \nNext: {tidy(error.get('hint') or 'start it again when you want', estate.site.root)}.",
            icon=":material/block:",
        )
    elif row["state"] == "failed":
        error = row["error"] or {}
        hint = error.get("hint") or ("open the run for its log, then retry" if link else "read its log below, then retry")  # fmt: skip
        st.error(
            f"**It failed:** {tidy(error.get('message', 'no reason was recorded'), estate.site.root)}.  \nNext: {tidy(hint, estate.site.root)}. `{error.get('id', '')}`",
            icon=":material/error:",
        )


def run_line(row: dict[str, Any]) -> str:
    """`took 3.1 s (predicted 4 s) · € 0.0001 (predicted € 0.0002) · 24 Nov 14:32`."""
    p = row["predicted"] or {}
    seconds, cost = p.get("seconds", {}), p.get("cost", {})
    bound = str(seconds.get("basis", "")).startswith("upper bound")
    said = (
        f"upper bound {duration(seconds.get('p90'))}"
        if bound
        else f"predicted {duration(seconds.get('p50'))}"
        if seconds
        else ""
    )
    parts = []
    if row["seconds"] is not None:
        parts.append(
            f"{'took' if row['state'] in records.ENDED else 'for'} {duration(row['seconds'])}"
            + (f" ({said})" if said else "")
        )
    elif said:
        parts.append(said)
    if row["cost"] is not None:
        parts.append(f"{money(row['cost'], cost.get('currency', 'EUR'))} metered")
    elif cost:
        of = str(cost.get("basis", "")).split("; ")  # a pipeline's names each of its parts
        parts.append(
            predicted_cost(cost if len(of) == 1 else {**cost, "basis": f"{len(of)} parts, each by its past"})
        )
    parts.append(when(row["ended"] or row["started"] or row["created"]))
    return " · ".join(parts)


def follow(
    choice: Choice,
    acts: tuple[str, ...],
    *,
    key: str,
    purpose: str = "",
    recent: float = 0.0,
    also: Sequence[str] = (),
) -> dict[str, Any] | None:
    """The runs of these acts on this model that are open, and the newest, live; returns the newest's row.

    `recent`: a run that went well is shown for so many seconds after its end; 0: always. `also`: runs that are followed
    as well, whichever act and environment they are of. Of those that went well one is enough: what the page is for comes after.
    """
    found = runs_now(choice.estate, choice.ref, choice.env, acts, purpose)
    last = found[0] if found else None
    if last and len(found) == 1 and recent and _over(last, recent):
        found = []
    have = {r["run"] for r in found}
    rows = [*found, *_followed(choice.estate, [r for r in also if r not in have])]
    went_well = sorted((r for r in rows if r["state"] == "done"), key=lambda r: str(r["ended"]))
    follow_runs(choice.estate, [r for r in rows if r not in went_well[:-1]], key=key)
    return last


def released(estate: Estate, runs: Sequence[str], *, key: str) -> None:
    """Runs that a decision let go on, live, and the one that ended last, for some minutes: what is to be decided stays near the top."""
    rows = _followed(estate, runs)
    going = [r for r in rows if r["state"] in records.OPEN]
    over = sorted((r for r in rows if r not in going), key=lambda r: str(r["ended"]), reverse=True)
    follow_runs(estate, [*going, *over[:1]], key=key, named=True)


def _followed(estate: Estate, runs: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of these runs that are open, or ended a moment ago."""
    rows = [row for run in dict.fromkeys(runs) for row in records.listing(estate.site.store, run=run)]
    return [r for r in rows if r["state"] in records.OPEN or seconds_since(r["ended"]) <= RECENT]


def _over(row: dict[str, Any], recent: float) -> bool:
    return bool(row["state"] == "done" and seconds_since(row["ended"]) > recent)


def follow_runs(estate: Estate, found: Sequence[dict[str, Any]], *, key: str, named: bool = False) -> None:
    """These runs, live; when one ends the whole page is drawn again, with what it made."""
    if not found:
        return
    states = {r["run"]: r["state"] for r in found}

    def draw() -> None:
        rows = [estate.runs(run)[0] for run in states]
        for n, row in enumerate(rows):
            with st.container(border=row["state"] != "done"):
                progress_of(estate, row, key=f"{key}:{n}" if n else key, named=named)
        moved = [r for r in rows if r["state"] != states[r["run"]]]
        if any(states[r["run"]] in records.OPEN and r["state"] in (*records.ENDED, "waiting") for r in moved):
            draw_again()

    live = [state for state in states.values() if state in records.OPEN]
    # one that waits for a person takes longer than a job
    every = None if not live else 3.0 if set(live) == {"waiting"} else 0.7
    st.fragment(draw, run_every=every)()
