"""Handing an act over: to the estate's worker when one lives, else this process is the worker until the run has ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from esml_engine import bindings
from esml_engine.door import access, requests
from esml_engine.door.facts import Act, Actor, AtOnce, Call, Draft, Plan
from esml_engine.door.site import Site
from esml_engine.door.start import AtOnceDesk, local_admin, make_plan, start
from esml_engine.errors import (
    ROOM,
    CancelledError,
    FailedError,
    NotAllowedError,
    PlatformError,
    RefusedError,
    StalePlanError,
    StoreFullError,
    has_room,
    least_free,
    no_room,
)
from esml_engine.processes import ProcessTable
from esml_engine.runs import leases, records

_LOOK = 0.05
_SILENT = 3.0  # seconds without a worker's heartbeat after which its store is looked at
_PATIENCE = 15.0  # seconds that a command waits for room on the disk under the store
_MOMENTS = 3.0  # seconds for which an act waits until a worker of this machine has told an endpoint
_SETTLES = 300.0  # seconds for which a command that works for itself waits for endpoints after its runs
log = logging.getLogger("esml.hand")
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
        self._settle_late()
        expected = plan.hash if isinstance(plan, Plan) else plan or ""
        up = self._worker is not None or _worker_lives(self.site)
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
                answer = {**answer, **self._told(call, started.plan.draft)}
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
        held = _Held(self.site)
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
                if own is None and self._worker is None and not _worker_lives(self.site):
                    left = [r["run"] for r in records.open_runs(self.site.store)]
                    own = self._become_worker()
                time.sleep(_LOOK)
            if own is not None:
                self._settle(own)
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
        if self._worker is not None or _worker_lives(self.site):
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
            return self._score(act, replace(call, params=named), plan)
        unkept = act.unkept if isinstance(act, AtOnce) else ()
        desk = AtOnceDesk(self.site, self.actor, call, key=key, unkept=unkept)
        if isinstance(act, AtOnce) and act.outside(plan.draft):
            desk.began(plan.draft)
        return {**act.record(call, plan.draft, None, desk), **self._told(call, plan.draft)}

    def _told(self, call: Call, draft: Draft) -> dict[str, Any]:
        """Whether an endpoint that outlives workers is what is wanted; it is made so where this process may be the worker.

        Raises:
            FailedError: the platform refuses for good.
        """
        if not draft.endpoint:
            return {}
        from esml_engine.refs import ModelRef
        from esml_engine.scored.commits import endpoint_name
        from esml_engine.serving.applied import MADE, applied, told
        from esml_engine.serving.records import want_again

        ref, can = ModelRef.parse(call.object), self.site.platform(call.env).capabilities
        so, why = partial(applied, self.site, ref, call.env), None
        if not can.endpoints_outlive:
            if draft.endpoint == MADE and not draft.nothing_to_do:
                self._here(so)
            return {}
        try:
            done = so(fresh=True)
        except FailedError as e:
            done, why = False, e
        if done or draft.endpoint != MADE:
            return told(done, why)
        if draft.nothing_to_do:  # it was wanted before, and refused or not heard
            want_again(self.site.store, ref, call.env)
        with self.holding() as worker:
            if worker is None:  # it is at it
                return told(False)
            worker.wanted.add(endpoint_name(ref, call.env))
            return told(_until(so, can.start_seconds, lambda: not worker.stopping.is_set()))

    def _here(self, so: Callable[[], bool]) -> None:
        """A worker of this machine makes it so within moments; where none lives, nothing answers that could still be as before."""

        def made() -> bool:
            with suppress(FailedError):  # its endpoint's own trouble is no word on this act
                return so()
            return False

        _until(made, _MOMENTS, lambda: self._worker is not None or _worker_lives(self.site))

    def _settle(self, worker: Any) -> None:
        """Before this process stops being the worker: what its runs want of endpoints that outlive it, also by a withdrawal.

        What a run did not reach stands in its own error; here it is only said.
        """
        from esml_engine.refs import ModelRef
        from esml_engine.serving import records as deployments
        from esml_engine.serving.applied import applied

        for row in deployments.listing(self.site.store) if worker.wanted else []:
            platform, ref = self.site.platform(row["env"]), ModelRef.parse(row["object"])
            if row["endpoint"] in worker.wanted and platform.capabilities.endpoints_outlive:
                so = partial(applied, self.site, ref, row["env"])
                try:
                    seconds = min(_SETTLES, platform.capabilities.start_seconds)
                    if not _until(so, seconds, lambda: not worker.stopping.is_set()):
                        log.warning(
                            "endpoint %s is not as wanted yet: start a worker, esml up", row["endpoint"]
                        )
                except FailedError as e:
                    log.warning("endpoint %s is not as wanted: %s; %s", row["endpoint"], e.message, e.hint)

    def _score(self, act: Act, call: Call, plan: Plan) -> dict[str, Any]:
        """An online call needs its endpoint up; without a worker this process keeps it for the call's own duration."""
        from esml_engine.refs import ModelRef
        from esml_engine.serving import client
        from esml_engine.serving import records as deployments

        row = deployments.require(self.site.store, ModelRef.parse(call.object), call.env)
        with self.holding() as worker:
            if worker is not None:
                worker.wanted.add(row["endpoint"])
            platform = self.site.platform(call.env)
            end = time.monotonic() + platform.capabilities.start_seconds
            while True:
                state = platform.endpoint_state(row["endpoint"])
                if (
                    state.running
                    and state.live == row["live"]
                    and (state.slots or {}).get(row["live"], {}).get("state") == "ready"
                ):
                    break
                if time.monotonic() > end:
                    raise PlatformError(
                        f"endpoint {row['endpoint']} did not come up: {state.error or state.slots}",
                        hint=f"its log: {state.log}"
                        if state.log
                        else "esml doctor says what the endpoint needs",
                    )
                time.sleep(_LOOK)
            told = time.monotonic() + (
                client.KEY_TOLD if platform.capabilities.endpoints_outlive else client.KEY_TOLD_HERE
            )
            while True:  # the key is ours and right: an endpoint may not have been told it yet
                try:
                    return act.record(call, plan.draft, None, AtOnceDesk(self.site, self.actor, call))
                except NotAllowedError as e:
                    if e.details.get("status") != 401 or time.monotonic() > told:
                        raise
                time.sleep(client.KEY_AGAIN)


