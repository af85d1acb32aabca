"""A table's log: opening a table that may not be there, and what its commits say, read file by file through the port.

(The Delta library's own look for a table and its history hold the interpreter for as long as a lake elsewhere answers.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from esml_engine.importing import import_whole
from esml_engine.platforms.base import Files, lake_error

_COMMIT = re.compile(r"(\d{20})\.json")


def open_table(uri: str, storage: dict[str, str], version: int | None = None) -> Any:
    """The table as it is now, or at one of Delta's versions; None where there is none.

    Raises:
        PlatformError: its lake, elsewhere, refused or did not answer.
    """
    from deltalake import DeltaTable

    import_whole("deltalake")
    from deltalake.exceptions import TableNotFoundError

    try:
        return DeltaTable(uri, version=version, storage_options=storage or None)
    except TableNotFoundError:
        return None
    except OSError as e:
        known = lake_error(uri, e)
        if known is None:
            if "://" not in uri and not Path(uri).is_dir():
                return None  # its folder is away
            raise
        raise known from e


def commit_of(files: Files, uri: str, number: int) -> dict[str, Any] | None:
    """What the commit of a version of the table says of itself (`commitInfo`), with that number; None where there is none."""
    text = files.read_file(f"{uri}/_delta_log/{number:020d}.json")
    if text is None:
        return None
    for line in text.decode().splitlines():
        action = json.loads(line) if "commitInfo" in line else {}
        if "commitInfo" in action:
            return {**action["commitInfo"], "version": number}
    return {"version": number}


def commits(files: Files, uri: str) -> Iterator[dict[str, Any]]:
    """All commits of a table, oldest first. Our tables keep their whole log."""
    for path, _, _ in files.list_files(f"{uri}/_delta_log"):
        found = _COMMIT.fullmatch(path.rpartition("/")[2])
        if found:
            said = commit_of(files, uri, int(found[1]))
            if said is not None:
                yield said
