"""Where tokens come from: the managed identity of a node (as azure-identity asks for it) and an app's client secret."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from tests.azure.cloud.tokens import TENANT
from tests.azure.cloud.wire import Answer, Call, Refusal, operation

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud


@operation("Identity.Managed", "GET", "/msi/token", versions="2017-09-01", audience="")
def managed(cloud: Cloud, call: Call) -> Answer:
    """Identity.Managed: MSI_ENDPOINT of an Azure ML node; the header `secret` says whose node it is."""
    ws = cloud.node_secrets.get(call.headers.get("secret"))
    if ws is None:
        raise Refusal(401, "Unauthorized", "The header 'secret' is missing or wrong.")
    token, end = cloud.tokens.issue(call.query["resource"], ws.principal)
    return Answer(
        200,
        {
            "access_token": token,
            "expires_on": str(end),
            "resource": call.query["resource"],
            "token_type": "Bearer",
            "client_id": ws.principal,
        },
    )


@operation(
    "Identity.Discovery", "GET", "/{tenant}/v2.0/.well-known/openid-configuration", versions=None, audience=""
)
def discovery(cloud: Cloud, call: Call) -> Answer:
    """Identity.Discovery: what MSAL reads of an authority before it asks for a token."""
    base = f"{cloud.url}/{call['tenant']}"
    return Answer(
        200,
        {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "issuer": f"{base}/v2.0",
        },
    )


@operation("Identity.Token", "POST", "/{tenant}/oauth2/v2.0/token", versions=None, audience="")
def token(cloud: Cloud, call: Call) -> Answer:
    """Identity.Token: the client credentials grant; an app's secret is `cloud.client_secret`."""
    form = {k: v[0] for k, v in parse_qs(call.body.decode()).items()}
    if call["tenant"] != TENANT or form.get("client_secret") != cloud.client_secret:
        return Answer(
            401,
            {
                "error": "invalid_client",
                "error_description": "AADSTS7000215: Invalid client secret provided.",
                "error_codes": [7000215],
            },
        )
    scope = form["scope"].split()[0]
    made, _ = cloud.tokens.issue(scope, form["client_id"])
    return Answer(
        200,
        {
            "token_type": "Bearer",
            "expires_in": int(cloud.tokens.lifetime),
            "ext_expires_in": int(cloud.tokens.lifetime),
            "access_token": made,
        },
    )
