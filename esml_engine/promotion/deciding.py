"""Approve or refuse another person's request: a promotion, or an exception from a policy."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from esml_engine.clock import in_words, now
from esml_engine.costs import records as costs
from esml_engine.door import access, requests, talk
from esml_engine.door.facts import AtOnce, Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import NotAllowedError, RefusedError, UsageError
from esml_engine.promotion import evidence, records
from esml_engine.promotion.comparing import outdated
from esml_engine.promotion.facts import REFUSED, STALE
from esml_engine.refs import ModelRef
from esml_engine.runs import records as runs
from esml_engine.runs.facts import JobResult
from esml_engine.store import schema as t

SETTLES = {"approve": "approved", "refuse": "refused"}
"""What a decision makes of its request, where it is the last that was needed."""


class _Decide(AtOnce):
    """`params`: request, reason, kind (the request's own: the role table asks for it), again (the actor decided so before).

    Object and env: the request's.
    """

    name = ""

    def plan(self, call: Call, site: Site) -> Draft:
        """What the decision sets going; nothing where `again` asks for what was decided so."""
        if call.params.get("again"):
            return self._again(call, site)
        row = reasoned(call, site)
        what = f"{self.name} {row['kind']} {row['request']} of {row['by']}: {subject(row)}"
        open_ = talk.askers(row["talk"])
        return Draft(
            will=(what, *((f"without an answer to the question of {open_}",) if open_ else ())),
            inputs=(seen(row),),
            params={"request": row["request"]},
        )

    def _again(self, call: Call, site: Site) -> Draft:
        row = requests.get(site.store, str(call.params["request"]))
        if row["state"] != SETTLES[self.name]:
            return Draft(will=(), inputs=(seen(asked(call, site)),))
        return Draft(
            will=(f"nothing: request {row['request']} is {row['state']}",),
            inputs=(seen(row),),
            nothing_to_do=f"request {row['request']} is {row['state']} already",
            answer={
                k: row[k] for k in ("request", "kind", "object", "env", "run", "state", "needed", "decisions")
            }
            | {"reason": row["decisions"][-1]["reason"], "evidence": row["detail"].get("evidence")},
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """The decision, what follows from it for the run, and the audit event: one transaction.

        Returns:
            `{"request", "kind", "object", "env", "state", "run", "reason", "decisions", "needed"}`; state: waiting
            (more approvals are needed), approved (its run goes on), refused or stale (its run has ended).
        """
        site = desk.site
        row = reasoned(call, site)
        may_decide(site, row, desk.actor.rights)
        reason = call.params["reason"].strip()
        promotion = row["kind"] == requests.PROMOTION
        comparison = _comparison(site, row) if promotion else None
        changed = outdated(site, comparison) if comparison else ""
        said = {
            "by": desk.actor.rights,
            "person": desk.actor.name,
            "verdict": self.name,
            "reason": reason,
            "at": now(),
        }
        pack = None
        if comparison is not None and (changed or self.name == "refuse"):
            state, why = (STALE, changed) if changed else (REFUSED, f"refused by {said['by']}: {reason}")
            decided = "gates" if changed else said["by"]
            pack = evidence.made(
                site, comparison, run=row["run"], state=state, decided_by=decided, reason=why, decision=None if changed else said
            )  # fmt: skip

        def change(c: sa.Connection) -> dict[str, Any]:
            still_open(c, row, desk)
            if changed:
                state = requests.settle(c, row, STALE, reason=changed)
            else:
                state = requests.decide(c, row, desk.actor, self.name, reason)
            detail: dict[str, Any] = {"request": row["request"], "state": state, "facts": row["facts"]}
            if pack is not None:
                ref = ModelRef.parse(row["object"])
                records.put_evidence(c, pack["evidence"], ref, row["env"], row["run"], pack)
                detail |= {"evidence": pack["evidence"], "sha256": pack["sha256"]}
            given = [*row["decisions"], *(() if changed else (said,))]
            return {
                "request": row["request"], "kind": row["kind"], "object": row["object"], "env": row["env"], "run": row["run"],
                "state": state, "needed": row["needed"],
                "reason": changed or reason, "decisions": given,
                "evidence": pack["evidence"] if pack else row["detail"].get("evidence"), "_audit": detail,
            }  # fmt: skip

        return desk.commit(change)


class Approve(_Decide):
    """Say yes; the last one that policy asks for lets the run go on."""

    name = "approve"


class Refuse(_Decide):
    """Say no; one is enough, and the run ends."""

    name = "refuse"


def reasoned(call: Call, site: Site) -> dict[str, Any]:
    """The request that a decision names.

    Raises:
        UsageError: no reason is given. What `asked` raises.
    """
    if not str(call.params.get("reason") or "").strip():
        raise UsageError(f"why {call.act}?", hint='give a reason: --reason "…"; the evidence keeps it')
    return asked(call, site)


def seen(row: dict[str, Any]) -> dict[str, Any]:
    """What a plan about a request rests on: what it asks about, and how much was said about it by then."""
    said = {"said": len(row["talk"])} if row["talk"] else {}
    return {"request": row["request"], "facts": row["facts"], **said}


def asked(call: Call, site: Site) -> dict[str, Any]:
    """The request that a call names, if it still can be decided.

    Raises:
        UsageError: the call names another object, environment or kind than the request.
        RefusedError: it is decided, expired or stale.
    """
    row = requests.get(site.store, str(call.params.get("request") or ""))
    kind = call.params.get("kind") or (row["kind"] if call.act == "answer" else requests.PROMOTION)
    if (row["object"], row["env"], row["kind"]) != (call.object, call.env, kind):
        raise UsageError(
            f"request {row['request']} is about a {row['kind']} of {row['object']} in {row['env']}",
            hint="name its own object, environment and kind",
        )
    if row["state"] != requests.WAITING:
        said = {
            "expired": f"expired at {in_words(row['expires'])}: nobody decided in time",
            "stale": "is stale: what it asked about has changed",
        }
        raise RefusedError(
            f"request {row['request']} {said.get(row['state'], 'is ' + row['state'] + ' already')}",
            hint=_after(site, row) if row["state"] == "approved" else "the requester may ask again",
            request=row["request"],
            state=row["state"],
        )
    return row


def could_decide(site: Site, row: dict[str, Any]) -> list[str]:
    """Members who may decide on this request, by the role table and by everything else, in the order of their names."""
    call = Call("approve", row["object"], row["env"], {"kind": row["kind"]})
    rule, m = access.rule_name(call), t.members
    q = sa.select(m.c.actor).where(m.c.scope.in_(("estate", call.project)), m.c.role.in_(access.RULES[rule]))
    out = []
    for r in site.store.rows(q.distinct().order_by(m.c.actor)):
        try:
            may_decide(site, row, r["actor"])
        except NotAllowedError:
            continue
        out.append(str(r["actor"]))
    return out


def may_decide(site: Site, row: dict[str, Any], who: str) -> None:
    """Raise unless this actor may decide on this request, beyond what the role table says.

    Raises:
        NotAllowedError: it is the actor's own, the actor decided already, or an exception is above a project
            manager's budget.
    """
    if who == row["by"]:
        raise NotAllowedError(
            f"{who} asked for {row['request']}: nobody decides on a request of their own",
            hint="another person with the role approver decides",
        )
    if who in {d["by"] for d in row["decisions"]}:
        raise NotAllowedError(
            f"{who} has decided on {row['request']} already",
            hint=f"{row['needed']} different people are needed",
        )
    if row["kind"] == requests.EXCEPTION:
        _within_budget(site, row, who)


def _after(site: Site, row: dict[str, Any]) -> str:
    """What to look at after an approval: also one whose command died before what it released had ended."""
    said = "esml requests --state decided shows by whom"
    if not row["run"] or runs.get(site.store, row["run"])["state"] not in runs.GOING:
        return said
    return f"{said}; run {row['run']} goes on with a worker (esml up) or the next command that works on {row['object']}"


def _within_budget(site: Site, row: dict[str, Any], who: str) -> None:
    """An approver decides on any exception, a project manager on what the project's budget of the month still holds."""
    project = row["object"].split("/")[0]
    have = access.roles_of(site.store, frozenset({who}))
    mine = have.get((who, "estate"), frozenset()) | have.get((who, project), frozenset())
    if "approver" in mine:
        return
    budget = site.settings.project(project).budget.month
    left = budget - costs.spent(site.store, project=project, since=costs.month_start())
    amount = float(row["detail"]["amount"])
    if amount > left:
        currency = site.settings.estate.currency
        raise NotAllowedError(
            f"{amount:g} {currency} is more than the {max(0.0, left):.2f} {currency} that the budget of {project} still holds this month",
            hint="an approver decides on exceptions above the budget",
        )


def still_open(c: sa.Connection, row: dict[str, Any], desk: Desk | None) -> None:
    """Inside the transaction: nobody else ended it meanwhile, and this actor (of `desk`, where that counts) said nothing yet.

    Raises:
        RefusedError: it is decided by now.
    """
    q, d = t.requests, t.decisions
    state = c.execute(sa.select(q.c.state).where(q.c.request == row["request"])).scalar()
    mine = None
    if desk is not None:
        by_me = sa.select(d.c.n).where(d.c.request == row["request"], d.c.by == desk.actor.rights)
        mine = c.execute(by_me).first()
    if state != requests.WAITING or mine is not None:
        raise RefusedError(f"request {row['request']} was decided a moment ago", hint="look at it again")


def _comparison(site: Site, row: dict[str, Any]) -> dict[str, Any]:
    found = records.comparison(site.store, records.comparison_id(row["run"], row["env"]))
    if found is None or found["facts"] != row["facts"]:
        raise RefusedError(
            f"request {row['request']} has no comparison that it rests on", hint="the requester may ask again"
        )
    return found


def subject(row: dict[str, Any]) -> str:
    d = row["detail"]
    if row["kind"] == requests.EXCEPTION:
        return f"{d.get('act')} of {row['object']} in {row['env']} for up to {d.get('amount'):g} {d.get('currency')}"
    return f"v{d.get('challenger')} of {row['object']} from {d.get('from')} to {d.get('to')}"
