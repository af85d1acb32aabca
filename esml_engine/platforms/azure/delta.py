"""What Delta's own client says of a lake on Azure, in the engine's words: it keeps the service's status in words alone."""

from __future__ import annotations

import re

from esml_engine.errors import PlatformError
from esml_engine.platforms.azure.errors import AzureBusyError, AzureDeniedError, AzureMissingError, missing

_COLOUR = re.compile(r"\x1b\[[0-9;]*m|\u21b3")
_REFUSED = re.compile(
    r"\b40[13]\b|forbidden|unauthori[sz]ed|privileges|authorizationfailure|authenticat", re.IGNORECASE
)
_ABSENT = re.compile(r"\b404\b|not ?found", re.IGNORECASE)
_BESIDE = re.compile(
    r"https?://\S+|\b\d+(?:\.\d+)?\s?(?:ns|µs|us|ms|s)\b"
)  # addresses and times are no status
_WHERE = re.compile(r"abfss://(?P<system>[^@/]+)@(?P<account>[^./]+)")
_LATER = "the storage account does not answer as it should at present: retry; if it stays, look at the network (proxy, private endpoint, DNS)"


def is_azure(uri: str) -> bool:
    """Whether a table lies in a lake on Azure."""
    return uri.startswith("abfss://")


def translated(uri: str, error: Exception, grant: str = "", admit: str = "") -> PlatformError:
    """The engine's error for what reading or writing a table met, with the right that may be missing.

    `grant`, `admit`: the commands for this very identity and machine, where whoever asks knows them.
    """
    found = _WHERE.match(uri)
    system, account = (found["system"], found["account"]) if found else ("?", "?")
    words = " ".join(_COLOUR.sub("", str(error)).split())
    message = f"Delta can't reach {system}@{account}: {words[:300]}"
    said = _BESIDE.sub(" ", words)
    if _REFUSED.search(said):
        grant = grant or (
            "az role assignment create --assignee <object id; esml doctor says this identity's> --role "
            f'"Storage Blob Data Contributor" --scope $(az storage account show --name {account} --query id --output tsv)'
        )
        admit = (
            admit
            or f"az storage account network-rule add --account-name {account} --ip-address <this machine's>"
        )
        return AzureDeniedError(
            message, hint=f"{grant}; where its network rules refuse this machine: {admit}"
        )
    if _ABSENT.search(said):
        return AzureMissingError(message, hint=missing("storage_account or file_system"))
    return AzureBusyError(message, hint=_LATER)
