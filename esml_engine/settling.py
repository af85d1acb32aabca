"""Endpoints beside an act: waited for until they are what it wanted, and kept up while one is called."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any

from esml_engine.door.facts import Call, Draft
from esml_engine.door.site import Site
from esml_engine.errors import FailedError, PlatformError
from esml_engine.platforms.base import EndpointState
from esml_engine.refs import ModelRef
from esml_engine.scored.commits import endpoint_name
from esml_engine.serving import client
from esml_engine.serving import records as deployments
from esml_engine.serving.applied import MADE, applied, as_wanted, require_not_refused, told
from esml_engine.serving.records import want_again

_LOOK = 0.05
_MOMENTS = 3.0  # seconds for which an act waits until a worker of this machine has told an endpoint
_SETTLES = 300.0  # seconds for which a command that works for itself waits for endpoints after its runs
log = logging.getLogger("esml.hand")


class Settling:
    """One estate's endpoints, as whoever acts waits for them.

    Args:
        holding: makes this process the worker for a while; yields None where one lives already.
        worked: whether a worker lives, this process or another.
    """

    def __init__(
        self, site: Site, holding: Callable[[], AbstractContextManager[Any]], worked: Callable[[], bool]
    ) -> None:
        self.site, self.holding, self.worked = site, holding, worked

    def told(self, call: Call, draft: Draft) -> dict[str, Any]:
        """Whether an endpoint that outlives workers is what is wanted; it is made so where this process may be the worker.

        Raises:
            FailedError: the platform refuses for good.
        """
        if not draft.endpoint:
            return {}
        ref, platform = ModelRef.parse(call.object), self.site.platform(call.env)
        so, can = partial(applied, self.site, ref, call.env), platform.capabilities
        if not can.endpoints_outlive:
            if draft.endpoint == MADE and not draft.nothing_to_do:
                self._here(so)
            return {}
        row = deployments.get(self.site.store, ref, call.env)
        if row is None:
            return told(True)
        state, why = platform.endpoint_state(row["endpoint"], fresh=True), None  # it may be changed by hand
        try:
            done = as_wanted(self.site, row, state)
        except FailedError as e:
            done, why = False, e
        if done or draft.endpoint != MADE:
            return told(done, why)
        if draft.nothing_to_do:  # it was wanted before, and refused or not heard
            want_again(self.site.store, ref, call.env)
        with self.holding() as worker:
            if worker is None:  # it is at it
                return told(False, why or _refused_before(state))
            worker.wanted.add(endpoint_name(ref, call.env))
            return told(_until(so, can.start_seconds, lambda: not worker.stopping.is_set()))

    def _here(self, so: Callable[[], bool]) -> None:
        """A worker of this machine makes it so within moments; where none lives, nothing answers that could still be as before."""

        def made() -> bool:
            with suppress(FailedError):  # its endpoint's own trouble is no word on this act
                return so()
            return False

        _until(made, _MOMENTS, self.worked)

    def settle(self, worker: Any) -> None:
        """Before this process stops being the worker: what its runs want of endpoints that outlive it, also by a withdrawal.

        What a run did not reach stands in its own error; here it is only said.
        """
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

    @contextmanager
    def up(self, call: Call) -> Iterator[None]:
        """The live slot of a call's endpoint is ready; without a worker this process keeps it so meanwhile.

        Raises:
            NotFoundError: nothing is deployed.
            PlatformError: it did not come up in the platform's time, or does not before somebody does something.
        """
        row = deployments.require(self.site.store, ModelRef.parse(call.object), call.env)
        with self.holding() as worker:
            if worker is not None:
                worker.wanted.add(row["endpoint"])
            platform, state = self.site.platform(call.env), EndpointState(False)

            def is_up() -> bool:
                nonlocal state
                state = platform.endpoint_state(row["endpoint"])
                slot = (state.slots or {}).get(row["live"], {})
                if state.running and state.live == row["live"] and slot.get("state") == "ready":
                    return True
                require_not_refused(state, row["revision"])
                return False

            try:
                if not _until(is_up, platform.capabilities.start_seconds, lambda: True):
                    hint = (
                        f"its log: {state.log}" if state.log else "esml doctor says what the endpoint needs"
                    )
                    raise FailedError(str(state.error or state.slots), hint=hint)
            except FailedError as e:
                raise PlatformError(
                    f"endpoint {row['endpoint']} did not come up: {e.message}", hint=e.hint
                ) from e
            yield

    def answer(self, call: Call, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What an endpoint answers to the right key, though it may not have been told it yet.

        Raises:
            NotAllowedError: it refused the key to the end.
        """
        asking = client.Asking(ask)
        here = not self.site.platform(call.env).capabilities.endpoints_outlive
        _until(asking, client.key_seconds(here), lambda: True)
        return asking.answer()


def _refused_before(state: EndpointState) -> FailedError | None:
    """What an endpoint's worker was refused by what was wanted before: asking anew does not undo that."""
    if not state.stuck:
        return None
    return FailedError(
        f"its worker was refused: {state.stuck}", hint=f"{state.hint}; it tries again by itself"
    )


def _until(so: Callable[[], bool], seconds: float, works: Callable[[], bool]) -> bool:
    """Wait until it is so, while a worker works on it; whether it is."""
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end or not works():
            return False
        time.sleep(_LOOK)
    return True
