"""Who this process is to Azure: one credential a cloud, its tokens kept until shortly before they end."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from esml_engine.platforms.azure.clouds import Cloud
from esml_engine.platforms.azure.errors import asking
from esml_engine.platforms.azure.extra import need

STORAGE_AUDIENCE = "https://storage.azure.com"
_EARLY = 300  # seconds before its end that a token is taken anew
_of_cloud: dict[Cloud, Identity] = {}
_making = threading.Lock()


class Identity:
    """A credential for the clients (`get_token`): DefaultAzureCredential, that is environment, managed identity or `az login`."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._credential: Any = None
        self._tokens: dict[str, Any] = {}
        self._lock = threading.Lock()

    def get_token(self, *scopes: str, **more: Any) -> Any:
        """A token for the scopes, from memory while it lasts."""
        key = " ".join(scopes)
        with self._lock:
            found = self._tokens.get(key)
            if found is None or found.expires_on - _EARLY < time.time() or more.get("claims"):
                if self._credential is None:
                    self._credential = self._make()
                found = self._tokens[key] = self._credential.get_token(*scopes, **more)
            return found

    def _make(self) -> Any:
        identity = need("azure.identity")
        # what each kind of credential says it lacks: the error that is raised says so once, in words
        logging.getLogger("azure.identity").setLevel(logging.ERROR)
        more: dict[str, Any] = {"authority": urlsplit(self.cloud.active_directory).netloc}
        if not self.cloud.discovery:
            more["disable_instance_discovery"] = True
        client = os.environ.get("DEFAULT_IDENTITY_CLIENT_ID") or os.environ.get("AZURE_CLIENT_ID")
        if client:
            more["managed_identity_client_id"] = client
        return identity.DefaultAzureCredential(exclude_interactive_browser_credential=True, **more)

    def bearer(self, audience: str) -> str:
        """The token itself for an audience.

        Raises:
            AzureDeniedError: no credential is found, or it is not accepted.
        """
        need("azure.core")
        with asking(f"a token for {audience}"):
            return str(self.get_token(f"{audience.rstrip('/')}/.default").token)

    def who(self) -> str:
        """This process's object id in Entra ID, as a token that it has says it; a place holder while it has none."""
        with self._lock:
            found = [t.token for t in self._tokens.values()]
        for token in found:
            parts = str(token).split(".")
            if len(parts) == 3:
                try:
                    said = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
                except ValueError:  # a token of another form
                    continue
                if isinstance(said, dict) and re.fullmatch(r"[0-9A-Fa-f-]{36}", str(said.get("oid", ""))):
                    return str(said["oid"])
        return "<object id>"


def identity_of(cloud: Cloud) -> Identity:
    """This process's identity in a cloud."""
    with _making:
        if cloud not in _of_cloud:
            _of_cloud[cloud] = Identity(cloud)
        return _of_cloud[cloud]


def who_is_known() -> str:
    """The object id that any token of this process says; a place holder while there is none."""
    with _making:
        every = list(_of_cloud.values())
    return next((w for w in (one.who() for one in every) if not w.startswith("<")), "<object id>")
