"""What an act is made of: a call, an actor, an act's own draft, and the plan that everybody sees."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

if TYPE_CHECKING:
    import sqlalchemy as sa

    from esml_engine.door.site import Site
    from esml_engine.runs.facts import JobResult, JobSpec


@dataclass(frozen=True)
class Actor:
    """Who asks. `name` is the person (or operating system user), `acting_as` whose rights are used."""

    name: str
    acting_as: str | None = None

    @property
    def rights(self) -> str:
        """The actor whose roles count."""
        return self.acting_as or self.name


HOW = ("dry_run", "plan", "idempotency_key", "detach")
"""What every act of the SDK takes besides its own parameters: how it is started."""


@dataclass(frozen=True)
class Call:
    """What was asked: an act on an object (`estate`, `project`, `project/model`) in an environment ('' where none)."""

    act: str
    object: str
    env: str = ""
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def project(self) -> str:
        """The project that the object belongs to, or 'estate'."""
        return self.object.split("/")[0]


@dataclass(frozen=True)
class Part:
    """An act inside another, as its time and money are predicted: each part rests on the history of its own act."""

    act: str
    env: str
    bound_seconds: float
    size: float = 0.0  # 0: not known before the parts ahead of it have run
    search: float = 0.0  # seconds that its training is allowed


@dataclass(frozen=True)
class Draft:
    """An act's own facts, from `plan`. Everything else of a plan is the door's."""

    will: tuple[str, ...]
    inputs: tuple[dict[str, Any], ...] = ()
    makes: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)  # what `jobs` and `record` need; hashed
    code: str = ""
    settings: Any = None  # effective settings that shape the result; hashed
    nothing_to_do: str = ""
    answer: dict[str, Any] = field(
        default_factory=dict
    )  # the answer where there is nothing to do, else its base
    irreversible: tuple[str, ...] = ()
    size: float = 0.0  # what time grows with: bytes or rows
    joins: str = (
        ""  # an open run that does all of this already, though its own plan was made on earlier facts
    )
    contains: tuple[str, ...] = ()  # rules of the acts inside this one: each must be allowed as well
    parts: tuple[Part, ...] = ()  # what a chain is made of; () : the act is its own only part
    # (environment, limit, whose word): what a run that goes on was approved for
    granted: tuple[tuple[str, str, str], ...] = ()
    stands: int = 0  # instances of an endpoint that stay up when it has ended
    endpoint: str = (
        ""  # of which the answer tells, also with nothing to do: `made` so first, or only `looked` at
    )
    bound_seconds: float = 0.0  # limit that the run can't pass, for the upper bound; 0: spends nothing


@dataclass(frozen=True)
class Plan:
    """What an act would do, before it does it."""

    call: Call
    draft: Draft
    predicted: dict[str, Any]
    budget_left: float | None
    policy: dict[str, Any]
    allowed: bool
    reason: str
    hash: str

    def document(self) -> dict[str, Any]:
        """The contract's JSON."""
        d = self.draft
        return {
            "act": self.call.act,
            "object": self.call.object,
            "env": self.call.env,
            "nothing_to_do": d.nothing_to_do or None,
            "will": list(d.will),
            "inputs": list(d.inputs),
            "makes": list(d.makes),
            "steps": list(d.steps),
            "predicted": self.predicted,
            "budget_left": self.budget_left,
            "policy": self.policy,
            "allowed": self.allowed,
            "reason": self.reason or None,
            "irreversible": list(d.irreversible),
            "hash": self.hash,
        }


def fingerprint(call: Call, draft: Draft, policy: Any) -> str:
    """The plan's hash: act, object, inputs, step code, parameters, effective settings and policy version."""
    facts = [
        call.act,
        call.object,
        call.env,
        call.params,
        draft.inputs,
        draft.steps,
        draft.params,
        draft.code,
        draft.settings,
        policy,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def draft_json(draft: Draft) -> dict[str, Any]:
    """A draft as the store keeps it."""
    return asdict(draft)


def draft_of(raw: dict[str, Any]) -> Draft:
    """Inverse of `draft_json`."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    fields["parts"] = tuple(Part(**p) for p in fields.get("parts", ()))
    return Draft(**fields)


class Desk(Protocol):
    """Where an act's `jobs` and `record` stand: the estate, the run, and one commit."""

    site: Site
    run: str
    step: str
    attempt: int
    retry: int  # how often the run was begun: attempts are counted anew each time
    actor: Actor
    spec: JobSpec | None  # the specification behind the result that is being recorded

    def commit(self, change: Callable[[sa.Connection], dict[str, Any]]) -> dict[str, Any]:
        """One store transaction: the change, the step's end, its cost and the audit event together."""
        ...

    def park(self, **request: Any) -> NoReturn:
        """Let the run wait for a request (the arguments of `requests.ask` beside the run's own), in one transaction.

        Never returns. When the request is approved the same step runs again and finds it by `requests.of_run`.
        """
        ...

    def want_endpoint(self, name: str) -> None:
        """Have the worker keep this endpoint up while it lives."""
        ...

    def wait(self, ready: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait for something that another part of the worker does; ends early when the run is cancelled."""
        ...


class Act(Protocol):
    """One thing that people can do. `durable`: runs on the worker; else it happens at once, in the asking process."""

    name: str
    durable: bool

    def plan(self, call: Call, site: Site) -> Draft:
        """Pure and quick: what would happen."""
        ...

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """The specification of `desk.step`'s job, or None where the worker alone does it."""
        ...

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Make the step's result a fact; ends in exactly one `desk.commit` (or `desk.park`).

        An answer with `ends_run` ends the run with this step: what was planned after it is skipped.
        """
        ...


class NoJobs:
    """Acts for which the worker, or the asking process, does everything itself."""

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """None: nothing to run."""
        return None


class AtOnce(NoJobs):
    """Acts that happen in the asking process."""

    durable = False
    unkept: tuple[str, ...] = ()
    """Parts of the answer that are not kept for a repeated idempotency key: secrets, and what is data."""

    def outside(self, draft: Draft) -> bool:
        """Whether it changes what lies outside the store (a file, a secret, a lake): an event says so before it does."""
        return False

    def again(self, call: Call, answer: dict[str, Any], desk: Desk) -> dict[str, Any]:
        """What a repeated idempotency key is answered, from what was kept of the first answer; changes nothing."""
        return answer
