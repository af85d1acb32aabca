"""Whether somebody works on an estate, and what whoever follows a run says of it."""

from __future__ import annotations

import time

from esml_engine.door.site import Site
from esml_engine.errors import ROOM, StoreFullError, has_room, least_free, no_room
from esml_engine.processes import ProcessTable
from esml_engine.runs import leases

_SILENT = 3.0  # seconds without a worker's heartbeat after which its store is looked at
_PATIENCE = 15.0  # seconds that a command waits for room on the disk under the store


class Watch:
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
            hint = f"{e.hint}; a worker that is up then goes on with the run by itself, else the next command does"
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


def worker_lives(site: Site) -> bool:
    """Whether a worker holds the lease, or an `esml up` lives whose worker will: it starts one that died again at once.

    A command that took the lease meanwhile would leave its endpoints down until its own run ends.
    """
    return _holder_lives(site) or _up_lives(site)


def _holder_lives(site: Site) -> bool:
    found = leases.holder(site.store)
    return found is not None and found.alive


def _up_lives(site: Site) -> bool:
    return any(r["kind"] == "up" for r in ProcessTable(site.state).live())
