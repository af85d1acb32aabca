"""What Azure ML is told of an endpoint and of its deployments."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from esml_engine.errors import EsmlError
from esml_engine.platforms.azure.extra import need
from esml_engine.platforms.azure.jobs import told
from esml_engine.platforms.azure.lake import AzureFiles
from esml_engine.platforms.azure.workspace import Workspace

API = "2025-09-01"
ENVIRONMENT = "esml-scoring"
INFERENCE = {
    "scoring_route": {"path": "/score", "port": 5001},
    "readiness_route": {"path": "/health", "port": 5001},
    "liveness_route": {"path": "/metrics", "port": 5001},
}
REVISION, DOCUMENT, VERSION = "esml-revision", "esml-document", "esml-model-version"
_log = logging.getLogger("esml.azure")
_LOG_LINES = 500
_PROBE = {"initial_delay": 10, "period": 10, "timeout": 5, "failure_threshold": 30, "success_threshold": 1}


def endpoint(
    workspace: Workspace,
    env: str,
    legal: str,
    name: str,
    traffic: dict[str, int] | None = None,
    tags: dict[str, str] | None = None,
) -> Any:
    """An endpoint with its traffic; its identity is the setting's, else one of its own."""
    entities = need("azure.ai.ml.entities")
    made = entities.ManagedOnlineEndpoint(name=legal, auth_mode="key", tags=tags or tags_of(env, name))
    made.traffic = traffic or {}
    identity = workspace.settings.identity
    if identity:
        its = entities.ManagedIdentityConfiguration(resource_id=identity)
        made.identity = entities.IdentityConfiguration(type="user_assigned", user_assigned_identities=[its])
    return made


def listed(workspace: Workspace, legal: str) -> bool:
    """Whether the workspace's list of endpoints has one of that name."""
    url: str | None = workspace.url("onlineEndpoints")
    params: dict[str, str] | None = {"api-version": API}
    while url:
        said = workspace.rest.send("the list of endpoints", "GET", url, params).json()
        if any(e["name"].lower() == legal.lower() for e in said["value"]):
            return True
        url, params = said.get("nextLink"), None  # it has its own
    return False


def deployment(
    workspace: Workspace, env: str, of: Any, name: str, slot: str, address: str, document: dict[str, Any]
) -> Any:
    """A deployment of the endpoint `of`: the engine's scoring image, told where its document lies."""
    entities = need("azure.ai.ml.entities")
    image = workspace.image(ENVIRONMENT)
    probe = entities.ProbeSettings(**_PROBE)
    return entities.ManagedOnlineDeployment(
        name=slot,
        endpoint_name=of.name,
        environment=workspace.environment(ENVIRONMENT, image, INFERENCE),
        instance_type=workspace.settings.serving_node,
        instance_count=int(document["instances"]),
        environment_variables={"ESML_SCORING": address, **told(workspace), **_identity(of)},
        liveness_probe=probe,
        readiness_probe=probe,
        request_settings=entities.OnlineRequestSettings(
            request_timeout_ms=60_000, max_concurrent_requests_per_instance=100, max_queue_wait_ms=30_000
        ),
        tags={DOCUMENT: address, VERSION: str(document["model_version"]), **tags_of(env, name)},
    )


def log(workspace: Workspace, legal: str, slot: str) -> str:
    """The command that reads a deployment's log."""
    s = workspace.settings
    where = f"--workspace-name {s.workspace} --resource-group {s.resource_group}"
    return f"az ml online-deployment get-logs --name {slot} --endpoint-name {legal} {where}"


def keep_log(workspace: Workspace, legal: str, slot: str, path: Path) -> str:
    """Keep a failed deployment's log, as it is taken away with it; its last line, '' where there is none to be read."""
    path.unlink(missing_ok=True)
    read = workspace.client.online_deployments.get_logs
    try:
        with workspace.asking(f"the log of {slot} of {legal}"):
            text = str(read(name=slot, endpoint_name=legal, lines=_LOG_LINES) or "").strip()
    except EsmlError as e:  # nothing was begun yet, or this identity may not read it
        _log.warning("%s", e.message)
        return ""
    if text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    return text.splitlines()[-1].strip() if text else ""


def after_failing(files: AzureFiles, of: Any) -> str:
    """What to do about a deployment of the endpoint `of` that Azure took and that failed afterwards, besides reading its log."""
    its = getattr(of, "identity", None)
    given = [str(one.principal_id or "") for one in getattr(its, "user_assigned_identities", None) or []]
    who = next((w for w in (*given, str(getattr(its, "principal_id", None) or "")) if w), "")
    lake = files.grant(who or "<object id of the endpoint's identity>")
    lasts = (
        ""
        if given
        else "; an endpoint's own identity ends with it: name one that stays as the environment's identity in estate.toml"
    )
    return f'where message or log say 403 or unauthorized, the endpoint\'s identity lacks a role: {lake}; for its image "AcrPull" on the registry{lasts}'


def tags_of(env: str, name: str) -> dict[str, str]:
    """What the bill is grouped by: the project and the model of an endpoint called `project-model-env`."""
    project, _, rest = name.partition("-")
    model = rest.removesuffix(f"-{env}") if rest.endswith(f"-{env}") else ""
    tags = {"esml-endpoint": name, "esml-env": env, "esml-project": project}
    return {**tags, "esml-model": model} if model else tags


def _identity(of: Any) -> dict[str, str]:
    """Which of a container's identities is its own, where the endpoint was given one."""
    given = getattr(getattr(of, "identity", None), "user_assigned_identities", None) or []
    ids = [str(one.client_id) for one in given if one.client_id]
    return {"AZURE_CLIENT_ID": ids[0]} if ids else {}
