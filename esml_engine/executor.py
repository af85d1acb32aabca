"""One run from its first step to its end: each step is planned into a job, followed, and recorded exactly once."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import sqlalchemy as sa

from esml_engine import bindings
from esml_engine.clock import now
from esml_engine.costs import records as costs
from esml_engine.desk import ParkedError, StepDesk, StoppedError
from esml_engine.door import audit
from esml_engine.door.facts import Act, Actor, Call, Draft, draft_of
from esml_engine.door.site import Site
from esml_engine.door.turn import holds_again
from esml_engine.errors import (
    CancelledError,
    EsmlError,
    FailedError,
    LostError,
    StalePlanError,
    StoreFullError,
    disk_full,
    has_room,
    no_room,
)
from esml_engine.faults import point
from esml_engine.lake.assets import announce_new
from esml_engine.lake.replay import catch_up
from esml_engine.loops import outlives, say
from esml_engine.platforms import design
from esml_engine.refs import ModelRef
from esml_engine.runs import leases, records, unended
from esml_engine.runs.execution import MAX_ATTEMPTS, document, earlier, run_job
from esml_engine.runs.facts import step_env
from esml_engine.store import schema as t

log = logging.getLogger("esml.worker")
_LISTED = ("layers", "refused")


class Executor:
    """Executes runs for one worker; what it needs of the worker it is given.

    Args:
        name: the worker's, under which it holds its lease.
        platform: an environment's platform, with the worker's warm children.
        wanted: endpoints that this process's acts wait for; shared with the worker that keeps them up.
        stopping: set when the worker ends.
    """

    def __init__(
        self,
        site: Site,
        name: str,
        platform: Callable[[str], Any],
        wanted: set[str],
        stopping: threading.Event,
    ) -> None:
        self.site, self.name, self.platform = site, name, platform
        self.wanted, self.stopping = wanted, stopping
        self._owed: dict[tuple[str, str], tuple[int, StepDesk]] = {}  # to be metered when there is room
        self._quiet: dict[str, set[str]] = {}  # run -> its steps of which no job lives, as this worker knows

    def execute(self, run: str) -> None:
        """The durable workflow's body. On a full disk a run waits for room, then goes on as after a crash."""
        while not self._executed(run):
            while not has_room(self.site.state):
                with suppress(StoreFullError):  # a line may still find room
                    records.progress(
                        self.site.store,
                        run,
                        None,
                        f"waits: {no_room(self.site.state).message}; free space there",
                    )
                if self.stopping.wait(1.0):
                    return  # the next worker takes it up

    def _executed(self, run: str) -> bool:
        """All steps of one run; False where the disk under the store is full: nothing ended, and nothing is lost."""
        try:
            self._work_through(run)
        except Exception as e:  # only what a full disk did comes here
            full = disk_full(e, folders=[self.site.state])
            if full is None:
                raise
            say(f"run {run} waits", full.message)
            self.stopping.wait(1.0)
            return self.stopping.is_set()
        return True

    def _work_through(self, run: str) -> None:
        store = self.site.store
        row = records.get(store, run)
        if row["state"] not in records.GOING:
            return  # ended, or parked by a worker that died before it could say so to the queue: not ours to go on with
        try:
            self.site.reload()
            if not self._lock(row, row["env"]):
                return  # the next worker takes it up
            if holds_again(self.site, bindings.act(row["act"]), row):
                return  # parked once more: another limit holds it
            point("run:locked")
            records.set_run(store, run, state="running", started=row["started"] or now(), executor=self.name)
            answer = self._steps(row)
        except (StoppedError, ParkedError):
            return  # the run stays open; the next worker, or an approval, takes it up
        except (CancelledError, StalePlanError) as e:
            self.end(row, "cancelled", None, document(e))
        except StoreFullError:
            raise
        except EsmlError as e:
            self.end(row, "failed", None, document(e))
        except Exception as e:
            if disk_full(e) and not has_room(self.site.state):
                raise
            full = disk_full(e, folders=self.site.disks())
            say(f"run {run}", full.message if full else traceback.format_exc())
            self.end(row, "failed", None, document(full or e))
        else:
            self.end(row, "done", answer, None)

    def _lock(self, row: dict[str, Any], env: str) -> bool:
        """Take the lock of the model in `env` for this run; False when this worker ends meanwhile.

        Runs over several environments take them in the order of promotion, so that two never wait for each other.
        """
        store, run = self.site.store, row["run"]
        while not leases.lock(store, f"{env}:{row['object']}", run, self.name):
            if records.cancelled(store, run):
                raise CancelledError("cancelled while it waited", hint="start it again when you want")
            if self.stopping.wait(0.2):
                return False
        if "/" in row["object"]:
            design.require_known(self.site.platform(env))
            catch_up(self.site, ModelRef.parse(row["object"]), env)
        return True

    def _steps(self, row: dict[str, Any]) -> dict[str, Any]:
        act = bindings.act(row["act"])
        call = Call(row["act"], row["object"], row["env"], row["params"])
        draft = draft_of(row["plan"])
        answer: dict[str, Any] = {"run": row["run"], **draft.answer}
        names = [s["step"] for s in records.steps(self.site.store, row["run"])]
        env = row["env"]
        for n, step in enumerate(names):
            if step_env(step, env) != env:
                env = step_env(step, env)
                if not self._lock(row, env):
                    raise StoppedError(row["run"])
            got = self._step(act, call, draft, row, step, n, len(names))
            answer = merge(answer, got)
            if answer.pop("ends_run", False):
                break
        return {**answer, **bindings.so_far(self.site, row)}

    def _step(
        self, act: Act, call: Call, draft: Draft, row: dict[str, Any], step: str, n: int, count: int
    ) -> dict[str, Any]:
        store, run, why = self.site.store, row["run"], ""
        while True:
            found = store.first(
                t.run_steps.select().where(t.run_steps.c.run == run, t.run_steps.c.step == step)
            )
            assert found is not None
            if found["state"] == "done":
                return dict(found["result"] or {})
            if records.cancelled(store, run):
                raise CancelledError(f"cancelled before {step}", hint="what the run had finished stays")
            attempt = int(found["attempt"]) + 1
            env = step_env(step, call.env)
            platform = self.platform(env) if env else None
            before = earlier(platform, run, step, attempt, int(row["attempt"])) if platform else None
            if before is None and attempt > MAX_ATTEMPTS:
                raise FailedError(
                    f"{step}: given up after {MAX_ATTEMPTS} attempts{why}",
                    hint="see the run's log for what ended its process",
                )
            if (run, step) in self._owed:
                self._meter(row, step, *self._owed.pop((run, step)))
            desk = StepDesk(self.wanted, self.stopping, self.site, row, step, attempt, n == count - 1)
            work = platform.work_folder(run, step, attempt, desk.retry) if platform else None
            with store.write() as c:
                records.set_step(
                    c,
                    run,
                    step,
                    state="running",
                    attempt=attempt,
                    started=now(),
                    work=before.spec.work if before else work,  # where the job that is taken up lies
                )
            records.progress(store, run, n / count, step)
            tell = partial(self._lives, run, step)
            tell(before is not None and before.result is None)
            if before is not None and before.result is not None:
                desk.spec, desk.result, desk.adopted = before.spec, before.result, True
            else:
                desk.spec = before.spec if before else act.jobs(call, draft, desk)
                if desk.spec is None:  # the worker does it itself: no job, so none that could live on
                    with store.write() as c:
                        records.set_step(c, run, step, work=None)
                elif platform is not None:
                    try:
                        desk.result = run_job(
                            store,
                            platform,
                            desk.spec,
                            base=n / count,
                            share=1 / count,
                            handle=before.handle if before else "",
                            begun=partial(bindings.load_ahead, desk.spec.kind),
                            used=desk.use,
                            lives=tell,
                        )
                    except LostError as e:
                        if self.stopping.is_set():  # ended with this worker: no failed attempt of the step's
                            self._give_back(row, step, attempt, desk, platform.capabilities.jobs_here)
                            raise StoppedError(run) from e
                        if not has_room(self.site.state):
                            desk.stop()
                            self._owed[run, step] = (attempt, desk)
                            raise no_room(self.site.state, f"{step} could not leave a result: ") from e
                        log.warning("%s %s: %s", run, step, e.message)
                        why = f"; the last one: {e.message.removeprefix(f'{step}: ')}"
                        self._meter(row, step, attempt, desk)
                        continue
                    except FailedError:
                        self._meter(row, step, attempt, desk)
                        raise
            point("job:after")
            try:
                answer = act.record(call, draft, desk.result, desk)
            except StoppedError:
                self._give_back(row, step, attempt, desk, desk.spec is None)
                raise
            finally:
                point("record:after")
            if desk.spec is not None and desk.spec.outputs and "/" in row["object"]:
                with outlives("data assets"):
                    announce_new(self.site, ModelRef.parse(row["object"]), env)
            return answer

    def _lives(self, run: str, step: str, so: bool) -> None:
        """Whether a job of a step may live."""
        quiet = self._quiet.setdefault(run, set())
        quiet.discard(step) if so else quiet.add(step)

    def _give_back(self, row: dict[str, Any], step: str, attempt: int, desk: StepDesk, over: bool) -> None:
        """The attempt's number is free again; what it used is not, where its job is over with this worker."""
        s = t.run_steps
        with self.site.store.write() as c:
            if over:
                desk.meter(c, costs.given_back(time.time()))
            c.execute(
                s.update()
                .where(s.c.run == row["run"], s.c.step == step, s.c.attempt == attempt)
                .values(attempt=attempt - 1, state="queued")
            )

    def _meter(self, row: dict[str, Any], step: str, attempt: int, desk: StepDesk) -> None:
        """What an attempt used that made nothing."""
        with self.site.store.write() as c:
            done = desk.spec.attempt if desk.spec else attempt
            desk.meter(c, costs.attempt_key(int(row["attempt"]), done))

    def end(
        self, row: dict[str, Any], state: str, answer: dict[str, Any] | None, error: dict[str, Any] | None
    ) -> None:
        """Write a run's end; while the store takes nothing (a full disk) it is tried again until it does."""
        while True:
            try:
                return self._write_end(row, state, answer, error)
            except (sa.exc.OperationalError, OSError, StoreFullError) as e:
                say(f"the end of run {row['run']} can't be written yet", str(disk_full(e) or e))
                if self.stopping.wait(1.0):
                    return  # the run stays open: the next worker ends it

    def _write_end(
        self, row: dict[str, Any], state: str, answer: dict[str, Any] | None, error: dict[str, Any] | None
    ) -> None:
        if state != "done":
            with outlives("closing up"):
                bindings.close_up(self.site, row)
        with self.site.store.write() as c:
            now_state = c.execute(sa.select(t.runs.c.state).where(t.runs.c.run == row["run"])).scalar()
            if now_state in records.ENDED:
                return
            left = [] if state == "done" else self._left(c, row)
            for s in left:
                unended.note(c, row, s, costs.attempt_key(int(row["attempt"]), s["attempt"]))
            records.end(c, row, state, result=answer, error=error, message=unended.message(c, row["run"]))
            audit.append(
                c,
                Actor(row["actor"], row["as_actor"]),
                row["act"],
                row["object"],
                row["env"],
                state,
                run=row["run"],
                detail=error,
            )
        self._quiet.pop(row["run"], None)
        audit.anchor(self.site.store, self.site.state)

    def _left(self, c: sa.Connection, row: dict[str, Any]) -> list[dict[str, Any]]:
        """The steps of a run that ends badly whose jobs may live on."""
        s = t.run_steps
        steps = [dict(x) for x in c.execute(s.select().where(s.c.run == row["run"])).mappings()]
        return unended.left_of(steps, self._quiet.get(row["run"], set()))


def merge(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Steps' answers into the run's: what each step made is listed, tables merge, the rest is the newest."""
    out = dict(a)
    for k, v in b.items():
        if k in _LISTED and isinstance(out.get(k), list):
            out[k] = [*out[k], *v]
        elif isinstance(v, dict) and isinstance(out.get(k), dict):
            out[k] = merge(out[k], v)
        else:
            out[k] = v
    return out
