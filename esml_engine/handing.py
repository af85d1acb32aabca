"""Handing an act over: to the estate's worker when one lives, else this process is the worker until the run has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from esml_engine import bindings
from esml_engine.door import access, requests
from esml_engine.door.facts import Act, Actor, AtOnce, Call, Plan
from esml_engine.door.site import Site
from esml_engine.door.start import AtOnceDesk, local_admin, make_plan, start
from esml_engine.errors import CancelledError, FailedError, PlatformError, RefusedError, StalePlanError
from esml_engine.runs import records
from esml_engine.watching import Watch, worker_lives

if TYPE_CHECKING:
    from esml_engine.settling import Settling

_LOOK = 0.05
OnProgress = Callable[[dict[str, Any]], None]


_DECIDED_AGAINST = {*requests.AGAINST, StalePlanError.code}


class RunFailedError(FailedError):
    """A run ended badly: its own error, with the run's id. One that was decided against exits as a refusal."""

    def __init__(self, row: dict[str, Any]) -> None:
        error = row["error"] or {"message": "it failed", "code": "failed", "hint": "", "id": ""}
        hints = (error.get("hint"), row["message"])  # an ended run's message: a job of it may live
        super().__init__(error["message"], hint="; ".join(x for x in hints if x), run=row["run"])
        self.code = error.get("code", "failed")
        self.id = error.get("id") or self.id
        decided = self.code in _DECIDED_AGAINST
        if decided:
            self.exit_code = RefusedError.exit_code
        elif row["state"] == "cancelled":
            self.code = CancelledError.code
        result = row["result"] or {}
        if decided:
            self.details |= {k: result[k] for k in ("request", "state", "gates", "evidence") if k in result}


