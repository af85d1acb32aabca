"""Azurite (Microsoft's storage emulator): installed once into a cache folder, one process a cloud, on a free port."""

from __future__ import annotations

import base64
import http.client
import os
import secrets
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from tests.azure.cloud.passing import exchange
from tests.azure.cloud.processes import Processes

VERSION = "3.37.0"


class MissingToolError(Exception):
    """Something that the stand-in needs is not on this machine: tests that need it are skipped with this reason."""


def cache_folder() -> Path:
    """Where tools of the tests are kept between runs: outside the repository."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "esml-cockpit-tests"


def installed() -> Path:
    """The folder of Azurite's package, installed by npm when absent.

    Raises:
        MissingToolError: node or npm is missing, or npm failed.
    """
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise MissingToolError(
                f"{tool} is missing: Azurite (the storage emulator) can't be installed; install Node.js 20 or newer"
            )
    folder = cache_folder() / f"azurite-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "installed"
    with FileLock(str(folder / "lock")):
        if not done.exists():
            said = subprocess.run(
                ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts",
                    f"azurite@{VERSION}"],
                capture_output=True, text=True, cwd=folder, check=False,
            )  # fmt: skip
            if said.returncode != 0:
                raise MissingToolError(
                    f"npm could not install azurite {VERSION}: {said.stderr.strip()[-300:]}"
                )
            done.touch()
    return folder / "node_modules" / "azurite"


class Azurite:
    """A running emulator with one account for each name; `send` speaks to it with a signature of its own."""

    def __init__(self, folder: Path, processes: Processes, accounts: list[str]) -> None:
        package = installed()
        self.keys = {a: base64.b64encode(secrets.token_bytes(32)).decode() for a in accounts}
        self._log = folder / "azurite.log"
        env = {**os.environ, "AZURITE_ACCOUNTS": ";".join(f"{a}:{k}" for a, k in self.keys.items())}
        self._process = processes.start(
            ["node", str(package / "dist/src/blob/main.js"), "--blobHost", "127.0.0.1", "--blobPort", "0", "--location",
                str(folder),
             "--silent", "--loose", "--skipApiVersionCheck", "--disableProductStyleUrl", "--disableTelemetry"],
            env=env, cwd=folder, log=self._log,
        )  # fmt: skip
        self.port = self._wait()
        self.url = f"http://127.0.0.1:{self.port}"
        self._sas = {a: _account_sas(a, k) for a, k in self.keys.items()}
        self._local = threading.local()

    def _wait(self) -> int:
        end = time.monotonic() + 180
        while time.monotonic() < end and self._process.poll() is None:
            text = self._log.read_text(encoding="utf-8", errors="replace")
            if "listens on" in text:
                return int(text.rsplit("listens on", 1)[1].split()[0].rstrip("/").rsplit(":", 1)[1])
            time.sleep(0.05)  # until the process says its port
        raise RuntimeError(
            f"Azurite did not start: {self._log.read_text(encoding='utf-8', errors='replace')[-500:]}"
        )

    def signed(self, account: str, path: str, query: str = "") -> str:
        """A URL that anyone may use: path is `container/blob`."""
        return f"{self.url}/{account}/{path}?{query}{'&' if query else ''}{self._sas[account]}"

    def send(
        self,
        account: str,
        method: str,
        path: str,
        query: str = "",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> tuple[int, dict[str, str], bytes]:
        """One request (path quoted, without the account); returns status, headers and body."""
        target = f"/{account}/{path}?{query}{'&' if query else ''}{self._sas[account]}"
        sent = {"x-ms-version": "2025-05-05", **(headers or {}), "Content-Length": str(len(body))}
        for last in (False, True):
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=60
                )
            try:
                return exchange(connection, method, target, sent, body)
            except (http.client.HTTPException, OSError):  # a kept connection that the other side closed
                connection.close()
                self._local.connection = None
                if last:
                    raise
        raise AssertionError("not reached")

    def fetch(self, account: str, path: str) -> bytes | None:
        """A blob's bytes, or None."""
        try:
            with urllib.request.urlopen(self.signed(account, quote(path))) as r:
                return bytes(r.read())
        except urllib.error.HTTPError as e:
            if e.code == 404:
                return None
            raise


def _account_sas(account: str, key: str) -> str:
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    return str(
        generate_account_sas(
            account, key, ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions.from_string("rwdlacupxti"), datetime.now(UTC) + timedelta(days=2),
            start=datetime.now(UTC) - timedelta(hours=1),
        )
    )  # fmt: skip
