"""Asking for an exception before a run needs it: another person lifts a limit on money for a model, up to an amount, until a day."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from typing import Any

from esml_engine.costs import records as costs
from esml_engine.door import allowing, requests
from esml_engine.door.facts import AtOnce, Call, Desk, Draft
from esml_engine.door.policy import MONEY
from esml_engine.door.site import Site
from esml_engine.errors import UsageError
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobResult

_MOST_DAYS = 90


class AskException(AtOnce):
    """Object: a model, in an environment. `params`: amount (in the estate's currency), days, reason, limit (one of `MONEY`).

    From `max_cost_run` the amount is for each run; from a limit of the month it is for all that comes, together.
    """

    name = "ask_exception"

    def plan(self, call: Call, site: Site) -> Draft:
        """What would be asked, from whom, and until when it would hold.

        Raises:
            UsageError: no such limit, no amount that lifts it, no reason, or a time that is none.
        """
        ref = ModelRef.parse(call.object)
        site.files.raw(str(ref))
        site.settings.check_env(call.env)
        amount, days = float(call.params["amount"]), int(call.params["days"])
        reason = str(call.params.get("reason") or "").strip()
        if not (math.isfinite(amount) and amount > 0):
            raise UsageError("an exception needs an amount above 0", hint="--amount 12.50")
        if not 1 <= days <= _MOST_DAYS:
            raise UsageError(f"an exception holds 1 to {_MOST_DAYS} days", hint="--days 7")
        if not reason:
            raise UsageError(
                "why an exception?", hint='give a reason: --reason "…"; whoever decides reads it'
            )
        limit = str(call.params.get("limit") or MONEY[0])
        origin, allowed = self._lifts(site, ref, call.env, limit, amount)
        currency = site.settings.estate.currency
        until = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days)).isoformat()
        detail: dict[str, Any] = {
            "act": "runs", "key": limit, "amount": amount, "currency": currency, "until": f"{until}T23:59:59+00:00",
            "reason": reason, "origin": origin,
            "will": [f"runs of {ref} in {call.env} may be predicted to cost up to {amount:g} {currency} (p90) {allowed} until {until}"],
        }  # fmt: skip
        waits = next(
            (r for r in requests.listing(site.store, state=requests.WAITING, objects=[str(ref)])
             if (r["env"], r["kind"]) == (call.env, requests.EXCEPTION)
             and all(r["detail"].get(k) == detail[k] for k in ("key", "amount", "until"))),
            None,
        )  # fmt: skip
        return Draft(
            will=(f"ask another person: {detail['will'][0]}",),
            makes=("a request that somebody else decides",),
            params={"detail": detail},
            nothing_to_do=f"request {waits['request']} asks for exactly this already" if waits else "",
            answer={
                "run": None,
                "request": waits["request"],
                "amount": amount,
                "until": detail["until"],
                "state": requests.WAITING,
            }
            if waits
            else {},
        )

    def _lifts(self, site: Site, ref: ModelRef, env: str, limit: str, amount: float) -> tuple[str, str]:
        """Whose word the limit is, and how the amount is held against it."""
        policy, origin = site.settings.policy(ref, env)
        currency, month = site.settings.estate.currency, costs.month_start()
        if limit not in MONEY:
            raise UsageError(f"no exception lifts {limit}", hint=f"--limit is one of {', '.join(MONEY)}")
        if limit == "budget.month":
            most, spent = site.settings.project(ref.project).budget.month, costs.spent(site.store, project=ref.project, since=month)  # fmt: skip
            whose, name = (
                allowing.budget_origin(site.settings, ref.project),
                f"the project's budget of {most:g}",
            )
        elif limit == "max_cost_month":
            most, spent = policy.max_cost_month, costs.spent(site.store, project=ref.project, env=env, since=month)  # fmt: skip
            whose, name = origin[limit], f"{limit} = {most:g}"
        elif amount > policy.max_cost_run:
            return origin[limit], f"each, instead of {policy.max_cost_run:g},"
        else:
            raise UsageError(
                f"a run may cost {policy.max_cost_run:g} {currency} as it is: {amount:g} would lift nothing",
                hint="name more, or ask from the limit of the month that is in the way (max_cost_month, budget.month)",
            )
        if amount <= most - spent:
            raise UsageError(
                f"{name} still holds {most - spent:.6g} {currency} this month: {amount:g} would lift nothing",
                hint="the amount is for all that is spent on the model from now on, endpoints too: name more",
            )
        return whose, f"in all from now on, also beyond {name} a month,"

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """The request; it belongs to no run."""
        detail = draft.params["detail"]
        facts = hashlib.sha256(
            json.dumps([call.object, call.env, detail], sort_keys=True).encode()
        ).hexdigest()[:32]

        def change(c: Any) -> dict[str, Any]:
            asked = requests.ask(
                c, kind=requests.EXCEPTION, object_=call.object, env=call.env, run="", actor=desk.actor, needed=1, facts=facts,
                detail=detail
            )  # fmt: skip
            said = {"request": asked, "amount": detail["amount"], "until": detail["until"]}
            return {"run": None, **said, "state": requests.WAITING, "_audit": said}

        return desk.commit(change)
