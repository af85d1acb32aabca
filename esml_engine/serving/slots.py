"""Blue and green: which models the endpoint holds, and which of them answers.

A new model loads in a thread while the old one answers. Traffic flips only when every slot that the control file gives
traffic to is ready; a request keeps the model that it began with.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esml_engine.errors import EsmlError
from esml_engine.serving.facts import Control, Slot
from esml_engine.serving.scorer import Scorer

WATCH_SECONDS = 0.2
log = logging.getLogger("esml.serving")


@dataclass
class _Held:
    """A slot as it is: what should be in it, what is, and how far the way there."""

    wanted: Slot
    state: str = "loading"  # loading | ready | failed
    error: str = ""
    scorer: Scorer | None = None


class Slots:
    """The endpoint's models. All methods run in the event loop.

    Args:
        path: the control file.
        load: loads a slot's model; runs in a thread.
    """

    def __init__(self, path: str | Path, load: Callable[[Slot], Scorer]) -> None:
        self.path = Path(path)
        self.control = Control(0, "", {})
        self.error = ""
        self._load = load
        self._held: dict[str, _Held] = {}
        self._shares: tuple[tuple[str, int], ...] = ()
        self._seen: tuple[int, int, int] = (0, 0, 0)
        self._tasks: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Follow the control file until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(WATCH_SECONDS)

    def look(self) -> None:
        """Read the control file when it changed."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            self.error = "there is no control file"
            return
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            control = Control.read(self.path)
        except EsmlError as error:
            self.error = error.message
            log.error("control file: %s", error.message)
            return
        self.error = ""
        self._apply(control)

    def _apply(self, control: Control) -> None:
        log.info("control revision %s: live %s, traffic %s", control.revision, control.live, control.shares())
        self.control = control
        for name, slot in control.slots.items():
            held = self._held.get(name)
            if held is not None and held.wanted == slot and held.state != "failed":
                continue
            fresh = _Held(slot, scorer=held.scorer if held else None)
            self._held[name] = fresh
            task = asyncio.create_task(self._fill(name, fresh))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._flip()

    async def _fill(self, name: str, held: _Held) -> None:
        try:
            scorer = await asyncio.to_thread(self._load, held.wanted)
        except Exception as error:
            held.state, held.error = "failed", f"{type(error).__name__}: {error}"
            log.exception("slot %s: model version %s does not load", name, held.wanted.model_version)
        else:
            held.scorer, held.state = scorer, "ready"
            log.info("slot %s: model version %s is ready", name, held.wanted.model_version)
        self._flip()

    def _flip(self) -> None:
        """Let the wanted traffic take effect once all its slots are ready; until then what answered goes on."""
        wanted = self.control.shares()
        if wanted and all(self._held[name].state == "ready" for name in wanted):
            self._shares = tuple(wanted.items())
        else:
            self._shares = tuple((n, share) for n, share in self._shares if self._held[n].scorer is not None)
        answering = {name for name, _ in self._shares}
        for name in set(self._held) - set(self.control.slots) - answering:
            del self._held[name]

    def choose(self, request_id: str) -> Scorer | None:
        """The model that answers a request; with split traffic the id decides. None: nothing is ready."""
        shares = self._shares
        if not shares:
            return None
        name = shares[0][0]
        if len(shares) > 1:
            place = zlib.crc32(request_id.encode()) % sum(share for _, share in shares)
            for name, share in shares:  # noqa: B007 - the name is used after the loop
                if place < share:
                    break
                place -= share
        return self._held[name].scorer

    def named(self, name: str) -> Scorer | None:
        """A slot's model, with traffic or without; None while it is not ready."""
        held = self._held.get(name)
        return held.scorer if held is not None and held.state == "ready" else None

    def has_traffic(self, name: str) -> bool:
        """Whether a slot answers ordinary requests now."""
        return any(name == other for other, _ in self._shares)

    @property
    def live(self) -> str:
        """The slot that gets most of the traffic now."""
        return max(self._shares, key=lambda share: share[1])[0] if self._shares else ""

    def document(self) -> dict[str, Any]:
        """The health page's part."""
        slots = {}
        for name, held in self._held.items():
            now = held.scorer.model_version if held.scorer else None
            slots[name] = {
                "model_version": held.wanted.model_version,
                "answers": now,
                "deployment": held.wanted.deployment,
                "state": held.state,
                "error": held.error,
            }
        return {
            "status": "ok" if self._shares else "starting",
            "revision": self.control.revision,
            "live": self.live,
            "traffic": dict(self._shares),
            "slots": slots,
            "control_error": self.error,
        }
