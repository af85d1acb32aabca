"""One tree of errors. Each says what happened, to what, and what to do (`hint`).

`exit_code` is the command line's: 1 it failed, 2 the call or the settings are wrong, 3 refused, 4 waits.
"""

from __future__ import annotations

import errno
import secrets
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


_FULL = ("no space left", "disk quota exceeded", "file too large", "disk is full")


def disk_full(error: BaseException, where: str = "") -> DiskError | None:
    """The error to show when `error` says, in whichever library's words, that a disk takes no more; else None."""
    if isinstance(error, DiskError):
        return error
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if not full and (isinstance(error, EsmlError) or not any(w in str(error).lower() for w in _FULL)):
        return None
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return DiskError(
        f"{where}{reason}",
        hint="free space on the disk of the estate and its lake, and retry; the last version is still current",
    )


class PlatformError(FailedError):
    """The platform under an environment answered with an error or not at all."""

    code = "platform"
