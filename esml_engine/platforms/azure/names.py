"""The engine's names as Azure allows them: deterministic, and different where the engine's differ."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from esml_engine.errors import UsageError


def _hash(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def endpoint(name: str, scope: str) -> str:
    """An online endpoint: 3 to 32 of a-z, 0-9 and dash, unique in a region; `scope` tells workspaces and lakes apart."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return f"{plain[:23].rstrip('-')}-{_hash(f'{scope}/{name}', 8)}"


def secret(name: str, scope: str) -> str:
    """A vault's secret: letters, digits and dash, at most 127; `scope` tells the lakes of estates that share a vault apart.

    Raises:
        UsageError: no name of a secret in any platform.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}", name):
        raise UsageError(f"{name!r} is no name of a secret", hint="letters, digits, dot, dash and underscore")
    plain = re.sub(r"[^A-Za-z0-9-]", "-", name)
    # a dash that was a dash, and one that was an underscore, are two secrets; vaults take no difference of case
    return f"{plain[:110]}-{_hash(f'{scope}/{name}', 8)}"


def job(run: str, step: str, attempt: str, content: bytes) -> str:
    """A job: of one specification, so that a repeated submission finds it."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "-", f"esml-{run}-{step}-{attempt}")
    return f"{plain}-{hashlib.sha256(content).hexdigest()[:10]}"


def environment_version(image: str, inference: Mapping[str, Any] | None = None) -> str:
    """The version of a registered environment: of one image and its routes, as a version never changes; begins with the tag."""
    label = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else "latest"
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", label)[:40]
    routes = json.dumps(inference, sort_keys=True) if inference else ""
    return f"{plain}-{_hash(f'{image} {routes}', 8)}"


def tag(value: object) -> str:
    """A tag's value: at most 256 characters."""
    text = str(value)
    return text if len(text) <= 256 else f"{text[:244]}…{_hash(text, 10)}"
