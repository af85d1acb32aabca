"""A table's log: opening a table that may not be there, and what its commits say, read file by file through the port.

(The Delta library's own look for a table and its history hold the interpreter for as long as a lake elsewhere answers.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from esml_engine.errors import ConflictError, EsmlError, FailedError, of_disk
from esml_engine.importing import import_whole
from esml_engine.platforms.base import Files, lake_error

APP = "esml"
"""Under which name a commit keeps the facts of our version, and its number as the application's transaction."""
_COMMIT = re.compile(r"(\d{20})\.json")


@contextmanager
def talking(uri: str, moved: str = "") -> Iterator[None]:
    """Turn what Delta's library raises, reading or writing a table, into the engine's errors; every call of it stands in this.

    What this machine's own disk says stays as it is: where it takes no more is told apart by whoever shows it.

    Args:
        uri: the table's folder.
        moved: what to say when the log has another commit where this one should be.

    Raises:
        ConflictError: the commit's number is taken.
        PlatformError: the table's lake, elsewhere, refused or did not answer.
    """
    import_whole("deltalake")
    from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

    try:
        yield
    except (EsmlError, TableNotFoundError):
        raise
    except CommitFailedError as e:
        raise ConflictError(
            moved or f"the table at {uri} was changed by somebody else meanwhile",
            hint="retry; if it stays, the table moved: plan and start again",
        ) from e
    except OSError as e:
        known = lake_error(uri, e)
        if known is None:
            raise
        raise known from e
    except DeltaError as e:
        elsewhere = "://" in uri
        if not elsewhere and of_disk(e):
            raise
        words = str(e).split("\n", 1)[0][:300]  # a trace of its own follows
        mend = (
            "retry; report it if it stays"
            if elsewhere
            else (
                "its log was changed or damaged by something else: put the table's folder back from a backup"
            )
        )
        raise FailedError(f"Delta can't work on {uri}: {words}", hint=mend) from e


def open_table(uri: str, storage: dict[str, str], version: int | None = None) -> Any:
    """The table as it is now, or at one of Delta's versions; None where there is none.

    Raises:
        PlatformError: its lake, elsewhere, refused or did not answer.
    """
    from deltalake import DeltaTable

    import_whole("deltalake")
    from deltalake.exceptions import TableNotFoundError

    try:
        with talking(uri):
            return DeltaTable(uri, version=version, storage_options=storage or None)
    except TableNotFoundError:
        return None
    except OSError:
        if "://" not in uri and not Path(uri).is_dir():
            return None  # its folder is away
        raise


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
