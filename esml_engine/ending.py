"""Jobs that may live though their run has ended: asked to end until that is heard, then metered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from esml_engine.costs import records as costs
from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.loops import say
from esml_engine.platforms.base import JobState
from esml_engine.runs import records, unended

_FIRST, _LONGEST = 2.0, 300.0  # seconds between two askings for one job's end: the pause doubles


class Ending:
    """One worker's hand on them.

    Args:
        platform: an environment's platform.
        stopping: set when the worker ends.
    """

    def __init__(self, site: Site, platform: Callable[[str], Any], stopping: threading.Event) -> None:
        self.site, self.platform, self.stopping = site, platform, stopping
        self._again: dict[str, tuple[float, float]] = {}  # handle -> when it is asked again, and the pause

    def turn(self) -> None:
        """Ask for the end of each job whose time it is."""
        rows = unended.listing(self.site.store)
        self._again = {r["handle"]: self._again.get(r["handle"], (0.0, _FIRST)) for r in rows}
        for row in rows:
            due, pause = self._again[row["handle"]]
            if self.stopping.is_set():
                return
            if time.monotonic() >= due and not self._heard(row):
                self._again[row["handle"]] = (time.monotonic() + pause, min(2 * pause, _LONGEST))

    def _heard(self, row: dict[str, Any]) -> bool:
        """Whether a job's end is heard, after it was asked for."""
        what = f"the job of {row['step']} of run {row['run']}"
        try:
            platform = self.platform(row["env"])
            try:
                platform.cancel(row["handle"])
            except EsmlError as e:  # it may have ended all the same
                say(f"{what} can't be cancelled", f"{e.message}; {e.hint}")
            state = platform.follow(row["handle"])
        except EsmlError as e:
            say(f"{what} can't be looked at", f"{e.message}; {e.hint}")
            return False
        if state.state == "running" or self.stopping.is_set():  # a platform that is closed says lost of all
            return False
        self._settle(row, state)
        return True

    def _settle(self, row: dict[str, Any], state: JobState) -> None:
        """Meter the job's whole time, by the platform's word; else what the run counted of it stays."""
        of = records.get(self.site.store, row["run"])
        with self.site.store.write() as c:
            if unended.heard(c, row):
                if state.seconds is not None:
                    costs.meter_step(c, of, row["step"], row["attempt"], state.seconds)
                unended.recount(c, row["run"])
