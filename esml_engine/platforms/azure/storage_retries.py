"""Repetition of the storage clients' requests, whose own policy waits as long as it likes and never repeats a 429."""

from __future__ import annotations

import random
from typing import Any

from esml_engine.platforms.azure import limits
from esml_engine.platforms.azure.extra import need

_FINAL = (501, 505)  # not implemented: no repetition helps


def settings() -> dict[str, Any]:
    """What a storage client is made with."""
    return {
        "retry_policy": policy(), "max_single_put_size": 64 << 20, "connection_timeout": 20,
        "read_timeout": int(limits.timeout()),
    }  # fmt: skip


def policy() -> Any:
    """The clients' retry policy: as many repetitions and as long waits as are set, with Retry-After up to the longest."""
    core = need("azure.core.exceptions")
    cap, capped = limits.longest(), limits.policy()

    class Bounded(need("azure.storage.blob").ExponentialRetry):  # type: ignore[misc]
        def get_backoff_time(self, settings: dict[str, Any]) -> float:
            asked = settings.pop("asked", None)
            grown = 0.5 * 2 ** settings["count"] * random.uniform(0.8, 1.2)
            return float(min(cap, grown if asked is None else asked))

        def send(self, request: Any) -> Any:
            settings = self.configure_retries(request)
            while True:
                response: Any = None
                error: Any = None
                try:
                    response = self.next.send(request)
                except core.ClientAuthenticationError:
                    raise
                except core.AzureError as e:
                    error = e
                if not self._again(settings, request.http_request, response, error):
                    break
                self.sleep(settings, request.context.transport)
            if error is not None:
                raise error
            if settings["history"]:
                response.context["history"] = settings["history"]
            response.http_response.location_mode = settings["mode"]
            return response

        def _again(self, settings: dict[str, Any], request: Any, response: Any, error: Any) -> bool:
            if error is not None:
                return bool(self.increment(settings, request=request, error=error))
            answer = response.http_response
            if not repeats(answer.status_code):
                return False
            settings["asked"] = capped.get_retry_after(response)
            return bool(self.increment(settings, request=request, response=answer))

    return Bounded(**limits.each())


def repeats(status: int) -> bool:
    """Whether a request that was answered so may go later."""
    return status in (408, 429) or (status >= 500 and status not in _FINAL)