def _until(so: Callable[[], bool], seconds: float, works: Callable[[], bool]) -> bool:
    """Wait until it is so, while a worker works on it; whether it is."""
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end or not works():
            return False
        time.sleep(_LOOK)
    return True


class _Held:
    """Whoever follows a run sees that it can't go on: a run on a full disk, or without a worker, can't say so itself."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._next, self._since = time.monotonic() + _SILENT, 0.0
        self._away = False  # whether it was said that no worker lives

    def look(self, run: str) -> str:
        """What to say now, '' for nothing new.

        Raises:
            StoreFullError: the store has taken nothing for a while.
        """
        at = time.monotonic()
        if at < self._next:
            return ""
        self._next = at + 1.0
        if not self._since and self._well():
            return ""
        try:
            if not has_room(self.site.state):
                raise no_room(self.site.state)
            leases.takes(self.site.store)
        except StoreFullError as e:
            if not self._since:
                self._since = at
                return f"{e.message}; free space there"
            if at - self._since < _PATIENCE:
                return ""
            hint = "free space there; a worker that is up then goes on with the run by itself, else the next command does"
            raise StoreFullError(
                f"run {run} can't go on: {e.message}", hint=f"{hint} (esml runs {run})", run=run
            ) from e
        self._since = 0.0
        away = not self._away and not _holder_lives(self.site) and _up_lives(self.site)
        self._away = self._away or away
        return "`esml up` starts its worker again (log: .esml/logs/worker.log)" if away else ""

    def _well(self) -> bool:
        """Whether a worker's heart beats, on a disk that is not nearly full."""
        found, least = leases.holder(self.site.store), least_free([self.site.state])
        beats = found is not None and found.alive and found.age < _SILENT
        return beats and least is not None and least[1] >= ROOM


def _worker_lives(site: Site) -> bool:
    """Whether a worker holds the lease, or an `esml up` lives whose worker will: it starts one that died again at once.

    A command that took the lease meanwhile would leave its endpoints down until its own run ends.
    """
    return _holder_lives(site) or _up_lives(site)


def _holder_lives(site: Site) -> bool:
    found = leases.holder(site.store)
    return found is not None and found.alive


def _up_lives(site: Site) -> bool:
    return any(r["kind"] == "up" for r in ProcessTable(site.state).live())
