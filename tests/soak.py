"""Random kill -9 of a living estate: `python -m tests.soak --kills 20 --seed 0`. After each: restart, the runs end, invariants hold."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from esml_engine.errors import EsmlError
from esml_engine.estate import init_estate, open_estate
from esml_engine.processes import ProcessTable
from esml_engine.runs import leases, records
from tests.invariants import violations

VICTIMS = ("worker", "job", "both", "endpoint")


class Soak:
    """One estate under fire."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.random = root, random.Random(seed)
        init_estate(root, ["dev"])
        estate = open_estate(root)
        estate.new_project("p1", "team")
        estate = open_estate(root)
        estate.new_model("p1/m1", "regression", ["d1"], label="y", key="id")
        path = root / "projects/p1/m1/model.toml"
        text = path.read_text().replace(
            "seconds = 15\ntrials = 20\nfolds = 5",
            'seconds = 60\ntrials = 2\nfolds = 2\nestimators = ["linear", "lightgbm"]',
        )
        path.write_text(text)
        self.estate = open_estate(root)
        self.cycle = 0
        self.worker = self._start()

    def _start(self) -> subprocess.Popen:
        log = (self.root / ".esml" / "soak-worker.log").open("ab")
        return subprocess.Popen(
            [sys.executable, "-m", "esml_engine.work", str(self.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "ESML_PARENT": str(os.getpid())},
        )

    def wait_worker(self) -> None:
        end = time.monotonic() + 60
        while True:
            found = leases.holder(self.estate.site.store)
            if found and found.alive and found.pid == self.worker.pid:
                return
            if time.monotonic() > end:
                raise SystemExit("the worker did not take the lease")
            time.sleep(0.05)

    def begin_cycle(self) -> list[str]:
        """New files in both directions, then acts handed to the worker without waiting."""
        self.cycle += 1
        n = self.cycle
        model = self.estate.model("p1/m1")
        for purpose, name, a in (
            ("train", f"t{n}.csv", 100 * n),
            ("inference", f"i{n}.csv", 100_000 + 100 * n),
        ):
            path = self.root / ".esml" / name
            rows = [f"{i},{i % 17},{3 * (i % 17) + i % 5}" for i in range(a, a + 60)]
            rows.insert(7, f"{a + 99},oops,1")
            path.write_text("id,x,y\n" + "\n".join(rows) + "\n")
            model.ingest("d1", [path], "2026-01-01", purpose)  # type: ignore[arg-type]
        return [model.pipeline(detach=True)["run"]]

    def kill(self) -> str:
        """SIGKILL to a random victim at a random moment."""
        victim = self.random.choice(VICTIMS)
        time.sleep(self.random.uniform(0.0, 3.0))  # the moment is what is random, not what is waited for
        table = ProcessTable(self.estate.site.state)
        by_kind: dict[str, list[int]] = {}
        for r in table.live():
            by_kind.setdefault(r["kind"], []).append(r["pid"])
        chosen = {
            "worker": [self.worker.pid],
            "job": by_kind.get("job", [])[:1],
            "both": [*by_kind.get("job", [])[:1], self.worker.pid],
            "endpoint": by_kind.get("endpoint", [])[:1],
        }
        if not chosen[victim]:
            victim = "worker"  # no such process at this moment: a kill that hits nothing proves nothing
        pids = chosen[victim]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.worker.pid in pids:
            self.worker.wait()
            self.worker = self._start()
        return f"{victim} {pids}"

    def settle(self) -> None:
        """Every open run ends."""
        self.wait_worker()
        end = time.monotonic() + 240
        while records.open_runs(self.estate.site.store):
            if time.monotonic() > end:
                raise SystemExit(f"runs did not end: {self.estate.runs(limit=3)}")
            time.sleep(0.1)

    def rest(self) -> None:
        """The inference side and online calls, after the run under fire has ended."""
        model = self.estate.model("p1/m1")
        model.refine(purpose="inference")
        model.score_batch()
        model.deploy()
        for k in range(3):
            request = f"c{self.cycle}-{k}"
            for _ in range(2):  # asked twice, kept once
                model.score({"x": [k, k + 1]}, caller="soak", request_id=request)

    def drained(self) -> None:
        end = time.monotonic() + 30
        while (self.estate.model("p1/m1").scored(caller="soak").document()["total"] or 0) < 6 * self.cycle:
            if time.monotonic() > end:
                raise SystemExit("answered requests are missing from scored")
            time.sleep(0.1)

    def stop(self) -> None:
        self.worker.terminate()
        self.worker.wait(30)


def main() -> int:
    """Returns 1 when an invariant was violated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--cycles", type=int, default=0, help="put all kills into so many cycles; 0: as they fall"
    )
    args = parser.parse_args()
    seed = args.seed or random.SystemRandom().randrange(1, 10**6)
    sys.stdout.write(f"seed {seed}\n")
    root = Path(tempfile.mkdtemp(prefix="esml-soak-")) / "estate"
    soak = Soak(root, seed)
    bad: list[str] = []
    done = 0
    began = time.monotonic()
    try:
        soak.wait_worker()
        while done < args.kills and not bad:
            runs = soak.begin_cycle()
            here = -(-args.kills // args.cycles) if args.cycles else soak.random.randint(1, 3)
            for _ in range(min(here, args.kills - done)):
                said = soak.kill()
                done += 1
                soak.wait_worker()
                bad = [
                    v
                    for v in violations(root, at_rest=False)
                    if "open runs" not in v and "a lock is left" not in v
                ]
                sys.stdout.write(f"kill {done}: {said}, cycle {soak.cycle}: {bad or 'ok'}\n")
                sys.stdout.flush()
            soak.settle()
            for run in runs:
                row = records.get(soak.estate.site.store, run)
                if row["state"] != "done":
                    bad.append(f"run {run} is {row['state']}: {row['error']}")
            if not bad:
                soak.rest()
                soak.drained()
                bad += violations(root, at_rest=False)
    except EsmlError as e:
        bad.append(f"{type(e).__name__}: {e.message} {e.hint}")
    finally:
        soak.stop()
    bad += violations(root)
    sys.stdout.write(
        f"{done} kills, {soak.cycle} cycles, {len(bad)} violated, {time.monotonic() - began:.0f} s, seed {seed}\n"
    )
    for b in bad:
        sys.stdout.write(f"  {b}\n")
    if not bad:
        shutil.rmtree(root.parent)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
