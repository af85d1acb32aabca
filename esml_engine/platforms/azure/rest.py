"""Requests that Azure's clients have no word for: run history, an endpoint's own key, the price list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from esml_engine.platforms.azure import limits
from esml_engine.platforms.azure.errors import asking
from esml_engine.platforms.azure.extra import need
from esml_engine.platforms.azure.identity import Identity


class Rest:
    """HTTPS with the same retries as the clients; a token goes along where an identity is given.

    Args:
        errors: makes the context that gives errors their words, so that a refusal names the role and its command.
    """

    def __init__(
        self, identity: Identity | None = None, audience: str = "", errors: Callable[[str], Any] = asking
    ) -> None:
        self._errors = errors
        policies = need("azure.core.pipeline.policies")
        chain = [policies.UserAgentPolicy("esml-cockpit"), limits.policy()]
        if identity is not None:
            chain.append(policies.BearerTokenCredentialPolicy(identity, f"{audience.rstrip('/')}/.default"))
        self._client = need("azure.core").PipelineClient("", policies=chain)

    def send(
        self,
        what: str,
        method: str,
        url: str,
        params: dict[str, str] | None = None,
        body: Any = None,
        *,
        repeat: bool = True,
    ) -> Any:
        """The answer (status below 300); its `.json()` and `.text()` are read already.

        Args:
            repeat: whether a request without an answer is asked again: not where twice is not as once.

        Raises:
            PlatformError: in the engine's words.
        """
        request = need("azure.core.rest").HttpRequest(method, url, params=params, json=body)
        with self._errors(what):
            once = {} if repeat else {"retry_total": 0}
            answer = self._client.send_request(request, read_timeout=limits.timeout(), **once)
            answer.raise_for_status()
            return answer
