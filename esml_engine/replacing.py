"""Files that others read at any time: replaced whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def put(path: Path, content: str | bytes | memoryview, *, mode: int = 0o666) -> None:
    """Replace a file in one step; its folder is made, and the file has `mode` (less the umask) from its first byte on.

    Whoever is killed meanwhile leaves the old file as it was, and a hidden one beside it.

    Raises:
        OSError: it can't be written; the old file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as f:
            f.write(content.encode() if isinstance(content, str) else content)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
