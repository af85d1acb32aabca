"""Packages that are imported where they are first needed, which may be in two threads at once."""

from __future__ import annotations

import importlib
import threading
from types import ModuleType

_one_at_a_time = threading.RLock()
"""Packages that need parts of each other are begun by one thread: two would each wait for the other's half."""


def import_whole(package: str) -> ModuleType:
    """Import a package before a part of it is asked for.

    A thread that begins with the part holds the part's lock and waits for the package, whose own import in another thread
    wants the part: Python calls that a deadlock and lets one of them meet it half made ("partially initialized module").
    """
    with _one_at_a_time:
        return importlib.import_module(package)
