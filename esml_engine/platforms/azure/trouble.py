"""What went wrong with endpoints, as the worker that makes them knows it: about what is wanted now, and nothing before."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

from esml_engine import replacing
from esml_engine.errors import ConflictError, EsmlError
from esml_engine.platforms.azure import limits
from esml_engine.platforms.azure.errors import AzureBusyError
from esml_engine.platforms.base import EndpointState

_LONGEST_BACK_OFF = 120.0
_STUCK = 3  # failures after which somebody must do something


class Trouble:
    """Failures by endpoint, and those of its slots. Its callers see to it that one thread writes at a time."""

    def __init__(self) -> None:
        self._aims: dict[str, str] = {}  # a mark of what is wanted
        self._failed: dict[str, tuple[int, float, str]] = {}  # tries, when again, why
        self._stuck: dict[str, tuple[int, str, str]] = {}  # at which revision, why, what to do
        self._slots: dict[tuple[str, str], tuple[str, str]] = {}  # why, and what to do

    def aim(self, name: str, mark: str) -> bool:
        """Take note of what is wanted; where that is something else than before, all trouble is forgotten: whether it is."""
        if self._aims.get(name) == mark:
            return False
        self._aims[name] = mark
        self._failed.pop(name, None)
        self._stuck.pop(name, None)
        for key in [k for k in self._slots if k[0] == name]:
            del self._slots[key]
        return True

    def aims(self, name: str, mark: str) -> bool:
        """Whether this is what is wanted still."""
        return self._aims.get(name) == mark

    def looks_after(self, name: str) -> bool:
        """Whether this process makes the endpoint what it is, or only asks."""
        return name in self._aims

    def pauses(self, name: str) -> bool:
        """Whether it is too early for another try."""
        return time.monotonic() < self._failed.get(name, (0, 0.0, ""))[1]

    def failed(self, name: str, error: EsmlError, revision: int) -> None:
        """One more failure: it is tried again after a while that grows; what does not go by itself is stuck."""
        tries = self._failed.get(name, (0, 0.0, ""))[0] + 1
        pause = min(_LONGEST_BACK_OFF, limits.poll() * 2**tries)
        self._failed[name] = (tries, time.monotonic() + pause, error.message)
        if tries >= _STUCK and not isinstance(error, (AzureBusyError, ConflictError)):
            self._stuck[name] = (revision, error.message, error.hint)

    def over(self, name: str) -> None:
        """It went well."""
        self._failed.pop(name, None)
        self._stuck.pop(name, None)

    def of_slot(self, name: str, slot: str, why: str, what: str) -> None:
        """A deployment failed; `what`: to do."""
        self._slots[name, slot] = (why, what)

    def slot_over(self, name: str, slot: str) -> None:
        """A deployment is made anew, or gone."""
        self._slots.pop((name, slot), None)

    def slots(self, name: str) -> dict[str, tuple[str, str]]:
        """The deployments that failed: why, and what to do."""
        return {slot: said for (of, slot), said in list(self._slots.items()) if of == name}

    def told(self, name: str, state: EndpointState) -> EndpointState:
        """What Azure says, with what this worker knows beside it."""
        at, why, what = self._stuck.get(name, (-1, "", ""))
        last = self._failed.get(name, (0, 0.0, ""))[2]
        return replace(state, error=state.error or last, stuck=why, stuck_at=at, hint=what or state.hint)


def keep(path: Path, state: EndpointState) -> None:
    """Write down what a worker saw, for those who only ask."""
    replacing.put(path, json.dumps({**asdict(state), "at": time.time()}))


def kept(path: Path, seconds: float) -> EndpointState | None:
    """What a worker saw within these seconds; None where none did, or it went with the endpoint just now."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return EndpointState(**said) if time.time() - said.pop("at") < seconds else None
    except (
        FileNotFoundError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ):  # or of another version's shape
        return None


def with_trouble(state: EndpointState, worker: EndpointState | None) -> EndpointState:
    """What Azure says to somebody who asks, with the trouble that the endpoint's worker has with it."""
    if worker is None:
        return state
    return replace(state, error=state.error or worker.error, stuck=worker.stuck, stuck_at=worker.stuck_at,
        hint=worker.hint or state.hint)  # fmt: skip
