"""How long and how often Azure is asked: bounded, and settable by environment variables (tests set them short)."""

from __future__ import annotations

import os
from typing import Any

from esml_engine.errors import SettingsError
from esml_engine.platforms.azure.extra import need


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        return float(text) if text else default
    except ValueError as e:
        raise SettingsError(
            f"{name} is not a number: {text!r}", hint=f"unset it, or write {default:g}"
        ) from e


def tries() -> int:
    """How often a failed request is repeated (`ESML_AZURE_TRIES`)."""
    return int(_number("ESML_AZURE_TRIES", 4))


def longest() -> float:
    """The longest wait before a repetition, also where the service asks for more (`ESML_AZURE_LONGEST_WAIT`, seconds)."""
    return _number("ESML_AZURE_LONGEST_WAIT", 20.0)


def timeout() -> float:
    """How long an answer may take (`ESML_AZURE_TIMEOUT`, seconds)."""
    return _number("ESML_AZURE_TIMEOUT", 60.0)


def poll() -> float:
    """How often a job or a long operation is looked at (`ESML_AZURE_POLL`, seconds)."""
    return _number("ESML_AZURE_POLL", 2.0)


def drain() -> float:
    """How often answered requests are collected from the lake (`ESML_AZURE_DRAIN`, seconds)."""
    return _number("ESML_AZURE_DRAIN", 15.0)


def cache_bytes() -> float:
    """How much of the lake is kept in copies on this machine (`ESML_AZURE_CACHE_GB`)."""
    return _number("ESML_AZURE_CACHE_GB", 50.0) * 1e9


def policy() -> Any:
    """Azure's retry policy with Retry-After capped: the clients would sleep it in full, however long."""
    policies = need("azure.core.pipeline.policies")
    cap = longest()

    class Capped(policies.RetryPolicy):  # type: ignore[misc, name-defined]
        def get_retry_after(self, response: Any) -> float | None:
            asked = super().get_retry_after(response)
            return None if asked is None else min(float(asked), cap)

    return Capped(retry_total=tries(), retry_backoff_factor=0.5, retry_backoff_max=cap)


def storage() -> dict[str, Any]:
    """The same for the storage clients, whose retries are set by words of their own."""
    return {
        "retry_total": tries(), "initial_backoff": min(1, int(longest())), "increment_base": 2, "max_single_put_size": 64 << 20,
        "connection_timeout": 20, "read_timeout": int(timeout()),
    }  # fmt: skip
