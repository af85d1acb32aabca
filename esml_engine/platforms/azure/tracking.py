"""The workspace's MLflow address: plain MLflow with a token, which is kept fresh in this process's environment."""

from __future__ import annotations

import os
import re
import threading
from typing import Any

from esml_engine.errors import EsmlError, PlatformError
from esml_engine.platforms.azure import limits
from esml_engine.platforms.azure.errors import (
    AzureBusyError,
    AzureDeniedError,
    AzureFailedError,
    AzureMissingError,
    missing,
)
from esml_engine.platforms.azure.identity import Identity, who_is_known

_EVERY = 60.0
_kept: set[int] = set()
_starting = threading.Lock()


def ready(identity: Identity) -> None:
    """Have MLflow's requests of this process carry a token that is good for at least five minutes, and be bounded as ours are."""
    os.environ.update(limits.mlflow())
    os.environ["MLFLOW_TRACKING_TOKEN"] = identity.bearer(identity.cloud.audience)


def keep_ready(identity: Identity) -> None:
    """The same for as long as this process lives: a job may train longer than a token lasts."""
    with _starting:
        if os.getpid() in _kept:
            return
        _kept.add(os.getpid())
    ready(identity)
    threading.Thread(target=_refresh, args=(identity,), name="esml-token", daemon=True).start()


def _refresh(identity: Identity) -> None:
    pause = threading.Event()
    while not pause.wait(_EVERY):
        try:
            ready(identity)
        except PlatformError:  # the token that is there lasts five minutes more: asked again in one
            continue


_DENIED = {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED"}
_BUSY = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
_STATUS = re.compile(r"error code (\d{3}) !=|too many (\d{3}) error|(\d{3}) (?:Client|Server) Error")
_OF_CODE = {
    "InvalidAuthenticationToken": 401, "AuthenticationFailed": 401, "InvalidToken": 401, "Unauthorized": 401,
    "AuthorizationFailed": 403, "Forbidden": 403, "PublicNetworkAccessDisabled": 403, "IpAuthorizationFailure": 403,
    "AuthorizationFailure": 403,
    "ResourceNotFound": 404, "NotFound": 404, "WorkspaceNotFound": 404, "TooManyRequests": 429, "ServiceUnavailable": 503,
    "ServiceError": 500, "InternalServerError": 500,
}  # fmt: skip


def is_azure(uri: str) -> bool:
    """Whether MLflow is a workspace's: in every cloud its address ends in the workspace's ARM path."""
    return "/providers/Microsoft.MachineLearningServices/workspaces/" in uri


def translated(uri: str, error: Any) -> EsmlError | None:
    """What MLflow's client raised where the service itself (not MLflow behind it) refused or failed; else None.

    Args:
        uri: the tracking address; it ends in the workspace's ARM path.
        error: an `MlflowException`. Its client keeps the status in words only, or in the body that Azure sent.
    """
    workspace = uri.partition("/mlflow/v1.0")[2] or "<workspace>"
    said = getattr(error, "json", None)
    body = said if isinstance(said, dict) else {}
    inner = body.get("error") if isinstance(body.get("error"), dict) else {}
    code, known = str((inner or {}).get("code") or ""), str(getattr(error, "error_code", "") or "")
    status = _status(error, code, body)
    words = str((inner or {}).get("message") or getattr(error, "message", "") or error)
    first = (words.splitlines() or [known])[0]
    unanswered = "failed with exception" in first or "timeout exception" in first
    if unanswered:  # behind two long addresses
        first = f"the service answered {status}" if status else first.rpartition("Caused by ")[2] or first
    first = first[:300]
    message = f"tracking in workspace {workspace.rpartition('/')[2]}: {f'{code}: ' if code and code not in first else ''}{first}"
    if status == 401 or known in ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
        return AzureDeniedError(
            message,
            hint="az login, or give this machine a managed identity (AZURE_CLIENT_ID names one of several)",
        )
    if status == 403 or known in _DENIED:
        return AzureDeniedError(
            message,
            hint=f'az role assignment create --assignee {who_is_known()} --role "AzureML Data Scientist" --scope {workspace}',
        )
    if status in (408, 429) or status >= 500 or known in _BUSY:
        return AzureBusyError(message, hint="Azure asks to come back later: retry")
    if status == 404 and known != "RESOURCE_DOES_NOT_EXIST":
        return AzureMissingError(message, hint=missing("region or workspace"))
    if (
        known == "INTERNAL_ERROR"
    ):  # MLflow's word for whatever it does not know: no answer, a body of Azure's own
        if unanswered:
            return AzureBusyError(
                message,
                hint="look at the network (proxy, private endpoint, DNS), then retry; esml doctor --env names the part",
            )
        return AzureFailedError(
            message, hint="retry; the row tracking of esml doctor --env checks the address"
        )
    return None


def _status(error: Any, code: str, body: dict[str, Any]) -> int:
    """The HTTP status, as far as anything says it; 0 where nothing does."""
    for value in (body.get("statusCode"), body.get("status"), body.get("error_code")):
        if str(value or "").isdigit():
            return int(str(value))
    if code in _OF_CODE:
        return _OF_CODE[code]
    found = _STATUS.search(str(error))
    return int(next(g for g in found.groups() if g)) if found else 0