class Hand:
    """One actor's hand on one estate."""

    def __init__(self, site: Site, actor: Actor, *, on_progress: OnProgress | None = None) -> None:
        self.site, self.actor, self.on_progress = site, actor, on_progress
        self._worker: Any = None  # one that this process runs for longer than a single act

    def plan(self, call: Call) -> Plan:
        """What the act would do.

        Raises:
            NotAllowedError: the actor has no sight of the project at all.
        """
        self._look(call)
        if call.project != "estate":  # no role, no sight: a plan tells of data, settings and money
            access.require(
                self.site.store, self.actor, "read_status", call.project, local_admin=local_admin()
            )
        return make_plan(self.site, bindings.act(call.act), self.actor, call)

    def do(
        self,
        call: Call,
        *,
        plan: Plan | str | None = None,
        idempotency_key: str = "",
        detach: bool = False,
    ) -> dict[str, Any]:
        """Start an act and wait for its end (or `detach`); returns the run's answer.

        Raises:
            EsmlError: refused, failed or wrong; see the tree in `errors`.
        """
        act = bindings.act(call.act)
        self._look(call)
        self._settle_late()
        expected = plan.hash if isinstance(plan, Plan) else plan or ""
        up = self._worker is not None or worker_lives(self.site)
        if detach and act.durable and not up:
            raise PlatformError("--detach needs a worker to hand the run to", hint="start one: esml up")
        started = start(
            self.site,
            act,
            self.actor,
            call,
            plan_hash=expected,
            key=idempotency_key,
            at_once=lambda p: self._now(act, call, p, idempotency_key),
            again=lambda answer: self._again(act, call, answer),
        )
        if started.answer is not None:
            if act.durable and not up:
                self._finish_left(call.object)
            nothing = started.plan.draft.nothing_to_do if started.plan else ""
            answer = started.answer
            if (
                nothing and started.plan
            ):  # it is wanted so already: an act before may not have reached its platform
                answer = {**answer, **self._endpoints().told(call, started.plan.draft)}
            say = nothing and started.plan and (act.durable or started.plan.draft.endpoint)
            return {**answer, "nothing_to_do": nothing} if say else answer
        assert started.run is not None
        more = {"joined": True} if started.joined else {}
        if detach:
            row = records.get(self.site.store, started.run)
            held = row["state"] == "waiting"
            return {**(self._waits(row) if held else {"run": started.run, "state": "queued"}), **more}
        return {**self.follow(started.run), **more}

    def _finish_left(self, object_: str) -> None:
        """What a killed command left half done on this object is finished, though there is nothing new to do."""
        for row in records.open_runs(self.site.store):
            if row["object"] == object_:
                try:
                    self.follow(row["run"])
                except RunFailedError:
                    continue  # how it ended stands on that run; what was asked for now needs nothing

    def _look(self, call: Call) -> None:
        """What a run will find in the settings files is what its plan rests on."""
        if bindings.act(call.act).durable:
            self.site.refresh()

    def _settle_late(self) -> None:
        """A request past its time must not be joined, whether or not a worker lives that would end it."""
        if requests.late(self.site.store):
            from esml_engine.promotion import evidence

            evidence.settle_late(self.site)

    def follow(self, run: str) -> dict[str, Any]:
        """Wait for a run's end; becomes the worker when none lives.

        Raises:
            RunFailedError: it failed or was cancelled.
        """
        own = None
        left: list[str] = []  # open runs that were there before: whoever executes next finishes them too
        said: tuple[Any, ...] = ()
        held = Watch(self.site)
        try:
            while True:
                row = records.get(self.site.store, run)
                now = (row["state"], row["progress"], row["message"])
                if self.on_progress and now != said:
                    said = now
                    self.on_progress(row)
                if row["state"] in (*records.ENDED, "waiting") and not (own and self._open(left)):
                    break
                if (trouble := held.look(run)) and self.on_progress:
                    self.on_progress({**row, "message": f"waits: {trouble}"})
                if own is None and self._worker is None and not worker_lives(self.site):
                    left = [r["run"] for r in records.open_runs(self.site.store)]
                    own = self._become_worker()
                time.sleep(_LOOK)
            if own is not None:
                self._endpoints().settle(own)
        finally:
            if own is not None:
                own.stop()
        if row["state"] == "waiting":
            return self._waits(row)
        if row["state"] != "done":
            raise RunFailedError(row)
        return dict(row["result"] or {"run": run})

    def _waits(self, row: dict[str, Any]) -> dict[str, Any]:
        asked = requests.of_run(self.site.store, row["run"])
        assert asked is not None
        keys = ("request", "kind", "object", "env", "expires")
        return {
            "run": row["run"],
            **{k: asked[k] for k in keys},
            **asked["detail"],
            **bindings.so_far(self.site, row),
            "state": "waiting",
        }

    def _open(self, wanted: list[str]) -> bool:
        return any(r["run"] in wanted for r in records.open_runs(self.site.store))

    @contextmanager
    def holding(self, *, warm: bool = False) -> Iterator[Any]:
        """Hold the worker's lease for a while (a demo, an online score); yields None when a worker lives already."""
        if self._worker is not None or worker_lives(self.site):
            yield self._worker
            return
        self._worker = self._become_worker(warm=warm)
        try:
            yield self._worker
        finally:
            if self._worker is not None:
                self._worker.stop()
                self._worker = None

    def _become_worker(self, *, warm: bool = False) -> Any:
        from esml_engine.worker import Worker

        worker = Worker(self.site, "command", warm=warm)
        return worker if worker.start() else None

    def _again(self, act: Act, call: Call, answer: dict[str, Any]) -> dict[str, Any]:
        assert isinstance(act, AtOnce)
        return act.again(call, answer, AtOnceDesk(self.site, self.actor, call))

    def _now(self, act: Act, call: Call, plan: Plan, key: str = "") -> dict[str, Any]:
        if call.act == "score":  # the endpoint answers an id once: a key is one where the call names none
            named = {**call.params, "request_id": call.params.get("request_id") or key or None}
            call, endpoints = replace(call, params=named), self._endpoints()
            with endpoints.up(call):
                return endpoints.answer(
                    call, lambda: act.record(call, plan.draft, None, AtOnceDesk(self.site, self.actor, call))
                )
        unkept = act.unkept if isinstance(act, AtOnce) else ()
        desk = AtOnceDesk(self.site, self.actor, call, key=key, unkept=unkept)
        if isinstance(act, AtOnce) and act.outside(plan.draft):
            desk.began(plan.draft)
        return {**act.record(call, plan.draft, None, desk), **self._endpoints().told(call, plan.draft)}

    def _endpoints(self) -> Settling:
        from esml_engine.settling import Settling  # serving is not imported by who only reads

        return Settling(self.site, self.holding, lambda: self._worker is not None or worker_lives(self.site))
