"""Keys of managed endpoints: the engine's own lies in the vault, and Azure is told it."""

from __future__ import annotations

import hashlib

from esml_engine.platforms.azure import online
from esml_engine.platforms.azure.workspace import Workspace


def sha(text: str) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def opening(ws: Workspace, legal: str) -> tuple[str, ...]:
    """SHA-256 of each key that Azure takes for an endpoint."""
    with ws.asking(f"keys of {legal}"):
        keys = ws.client.online_endpoints.get_keys(legal)
    return tuple(sha(k) for k in (keys.primary_key, keys.secondary_key) if k)


def give(ws: Workspace, legal: str, value: str) -> None:
    """Have Azure take this key; it does so a while later.

    Asked once: where two arrive, the later one names the key that is there by then, for which Azure may make another.
    """
    body = {"keyType": "Primary", "keyValue": value}
    url = ws.url(f"onlineEndpoints/{legal}/regenerateKeys")
    ws.rest.send(f"the key of {legal}", "POST", url, {"api-version": online.API}, body, repeat=False)
