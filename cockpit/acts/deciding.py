"""Deciding on a request, and a comparison laid out: cards, gates, distribution. Shared by the pages that need them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import streamlit as st

from cockpit.acts import talking
from cockpit.facts.costing import spent_by
from cockpit.facts.reads import who_can
from cockpit.frame.carrying import to
from cockpit.frame.components import when
from cockpit.frame.saying import failure, keep, once, said_now
from cockpit.parts.comparing import comparison
from cockpit.views import promotion as view
from cockpit.views import talk
from cockpit.views.plan import without_underscores
from cockpit.words import plain, predicted_cost, sentence
from esml_engine.costs.records import month_start
from esml_engine.door import access
from esml_engine.door.facts import Call, Plan
from esml_engine.errors import EsmlError, NotFoundError
from esml_engine.estate import Estate
from esml_engine.promotion import records
from esml_engine.promotion.comparing import outdated
from esml_engine.refs import ModelRef
from esml_engine.training import records as training

_DONE = "_decided_now"


def versions_of(estate: Estate, name: str) -> dict[int, dict[str, Any]]:
    """Registered versions by number; a promoted one as it was trained. `leads`: environment -> since when it is champion there."""
    store, ref = estate.site.store, ModelRef.parse(name)
    found = training.versions(store, ref)
    leading = [(env, training.champion(store, ref, env)) for env in estate.environments]
    return {
        r["version"]: {
            **r,
            "leads": {env: k["at"] for env, k in leading if k and k["version"] == r["version"]},
        }
        for r in sorted(found, key=lambda r: r["at"], reverse=True)
    }


def document_of(estate: Estate, request: dict[str, Any]) -> dict[str, Any]:
    """The comparison behind a request.

    Raises:
        NotFoundError: it is not in the store.
    """
    found = records.comparison(estate.site.store, request["detail"]["comparison"])
    if found is None:
        raise NotFoundError(
            f"the comparison of {request['request']} is gone", hint="ask for the promotion again"
        )
    return dict(found["document"])


def cards(estate: Estate, requests: list[dict[str, Any]], now: dt.datetime) -> None:
    """One card a request; the one that the address names is open, with its evidence and the decision."""
    currency = estate.site.settings.estate.currency
    opened = st.query_params.get("request", "")
    for r in requests:
        what, note = view.asks(r, currency, now)
        is_open = opened == r["request"]
        turn = talk.mark(r, estate.actor.rights)
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                with st.container(gap="xxsmall"):
                    st.markdown(what)
                    if r["state"] == "waiting":
                        st.caption(f"{note} · {view.expires(r, now)}")
                    else:
                        st.markdown(view.outcome(r))  # a caption would fade its badge below AA
                    if turn:
                        st.badge(turn.text, icon=f":material/{turn.icon}:", color=turn.color)
                st.button(
                    "Close" if is_open else "Review",
                    key=f"review:{r['request']}",
                    on_click=_open,
                    args=("" if is_open else r["request"],),
                )
            if is_open:
                first = turn is not None and turn.mine and r["turn"]["do"] == "answer"
                if first:  # a question is answered before the evidence is read again
                    talking.said(estate, r)
                evidence_of(estate, r)
                if r["state"] == "waiting":
                    decide(estate, r, told=r["kind"] == "promotion", talked=first)
                else:
                    _decided(r)
                    talking.said(estate, r)


def evidence_of(estate: Estate, request: dict[str, Any]) -> None:
    """What a decision rests on: the comparison with its data, cost and people; for an exception the money."""
    currency = estate.site.settings.estate.currency
    changed = stale(estate, request) if request["state"] == "waiting" else ""
    if changed:
        st.warning(
            f"**Evidence changed since: compare again.** {sentence(changed)}. Deciding now ends the request as stale.",
            icon=":material/sync_problem:",
        )
    if request["kind"] == "promotion":
        document = document_of(estate, request)
        run = estate.runs(request["run"])[0] if request["run"] else None
        grounds = view.grounds(document, request, run, currency, when)
        comparison(document, versions_of(estate, request["object"]), grounds)
    else:
        project = request["object"].split("/")[0]
        budget = estate.site.settings.project(project).budget.month
        month = spent_by(estate.site, "project", since=month_start(), project=project).get(project, 0.0)
        lines = view.exception_grounds(request, month, budget, currency, when)
        st.markdown("\n".join(f"- **{k}**: {v}" for k, v in lines))


def stale(estate: Estate, request: dict[str, Any]) -> str:
    """What changed under a promotion's evidence since it was made; '' when it is current."""
    if request["kind"] != "promotion":
        return ""
    return changed_under(estate, request["detail"]["comparison"])


def changed_under(estate: Estate, comparison: str) -> str:
    """What changed since a comparison was made; '' when it is current."""
    found = records.comparison(estate.site.store, comparison)
    return outdated(estate.site, found) if found else "the comparison is gone"


def _decided(request: dict[str, Any]) -> None:
    said = "; ".join(f"{d['by']} {d['verdict']}d on {when(d['at'])}: {plain(d['reason'])}" for d in request["decisions"])  # fmt: skip
    st.info(f"**{request['state'].capitalize()}.** {said or 'Nobody decided in time.'}", icon=":material/gavel:")  # fmt: skip


def _open(request: str) -> None:
    if request:
        st.query_params["request"] = request
    elif "request" in st.query_params:
        del st.query_params["request"]


