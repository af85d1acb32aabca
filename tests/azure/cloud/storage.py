"""The storage account: the Blob API goes through to Azurite, the DFS API of a hierarchical account is translated to it."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from xml.etree import ElementTree

from tests.azure.cloud.account import Account, stamp
from tests.azure.cloud.dfs import access, append, create, delete, list_paths, rename
from tests.azure.cloud.passing import back, onward
from tests.azure.cloud.wire import STORAGE, Answer, Call, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud


@operation("Storage.Any", "*", "/{rest*}", versions=None, service=STORAGE, audience=STORAGE)
def any_call(cloud: Cloud, call: Call) -> Answer:
    """Storage.Any: sorts DFS from Blob calls as their query tells."""
    account = cloud.accounts[call.account]
    fs, _, path = call["rest"].strip("/").partition("/")
    q, how = call.query, call.query.get("action", "")
    if "x-ms-rename-source" in call.headers:
        return rename(account, call, fs, path)
    if call.method == "PUT" and q.get("resource") in ("directory", "file"):
        return create(account, call, fs, path, q["resource"])
    if call.method == "GET" and q.get("resource") == "filesystem" and fs:
        return list_paths(account, call, fs)
    if call.method == "DELETE" and path and "recursive" in q:
        return delete(account, fs, path)
    if call.method in ("PATCH", "PUT") and how in ("append", "flush"):
        return append(account, call, fs, path, how)
    if how in ("setAccessControl", "getAccessControl", "setAccessControlRecursive"):
        return access(account, call, fs, path, how)
    return pass_through(account, call, fs, path)


def pass_through(a: Account, call: Call, fs: str, path: str) -> Answer:
    """Every Blob operation, carried out by Azurite; a directory answers HEAD as the hierarchical service does."""
    split = urlsplit(call.target)
    headers = onward(call.headers)
    if call.query.get("comp") == "batch":
        return batch(a, call)
    if source := headers.get("x-ms-copy-source"):
        there = urlsplit(source)
        headers["x-ms-copy-source"] = a.azurite.signed(a.name, there.path.strip("/"), there.query)
    if call.query.get("resource") == "filesystem" and call.method in (
        "PUT",
        "DELETE",
        "HEAD",
    ):  # FileSystem_Create and the like
        split = split._replace(query="restype=container")
    status, got, body = a.azurite.send(
        a.name, call.method, split.path.lstrip("/"), split.query, headers, call.body
    )
    if status == 200 and call.method == "GET" and not path and call.query.get("comp") == "list":
        body = with_directories(a, fs, call, body)
    if status == 201 and call.method == "PUT" and path and call.query.get("comp") in (None, "blocklist"):
        a.grow(fs, path)
    if (
        status == 404
        and call.method == "HEAD"
        and path
        and a.head_container(fs)
        and a.is_directory(fs, path.rstrip("/"))
    ):
        return stamp(200, x_ms_meta_hdi_isfolder="true", x_ms_resource_type="directory", Content_Length="0",
            x_ms_blob_type="BlockBlob",
                     ETag='"0x8DDIRECTORY"', Last_Modified=format_datetime(datetime.now(UTC), usegmt=True))  # fmt: skip
    if status == 202 and call.method == "DELETE" and path:
        a.pending.pop((fs, path), None)
    kept = back(got)
    if call.method == "HEAD" and "content-length" in got:
        kept["content-length"] = got["content-length"]
    return Answer(status, body, kept)


def with_directories(a: Account, fs: str, call: Call, body: bytes) -> bytes:
    """Container_ListBlobs of a hierarchical account: directories stand among the blobs, of type directory and with their mark.

    All on the first page here; with a delimiter they come as prefixes, as Azurite says them of what lies below.
    """
    if "restype" not in call.query or call.query.get("marker") or call.query.get("delimiter"):
        return body
    prefix, today = call.query.get("prefix", ""), format_datetime(datetime.now(UTC), usegmt=True)
    marked = "metadata" in call.query.get("include", "")
    tree = ElementTree.fromstring(body.decode("utf-8-sig"))
    blobs = tree.find("Blobs")
    if blobs is None:
        return body
    for name in sorted(d for d in a.directories.get(fs, ()) if d.startswith(prefix)):
        blob = ElementTree.SubElement(blobs, "Blob")
        ElementTree.SubElement(blob, "Name").text = name
        about = {
            "Creation-Time": today, "Last-Modified": today, "Etag": "0x8DDIRECTORY", "ResourceType": "directory",
            "Content-Length": "0",
            "Content-Type": "application/octet-stream", "BlobType": "BlockBlob", "LeaseStatus": "unlocked",
            "LeaseState": "available",
        }  # fmt: skip
        properties = ElementTree.SubElement(blob, "Properties")
        for k, v in about.items():
            ElementTree.SubElement(properties, k).text = v
        if marked:
            ElementTree.SubElement(ElementTree.SubElement(blob, "Metadata"), "hdi_isfolder").text = "true"
    blobs[:] = sorted(blobs, key=lambda b: b.findtext("Name") or "")
    return b'<?xml version="1.0" encoding="utf-8"?>' + ElementTree.tostring(tree)


def batch(a: Account, call: Call) -> Answer:
    """Container_SubmitBatch, Service_SubmitBatch: deletes, one by one."""
    mark = f"batchresponse_{uuid.uuid4()}"
    out = []
    parts = re.findall(r"^(DELETE) (\S+) HTTP/1\.1\r?$", call.body.decode(), re.MULTILINE)
    for i, (method, target) in enumerate(parts):
        there = urlsplit(target)
        status, got, _ = a.azurite.send(a.name, method, there.path.lstrip("/"), there.query)
        lines = [
            f"--{mark}",
            "Content-Type: application/http",
            f"Content-ID: {i}",
            "",
            f"HTTP/1.1 {status} {'Accepted' if status == 202 else 'Error'}",
        ]
        if status != 202:
            lines.append(f"x-ms-error-code: {got.get('x-ms-error-code', '')}")
        out += [*lines, f"x-ms-request-id: {uuid.uuid4()}", "x-ms-version: 2025-05-05", "", ""]
    out += [f"--{mark}--", ""]
    return Answer(
        202,
        "\r\n".join(out).encode(),
        {"content-type": f"multipart/mixed; boundary={mark}", "x-ms-version": "2025-05-05"},
    )
