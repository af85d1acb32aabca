"""What has an id of its own: a run that is cancelled or retried, a request that is decided or talked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esml_engine.door import access, requests, talk
from esml_engine.door.facts import Call, Plan
from esml_engine.errors import NotAllowedError, NotFoundError, RefusedError
from esml_engine.runs import records as runs
from esml_engine.runs.facts import INTERNAL

if TYPE_CHECKING:
    from esml_engine.estate import Estate


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A request as answers show it, with whose turn it is."""
    keys = ("request", "kind", "object", "env", "by", "at", "expires", "state")
    more = ("person", "run", "needed", "decided", "decisions", "detail", "talk")
    return {**{k: row[k] for k in (*keys, *more)}, "turn": talk.turn(row)}


class ById:
    """Acts of one estate's actor on runs and requests; of one that is out of sight the same is said as of one that is not there."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate

    def said(self, request: str, act: str, params: dict[str, Any], how: dict[str, Any]) -> Any:
        """What is asked, answered or handed on about a request; then the request."""
        row = requests.get(self._estate.site.store, request)
        where, params = (row["object"], row["env"]), {"request": request, **params}
        if act == "answer":
            from esml_engine.promotion.talking import rule_of

            call = Call("answer", *where, {**params, "rule": rule_of(self._estate.site, row)})
        elif act == "ask":
            call = Call("ask", *where, {**params, "kind": row["kind"]})
        else:
            call = Call("delegate", *where, {**params, "kind": row["kind"]})
        said = self._do_on(call, requests.no_request(request), how)
        if isinstance(said, Plan):
            return said
        return {**said, **shown(requests.get(self._estate.site.store, request))}

    def decide(self, act: str, request: str, reason: str, how: dict[str, Any]) -> Any:
        """Approve or refuse a request; waits until what it released has ended.

        Raises:
            RefusedError: it is stale, or what it released did not go through.
        """
        from esml_engine.promotion.deciding import SETTLES

        row = requests.get(self._estate.site.store, request)
        params = {"request": request, "reason": reason, "kind": row["kind"]}
        mine = {d["verdict"] for d in row["decisions"] if d["by"] == self._estate.actor.rights}
        if act in mine and row["state"] == SETTLES[act]:
            # a command that was killed after its decision is finished by asking once more
            params["again"] = True
        where = (row["object"], row["env"])
        call = Call("approve", *where, params) if act == "approve" else Call("refuse", *where, params)
        answer = self._do_on(call, requests.no_request(request), how)
        if isinstance(answer, Plan):
            return answer
        if answer["state"] == "stale":
            raise RefusedError(
                f"request {request} is stale: {answer['reason']}",
                hint="the requester may ask again",
                **answer,
            )
        if answer["state"] == "approved" and row["run"] and not how.get("detach"):
            done = self._estate.hand.follow(row["run"])
            answer["released"] = {k: v for k, v in done.items() if k not in INTERNAL}
        said = {**answer, **shown(requests.get(self._estate.site.store, request))}
        ended = said.get("released", {})
        if ended.get("state") in requests.AGAINST:
            raise RefusedError(
                f"request {request} was approved, but what it released ended {ended['state']}: {ended.get('reason', 'see its gates')}",
                hint="the requester may ask again",
                **said,
                gates=ended.get("gates", []),
            )
        return said

    def on_run(self, act: str, run: str, how: dict[str, Any]) -> Any:
        """Cancel or retry a run, by the rule of what the run does."""
        row = runs.get(self._estate.site.store, run)
        rule = access.rule_name(Call(row["act"], row["object"], row["env"], row["params"]))
        call = Call(act, row["object"], row["env"], {"run": run, "rule": rule})
        return self._do_on(call, runs.no_run(run), how)

    def _do_on(self, call: Call, none: NotFoundError, how: dict[str, Any]) -> Any:
        """`_do` on a run or request; who has no sight of its project hears the same as of one that is not there."""
        try:
            return self._estate._do(call, **how)
        except NotAllowedError:
            if call.project == "estate" or self._estate.may("read_status", call.project).allowed:
                raise
            raise none from None
