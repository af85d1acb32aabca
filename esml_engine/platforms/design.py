"""`lake.json` at a lake's root: the version of the design that its folders and tables follow."""

from __future__ import annotations

import json

from esml_engine.errors import ConflictError
from esml_engine.platforms.base import Files

DESIGN = 1
NAME = "lake.json"


def mark(files: Files) -> None:
    """Write the design's version where none stands; a lake of a newer engine is refused.

    Raises:
        ConflictError: as of `require_known`.
    """
    require_known(files)
    files.create_file(NAME, json.dumps({"design": DESIGN}).encode())


def require_known(files: Files) -> None:
    """Refuse a lake whose design this engine does not know. A lake without a mark is of the first design.

    Raises:
        ConflictError: it is newer than this engine, or its mark can't be read.
    """
    text = files.read_file(NAME)
    if text is None:
        return
    try:
        design = int(json.loads(text)["design"])
    except (ValueError, KeyError, TypeError) as e:
        raise ConflictError(
            f"{NAME} of the lake {files.lake_root()} is not to be read",
            hint='it should say {"design": 1}; restore it',
        ) from e
    if design > DESIGN:
        raise ConflictError(
            f"the lake {files.lake_root()} is of design {design}, this engine knows up to {DESIGN}",
            hint="install a newer esml-cockpit",
        )
