"""Secrets on disk, encrypted (Fernet: AES-128-CBC with HMAC-SHA256); the key lies beside them, readable by its owner alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from esml_engine.errors import PlatformError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class SecretStore:
    """One folder, one file a secret."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, value: str) -> None:
        """Keep a secret: whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.folder / f"{name}.{os.getpid()}.tmp"
        new.write_bytes(self._cipher().encrypt(value.encode()))
        new.chmod(0o600)
        new.replace(self.folder / name)

    def get(self, name: str) -> str | None:
        """A secret, or None.

        Raises:
            PlatformError: the file does not decrypt (changed, or another key).
        """
        from cryptography.fernet import InvalidToken

        path = self.folder / name
        if not path.is_file():
            return None
        try:
            return str(self._cipher().decrypt(path.read_bytes()).decode())
        except InvalidToken as e:
            raise PlatformError(
                f"secret {name} can't be decrypted",
                hint="the secret or its key was changed; store the secret again",
            ) from e

    def _cipher(self) -> Fernet:
        from cryptography.fernet import Fernet

        path = self.folder / ".key"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(fd, "wb") as f:
                f.write(Fernet.generate_key())
        return Fernet(path.read_bytes())
