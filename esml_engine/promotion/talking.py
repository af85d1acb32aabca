"""Before a request is decided: a question to the requester, an answer, or handing it to somebody else who may decide."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from esml_engine.clock import in_words
from esml_engine.door import access, requests, talk
from esml_engine.door.facts import Actor, AtOnce, Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.door.start import local_admin
from esml_engine.errors import NotAllowedError, NotFoundError, UsageError
from esml_engine.promotion.deciding import asked, could_decide, may_decide, seen, still_open, subject
from esml_engine.runs import records
from esml_engine.runs.facts import JobResult


def rule_of(site: Site, row: dict[str, Any]) -> str:
    """The row of the role table for who may ask for the same as this request does."""
    if row["kind"] == requests.PROMOTION:
        return "promote"
    if not row["run"]:
        return "ask_exception"
    run = records.get(site.store, row["run"])
    return access.rule_name(Call(run["act"], run["object"], run["env"], run["params"]))


class Ask(AtOnce):
    """Who may decide asks the requester. `params`: request, text, kind (the request's own). Object and env: the request's."""

    name = "ask"

    def plan(self, call: Call, site: Site) -> Draft:
        """What would be asked, of whom.

        Raises:
            UsageError: nothing is asked. RefusedError: it is decided.
        """
        row, text = asked(call, site), _text(call)
        will = f"ask {row['by']} about {row['request']} ({subject(row)}): {text}"
        kept = f"the request waits on until {in_words(row['expires'])}, can be decided without an answer, and keeps question and answer"
        return Draft(will=(will, kept), inputs=(seen(row),), params={"request": row["request"], "text": text})

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """The question and its audit event, in one transaction.

        Returns:
            `{"request", "kind", "object", "env", "said"}`
        """
        row = asked(call, desk.site)
        may_decide(desk.site, row, desk.actor.rights)
        return _kept(row, desk, talk.QUESTION, draft.params["text"], decides=True)


class Answer(AtOnce):
    """The requester answers, or somebody else who may ask for the same. `params`: request, text, rule (`rule_of`)."""

    name = "answer"

    def plan(self, call: Call, site: Site) -> Draft:
        """What would be answered, to whom.

        Raises:
            UsageError: nothing is said, or no question is open. RefusedError: it is decided.
        """
        row, text = asked(call, site), _text(call)
        if call.params.get("rule") != rule_of(site, row):
            raise UsageError(
                f"{row['request']} is answered by who may {rule_of(site, row).replace('_', ' ')}",
                hint="name its own rule",
            )
        waits = talk.askers(row["talk"])
        if not waits:
            raise UsageError(
                f"no question about {row['request']} is open",
                hint=f"esml requests shows what was said about {row['request']}",
            )
        will = f"answer {waits} about {row['request']} ({subject(row)}): {text}"
        asked_ = (f"{x['by']} asked: {x['text']}" for x in talk.open_questions(row["talk"]))
        return Draft(
            will=(will, *asked_), inputs=(seen(row),), params={"request": row["request"], "text": text}
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """The answer and its audit event, in one transaction; as `Ask.record`."""
        row = asked(call, desk.site)
        if {x["by"] for x in talk.open_questions(row["talk"])} == {desk.actor.rights}:
            raise NotAllowedError(
                f"{desk.actor.rights} asked this: nobody answers a question of their own",
                hint=f"{row['by']} answers, or who else may ask for the same",
            )
        return _kept(row, desk, talk.ANSWER, draft.params["text"])


class Delegate(AtOnce):
    """Who may decide hands one request to another who may. `params`: request, to, reason, kind (the request's own)."""

    name = "delegate"

    def plan(self, call: Call, site: Site) -> Draft:
        """To whom; only to somebody who could decide it anyhow, so that nobody's rights grow.

        Raises:
            UsageError: nobody is named. NotAllowedError: that person could not decide. RefusedError: it is decided.
        """
        row, to = asked(call, site), str(call.params.get("to") or "").strip()
        if not to:
            raise UsageError(f"hand {row['request']} to whom?", hint=f"--to {_who(site, row) or 'ACTOR'}")
        _could(site, call, row, to)
        if _turn(row) == to:
            return Draft(
                will=(),
                params={"request": row["request"], "to": to},
                nothing_to_do=f"{row['request']} is {to}'s turn already",
                answer={k: row[k] for k in ("request", "kind", "object", "env")},
            )
        reason = str(call.params.get("reason") or "").strip()[: talk.LONGEST]
        will = f"hand {row['request']} ({subject(row)}) to {to}" + (f": {reason}" if reason else "")
        kept = "nobody's rights change: everybody who may decide still can"
        return Draft(
            will=(will, kept),
            inputs=(seen(row),),
            params={"request": row["request"], "to": to, "text": reason},
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """The delegation and its audit event, in one transaction; as `Ask.record`."""
        row, to = asked(call, desk.site), draft.params["to"]
        may_decide(desk.site, row, desk.actor.rights)
        _could(desk.site, call, row, to)
        return _kept(row, desk, talk.DELEGATION, draft.params["text"], to, decides=True)


def _text(call: Call) -> str:
    text = str(call.params.get("text") or "").strip()
    if not 0 < len(text) <= talk.LONGEST:
        raise UsageError(
            f"{call.act} what?",
            hint=f'say it in at most {talk.LONGEST} characters: --text "…"; the evidence keeps it',
        )
    return text


def _turn(row: dict[str, Any]) -> str | None:
    now = talk.turn(row)
    return now["who"] if now and now["do"] == "decide" else None


def _who(site: Site, row: dict[str, Any]) -> str:
    return " or ".join(could_decide(site, row)[:5])


def _could(site: Site, call: Call, row: dict[str, Any], to: str) -> None:
    """Raise unless `to` could decide on the request without being asked to.

    Raises:
        NotAllowedError: with who could.
    """
    rule = access.rule_name(call)
    if not any(a == to for a, _ in access.roles_of(site.store, frozenset({to}))):
        raise NotFoundError(
            f"nobody is called {to}",
            hint=f"{_who(site, row) or 'nobody yet'} could decide on {row['request']}",
        )
    by_role = access.may(site.store, Actor(to), rule, call.project, local_admin=local_admin())
    why = "" if by_role.allowed else by_role.reason
    try:
        may_decide(site, row, to)
    except NotAllowedError as e:
        why = e.message
    if why:
        raise NotAllowedError(
            f"{to} could not decide on {row['request']}: {why}",
            hint=f"could decide: {_who(site, row) or 'nobody else'}",
        )


def _kept(
    row: dict[str, Any], desk: Desk, kind: str, text: str, to: str = "", *, decides: bool = False
) -> dict[str, Any]:
    """One entry; while the request still waits, and (`decides`) this actor has not decided."""

    def change(c: sa.Connection) -> dict[str, Any]:
        still_open(c, row, desk if decides else None)
        entry = talk.say(c, row, desk.actor, kind, text, to)
        said = {k: v for k, v in entry.items() if v and k in ("kind", "text", "to")}
        about = {k: row[k] for k in ("request", "kind", "object", "env")}
        return {**about, "said": entry, "_audit": {"request": row["request"], **said}}

    return desk.commit(change)
