"""Idempotency keys: the same key, asked for the same, is the same act, also after it ended."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from esml_engine.door.facts import Call
from esml_engine.door.site import Site
from esml_engine.errors import UsageError
from esml_engine.runs import records


def run_of(site: Site, call: Call, key: str) -> str | None:
    """The run that an idempotency key names, when it is of this very act.

    Raises:
        UsageError: the key names a run of something else.
    """
    found = records.by_key(site.store, key)
    if found is None:
        return None
    same_act(call, found, asked_of(found["params"]), key)
    return str(found["run"])


def same_act(call: Call, found: Any, asked: str, key: str) -> None:
    """`asked`: the fingerprint of what was asked for under the key; '' from when it was not kept."""
    if (found["act"], found["object"], found["env"] or "") != (call.act, call.object, call.env or ""):
        raise UsageError(
            f"key {key} names a run of another act already", hint="take a key of its own for each act"
        )
    if asked and asked != asked_of(call.params):
        raise UsageError(
            f"key {key} names {call.act} of {call.object} with other parameters already",
            hint="repeat it with the same parameters, or take a key of its own for each act",
        )


def asked_of(params: dict[str, Any]) -> str:
    """A fingerprint of an act's parameters; files by name and content: a retry may bring them by another path."""
    files = [(Path(str(f)).name, _content(Path(str(f)))) for f in params.get("files", ())]
    text = json.dumps({**params, "files": files}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _content(path: Path) -> str:
    """A file's hash; '' where there is none to read, which the act itself says."""
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError:
        return ""
