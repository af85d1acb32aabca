"""Asking for an exception before a run needs it: another person lets runs of a model cost up to an amount, until a day."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from typing import Any

from esml_engine.door import requests
from esml_engine.door.facts import AtOnce, Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import UsageError
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobResult

_KEY = "max_cost_run"
_MOST_DAYS = 90


class AskException(AtOnce):
    """Object: a model, in an environment. `params`: amount (in the estate's currency), days, reason."""

    name = "ask_exception"

    def plan(self, call: Call, site: Site) -> Draft:
        """What would be asked, from whom, and until when it would hold.

        Raises:
            UsageError: no amount above 0, no reason, or a time that is none.
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
        currency = site.settings.estate.currency
        policy, origin = site.settings.policy(ref, call.env)
        until = (dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days)).isoformat()
        detail: dict[str, Any] = {
            "act": "runs", "key": _KEY, "amount": amount, "currency": currency, "until": f"{until}T23:59:59+00:00",
            "reason": reason, "origin": origin[_KEY],
            "will": [f"runs of {ref} in {call.env} may be predicted to cost up to {amount:g} {currency} (p90) until {until}, instead of {policy.max_cost_run:g}"],
        }  # fmt: skip
        waits = next(
            (r for r in requests.listing(site.store, state=requests.WAITING, objects=[str(ref)])
             if (r["env"], r["kind"], r["detail"].get("amount"), r["detail"].get("until")) == (call.env, requests.EXCEPTION,
                 amount, detail["until"])),
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
