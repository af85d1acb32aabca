"""Access tokens as Entra ID forms them (RS256), and their check. One tenant, any number of principals."""

from __future__ import annotations

import time
import uuid
from typing import Any

import jwt
from azure.core.credentials import AccessToken, AccessTokenInfo
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.azure.cloud.wire import Refusal

TENANT = "11111111-2222-3333-4444-555555555555"
ISSUER = f"https://sts.windows.net/{TENANT}/"


class Tokens:
    """Issues and checks tokens; `lifetime` in seconds may be shortened to see clients renew."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.lifetime = 3600.0
        self.issued: list[dict[str, Any]] = []

    def issue(self, resource: str, principal: str, *, seconds: float | None = None) -> tuple[str, int]:
        """(token, its end in Unix seconds) for an audience."""
        now = time.time()
        end = int(now + (self.lifetime if seconds is None else seconds))
        claims = {
            "aud": resource.removesuffix("/.default").rstrip("/"), "iss": ISSUER, "iat": int(now) - 1, "nbf": int(now) - 1,
            "exp": end, "oid": principal, "sub": principal, "appid": principal, "tid": TENANT, "ver": "1.0",
            "uti": uuid.uuid4().hex,
        }  # fmt: skip
        self.issued.append(claims)
        return jwt.encode(claims, self._key, algorithm="RS256"), end

    def check(self, authorization: str, audiences: set[str]) -> str:
        """The principal of a bearer token; raises `Refusal` (401) saying what is wrong with it."""
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token:
            raise Refusal(
                401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
            )
        try:
            claims = jwt.decode(
                token, self._key.public_key(), algorithms=["RS256"], audience=sorted(audiences), issuer=ISSUER
            )
        except jwt.ExpiredSignatureError:
            raise Refusal(
                401, "ExpiredAuthenticationToken", "The access token expiry UTC time has passed."
            ) from None
        except jwt.InvalidAudienceError:
            raise Refusal(
                401, "InvalidAuthenticationTokenAudience",
                f"The access token has been obtained for wrong audience or resource. It should be one of {sorted(audiences)}."
            ) from None  # fmt: skip
        except jwt.InvalidTokenError as e:
            raise Refusal(401, "InvalidAuthenticationToken", f"The access token is invalid: {e}") from None
        return str(claims["oid"])


class StandInCredential:
    """A credential for the clients: `get_token` and `get_token_info`, issued by this cloud."""

    def __init__(self, tokens: Tokens, principal: str) -> None:
        self._tokens = tokens
        self.principal = principal

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """A fresh token for the first scope."""
        return AccessToken(*self._tokens.issue(scopes[0], self.principal))

    def get_token_info(self, *scopes: str, options: Any = None) -> AccessTokenInfo:
        """The same in the newer form."""
        return AccessTokenInfo(*self._tokens.issue(scopes[0], self.principal))
