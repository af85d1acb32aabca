"""A lake in a Data Lake Storage account: the Blob API for files (whole or not at all, only if absent), DFS for folders."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from esml_engine.errors import PlatformError, SettingsError
from esml_engine.platforms.azure import limits, storage_retries
from esml_engine.platforms.azure.clouds import Cloud, cloud_of
from esml_engine.platforms.azure.errors import AzureMissingError, asking
from esml_engine.platforms.azure.extra import need
from esml_engine.platforms.azure.identity import STORAGE_AUDIENCE, identity_of
from esml_engine.platforms.azure.tidying import used

_SIDE_BY_SIDE = 8
_ROLE = "Storage Blob Data Contributor"


class AzureFiles:
    """Files of one file system of a storage account.

    Args:
        cache: a folder of this machine for copies; it may be emptied whenever no process uses it (`tidying` bounds it).
    """

    def __init__(self, cloud: Cloud, account: str, file_system: str, cache: Path) -> None:
        self.cloud, self.account, self.file_system, self.cache = cloud, account, file_system, cache
        self._root = cloud.root(account, file_system)
        self._container: Any = None
        self._making = threading.Lock()

    # the clients
    def _secret(self) -> Any:
        """What the storage clients sign with."""
        return _account_key() if self.cloud.storage_auth == "key" else identity_of(self.cloud)

    def container(self) -> Any:
        """The Blob client of the file system."""
        with self._making:
            if self._container is None:
                url = self.cloud.blob.format(account=self.account)
                self._container = need("azure.storage.blob").ContainerClient(
                    url, self.file_system, credential=self._secret(), **storage_retries.settings()
                )
            return self._container

    def directories(self) -> Any:
        """The DFS client of the file system."""
        url = self.cloud.dfs.format(account=self.account)
        return need("azure.storage.filedatalake").FileSystemClient(
            url, self.file_system, credential=self._secret(), **storage_retries.settings()
        )

    def grant(self, who: str = "") -> str:
        """The command that gives this process, or `who` (an object id), its right on the file system."""
        return (
            f'az role assignment create --assignee {who or identity_of(self.cloud).who()} --role "{_ROLE}" --scope $(az storage account show '
            f"--name {self.account} --query id --output tsv)"
        )

    def admit(self) -> str:
        """The command that lets this machine through the account's network rules."""
        return (
            f"az storage account network-rule add --account-name {self.account} --ip-address <this machine's>"
        )

    def asking(self, what: str) -> Any:
        """Storage's errors in the engine's words, with the right that may be missing."""
        need("azure.core")
        return asking(
            f"{what} in {self.file_system}@{self.account}",
            self.grant,
            self.admit,
            "storage_account or file_system",
        )

    def _name(self, name: str) -> str:
        """A name below the file system."""
        if "://" in name:
            if not name.startswith(f"{self._root}/"):
                raise PlatformError(
                    f"{name} is not in the lake {self._root}", hint="report it with the id: nothing was read"
                )
            name = name.removeprefix(f"{self._root}/")
        return name.strip("/")

    # the lake
    def lake_root(self) -> str:
        return self._root

    def storage_options(self) -> dict[str, str]:
        out = {"azure_storage_account_name": self.account, **limits.delta()}
        if not self.cloud.built_in:
            out["azure_storage_endpoint"] = self.cloud.blob.format(account=self.account)
            out["allow_http"] = "true" if out["azure_storage_endpoint"].startswith("http://") else "false"
        if self.cloud.storage_auth == "key":
            out["azure_storage_account_key"] = _account_key()
        else:
            out["azure_storage_token"] = identity_of(self.cloud).bearer(STORAGE_AUDIENCE)
        return out

    def make_skeleton(self, folders: list[str]) -> None:
        need("azure.core")
        exists = need("azure.core.exceptions").ResourceExistsError
        fs = self.directories()
        for folder in folders:
            with self.asking(f"folder {folder}"):
                try:
                    fs.create_directory(self._name(folder))
                except exists:  # somebody made it, or files are in it: it stays as it is
                    continue

    def folders(self, folder: str) -> list[str]:
        need("azure.core")
        missing = need("azure.core.exceptions").ResourceNotFoundError
        with self.asking(f"folders in {folder}"):
            try:
                found = list(self.directories().get_paths(self._name(folder), recursive=False))
            except missing as e:
                if _code(e) != "PathNotFound":  # the file system itself, or the account
                    raise
                return []
        return sorted(p.name.rpartition("/")[2] for p in found if p.is_directory)

    def put_file(self, source: Path, target: str) -> None:
        with source.open("rb") as f, self.asking(f"writing {target}"):
            self.container().upload_blob(self._name(target), f, overwrite=True, max_concurrency=4)

    def list_files(self, folder: str) -> list[tuple[str, int, int]]:
        prefix = self._name(folder)
        out = []
        with self.asking(f"listing {folder}"):
            start = f"{prefix}/" if prefix else None
            for b in self.container().list_blobs(name_starts_with=start, include=["metadata"]):
                folder_mark = (b.metadata or {}).get("hdi_isfolder", "").lower() == "true"
                if not folder_mark and not b.name.rpartition("/")[2].startswith("."):
                    out.append((b.name, int(b.size), int(b.last_modified.timestamp() * 1e9)))
        return sorted(out)

    def read_file(self, name: str) -> bytes | None:
        missing = need("azure.core.exceptions").ResourceNotFoundError
        with self.asking(f"reading {name}"):
            try:
                return bytes(self.container().download_blob(self._name(name)).readall())
            except missing as e:
                if _code(e) in ("BlobNotFound", ""):
                    return None
                raise

    def write_file(self, name: str, content: bytes) -> None:
        with self.asking(f"writing {name}"):
            self.container().upload_blob(self._name(name), content, overwrite=True)

    def create_file(self, name: str, content: bytes) -> bool:
        exists = need("azure.core.exceptions").ResourceExistsError
        with self.asking(f"writing {name}"):
            try:
                self.container().upload_blob(self._name(name), content, overwrite=False)
            except exists:
                return False
        return True

    def remove_file(self, name: str) -> None:
        missing = need("azure.core.exceptions").ResourceNotFoundError
        with self.asking(f"removing {name}"):
            try:
                self.container().delete_blob(self._name(name))
            except missing:
                return

    # copies on this machine
    def here(self, folder: str, names: Sequence[str] | None = None, *, fixed: bool = True) -> str:
        base = self._name(folder)
        near = self.cache / base
        wanted: list[tuple[str, int | None, int | None]]
        if (
            names is None
        ):  # a folder as it is now: what is newer there, or gone, is not served from an old copy
            found = [(n[len(base) + 1 :], size, at) for n, size, at in self.list_files(folder)]
            _keep_only(near, {n for n, _, _ in found})
            wanted = [(n, size, at) for n, size, at in found if not _same(near / n, size, at)]
        else:
            wanted = [(n, None, None) for n in names if not (fixed and used(near / n))]
        if len(wanted) == 1:
            self._fetch(base, near, *wanted[0])
        elif wanted:
            with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
                list(pool.map(lambda w: self._fetch(base, near, *w), wanted))
        return str(near)

    def _fetch(self, base: str, near: Path, name: str, size: int | None, at: int | None) -> None:
        """One file, whole, under its name.

        Raises:
            FileNotFoundError: it is not in the lake (any more).
        """
        target = near / name
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            with self.asking(f"reading {base}/{name}"), new.open("wb") as f:
                self.container().download_blob(f"{base}/{name}", max_concurrency=4).readinto(f)
            if at is not None:
                os.utime(new, ns=(at, at))
            new.replace(target)
        except AzureMissingError as e:
            raise FileNotFoundError(f"{base}/{name} is not in the lake {self._root}") from e
        finally:
            new.unlink(missing_ok=True)

    def drafts(self, folder: str) -> str:
        here = self.cache / ".drafts" / self._name(folder)
        here.mkdir(parents=True, exist_ok=True)
        return str(here)

    def hand_in(self, folder: str, names: Sequence[str]) -> None:
        drafts, near = Path(self.drafts(folder)), self.cache / self._name(folder)

        def one(name: str) -> None:
            self.put_file(drafts / name, f"{folder}/{name}")
            (near / name).parent.mkdir(parents=True, exist_ok=True)
            (drafts / name).replace(near / name)  # to be read here it need not be fetched

        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            list(pool.map(one, names))

    def put_folder(self, source: Path, names: Iterable[str], target: str, since: float) -> None:
        """Copy files of a local folder below `target`, but for those there in the same size that came after `since`."""
        have = {n: size for n, size, at in self.list_files(target) if at / 1e9 > since}
        base = self._name(target)
        todo = [n for n in names if have.get(f"{base}/{n}") != (source / n).stat().st_size]
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            list(pool.map(lambda n: self.put_file(source / n, f"{target}/{n}"), todo))


