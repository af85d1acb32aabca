"""The DFS API of a hierarchical account, translated to blobs.

It has no published example in the folder of examples: shapes are those that azure-storage-file-datalake reads.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote, unquote, urlsplit

from tests.azure.cloud.account import Account, stamp, trouble
from tests.azure.cloud.wire import Answer, Call

PLAIN_ACL = "user::rwx,group::r-x,other::---"


def create(a: Account, call: Call, fs: str, path: str, kind: str) -> Answer:
    """Path_Create: a directory, or an empty file."""
    with a.lock:
        if not a.head_container(fs):
            raise trouble(404, "FilesystemNotFound", "The specified filesystem does not exist.")
        file, folder = a.head(fs, path) is not None, a.is_directory(fs, path)
        if call.headers.get("if-none-match") == "*" and (file or folder):
            raise trouble(409, "PathAlreadyExists", "The specified path already exists.")
        if (kind == "directory" and file) or (kind == "file" and folder):
            raise trouble(409, "ResourceTypeMismatch", "The resource type is of another kind.")
        a.grow(fs, path)
        if kind == "directory":
            a.directories[fs].add(path)
            return stamp(
                201, ETag='"0x8DDIRECTORY"', Last_Modified=format_datetime(datetime.now(UTC), usegmt=True)
            )
        _, got, _ = a.send("PUT", f"{fs}/{path}", headers={"x-ms-blob-type": "BlockBlob"})
        a.pending.pop((fs, path), None)
        return stamp(201, ETag=got.get("etag", ""), Last_Modified=got.get("last-modified", ""))


def append(a: Account, call: Call, fs: str, path: str, how: str) -> Answer:
    """Path_AppendData and Path_FlushData: kept aside until the flush, as the service does."""
    key, position = (fs, path), int(call.query.get("position", "0"))
    with a.lock:
        if a.head(fs, path) is None:
            raise trouble(404, "PathNotFound", "The specified path does not exist.")
        if key not in a.pending:
            _, _, old = a.send("GET", f"{fs}/{path}")
            a.pending[key] = bytearray(old)
        kept = a.pending[key]
        if position != len(kept):
            raise trouble(
                400,
                "InvalidFlushPosition" if how == "flush" else "InvalidAppendPosition",
                "The position is not the length of the file.",
            )
        if how == "append":
            kept += call.body
            return stamp(202)
        headers = {"x-ms-blob-type": "BlockBlob"} | {
            h: call.headers.get(h) for h in ("if-match", "if-none-match") if call.headers.get(h)
        }
        status, got, body = a.send("PUT", f"{fs}/{path}", headers=headers, body=bytes(kept))
        if status != 201:
            return Answer(status, body, {"x-ms-error-code": got.get("x-ms-error-code", "")})
        del a.pending[key]
        return stamp(200, ETag=got["etag"], Last_Modified=got["last-modified"])


def list_paths(a: Account, call: Call, fs: str) -> Answer:
    """FileSystem_ListPaths."""
    top = call.query.get("directory", "").strip("/")
    deep = call.query.get("recursive", "").lower() == "true"
    start = top + "/" if top else ""
    found = a.files(fs, start)
    folders = {d for d in a.directories.get(fs, ()) if d.startswith(start) and d != top}
    for f in found:
        steps = f["name"].split("/")[:-1]
        folders.update(
            p for i in range(len(steps)) if (p := "/".join(steps[: i + 1])).startswith(start) and p != top
        )
    if top and not found and not folders and top not in a.directories.get(fs, ()):
        raise trouble(404, "PathNotFound", "The specified path does not exist.")
    common = {"owner": "$superuser", "group": "$superuser"}
    today = format_datetime(datetime.now(UTC), usegmt=True)
    rows = [
        {"name": d, "isDirectory": "true", "contentLength": "0", "lastModified": today, "etag": "0x8DDIRECTORY",
            "permissions": "rwxr-x---", **common}
        for d in folders
    ] + [
        {"name": f["name"], "contentLength": f["length"], "lastModified": f["modified"], "etag": f["etag"].strip('"'),
            "permissions": "rw-r-----", **common}
        for f in found
    ]  # fmt: skip
    rows = sorted((r for r in rows if deep or "/" not in r["name"][len(start) :]), key=lambda r: r["name"])
    after = call.query.get("continuation", "")
    rows = [r for r in rows if r["name"] > after]
    most = min(int(call.query.get("maxResults", "5000")), 5000)
    more = {"x_ms_continuation": rows[most - 1]["name"]} if len(rows) > most else {}
    return stamp(200, {"paths": rows[:most]}, **more)


def delete(a: Account, fs: str, path: str) -> Answer:
    """Path_Delete with all below it."""
    with a.lock:
        files = a.files(fs, path + "/")
        known = a.directories.setdefault(fs, set())
        if not files and path not in known:
            if a.send("DELETE", f"{fs}/{path}")[0] != 202:
                raise trouble(404, "PathNotFound", "The specified path does not exist.")
            return stamp(200)
        for f in files:
            a.send("DELETE", f"{fs}/{f['name']}")
        known -= {d for d in known if d == path or d.startswith(path + "/")}
    return stamp(200)


def rename(a: Account, call: Call, fs: str, path: str) -> Answer:
    """Path_Create with x-ms-rename-source: a file or a directory moves."""
    from_fs, _, source = (
        unquote(urlsplit(call.headers.get("x-ms-rename-source")).path).strip("/").partition("/")
    )
    with a.lock:
        moved = (
            [source]
            if a.head(from_fs, source) is not None
            else [f["name"] for f in a.files(from_fs, source + "/")]
        )
        folder = source in a.directories.get(from_fs, set())
        if not moved and not folder:
            raise trouble(404, "SourcePathNotFound", "The source path for a rename operation does not exist.")
        if call.headers.get("if-none-match") == "*" and (
            a.head(fs, path) is not None or a.is_directory(fs, path)
        ):
            raise trouble(409, "PathAlreadyExists", "The specified path already exists.")
        a.grow(fs, path)
        for name in moved:
            goal = path + name[len(source) :]
            where = a.azurite.signed(a.name, quote(f"{from_fs}/{name}", safe="/~"))
            status, _, body = a.send("PUT", f"{fs}/{goal}", headers={"x-ms-copy-source": where})
            if status != 202:
                raise trouble(409, "RenameFailed", body.decode(errors="replace")[:200])
            a.send("DELETE", f"{from_fs}/{name}")
        known = a.directories.setdefault(from_fs, set())
        old = {d for d in known if d == source or d.startswith(source + "/")}
        known -= old
        a.directories.setdefault(fs, set()).update(path + d[len(source) :] for d in old)
    return stamp(201)


def access(a: Account, call: Call, fs: str, path: str, how: str) -> Answer:
    """Path_SetAccessControl, Path_SetAccessControlRecursive, Path_GetProperties with action getAccessControl."""
    path = path.strip("/")
    if path and a.head(fs, path) is None and not a.is_directory(fs, path):
        raise trouble(404, "PathNotFound", "The specified path does not exist.")
    kept = a.access.setdefault(
        (fs, path),
        {"owner": "$superuser", "group": "$superuser", "permissions": "rwxr-x---", "acl": PLAIN_ACL},
    )
    if how == "getAccessControl":
        return stamp(200, **{f"x_ms_{k}": v for k, v in kept.items()})
    said = {k: call.headers.get(f"x-ms-{k}") for k in kept if call.headers.get(f"x-ms-{k}")}
    if how == "setAccessControl":
        kept.update(said)
        return stamp(200)
    mode = call.query.get("mode", "set")
    below = [f["name"] for f in a.files(fs, path + "/" if path else "")]
    folders = [d for d in a.directories.get(fs, ()) if d.startswith(path + "/" if path else "")]
    for name in [path, *below, *folders]:
        mine = a.access.setdefault((fs, name), dict(kept))
        mine["acl"] = _merge(mine["acl"], said.get("acl", ""), mode)
    return stamp(
        200,
        {
            "directoriesSuccessful": len(folders) + 1,
            "filesSuccessful": len(below),
            "failureCount": 0,
            "failedEntries": [],
        },
    )


def _merge(old: str, new: str, mode: str) -> str:
    """An access list after set, modify or remove: an entry is named by all but its rights."""
    if mode == "set":
        return new
    entries = {e.rsplit(":", 1)[0]: e for e in old.split(",") if e}
    for e in (x for x in new.split(",") if x):
        if mode == "remove":
            entries.pop(e, None)
        else:
            entries[e.rsplit(":", 1)[0]] = e
    return ",".join(entries.values())
