"""Which column of a file becomes which column of bronze, and how the file's schema drifted from what was known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from esml_engine.errors import ExpectationError, UnreadableError


@dataclass(frozen=True)
class Column:
    """One column of bronze as one file brings it."""

    name: str
    position: int | None  # in the file, from 0; None: the file lacks it
    type: str | None  # None: to be inferred
    nulls: tuple[str, ...] = ()  # words that are no value in this column, beside the dialect's


@dataclass(frozen=True)
class Drift:
    """One way in which a file's schema differs from the known one."""

    file: str
    kind: str  # added | dropped | retyped
    column: str
    detail: str

    def document(self) -> dict[str, Any]:
        """As it stands in results."""
        return {"file": self.file, "kind": self.kind, "column": self.column, "detail": self.detail}

    def warning(self) -> dict[str, Any]:
        """As it stands beside the expectations of the version that it came into."""
        said = f"{self.file}: {self.kind} column {self.column}: {self.detail}"
        what = {"check": f"drift:{self.kind}", "column": self.column, "level": "warn", "passed": False}
        return {**what, "failed_rows": None, "rows": None, "message": said}


def match(header: Sequence[str], known: Mapping[str, str], declared: Mapping[str, str]) -> list[Column]:
    """Bronze's columns for a file: first the known ones in their order, then the file's others in theirs.

    Args:
        header: the file's column names, in order.
        known: columns that bronze has, with their types, in order.
        declared: types from settings for columns that bronze may not have yet.
    Names are the same when they differ in upper and lower case only (SQL and Delta readers can't tell them apart).
    """
    position = {name.lower(): i for i, name in enumerate(header)}
    types = {name.lower(): kind for name, kind in declared.items()}
    columns = [Column(name, position.get(name.lower()), kind) for name, kind in known.items()]
    have = {name.lower() for name in known}
    columns += [Column(n, i, types.get(n.lower())) for i, n in enumerate(header) if n.lower() not in have]
    return columns


def require_some(name: str, header: Sequence[str], known: Mapping[str, str]) -> None:
    """Refuse a file that has none of bronze's columns: it is of something else, or was written in another dialect.

    Raises:
        UnreadableError: naming the columns on both sides.
    """
    have = {n.lower() for n in header}
    if known and not any(k.lower() in have for k in known):
        raise UnreadableError(
            f"{name} has none of the dataset's columns ({', '.join(list(known)[:5])} …): its header is {', '.join(header)[:120]!r}; "
            "is its delimiter another?"
        )


def drift_of(
    file: str, columns: Iterable[Column], known: Mapping[str, str], optional: str | None
) -> list[Drift]:
    """Added and dropped columns of a file against the known ones (nothing known: nothing drifted).

    Args:
        optional: a column that may be absent without being named (the label, for inference).
    """
    if not known:
        return []
    found = []
    for column in columns:
        if column.position is None and column.name != optional:
            found.append(Drift(file, "dropped", column.name, "the file does not have it; its rows hold null"))
        elif column.name not in known:
            found.append(
                Drift(file, "added", column.name, "earlier files do not have it; their rows hold null")
            )
    return found


def refuse_drift(drift: Sequence[Drift]) -> None:
    """Raise for a dataset whose policy is `fail`.

    Raises:
        ExpectationError: naming each drifted column and its file.
    """
    if not drift:
        return
    named = "; ".join(f"{d.kind} column {d.column} in {d.file}" for d in drift[:10])
    raise ExpectationError(
        f"the schema drifted: {named}",
        hint='set drift = "evolve" or "warn" for the dataset, or have the file delivered as before',
        drift=[d.document() for d in drift],
    )