def job_files(address: str, scratch: Path) -> AzureFiles:
    """The lake of a job, by its specification's address; the cloud comes from the environment variable.

    Raises:
        SettingsError: the address is none of this cloud's.
    """
    cloud = cloud_of()
    scheme, _, rest = address.partition("://")
    place = rest.partition("/")[0]
    file_system, at, host = place.partition("@")
    account, _, suffix = host.partition(".dfs.")
    if scheme != "abfss" or not at or not account or suffix != cloud.storage_suffix:
        raise SettingsError(
            f"{address} is no address of a lake in {cloud.name}",
            hint="write abfss://FILE_SYSTEM@ACCOUNT.dfs.SUFFIX/PATH, and set ESML_AZURE_CLOUD for another cloud",
        )
    from esml_engine.platforms.azure.tracking import keep_ready

    keep_ready(identity_of(cloud))
    logging.getLogger("azure").setLevel(
        logging.WARNING
    )  # at INFO each request and answer is a page of the log
    return AzureFiles(cloud, account, file_system, scratch / "lake")


def _account_key() -> str:
    key = os.environ.get("AZURE_STORAGE_ACCOUNT_KEY", "")
    if not key:
        raise SettingsError(
            "the cloud says storage_auth = key, but AZURE_STORAGE_ACCOUNT_KEY is not set",
            hint='set it, or use storage_auth = "token"',
        )
    return key


def _code(error: Any) -> str:
    found = getattr(error, "error_code", "") or ""
    return str(getattr(found, "value", found))


def _same(path: Path, size: int, at: int) -> bool:
    try:
        stat = path.stat() if used(path) else None
    except FileNotFoundError:  # cleared this very moment
        return False
    return stat is not None and stat.st_size == size and abs(stat.st_mtime_ns - at) < 1_000_000


def _keep_only(folder: Path, names: set[str]) -> None:
    if folder.is_dir():
        for path in [p for p in folder.rglob("*") if p.is_file()]:
            if path.relative_to(folder).as_posix() not in names:
                path.unlink()
