"""Secrets in Key Vault."""

from __future__ import annotations

import threading
import time
from typing import Any

from esml_engine.platforms.azure import limits, names
from esml_engine.platforms.azure.clouds import Cloud
from esml_engine.platforms.azure.errors import asking
from esml_engine.platforms.azure.extra import need
from esml_engine.platforms.azure.identity import identity_of

_REMEMBERED = 15.0  # seconds, in memory alone


class Vault:
    """One vault, as far as an estate's lake is concerned. Values go nowhere else: not into logs, errors or the store."""

    def __init__(self, cloud: Cloud, name: str, lake: str) -> None:
        self.cloud, self.name, self.lake = cloud, name, lake
        self._made: Any = None
        self._making = threading.Lock()
        self._known: dict[str, tuple[float, str | None]] = {}

    def client(self) -> Any:
        """Key Vault's client."""
        with self._making:
            if self._made is None:
                self._made = need("azure.keyvault.secrets").SecretClient(
                    self.cloud.vault.format(name=self.name),
                    identity_of(self.cloud),
                    verify_challenge_resource=self.cloud.discovery,
                    retry_policy=limits.policy(),
                    read_timeout=limits.timeout(),
                )
            return self._made

    def grant(self) -> str:
        """The command that gives this process its right on the vault."""
        return (
            f'az role assignment create --assignee {identity_of(self.cloud).who()} --role "Key Vault Secrets Officer" '
            f"--scope $(az keyvault show --name {self.name} --query id --output tsv)"
        )

    def admit(self) -> str:
        """The command that lets this machine through the vault's network rules."""
        return f"az keyvault network-rule add --name {self.name} --ip-address <this machine's>"

    def put(self, name: str, value: str) -> None:
        """Keep a secret."""
        legal = names.secret(name, self.lake)
        need("azure.core")
        with asking(f"secret {legal} in vault {self.name}", self.grant, self.admit, "key_vault"):
            self.client().set_secret(legal, value, tags={"esml-name": name, "esml-lake": self.lake[-256:]})
        self._known[legal] = (time.monotonic(), value)

    def names(self) -> list[str]:
        """What the engine keeps here, by its own names."""
        need("azure.core")
        with asking(f"names in vault {self.name}", self.grant, self.admit, "key_vault"):
            tags = [p.tags or {} for p in self.client().list_properties_of_secrets()]
        mine = [t["esml-name"] for t in tags if "esml-name" in t and t.get("esml-lake") == self.lake[-256:]]
        return sorted(mine)

    def get(self, name: str, *, fresh: bool = False) -> str | None:
        """A secret, or None; asked again after a while, since endpoints are looked after several times a second."""
        legal = names.secret(name, self.lake)
        at, value = self._known.get(legal, (-_REMEMBERED, None))
        if not fresh and time.monotonic() - at < _REMEMBERED:
            return value
        before, value = self._known.get(legal), self.ask(name)
        if self._known.get(legal) is before:  # else it was put meanwhile, and what was read may be older
            self._known[legal] = (time.monotonic(), value)
        return self._known[legal][1]

    def ask(self, name: str) -> str | None:
        """A secret as the vault has it now, or None."""
        legal = names.secret(name, self.lake)
        missing = need("azure.core.exceptions").ResourceNotFoundError
        with asking(f"secret {legal} in vault {self.name}", self.grant, self.admit, "key_vault"):
            try:
                return self.client().get_secret(legal).value or ""
            except missing as e:
                if "SecretNotFound" in str(e):
                    return None
                raise
