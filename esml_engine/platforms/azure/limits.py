"""How long and how often Azure is asked: bounded, and settable by environment variables (tests set them short)."""

from __future__ import annotations

import math
import os
from typing import Any

from esml_engine.errors import SettingsError
from esml_engine.platforms.azure.extra import need


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        found = float(text) if text else default
    except ValueError:
        found = math.nan
    if not math.isfinite(found) or found < 0:
        raise SettingsError(
            f"{name} is not a number from 0 on: {text!r}", hint=f"unset it, or write {default:g}"
        )
    return found


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


_RETRY_AFTER = ("retry-after-ms", "x-ms-retry-after-ms", "Retry-After")
_REPEATED = frozenset(("GET", "HEAD", "PUT", "DELETE", "POST"))
"""The engine's POSTs only read, or name what they are about (a job to cancel): twice is as once. Where it is not, the request says so."""
_TOLD = ("ESML_AZURE_TRIES", "ESML_AZURE_LONGEST_WAIT", "ESML_AZURE_TIMEOUT")
_MLFLOW_TRIES, _MLFLOW_FACTOR = 10, 120  # MLflow refuses more


def told() -> dict[str, str]:
    """The limits that were set for this process, for jobs and deployments: on their machines they hold as well."""
    return {name: os.environ[name] for name in _TOLD if os.environ.get(name)}


def mlflow() -> dict[str, str]:
    """The same limits in MLflow's own variables: by itself it would repeat for minutes, and sleep as long as Retry-After asks.

    Its waits are the factor times 2, 4, 8, ...: the factor is such that the last one is within the longest.
    """
    count = min(max(0, tries()), _MLFLOW_TRIES)
    factor = min(int(longest() // 2 ** max(0, count - 1)), _MLFLOW_FACTOR)
    return {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(count),
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": str(max(0, factor)),
        "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": str(max(0.0, min(1.0, longest()))),
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, int(timeout()))),
        "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    }


def policy() -> Any:
    """Azure's retry policy with Retry-After capped: the clients would sleep it in full, however long, and fail at one they can't read."""
    policies = need("azure.core.pipeline.policies")
    cap = longest()

    class Capped(policies.RetryPolicy):  # type: ignore[misc, name-defined]
        def get_retry_after(self, response: Any) -> float | None:
            try:
                asked = super().get_retry_after(response)
            except (
                ValueError,
                TypeError,
                OverflowError,
            ):  # neither seconds nor a date: as if it were not there
                return None
            return None if asked is None else min(float(asked), cap)

        def configure_retries(self, options: Any) -> Any:
            options.setdefault("retry_on_methods", _REPEATED)
            return super().configure_retries(options)

        def send(self, request: Any) -> Any:
            """Also what an accepted operation asks for between two looks at it: its poller reads the header itself."""
            response = super().send(request)
            headers = response.http_response.headers
            if response.http_response.status_code < 400 and any(name in headers for name in _RETRY_AFTER):
                asked = self.get_retry_after(response)
                for name in _RETRY_AFTER:
                    headers.pop(name, None)
                if asked is not None:
                    headers["retry-after-ms"] = f"{1000 * asked:.0f}"
            return response

    return Capped(**each(), retry_backoff_factor=0.5, retry_backoff_max=cap)


def each() -> dict[str, int]:
    """How often, for each way to fail: by themselves the clients stop at three of a kind, whatever the total."""
    return dict.fromkeys(("retry_total", "retry_connect", "retry_read", "retry_status"), tries())


def delta() -> dict[str, str]:
    """The same in the words of Delta's own client, which would repeat ten times within three minutes."""
    wait = max(0.1, longest())
    return {
        "timeout": f"{timeout():g}s", "max_retries": str(tries()), "retry_timeout": f"{max(1.0, timeout()):g}s",
        "backoff_config.init_backoff": f"{min(0.1, wait):g}s", "backoff_config.max_backoff": f"{wait:g}s",
    }  # fmt: skip
