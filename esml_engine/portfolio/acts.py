"""Acts on runs themselves: cancel and retry. Who may is who may do the act itself."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from esml_engine.clock import now
from esml_engine.door import requests
from esml_engine.door.facts import AtOnce, Call, Desk, Draft, Part, draft_of
from esml_engine.door.site import Site
from esml_engine.door.turn import granted_to
from esml_engine.errors import RefusedError, UsageError
from esml_engine.portfolio.pipeline import Pipeline, act_of, rules_of
from esml_engine.promotion import evidence
from esml_engine.runs import records
from esml_engine.runs.facts import JobResult, step_env
from esml_engine.store import schema as t


def _inside(row: dict[str, Any], steps: list[str]) -> tuple[str, ...]:
    """Whoever may end or repeat a pipeline may do what its steps do."""
    return rules_of(steps) if row["act"] == Pipeline.name else ()


def _parts_left(row: dict[str, Any], whole: Draft, left: list[str]) -> tuple[Part, ...]:
    """The parts of a run that it would do again, as its policy is asked about them."""
    if not whole.bound_seconds or not left:
        return ()
    if not whole.parts:
        search = float(whole.params.get("train_seconds", 0.0))
        return (Part(row["act"], row["env"], whole.bound_seconds, whole.size, search),)
    there = {(act_of(s), step_env(s, row["env"])) for s in left}
    return tuple(p for p in whole.parts if (p.act, p.env) in there)


class Cancel(AtOnce):
    """End an open run. `params`: run, rule (the act's own rule)."""

    name = "cancel"

    def plan(self, call: Call, site: Site) -> Draft:
        """Only an open run can be cancelled."""
        row = records.get(site.store, call.params["run"])
        if row["state"] not in records.OPEN:
            return Draft(
                will=(),
                nothing_to_do=f"run {row['run']} is {row['state']} already",
                answer={"run": row["run"], "state": row["state"]},
            )
        return Draft(
            will=(f"cancel {row['act']} of {row['object']}; what it finished stays",),
            inputs=({"run": row["run"], "state": row["state"]},),
            contains=_inside(row, [s["step"] for s in records.steps(site.store, row["run"])]),
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Ask; the worker ends the job. A run that waits for a decision ends at once, with its request."""
        run = call.params["run"]
        waits = requests.of_run(desk.site.store, run)

        def change(c: Any) -> dict[str, Any]:
            if waits:
                requests.settle(c, waits, "withdrawn", reason=f"withdrawn by {desk.actor.rights}")
                state = c.execute(sa.select(t.runs.c.state).where(t.runs.c.run == run)).scalar()
                if state in records.ENDED:
                    return {"run": run, "state": state}
            c.execute(t.runs.update().where(t.runs.c.run == run).values(cancel=True))
            return {"run": run, "state": "cancelling"}

        done = desk.commit(change)
        if waits and done["state"] in records.ENDED:
            evidence.keep(desk.site, requests.get(desk.site.store, waits["request"]))
        return done


class Retry(AtOnce):
    """Run a failed or cancelled run again from where it stopped. `params`: run, rule."""

    name = "retry"

    def plan(self, call: Call, site: Site) -> Draft:
        """Only an ended run that is not done, and did not end by a decision: that stands.

        Raises:
            UsageError: it has not ended badly. RefusedError: what it waited for was refused, or came too late.
        """
        row = records.get(site.store, call.params["run"])
        if row["state"] not in ("failed", "cancelled"):
            raise UsageError(
                f"run {row['run']} is {row['state']}", hint="only a failed or cancelled run can be retried"
            )
        held = requests.of_run(site.store, row["run"])
        if held is not None and held["state"] != "approved":
            raise RefusedError(
                f"run {row['run']} waited for a decision, and its request {held['request']} is {held['state']}",
                hint=f"ask again: start {row['act']} anew",
                request=held["request"],
                state=held["state"],
            )
        left = [s["step"] for s in records.steps(site.store, row["run"]) if s["state"] != "done"]
        whole = draft_of(row["plan"])
        parts = _parts_left(row, whole, left)
        search = max((p.search for p in parts), default=0.0)
        return Draft(
            will=(f"run {', '.join(left)} again",),
            inputs=({"run": row["run"], "attempt": row["attempt"]},),
            contains=_inside(row, left),
            params={"train_seconds": search} if search else {},
            parts=parts,
            bound_seconds=sum(p.bound_seconds for p in parts),
            granted=granted_to(site, row["run"]),
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """The intent is open again, under the next attempt; steps that are done stay done."""
        run = call.params["run"]

        def change(c: Any) -> dict[str, Any]:
            r, s = t.runs, t.run_steps
            row = c.execute(r.select().where(r.c.run == run)).mappings().one()
            other = records.same_open(c, row["plan_hash"])
            if other is not None:
                raise UsageError(f"run {other} does the same already", hint=f"follow it: esml runs {other}")
            c.execute(
                r.update()
                .where(r.c.run == run)
                .values(
                    state="queued",
                    cancel=False,
                    ended=None,
                    error=None,
                    result=None,
                    attempt=row["attempt"] + 1,
                    message=f"retried {now()}",
                )
            )
            c.execute(
                s.update()
                .where(s.c.run == run, s.c.state != "done")
                .values(state="queued", attempt=0, error=None, started=None, ended=None, seconds=None)
            )
            return {"run": run, "state": "queued"}

        return desk.commit(change)
