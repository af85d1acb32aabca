"""What an endpoint answered since it was first deployed: counts that outlive its process, in a small file beside its ledger.

Prometheus counters begin anew with a process, as its clients expect; people ask for the whole.
"""

from __future__ import annotations

import asyncio
import bisect
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from esml_engine import replacing
from esml_engine.loops import outlives

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the seconds from request to answer; one more bucket holds what took longer."""
SAVE_EVERY = 2.0


@dataclass
class Counts:
    """Requests by status, rows predicted, and answers by seconds (`BUCKETS` and one more)."""

    by_status: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    seconds: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))

    def __add__(self, other: Counts) -> Counts:
        """Both together."""
        statuses = sorted({*self.by_status, *other.by_status})
        return Counts(
            {s: self.by_status.get(s, 0) + other.by_status.get(s, 0) for s in statuses},
            self.rows + other.rows,
            [a + b for a, b in zip(self.seconds, other.seconds, strict=True)],
        )

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.by_status.values())

    def of(self, low: int, high: int) -> int:
        """Answers with a status from `low` to `high`."""
        return sum(n for s, n in self.by_status.items() if low <= int(s) <= high)

    def quantile(self, q: float) -> float | None:
        """Seconds below which a share `q` of the answers lies, by linear interpolation in its bucket; None: no answer yet."""
        total = sum(self.seconds)
        if not total:
            return None
        before = 0
        for n, count in enumerate(self.seconds):
            if count and before + count >= q * total:
                low = BUCKETS[n - 1] if n else 0.0
                high = BUCKETS[n] if n < len(BUCKETS) else low
                return low + (high - low) * (q * total - before) / count
            before += count
        return BUCKETS[-1]


def path_of(ledger: str | Path) -> Path:
    """Where the counts of the endpoint with this ledger lie."""
    return Path(f"{ledger}.counts.json")


def read(path: Path) -> Counts:
    """The counts in a file; none yet, or none that can be read: zero (they are figures for people, not facts)."""
    try:
        return read_text(path.read_bytes())
    except OSError:
        return Counts()


def known(path: Path) -> Counts | None:
    """The counts in a file; None where there is no file, since no process of the endpoint told any."""
    return read(path) if path.exists() else None


def read_text(text: bytes) -> Counts:
    """The counts that a file's content says; zero where it says none."""
    try:
        found = Counts(**json.loads(text))
    except (ValueError, TypeError):
        return Counts()
    return found if len(found.seconds) == len(BUCKETS) + 1 else Counts()


def write(path: Path, counts: Counts) -> None:
    """Replace the file in one step."""
    replacing.put(path, json.dumps(asdict(counts)))


class Tally:
    """The writer's side; used from one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts = read(path)
        self._unsaved = False

    def answered(self, status: int, rows: int, seconds: float) -> None:
        """Count one answer; `keep` writes it down."""
        c = self.counts
        c.by_status[str(status)] = c.by_status.get(str(status), 0) + 1
        c.rows += rows
        c.seconds[bisect.bisect_left(BUCKETS, seconds)] += 1
        self._unsaved = True

    def save(self) -> None:
        """Write the file."""
        write(self.path, self.counts)
        self._unsaved = False

    async def keep(self) -> None:
        """Write the file a moment after each answer, until cancelled."""
        while True:
            await asyncio.sleep(SAVE_EVERY)
            if self._unsaved:
                with outlives("counts of answers"):
                    self.save()
