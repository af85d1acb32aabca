"""One tree of errors. Each says what happened, to what, and what to do (`hint`).

`exit_code` is the command line's: 1 it failed, 2 the call or the settings are wrong, 3 refused, 4 waits.
"""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class EsmlError(Exception):
    """Base of every error that the product raises on purpose.

    Args:
        message: what happened and to what, one sentence.
        hint: what to do next, one sentence.
        details: JSON-serialisable facts (`plan`, `gates`, `request`) shown beside the error.
    """

    code = "error"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details
        self.id = f"e-{secrets.token_hex(4)}"

    def document(self) -> dict[str, Any]:
        """The error as the JSON document of the contract."""
        error = {"code": self.code, "message": self.message, "hint": self.hint, "id": self.id}
        return {"error": error, **self.details}


class UsageError(EsmlError):
    """The call is wrong."""

    code, exit_code = "usage", 2


class SettingsError(UsageError):
    """A settings file or an override is wrong."""

    code = "settings"


class NotFoundError(UsageError):
    """The named thing does not exist (or is not the actor's to see)."""

    code = "not_found"


class NotYetError(UsageError):
    """The product does not do this yet."""

    code = "not_yet"


class RefusedError(EsmlError):
    """Stopped on purpose: policy, gate, role or a plan that went stale."""

    code, exit_code = "refused", 3


class NotAllowedError(RefusedError):
    """The actor's roles do not permit this act."""

    code = "not_allowed"


class PolicyError(RefusedError):
    """The effective policy forbids it, with the numbers."""

    code = "policy"


class StalePlanError(RefusedError):
    """The facts under a plan changed between look and start."""

    code = "stale_plan"


class WaitingError(EsmlError):
    """It waits for another person's approval."""

    code, exit_code = "waiting", 4


class FailedError(EsmlError):
    """The work itself failed."""

    code = "failed"


class UnreadableError(FailedError):
    """A file can't be read at all."""

    code = "unreadable"


class ExpectationError(FailedError):
    """An expectation of level `error` was not met: the version does not become visible."""

    code = "expectation"


class StepError(FailedError):
    """The user's step raised; the message carries the step's own file and line."""

    code = "step"


class ConflictError(FailedError):
    """Somebody else changed the same thing first."""

    code = "conflict"


class CancelledError(FailedError):
    """The run was cancelled."""

    code = "cancelled"


class LostError(FailedError):
    """A job's process ended without leaving a result: killed, or out of memory."""


class DiskError(FailedError):
    """A disk takes no more."""

    code = "disk"


class StoreFullError(DiskError):
    """The disk under the store takes no more, or fails: nothing can be recorded until it does."""


ROOM = 1 << 20
"""Bytes that an estate's disk must have free to be of use."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL = ("no space left", "disk quota exceeded", "file too large", "disk is full")
_ILL = ("disk i/o error", "unable to open database file")  # SQLite's words where it can't make its side files


def least_free(folders: Iterable[Path | str]) -> tuple[Path, int] | None:
    """The folder whose disk has the fewest bytes free, and how many; None when none of them is there."""
    found = []
    for folder in map(Path, folders):
        try:
            found.append((folder, shutil.disk_usage(folder).free))
        except OSError:  # not made yet, or another machine's
            continue
    return min(found, key=lambda x: x[1]) if found else None


def has_room(folder: Path) -> bool:
    """Whether `folder`'s disk takes some more, by trying it: a quota is not seen in what is free.

    Only the want of room says no; other trouble with the folder is for who writes there to meet.
    """
    probe = folder / f".room-{secrets.token_hex(4)}"
    try:
        probe.write_bytes(b"\0" * ROOM)
    except OSError as e:
        return e.errno not in _NO_ROOM
    finally:
        probe.unlink(missing_ok=True)
    return True


def disk_full(error: BaseException, where: str = "", folders: Iterable[Path | str] = ()) -> DiskError | None:
    """The error to show when `error` says, in whichever library's words, that a disk takes no more; else None.

    Args:
        where: what was being done, before the message.
        folders: where it may have been writing; the one with the least space is named.
    """
    if isinstance(error, DiskError):
        return error
    text = str(error).lower()
    folders = list(folders)
    least = least_free(folders)
    full = isinstance(error, OSError) and error.errno in _NO_ROOM
    if not isinstance(error, EsmlError):
        full = full or any(w in text for w in _FULL)
        ill = any(w in text for w in _ILL)
        full = full or (ill and any(not has_room(f) for f in map(Path, folders)))
    if not full:
        return None
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
    if least is None:
        hint = "free space on the disk of the estate and its lake"
        return DiskError(f"{where}{reason}", hint=f"{hint}, and retry; the last version is still current")
    folder, free = least
    said = (
        f"the disk under {folder} is full" if free < ROOM else f"{free / 1e6:.1f} MB are free under {folder}"
    )
    return DiskError(f"{where}{said} ({reason})", hint=_there(folder))


def of_disk(error: BaseException) -> bool:
    """Whether an error speaks of a disk that takes no more or fails, in whichever library's words."""
    text = str(error).lower()
    return (isinstance(error, OSError) and error.errno in _NO_ROOM) or any(w in text for w in (*_FULL, *_ILL))


def unreadable(words: str) -> FailedError:
    """A table's file that is not there, or is not what was written."""
    return FailedError(
        f"a file can't be read: {words}",
        hint="something else moved or damaged it: put it back from a backup, or make its table anew",
    )


def no_room(folder: Path, where: str = "") -> StoreFullError:
    """The error where `has_room` said no."""
    return StoreFullError(f"{where}the disk under {folder} is full", hint=_there(folder))


def _there(folder: Path) -> str:
    return f"free space there (df -h {folder}), and retry; the last version is still current"


class PlatformError(FailedError):
    """The platform under an environment answered with an error or not at all."""

    code = "platform"


class StoreDamagedError(FailedError):
    """The file of the store can't be read as a database."""

    code = "store_damaged"
