"""Random kill -9 of a living estate of three environments: `python -m tests.soak --kills 20 --seed 0`.

One thread goes through the cycle as its people would: files, refining, training, promotion to prod with another person's
approval, deployment, online and batch scoring, now and then a rollback. Another kills at random moments. Each run ends,
and the invariants hold after each recovery. A step killed three times is given up, as the engine promises: retried then.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esml_engine.demo.setting_up import filled
from esml_engine.errors import EsmlError, FailedError, PlatformError
from esml_engine.estate import init_estate, open_estate
from esml_engine.model import Model
from esml_engine.processes import ProcessTable
from esml_engine.runs import leases, records
from esml_engine.serving import client
from tests.invariants import violations

MODEL, APPROVER, ENVS = "p1/m1", "approver@p1", ("dev", "test", "prod")
VICTIMS = ("worker", "job", "endpoint", "all")
GIVEN_UP = "given up after"
ROWS = 60
HANGS = 300.0  # an act that has not ended by then never will


class Violated(Exception):
    """Something that must hold does not."""


class Killer(threading.Thread):
    """Keeps a worker up and kills at random moments, until its kills are used up."""

    def __init__(self, root: Path, seed: int, kills: int, pause: float) -> None:
        super().__init__(daemon=True)
        self.root, self.random, self.left, self.pause = root, random.Random(seed), kills, pause
        self.site = open_estate(root).site
        self.gate = (
            threading.RLock()
        )  # held while a kill is under way, or while somebody must not be disturbed
        self.over = threading.Event()
        self.hit: Counter[str] = Counter()
        self.trouble = ""
        self.doing = ""  # the act that the driver waits for
        self.allowed = 0  # kills that it may still meet
        self.worker = self._up()

    @property
    def done(self) -> int:
        """Kills so far."""
        return sum(self.hit.values())

    def run(self) -> None:
        """The moments are what is random: nothing is waited for here."""
        while self.left and not self.over.wait(self.random.uniform(0.2, self.pause)):
            with self.gate:
                try:
                    if self.allowed:
                        self._kill()
                except Violated as e:
                    self.trouble = str(e)
                    return

    def _kill(self) -> None:
        victim = self.random.choice(VICTIMS)
        live: dict[str, list[int]] = {"job": [], "endpoint": []}
        for r in ProcessTable(self.site.state).live():
            live.setdefault(r["kind"], []).append(r["pid"])
        chosen = {
            "worker": [self.worker.pid],
            "job": live["job"],
            "endpoint": live["endpoint"],
            "all": [*live["job"], *live["endpoint"], self.worker.pid],
        }
        if not chosen[victim]:
            victim = "worker"  # no such process at this moment: a kill that hits nothing proves nothing
        for pid in chosen[victim]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.left -= 1
        self.allowed -= 1
        self.hit[victim] += 1
        say(f"kill {self.done}: {victim} during {self.doing}")
        if self.worker.pid in chosen[victim]:
            self.worker.wait()
            self.worker = self._up()

    def _up(self) -> subprocess.Popen[bytes]:
        with (self.root / ".esml" / "soak-worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "esml_engine.work", str(self.root)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "ESML_PARENT": str(os.getpid())},
            )
        end = time.monotonic() + HANGS
        while not ((h := leases.holder(self.site.store)) and h.alive and h.pid == worker.pid):
            if worker.poll() is not None or time.monotonic() > end:
                raise Violated("a new worker did not take the lease")
            time.sleep(0.05)
        return worker

    def stop(self) -> None:
        """No more kills; the worker ends as it should."""
        self.over.set()
        with self.gate:
            self.worker.terminate()
            self.worker.wait(60)


class Soak:
    """One estate under fire."""

    def __init__(self, root: Path, seed: int, kills: int, pause: float) -> None:
        self.root, self.random = root, random.Random(seed)
        prepare(root)
        self.estate = open_estate(root)
        self.approver = open_estate(root, act_as=APPROVER)
        self.cycle = self.checks = 0
        self.outcomes: Counter[str] = Counter()
        self.answered: set[str] = set()
        self.batch = 0
        self.killer = Killer(root, seed + 1, kills, pause)
        self._seen = 0  # kills when the invariants were looked at last

    def model(self, env: str = "dev") -> Model:
        return self.estate.model(MODEL, env)

    def one_cycle(self) -> None:
        """From new files in each environment to scored rows in prod."""
        self.cycle += 1
        for env in ENVS:
            self._deliver(env, "train", 1_000 * self.cycle)
        if self.random.random() < 0.5:
            self.through("pipeline", lambda: self.model().pipeline("prod", detach=True))
        else:
            self.by_hand()
        self.model_in_prod()
        prod = self.model("prod")
        self.through("deploy", lambda: prod.deploy(detach=True))
        self.online()
        self._deliver("prod", "inference", 1_000_000 + 1_000 * self.cycle)
        self.through("refine inference", lambda: prod.refine(purpose="inference", detach=True))
        self.through("batch", lambda: prod.score_batch(detach=True))
        self.batch += ROWS
        line = prod.timeline()
        if len(line) > 1 and self.random.random() < 0.4:
            self.through("rollback", lambda: prod.rollback(detach=True))
            self.outcomes["rolled back"] += 1
            self.online("back")
        self.counted()

    def by_hand(self) -> None:
        """The same as the pipeline, act by act."""
        for env in ENVS:
            model = self.model(env)
            self.through(f"refine {env}", lambda m=model: m.refine(detach=True))  # type: ignore[misc]
            self.through(f"split {env}", lambda m=model: m.split(detach=True))  # type: ignore[misc]
            if env == "dev":
                self.through("train", lambda m=model: m.train(detach=True))  # type: ignore[misc]
        for source, target in (("dev", "test"), ("test", "prod")):
            there = self.model(source)
            self.through(f"promote {target}", lambda m=there, t=target: m.promote(t, detach=True))  # type: ignore[misc]

    def model_in_prod(self) -> None:
        """The very first cycle must bring a champion into prod, or the rest proves nothing."""
        if self.model("prod").timeline():
            return
        self.through("pipeline", lambda: self.model().pipeline("prod", detach=True))
        if not self.model("prod").timeline():
            raise Violated(f"no champion in prod after {self.outcomes}")

    def through(self, what: str, start: Callable[[], dict[str, Any]]) -> None:
        """Start an act, see it to its end with whatever decision it asks for; then look at the invariants."""
        self.under_fire(what, 3 if what == "pipeline" else 2)
        answer = start_again(self.killer, start)
        run = answer.get("run")
        if answer.get("state") == "queued" and run:
            row = self.ended(run)
            while row["state"] == "waiting":
                row = self.decided(run)
            self._said(what, row)
        self.look(what)

    def under_fire(self, what: str, most: int) -> None:
        """The kills are spread over the acts: none meets all of them."""
        with self.killer.gate:
            self.killer.doing, self.killer.allowed = what, self.random.randint(0, most)

    def _said(self, what: str, row: dict[str, Any]) -> None:
        state = (row["result"] or {}).get("state")
        refused = state == "refused" and (row["result"] or {}).get("decided_by") != "gates"
        if row["state"] == "done" and state in (None, "promoted"):
            if state:
                self.outcomes["promoted"] += 1
        elif row["state"] == "cancelled" and (refused or (row["error"] or {}).get("code") == "refused"):
            self.outcomes["refused"] += 1
        else:
            said = {k: (row["result"] or {}).get(k) for k in ("state", "reason", "champion")}
            raise Violated(f"{what}: run {row['run']} is {row['state']}: {row['error']} {said}")

    def ended(self, run: str) -> dict[str, Any]:
        """A run's row when it has ended or waits for somebody; given up after three kills, it is retried."""
        end = time.monotonic() + HANGS
        while True:
            row = records.get(self.estate.site.store, run)
            if row["state"] == "failed" and GIVEN_UP in row["error"]["message"]:
                say(f"  {row['error']['message']}: retried")
                self.outcomes["retried"] += 1
                self.estate.retry(run, detach=True)
            elif row["state"] in (*records.ENDED, "waiting"):
                return row
            if self.killer.trouble:
                raise Violated(self.killer.trouble)
            if time.monotonic() > end:
                raise Violated(f"run {run} does not end: {self.estate.runs(run)}")
            time.sleep(0.05)

    def decided(self, run: str) -> dict[str, Any]:
        """Another person's decision on what a run waits for; now and then it is no."""
        asked = [r for r in self.approver.requests("waiting") if r["run"] == run]
        if len(asked) != 1:
            raise Violated(f"run {run} waits, with {len(asked)} requests")
        yes = not self.model("prod").timeline() or self.random.random() < 0.7
        decide = self.approver.approve if yes else self.approver.refuse
        decide(asked[0]["request"], "looked at the evidence", detach=True)
        return self.ended(run)

    def online(self, more: str = "") -> None:
        """Callers over HTTP; each request is sent twice under its id, and repeated until it is answered."""
        said = self.model("prod").keys()
        for k in range(3):
            request = f"c{self.cycle}{more}-{k}"
            self.under_fire(f"request {request}", 1)
            for _ in range(2):
                self._ask(said["url"], said["key"], request, [k, k + 1])
            self.answered.add(request)
        self.look("online")

    def _ask(self, url: str, key: str, request: str, x: list[int]) -> None:
        end = time.monotonic() + HANGS
        while True:
            try:
                client.score(url, key, {"x": x}, caller="soak", request_id=request)
                return
            except (PlatformError, FailedError) as e:
                if time.monotonic() > end:
                    raise Violated(f"request {request} gets no answer: {e.message}") from e

    def counted(self) -> None:
        """Every answered request is in `scored` within seconds, twice two rows each never; every batch row once."""
        prod = self.model("prod")
        wanted = {"soak": 2 * len(self.answered), "batch": self.batch}
        end = time.monotonic() + HANGS
        while True:
            have = {c: prod.scored(caller=c).document()["total"] or 0 for c in wanted}
            if have == wanted:
                return
            if time.monotonic() > end or any(have[c] > wanted[c] for c in wanted):
                raise Violated(f"scored rows by caller: {have}, told to callers: {wanted}")
            time.sleep(0.1)

    def look(self, what: str) -> None:
        """After a recovery: the invariants, with nothing under way."""
        if self.killer.trouble:
            raise Violated(self.killer.trouble)
        if self.killer.done == self._seen:
            return
        with self.killer.gate:
            self._seen = self.killer.done
            self.checks += 1
            end = time.monotonic() + 30  # a ledger may be between its lake and the catalogue just now
            while bad := violations(self.root, at_rest=False):
                if time.monotonic() > end:
                    raise Violated(f"after {what}: {'; '.join(bad)}")
                time.sleep(0.2)
        say(f"  {what}, cycle {self.cycle}: ok")

    def _deliver(self, env: str, purpose: str, first: int) -> None:
        path = self.root / ".esml" / f"{purpose}{self.cycle}.csv"
        rows = [f"{i},{i % 17},{3 * (i % 17) + i % 5}" for i in range(first, first + ROWS)]
        rows.insert(7, f"{first + 999},oops,1")  # ends in quarantine
        path.write_text("id,x,y\n" + "\n".join(rows) + "\n")
        self.model(env).ingest("d1", [path], "2026-01-01", purpose)  # type: ignore[arg-type]


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def start_again(killer: Killer, start: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Hand an act over; while no worker lives (killed a moment ago) wait for the next, as `esml up` would give one."""
    while True:
        try:
            return start()
        except PlatformError:
            if killer.trouble:
                raise Violated(killer.trouble) from None
            with killer.gate:  # until the next worker stands
                continue


def prepare(root: Path) -> None:
    """Three environments, one model that trains in a second, an approver; prod asks for one approval."""
    init_estate(root, list(ENVS))
    path = root / "estate.toml"
    text = path.read_text() + "\n[policy.prod]\napprovals = 1\n"
    # a port that others on this machine would not take while the endpoint is down
    low = 20_000 + os.getpid() % 10_000
    path.write_text(text.replace('# ports = "8600-8699"', f'ports = "{low}-{low + 9}"'))
    open_estate(root).new_project("p1", "team")
    open_estate(root).new_model(MODEL, "regression", ["d1"], label="y", key="id")
    path = root / "projects/p1/m1/model.toml"
    text = path.read_text()
    for seconds in (15, 60):
        text = text.replace(
            f"seconds = {seconds}\ntrials = 20\nfolds = 5",
            'seconds = 60\ntrials = 1\nfolds = 2\nestimators = ["linear"]',
        )
    # each version may follow the one before: what is tested is that a promotion is whole, not which one is better
    path.write_text(filled(text, "gates", {"min_gain": "{ rmse = -1000.0 }"}))
    open_estate(root).member_add("p1", APPROVER, "approver")


def main() -> int:
    """Returns 1 when an invariant was violated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=8.0, help="most seconds between two kills")
    parser.add_argument("--cycles", type=int, default=0, help="most cycles; 0: until the kills are used up")
    parser.add_argument("--keep", action="store_true", help="keep the estate, also when all held")
    args = parser.parse_args()
    seed = args.seed or random.SystemRandom().randrange(1, 10**6)
    root = Path(tempfile.mkdtemp(prefix="esml-soak-")) / "estate"
    say(f"seed {seed}, {root}")
    began = time.monotonic()
    soak = Soak(root, seed, args.kills, args.pause)
    bad: list[str] = []
    try:
        soak.killer.start()
        while (soak.killer.left and soak.cycle != args.cycles) or not soak.cycle:
            soak.one_cycle()
    except Violated as e:
        bad.append(str(e))
    except EsmlError as e:
        bad.append(f"{type(e).__name__}: {e.message} {e.hint}")
    finally:
        soak.killer.stop()
    bad += violations(root)
    if not bad and not soak.outcomes["promoted"]:
        bad.append("nothing was promoted: this run proves nothing")
    seconds = time.monotonic() - began
    say(
        f"killed: {dict(soak.killer.hit)}; {dict(soak.outcomes)}; invariants looked at {soak.checks + 1} times"
    )
    say(f"{soak.killer.done} kills, {soak.cycle} cycles, {len(bad)} violated, {seconds:.0f} s, seed {seed}")
    for b in bad:
        say(f"  {b}")
    if not bad and not args.keep:
        shutil.rmtree(root.parent)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
