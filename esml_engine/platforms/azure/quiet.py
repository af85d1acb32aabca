"""Loggers that at INFO say each request with its headers: tens of megabytes a day. Imports nothing."""

CHATTY = (
    "azure",
    "azure.core.pipeline.policies.http_logging_policy",
    "azure.ai.ml._telemetry",
    "azure.identity",
    "urllib3",
    "msal",
)
