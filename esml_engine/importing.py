"""Packages that are imported where they are first needed, which may be in two threads at once."""

from __future__ import annotations

import importlib


def import_whole(package: str) -> None:
    """Import a package before a part of it.

    A thread that begins with the part holds the part's lock and waits for the package, whose own import in another thread
    wants the part: Python then lets one of them meet it half made ("partially initialized module").
    """
    importlib.import_module(package)
