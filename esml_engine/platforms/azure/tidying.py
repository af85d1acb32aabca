"""What is copied is not kept for ever: files brought into the lake, and copies of the lake's files on this machine.

Each file goes by itself and can be had again, so a crash at any moment leaves fewer copies and nothing else.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esml_engine.errors import EsmlError
from esml_engine.platforms.azure import limits
from esml_engine.platforms.azure.extra import need

if TYPE_CHECKING:
    from esml_engine.platforms.azure.lake import AzureFiles

log = logging.getLogger("esml.azure")

DAY = 86_400.0
BROUGHT = "brought"
BROUGHT_DAYS = 14.0
REFRESHED_DAYS = 7.0  # what is older is brought again, so that a job has a week at least from its submission
CACHE_DAYS = 7.0
DRAFT_DAYS = 1.0
IN_USE = 6 * 3600.0  # a copy asked for so lately may be about to be read
TOUCHED = 3600.0  # how exactly a copy's last use is noted


def used(path: Path) -> bool:
    """Whether a copy is here; if so its last use is noted (as its access time; the modified time is the lake's)."""
    try:
        found = path.stat()
        if time.time() - found.st_atime > TOUCHED:
            os.utime(path, ns=(time.time_ns(), found.st_mtime_ns))
    except FileNotFoundError:
        return False
    return path.is_file()


def sweep_cache(cache: Path, most_bytes: float, now: float) -> int:
    """Remove copies not used for `CACHE_DAYS`, then the longest unused until the rest fits; returns bytes removed.

    What was used within `IN_USE` stays in any case, drafts for `DRAFT_DAYS`.
    """
    found, freed, total = [], 0, 0
    for path in cache.rglob("*"):
        try:
            its = path.lstat()
        except FileNotFoundError:  # somebody else's turn
            continue
        if not path.is_file():
            continue
        if ".drafts" in path.relative_to(cache).parts[:1] or path.name.endswith(".tmp"):
            if now - its.st_mtime > DRAFT_DAYS * DAY:
                path.unlink(missing_ok=True)
            continue
        last = max(
            its.st_atime, its.st_ctime
        )  # the change time is when it came, whatever its modified time says
        found.append((last, its.st_size, path))
        total += its.st_size
    for last, size, path in sorted(found):
        too_old, too_much = now - last > CACHE_DAYS * DAY, total > most_bytes and now - last > IN_USE
        if too_old or too_much:
            path.unlink(missing_ok=True)
            total, freed = total - size, freed + size
    return freed


def sweep_brought(files: AzureFiles, now: float) -> int:
    """Remove what was brought longer than `BROUGHT_DAYS` ago; returns how many files.

    The service itself compares the moment: what was brought again meanwhile stays.
    """
    errors = need("azure.core.exceptions")
    until, gone = now - BROUGHT_DAYS * DAY, 0
    for name, _, at in files.list_files(BROUGHT):
        if at / 1e9 >= until:
            continue
        with files.asking(f"removing {name}"):
            try:
                moment = dt.datetime.fromtimestamp(until, dt.UTC)
                files.container().delete_blob(name, if_unmodified_since=moment)
                gone += 1
            except (errors.ResourceNotFoundError, errors.ResourceModifiedError):
                continue
    return gone


class Tidying:
    """Sweeps in a thread of its own, once a day over all processes of this machine.

    Args:
        folder: keeps a mark of the last time for each kind.
    """

    def __init__(self, files: AzureFiles, folder: Path) -> None:
        self.files, self.folder = files, folder
        self._begun: set[str] = set()

    def cache(self) -> None:
        """Copies on this machine; returns at once."""
        self._once("cache", lambda: sweep_cache(self.files.cache, limits.cache_bytes(), time.time()))

    def brought(self) -> None:
        """What was brought into the lake; returns at once."""
        self._once("brought", lambda: sweep_brought(self.files, time.time()))

    def _once(self, kind: str, sweep: Callable[[], Any]) -> None:
        mark = self.folder / f"swept-{kind}"
        if kind in self._begun or (mark.exists() and time.time() - mark.stat().st_mtime < DAY):
            return
        self._begun.add(kind)
        threading.Thread(
            target=self._sweep, args=(kind, mark, sweep), name=f"esml-{kind}", daemon=True
        ).start()

    def _sweep(self, kind: str, mark: Path, sweep: Callable[[], Any]) -> None:
        try:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
            gone = sweep()
        except (OSError, EsmlError) as e:  # copies stay for another day; the work goes on
            log.warning("clearing %s: %s", kind, e)
        else:
            log.info("clearing %s: %s", kind, gone)
        finally:
            self._begun.discard(kind)
