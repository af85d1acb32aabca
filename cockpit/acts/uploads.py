"""Files that a person gave to a page, kept below the estate until the act that reads them has run."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

from esml_engine import replacing
from esml_engine.errors import UsageError
from esml_engine.estate import Estate

KEEP_SECONDS = 24 * 3600.0


def folder(estate: Estate) -> Path:
    """Where uploads lie."""
    return estate.site.state / "uploads"


def kept(estate: Estate, given: Any) -> str:
    """The path of an uploaded file (Streamlit's `UploadedFile`), under its content's hash and its own name.

    Asked again for the same content, the same path: a plan made of it stays the same.

    Raises:
        UsageError: its name is no file name.
    """
    name = Path(str(given.name).replace("\\", "/")).name
    if not name or name.startswith("."):
        raise UsageError(f"{given.name!r} is no file name", hint="give the file a name")
    body = given.getbuffer()
    target = folder(estate) / hashlib.sha256(body).hexdigest()[:16] / name
    if not target.exists():
        replacing.put(target, body)
        swept(estate)
    else:
        os.utime(target)
    return str(target)


def swept(estate: Estate, now: float | None = None) -> int:
    """Remove uploads that nobody used for a day; returns how many."""
    gone = 0
    for path in folder(estate).glob("*/*"):
        if (now or time.time()) - path.stat().st_mtime > KEEP_SECONDS:
            path.unlink(missing_ok=True)
            gone += 1
    for empty in folder(estate).glob("*"):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()
    return gone
