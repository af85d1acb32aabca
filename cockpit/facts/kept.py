"""Small files of the cockpit's own below the estate's state: for people's comfort, evidence of nothing."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from esml_engine import replacing
from esml_engine.door.site import Site

lock = threading.Lock()
"""Held from reading a file to writing it again."""


def path_of(site: Site, name: str) -> Path:
    """Where a file lies."""
    return site.state / "cockpit" / f"{name}.json"


def read(site: Site, name: str) -> dict[str, dict[str, Any]]:
    """What was kept, by person; an entry that can't be read, such as another version's, is left out."""
    try:
        found = json.loads(path_of(site, name).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # none yet, or cut by a full disk: everybody is new
        return {}
    if not isinstance(found, dict):
        return {}
    return {who: its for who, its in found.items() if isinstance(its, dict)}


def write(site: Site, name: str, kept: dict[str, dict[str, Any]]) -> None:
    """Replace the file in one step: other processes read it at any time."""
    replacing.put(path_of(site, name), json.dumps(kept, indent=1))
