"""What a promotion is about, as plain facts: who stands against whom, on which rows, by which rules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

PROMOTED, WAITING, REFUSED, EXPIRED, STALE = "promoted", "waiting", "refused", "expired", "stale"


def canonical(document: Any) -> str:
    """JSON text that is the same for the same content: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of(document: Any) -> str:
    """sha256 (hex) over the canonical JSON."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


@dataclass(frozen=True)
class Side:
    """One model version of a comparison, as its row in the store says.

    `env` is where its row stands, `trained_in` the environment whose tables it was trained on; `data` are those
    tables' versions (`{"table", "version"}`).
    """

    version: int
    env: str
    trained_in: str
    run: str
    sha256: str
    folder: str
    task: str
    estimator: str
    rnd: bool | None
    signature: tuple[dict[str, str], ...] | None
    data: tuple[dict[str, Any], ...]
    at: str = ""
    by: str = ""

    def data_version(self, table: str) -> int | None:
        """The version of a table that it was trained on; None: not recorded."""
        return next((int(d["version"]) for d in self.data if d["table"] == table), None)


@dataclass(frozen=True)
class Case:
    """A challenger from `source` against the champion of `target`, with the rows and the rules that decide.

    `revision` counts the target's champions (0: none stands). `test` is the table version that both are scored on
    (`{"env", "version", "rows"}`), None where there is none; `train` its sibling, for the trivial baseline.
    `policy` is the target's whole policy in force, `origin` where each value comes from.
    """

    object: str
    source: str
    target: str
    task: str
    label: str
    key: str
    challenger: Side
    champion: Side | None
    revision: int
    test: dict[str, Any] | None
    train: dict[str, Any] | None
    thresholds: dict[str, Any]
    primary: str
    policy: dict[str, Any]
    origin: dict[str, str]

    @property
    def facts(self) -> str:
        """Hash of all that a verdict rests on: it is current while this stays the same."""
        return sha256_of(
            {
                "object": self.object,
                "way": [self.source, self.target],
                "task": [self.task, self.label, self.key, self.primary],
                "challenger": _behind(self.challenger),
                "champion": _behind(self.champion) if self.champion else None,
                "revision": self.revision,
                "test": self.test,
                "gates": self.thresholds,
                "policy": self.policy,
            }
        )[:32]

    def document(self) -> dict[str, Any]:
        """As JSON; `case_from` is its inverse."""
        made: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return made


def case_from(raw: Mapping[str, Any]) -> Case:
    """Inverse of `Case.document`."""
    old = raw["champion"]
    return Case(**{**raw, "challenger": _side(raw["challenger"]), "champion": _side(old) if old else None})


def _side(raw: Mapping[str, Any]) -> Side:
    known = raw["signature"]
    return Side(
        **{**raw, "data": tuple(raw["data"]), "signature": tuple(known) if known is not None else None}
    )


def _behind(side: Side) -> list[Any]:
    return [side.version, side.env, side.trained_in, side.sha256, side.task, side.rnd, list(side.data)]
