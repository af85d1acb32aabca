"""My work: what is mine today?"""

from __future__ import annotations

import datetime as dt
from typing import Any

import streamlit as st

from cockpit.acts.acting import released
from cockpit.acts.deciding import cards, just_decided, let_go
from cockpit.facts.reads import crowned, roles_anywhere, roles_on
from cockpit.frame import opening
from cockpit.frame.carrying import to
from cockpit.frame.components import as_of, away, gone, no_model_yet, no_sight, page, when
from cockpit.frame.saying import nothing_yet
from cockpit.frame.visits import last_visit
from cockpit.overview import Overview, overview
from cockpit.views import talk, work
from cockpit.words import ago, plural, role, tidy
from cockpit.work_reads import forecast, may_decide
from esml_engine.estate import Estate

_DECIDE, _OWN, _OTHERS = "Yours to decide", "You asked for", "Waits for others to decide"
_ANSWER = "Asked of you"


@page
def show() -> None:
    """The page."""
    estate = opening.estate()
    now = dt.datetime.now(dt.UTC)
    requests = estate.requests("waiting")
    runs = estate.runs(limit=500)
    seen = overview(estate)
    roles = roles_on(estate)
    last = last_visit(estate.site, estate.actor.rights, now)
    since, heading, said = work.since_words(last, when(last), now)
    st.title("My work")
    mine = sorted({role(r) for p in seen.projects for r in roles(p)})
    st.caption(f"{estate.actor.rights} · {', '.join(mine) + ' of ' + plural(len(seen.projects), 'project') if mine else 'administrator' if 'admin' in roles_anywhere(estate) else 'no role yet'} · {said} · {as_of()}")  # fmt: skip
    to_decide, own, others = work.mine(requests, lambda r: may_decide(estate, r), estate.actor.rights)
    to_decide.sort(key=lambda r: talk.first_mine(r, estate.actor.rights))
    asked = talk.asked_of(own, estate.actor.rights)
    own = [r for r in own if r not in asked]
    blocked, next_ = work.turns(seen.statuses, roles, now, runs)
    failed = work.failed(runs, now, told=blocked)
    files = work.files(seen.facts.waiting, seen.facts.late, roles, now)
    just_decided(estate)
    away(estate)
    if no_sight(estate):
        return
    opened = st.query_params.get("request", "")
    decided = estate.requests("decided")
    lists = {_ANSWER: asked, _DECIDE: to_decide, _OWN: own, _OTHERS: others}
    if opened and opened not in {r["request"] for rs in lists.values() for r in rs}:
        found = [r for r in decided if r["request"] == opened]
        if found:
            cards(estate, found, now)
        else:
            gone("Request", opened)
        return
    if opened:  # read and decided over the whole width
        released(estate, let_go(estate.requests("approved"), estate.actor.rights), key="released")
        for title, rs in lists.items():
            _requests(estate, title, [r for r in rs if r["request"] == opened], now)
        return
    left, right = st.columns([5, 3], gap="large")
    with left:
        answers = work.answers(decided, estate.actor.rights, since, now, when)
        needs = work.needs(seen.rows, roles)
        if not seen.statuses:
            no_model_yet(estate)
        elif not (asked or to_decide or own or answers or blocked or needs or next_ or failed or files):
            changed = len({k["object"] for k in crowned(estate) if k["at"] >= since.isoformat()})
            nothing_yet("Nothing waits for you.",
                f"{plural(changed, 'model')} changed {heading[:1].lower()}{heading[1:]}." if changed else "The estate shows how everything is.",
                ("See the estate", "dashboard", to("estate")))  # fmt: skip
        _requests(estate, _ANSWER, asked, now)
        _requests(estate, _DECIDE, to_decide, now)
        released(estate, let_go(estate.requests("approved"), estate.actor.rights), key="released")
        _items("Your requests that did not go through", answers)
        _items("Blocked, and your turn", [*blocked, *needs])
        _items("Failed runs", failed)
        _items("IN files", files)
        _items("Your next steps", next_)
        _requests(estate, _OWN, own, now)
        _requests(estate, _OTHERS, others, now)
    with right:
        _since(estate, seen, runs, since, heading)


def _since(
    estate: Estate, seen: Overview, runs: list[dict[str, Any]], since: dt.datetime, heading: str
) -> None:
    st.subheader(heading)
    money = forecast(estate, list(seen.projects), since, seen.currency)
    for c in work.changes(crowned(estate), runs, seen.facts.late, money, since):
        st.markdown(f":material/{c.icon}: {c.text}" + (f" · {ago(c.at)}" if c.at else ""))


def _requests(estate: Estate, title: str, found: list[dict[str, Any]], now: dt.datetime) -> None:
    if found:
        st.subheader(f"{title} · {len(found)}")
        cards(estate, found, now)


def _items(title: str, items: list[work.Item]) -> None:
    if not items:
        return
    st.subheader(f"{title} · {len(items)}")
    root = opening.root()
    for item in items[:10]:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            with st.container(gap="xxsmall"):
                st.markdown(tidy(item.text, root))
                st.caption(tidy(item.note, root))
            st.page_link(**to(item.page, **item.query), label=item.label, icon=":material/arrow_forward:")
    if len(items) > 10:
        st.caption(f"and {plural(len(items) - 10, 'more')}")


show()
