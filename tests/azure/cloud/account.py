"""One hierarchical storage account over Azurite: directories and access lists, which Azurite has not, are kept here."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from tests.azure.cloud.wire import Answer, Refusal

if TYPE_CHECKING:
    from tests.azure.cloud.azurite import Azurite


class Account:
    """One hierarchical storage account."""

    def __init__(self, azurite: Azurite, name: str, url: str) -> None:
        self.azurite, self.name, self.url = azurite, name, url
        self.lock = threading.RLock()
        self.directories: dict[str, set[str]] = {}
        self.access: dict[tuple[str, str], dict[str, str]] = {}
        self.pending: dict[tuple[str, str], bytearray] = {}

    def send(
        self,
        method: str,
        path: str,
        query: str = "",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> tuple[int, dict[str, str], bytes]:
        """A request to Azurite; `path` unquoted: file system and path."""
        return self.azurite.send(self.name, method, quote(path, safe="/~"), query, headers, body)

    def grow(self, fs: str, path: str) -> None:
        """The directories above a path exist from now on."""
        steps = path.split("/")[:-1]
        with self.lock:
            self.directories.setdefault(fs, set()).update("/".join(steps[: i + 1]) for i in range(len(steps)))

    def files(self, fs: str, prefix: str) -> list[dict[str, str]]:
        """Blobs below a prefix: name, length, modified, etag."""
        out, marker = [], ""
        while True:
            query = urlencode({"restype": "container", "comp": "list", "prefix": prefix, "marker": marker})
            status, _, body = self.send("GET", fs, query)
            if status != 200:
                raise Refusal(
                    404,
                    "FilesystemNotFound",
                    "The specified filesystem does not exist.",
                    {"x-ms-error-code": "FilesystemNotFound"},
                )
            tree = ElementTree.fromstring(body.decode("utf-8-sig"))
            for b in tree.iter("Blob"):
                out.append(
                    {"name": b.findtext("Name", ""), "length": b.findtext("Properties/Content-Length", "0"),
                     "modified": b.findtext("Properties/Last-Modified", ""), "etag": b.findtext("Properties/Etag", "")}
                )  # fmt: skip
            marker = tree.findtext("NextMarker") or ""
            if not marker:
                return out

    def head(self, fs: str, path: str) -> dict[str, str] | None:
        """A file's headers, or None."""
        status, headers, _ = self.send("HEAD", f"{fs}/{path}")
        return headers if status == 200 else None

    def head_container(self, fs: str) -> bool:
        """Whether a file system exists."""
        return self.send("HEAD", fs, "restype=container")[0] == 200

    def is_directory(self, fs: str, path: str) -> bool:
        """Made, or above a file."""
        return path in self.directories.get(fs, ()) or bool(self.files(fs, path + "/"))


def trouble(status: int, code: str, message: str) -> Refusal:
    """A DFS error: the code is in the body and in a header."""
    return Refusal(status, code, message, {"x-ms-error-code": code})


def stamp(status: int = 200, body: Any = None, **headers: str) -> Answer:
    """An answer with what every DFS answer carries."""
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return Answer(
        status, body,
        {"x-ms-version": "2025-05-05", "x-ms-request-id": str(uuid.uuid4()),
            "Date": format_datetime(datetime.now(UTC), usegmt=True), **named},
    )  # fmt: skip
