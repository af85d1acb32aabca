"""Whether an endpoint is what is wanted of it: the store says what is wanted, the platform what is."""

from __future__ import annotations

from typing import Any

from esml_engine.door.facts import Desk
from esml_engine.door.site import Site
from esml_engine.errors import FailedError
from esml_engine.platforms.base import EndpointState
from esml_engine.refs import ModelRef
from esml_engine.serving import records

MADE, LOOKED = "made", "looked"
"""What an act's draft asks of its endpoint before it is answered: have it made as it is wanted, or only look whether it is."""
WANTED = "wanted"
"""What an act answers as its `state` where the platform has not done yet what the act wants of it."""


def ready(state: EndpointState, revision: int, slot: str) -> bool:
    """Whether a slot is ready to answer.

    Raises:
        FailedError: its platform refuses it, or its model did not load; with what to do.
    """
    require_not_refused(state, revision)
    its = (state.slots or {}).get(slot, {})
    if state.running and state.revision >= revision and its.get("state") == "failed":
        log = f"its log: {state.log}" if state.log else "see the endpoint's log"
        if its.get("hint"):  # the platform refused it before a model could load
            raise FailedError(str(its.get("error")), hint=f"{its['hint']}; {log}")
        raise FailedError(f"the model did not load: {its.get('error')}", hint=log)
    return bool(state.running and state.revision >= revision and its.get("state") == "ready")


def require_not_refused(state: EndpointState, revision: int) -> None:
    """Raise what a platform said that does not go on by itself; of an earlier revision it is no matter."""
    if state.stuck and state.stuck_at >= revision:
        hint = state.hint or "esml doctor --env checks what the endpoint needs"
        raise FailedError(state.stuck, hint=hint)


def shifted(state: EndpointState, revision: int, slot: str) -> bool:
    """Whether a slot answers, by what was wanted at that revision.

    Raises:
        FailedError: as `ready`.
    """
    return ready(state, revision, slot) and state.live == slot


def wait_shifted(desk: Desk, ref: ModelRef, env: str, slot: str, what: str) -> None:
    """Wait until a slot answers, as is wanted.

    Raises:
        FailedError: the platform refuses for good, or not in time, or something else is wanted by now. CancelledError.
    """
    site = desk.site
    platform = site.platform(env)

    def so() -> bool:
        row = records.get(site.store, ref, env)
        if row is None or row["live"] != slot:
            raise FailedError(
                f"{what} is not wanted any more", hint="somebody changed the deployment meanwhile"
            )
        return shifted(platform.endpoint_state(row["endpoint"]), row["revision"], slot)

    desk.wait(so, what, platform.capabilities.start_seconds)


def applied(site: Site, ref: ModelRef, env: str) -> bool:
    """Whether the platform has made of a model's endpoint what is wanted now.

    Raises:
        FailedError: it refuses for good; with what to do.
    """
    row = records.get(site.store, ref, env)
    return row is None or as_wanted(site, row, site.platform(env).endpoint_state(row["endpoint"]))


def as_wanted(site: Site, row: dict[str, Any], state: EndpointState) -> bool:
    """Whether this state is what a row of the store wants, opened by the key that callers are given; an endpoint that is not wanted is gone.

    Raises:
        FailedError: as `applied`.
    """
    if not row["slots"]:
        require_not_refused(state, row["revision"])
        return not state.running and not state.error and state.slots is None
    left = set(state.slots or {}) - set(row["slots"])
    return shifted(state, row["revision"], row["live"]) and not left and _opens(site, row, state)


def _opens(site: Site, row: dict[str, Any], state: EndpointState) -> bool:
    """Whether the endpoint takes the key that callers are given, as far as its platform says which it takes."""
    if state.keys is None:
        return True
    ref, platform = ModelRef.parse(row["object"]), site.platform(row["env"])
    return set(records.key_sha256(platform, ref, row["env"])) <= set(state.keys)


def told(done: bool, why: FailedError | None = None) -> dict[str, Any]:
    """What an act adds to its answer where the platform has to be told of it."""
    if done:
        return {"state": "done"}
    hint = "a worker makes it so: esml up, or the next command that works on the environment"
    return {"state": WANTED, "hint": f"{why.message}; {why.hint}" if why else hint}