def just_decided(estate: Estate) -> None:
    """What this person decided a moment ago."""
    said = once(_DONE)
    if said is None:
        return
    act, request = said
    what, _ = view.asks(request, estate.site.settings.estate.currency, dt.datetime.now(dt.UTC))
    word = {"approve": "approved", "refuse": "refused"}[act]
    goes_on = request["run"] and act == "approve"
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/gavel: **You {word}** {what.replace('**', '')}." + (" Its run goes on." if goes_on else ""))  # fmt: skip
        if request["run"]:
            st.page_link(
                **to("run", run=request["run"]), label=f"Run {request['run']}", icon=":material/list:"
            )


def let_go(requests: Sequence[dict[str, Any]], who: str = "") -> list[str]:
    """Runs behind the newest approved requests; `who`: only of those that this person approved."""
    runs = [
        r["run"]
        for r in requests
        if r["run"] and r["state"] == "approved" and (not who or any(d["by"] == who for d in r["decisions"]))
    ]
    return runs[:5]


def promotions(estate: Estate, name: str) -> list[dict[str, Any]]:
    """Requests for promotions of a model, whatever their state, newest first."""
    return [r for r in estate.requests("") if (r["object"], r["kind"]) == (name, "promotion")]


def became(asked: Sequence[dict[str, Any]]) -> dict[str, dict[int, view.Became]]:
    """By environment, versions whose newest of these requests (newest first) waits, or was refused."""
    newest: dict[tuple[str, int], dict[str, Any]] = {}
    for r in asked:
        newest.setdefault((r["env"], r["detail"].get("challenger")), r)
    out: dict[str, dict[int, view.Became]] = {}
    for (env, version), r in newest.items():
        if r["state"] in ("waiting", "refused"):
            said = view.refusal(r, when) if r["state"] == "refused" else ""
            out.setdefault(env, {})[version] = view.Became(r["state"], said)
    return out


def decide(estate: Estate, request: dict[str, Any], *, told: bool = False, talked: bool = False) -> None:
    """Approve or refuse, with a reason, each under its own plan; or why this person can't.

    `told`: who asked, and until when, stands above; `talked`: what was said does, too.
    """
    key = request["request"]
    said_now(key)
    people = request["decisions"]
    if not told or people:
        st.caption(
            f"Needs {request['needed']} of: people other than {request['by']} · "
            + (
                "; ".join(f"{x['by']} {x['verdict']}d: {plain(x['reason'])}" for x in people)
                or "nobody decided yet"
            )
            + f" · expires {when(request['expires'])}"
        )
    call = Call("approve", request["object"], request["env"], {"request": key, "kind": request["kind"]})
    rule = access.rule_name(call)
    verdict = estate.may(rule, call.project)
    me = estate.actor.rights
    own, gave = me == request["by"], me in {x["by"] for x in people}
    why = (
        "It is your own request: it needs another person."
        if own
        else f"{without_underscores(verdict.reason)}."
        if not verdict.allowed
        else "You have decided already: it needs somebody else as well."
    )
    blocked = own or gave or not verdict.allowed
    if not talked:
        talking.said(estate, request)
    if blocked:
        st.info(
            f"{why} Who can: {who_can(estate.site, rule, call.project, but=request['by']) or 'nobody else has such a role yet'}.",
            icon=":material/lock:",
        )
    plans: dict[str, Plan] = {}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width=420):
            reason = st.text_input("Reason, kept with the decision", key=f"reason:{key}", disabled=blocked)
        read = st.checkbox("I have read the evidence", key=f"read:{key}", disabled=blocked)
        for act, label, icon, kind in (
            ("approve", "Approve", "check", "primary"),
            ("refuse", "Refuse", "block", "secondary"),
        ):
            given = (reason or "").strip()
            plan = None if blocked or not given else _plan(estate, act, request, given)
            if plan:
                plans[label] = plan
            st.button(
                label,
                key=f"{act}:{key}",
                icon=f":material/{icon}:",
                type=kind,
                disabled=plan is None or (act == "approve" and not read),
                help="; ".join(plan.draft.will) if plan else None,
                on_click=_pressed,
                args=(estate, act, request, given, plan.hash if plan else ""),
            )
    if not blocked and not plans:
        st.caption("Write a reason: what approving and refusing will do is shown then.")
    for label, plan in plans.items():
        cost = predicted_cost(plan.document()["predicted"]["cost"])
        st.caption(f"**{label}** will: {'; '.join(plan.draft.will)} · {cost} · plan `{plan.hash[:8]}`")
    if not blocked:
        talking.forms(estate, request)


def _plan(estate: Estate, act: str, request: dict[str, Any], reason: str) -> Plan | None:
    try:
        plan: Plan = getattr(estate, act)(request["request"], reason, dry_run=True)
    except EsmlError as e:  # decided or expired since the list was read
        failure(e)
        return None
    return plan


def _pressed(estate: Estate, act: str, request: dict[str, Any], reason: str, plan: str) -> None:
    key = request["request"]
    if (st.session_state.get(f"reason:{key}") or "").strip() != reason:
        return  # the reason was changed in the same moment: the page is drawn again with the plan of the new one
    try:
        getattr(estate, act)(key, reason, plan=plan, detach=True)
    except EsmlError as e:
        keep(key, e)
        return
    st.session_state[_DONE] = (act, request)
    _open("")
