"""Azure's errors as the engine's, each with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from esml_engine.errors import ConflictError, EsmlError, PlatformError
from esml_engine.platforms.azure.extra import need


class AzureDeniedError(PlatformError):
    """No valid credential, or a role or a network rule is missing."""

    code = "azure_denied"


class AzureMissingError(PlatformError):
    """A resource that the settings name is not there."""

    code = "azure_missing"


class AzureBusyError(PlatformError):
    """Azure throttles, fails or does not answer at present: later it may go."""

    code = "azure_busy"


class AzureFailedError(PlatformError):
    """Azure refused the request or an operation ended badly."""

    code = "azure_failed"


@contextmanager
def asking(
    what: str, grant: Callable[[], str] = str, admit: Callable[[], str] = str, keys: str = ""
) -> Iterator[None]:
    """Turn what the clients raise into the engine's errors.

    Args:
        what: the thing asked for.
        grant: says the command that gives the right to it.
        admit: says the command that lets this machine through its network rules.
        keys: the settings of the environment that name it.
    """
    try:
        yield
    except EsmlError:
        raise
    except Exception as e:
        made = translated(e, what, grant(), admit(), keys)
        if made is None:
            raise
        raise made from e


def translated(
    error: BaseException, what: str, grant: str = "", admit: str = "", keys: str = ""
) -> EsmlError | None:
    """The engine's error, or None where the error is not one of Azure's clients."""
    ax = need("azure.core.exceptions")
    if isinstance(error, ax.ClientAuthenticationError):
        return AzureDeniedError(
            f"{what}: Azure accepts no credential of this process ({_first(error)})",
            hint=_SIGN_IN,
        )
    if isinstance(error, ax.HttpResponseError):
        return _of_status(error, what, grant, admit, keys)
    if isinstance(error, ax.ServiceRequestError | ax.ServiceResponseError | TimeoutError | ConnectionError):
        named = f"see that {keys} in estate.toml is right, " if keys else ""  # a wrong name has no address
        return AzureBusyError(
            f"{what}: Azure does not answer ({_first(error)})",
            hint=f"{named}look at the network (proxy, private endpoint, DNS), then retry; esml doctor --env names the part",
        )
    if isinstance(error, ax.AzureError):
        return AzureFailedError(f"{what}: {_first(error)}", hint="retry; report it with the id if it stays")
    if type(error).__module__.startswith("azure.ai.ml"):  # refused by the client itself
        return AzureFailedError(f"{what}: {_first(error)}", hint="correct the settings of the environment")
    return None


_SIGN_IN = "az login, or give this machine a managed identity (AZURE_CLIENT_ID names one of several)"


def _of_status(error: Any, what: str, grant: str, admit: str, keys: str) -> EsmlError:
    status = int(error.status_code or 0)
    code = _code(error)
    decoded = not isinstance(error, need("azure.core.exceptions").DecodeError)
    words = _first(error) if decoded else f"{status}, with no JSON: a proxy or gateway answered for Azure"
    said = f"{what}: {words if not code or code in words else f'{code}: {words}'}"
    if status == 401:
        return AzureDeniedError(said, hint=_SIGN_IN)
    if status == 403:
        if _codes(error) & _NETWORK:
            way = f"{admit}; or " if admit else ""
            hint = (
                f"the network rules refuse this machine: {way}work from inside the network (private endpoint)"
            )
        elif code == "LinkedAuthorizationFailed":  # the right is missing on something that the request names
            hint = "give the right on what the message names; on the endpoints' identity it is Managed Identity Operator (docs/azure.md)"
        else:
            hint = grant or "esml doctor names the missing role and the command"
        return AzureDeniedError(said, hint=hint)
    if status == 404:
        return AzureMissingError(said, hint=missing(keys))
    if status in (409, 412):
        return ConflictError(said, hint="somebody else changed it meanwhile: look again, then retry")
    if status in (408, 429) or status >= 500:
        after = (error.response.headers.get("Retry-After") if error.response is not None else "") or ""
        wait = f" in {after} s" if after.isdecimal() else ""  # it may be a date, or no time at all
        return AzureBusyError(said, hint=f"Azure asks to come back later: retry{wait}")
    return AzureFailedError(said, hint="see the message; esml doctor --env checks each part")


def missing(keys: str = "") -> str:
    """What to do about something that is not there, with the settings that name it."""
    return f"correct {keys or 'the environment'} in estate.toml, or make the resource"


_NETWORK = {
    "AuthorizationFailure", "ForbiddenByFirewall", "ForbiddenByConnection", "PublicNetworkAccessDisabled",
    "IpAuthorizationFailure",
}  # fmt: skip
"""Storage's, the vault's (as an inner code) and the workspace's words for a machine that their network rules refuse."""


def _codes(error: Any) -> set[str]:
    """The error's code and the inner ones."""
    found, inner = {_code(error)}, getattr(getattr(error, "error", None), "innererror", None)
    while isinstance(inner, dict):
        found.add(str(inner.get("code", "")))
        inner = inner.get("innererror")
    return found


def _code(error: Any) -> str:
    found = getattr(getattr(error, "error", None), "code", None) or getattr(error, "error_code", None)
    return str(getattr(found, "value", found) or "")


def _first(error: BaseException) -> str:
    """The error's first line, without what the clients add below it."""
    text = str(getattr(error, "message", "") or error)
    return (text.splitlines() or [type(error).__name__])[0][:300]
