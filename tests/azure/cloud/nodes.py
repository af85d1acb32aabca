"""Compute nodes: what a command gets around itself on an Azure ML node, here a child process of this Python."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from tests.azure.cloud.resources import Workspace
from tests.azure.cloud.wire import Refusal

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

NOT_PASSED = re.compile(r"^(AZURE_|MSI_|IDENTITY_|MLFLOW_|ESML_|PYTEST_|AZUREML_|COV_)")


def environment(cloud: Cloud, ws: Workspace, said: dict[str, str]) -> dict[str, str]:
    """A node's environment: this Python, the cloud's certificates and the compute's managed identity, then what was said.

    Nothing of the submitting process's own credentials or settings comes along.
    """
    mine = {k: v for k, v in os.environ.items() if not NOT_PASSED.match(k)}
    here = str(Path(sys.executable).parent)
    return {
        **mine, "PATH": f"{here}{os.pathsep}{mine.get('PATH', '')}", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1", **cloud.environ(ws.env), **cloud.node_extra,
        **{k: str(v) for k, v in said.items()},
    }  # fmt: skip


def bring(cloud: Cloud, ws: Workspace, uri: str, target: Path) -> Path:
    """Copy a file or folder of the lake to a node's disk; returns where it lies.

    Understands abfss, https on a blob address of the stand-in or Azurite, and azureml datastore paths.
    """
    container, path = _place(cloud, ws, uri)
    account = _account(cloud, ws, uri)
    one = cloud.azurite.fetch(account, f"{container}/{path}") if path else None
    if one is not None:
        goal = target / path.rsplit("/", 1)[1]
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.write_bytes(one)
        return goal
    names = _names(cloud, account, container, path.rstrip("/") + "/" if path else "")
    if not names:
        raise Refusal(404, "DataNotFound", f"nothing lies at {uri}")
    start = len(path.rstrip("/")) + 1 if path else 0
    for name in names:
        goal = target / name[start:]
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.write_bytes(cloud.azurite.fetch(account, f"{container}/{name}") or b"")
    return target


def put_back(cloud: Cloud, ws: Workspace, folder: Path, uri: str) -> None:
    """Copy what a job left in an output folder into the lake."""
    container, path = _place(cloud, ws, uri)
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        goal = f"{container}/{path.rstrip('/')}/{file.relative_to(folder).as_posix()}"
        cloud.azurite.send(
            ws.account, "PUT", quote(goal, safe="/~"), "", {"x-ms-blob-type": "BlockBlob"}, file.read_bytes()
        )
        cloud.accounts[ws.account].grow(container, goal.split("/", 1)[1])


def fill_in(
    cloud: Cloud, ws: Workspace, properties: dict[str, Any], folder: Path
) -> tuple[str, dict[str, tuple[Path, str]]]:
    """The command with `${{inputs.x}}` and `${{outputs.x}}` replaced; and the outputs' folders and addresses."""
    values, outputs = {}, {}
    for name, said in (properties.get("inputs") or {}).items():
        if said["jobInputType"] == "literal":
            values[f"inputs.{name}"] = str(said["value"])
        else:
            values[f"inputs.{name}"] = shlex.quote(
                str(bring(cloud, ws, said["uri"], folder / "inputs" / name))
            )
    for name, said in (properties.get("outputs") or {}).items():
        if name == "default":
            continue
        made = folder / "outputs" / name
        made.mkdir(parents=True, exist_ok=True)
        values[f"outputs.{name}"] = shlex.quote(str(made))
        uri = (
            said.get("uri") or f"azureml://datastores/workspaceblobstore/paths/azureml/{folder.name}/{name}/"
        )
        outputs[name] = (made, uri)

    def one(match: re.Match[str]) -> str:
        if match[1].strip() not in values:
            raise Refusal(
                400, "UserError", f"the command names {match[1].strip()}, which is no input or output"
            )
        return values[match[1].strip()]

    return re.sub(r"\$\{\{([^}]*)\}\}", one, properties["command"]), outputs


def _place(cloud: Cloud, ws: Workspace, uri: str) -> tuple[str, str]:
    split = urlsplit(uri)
    if split.scheme in ("abfss", "abfs"):
        return split.username or "", split.path.strip("/")
    if split.scheme == "azureml":
        found = re.search(r"datastores/[^/]+/paths/(.*)", uri)
        if found is None:
            raise Refusal(400, "UserError", f"{uri} is no datastore path")
        return ws.file_system, found[1].strip("/")
    if split.scheme in ("https", "http", "wasbs"):
        path = split.path.strip("/")
        if uri.startswith(cloud.azurite.url):  # path style: the account comes first
            path = path.partition("/")[2]
        container, _, rest = path.partition("/")
        return container, rest
    raise Refusal(400, "UserError", f"{uri}: the stand-in can't read this kind of address")


def _account(cloud: Cloud, ws: Workspace, uri: str) -> str:
    split = urlsplit(uri)
    named = (split.hostname or "").split(".")[0]
    if named in cloud.accounts:
        return named
    if uri.startswith(cloud.azurite.url):
        return split.path.strip("/").partition("/")[0]
    return next((a.name for a in cloud.accounts.values() if uri.startswith(a.url)), ws.account)


def _names(cloud: Cloud, account: str, container: str, prefix: str) -> list[str]:
    status, _, body = cloud.azurite.send(
        account, "GET", container, f"restype=container&comp=list&prefix={quote(prefix, safe='')}"
    )
    if status != 200:
        return []
    return [b.findtext("Name", "") for b in ElementTree.fromstring(body.decode("utf-8-sig")).iter("Blob")]
