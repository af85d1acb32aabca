"""Secrets on disk, encrypted (Fernet: AES-128-CBC with HMAC-SHA256); the key lies beside them, readable by its owner alone."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from esml_engine import replacing
from esml_engine.errors import PlatformError, UsageError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class SecretStore:
    """One folder, one file a secret."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[
            str, tuple[tuple[int, ...], str]
        ] = {}  # by the file that said it: a new one is read at once

    def put(self, name: str, value: str) -> None:
        """Keep a secret: whole or not at all."""
        path = self._path(name)
        replacing.put(path, self._cipher().encrypt(value.encode()), mode=0o600)

    def get(self, name: str) -> str | None:
        """A secret, or None.

        Raises:
            PlatformError: the file does not decrypt (changed, or another key).
        """
        path = self._path(name)
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        which = (found.st_ino, found.st_mtime_ns, found.st_size)
        if name in self._known and self._known[name][0] == which:
            return self._known[name][1]
        from cryptography.fernet import InvalidToken

        try:
            value = str(self._cipher().decrypt(path.read_bytes()).decode())
        except InvalidToken as e:
            raise PlatformError(
                f"secret {name} can't be decrypted",
                hint="the secret or its key was changed; store the secret again",
            ) from e
        self._known[name] = (which, value)
        return value

    def names(self) -> list[str]:
        """What is kept, by name alone."""
        if not self.folder.is_dir():
            return []
        return sorted(p.name for p in self.folder.iterdir() if not p.name.startswith("."))

    def _path(self, name: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}", name):
            raise UsageError(
                f"{name!r} is no name of a secret", hint="letters, digits, dot, dash and underscore"
            )
        return self.folder / name

    def _cipher(self) -> Fernet:
        from cryptography.fernet import Fernet

        path = self.folder / ".key"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            new = path.with_name(f".key.{uuid.uuid4().hex[:8]}")
            replacing.put(new, Fernet.generate_key(), mode=0o600)
            with contextlib.suppress(FileExistsError):  # another process was first: its key counts
                os.link(new, path)
            new.unlink()
        try:
            return Fernet(path.read_bytes())
        except ValueError as e:
            raise PlatformError(
                "the key of the secrets is no key", hint=f"bring {path} back from a backup, or remove it"
            ) from e
