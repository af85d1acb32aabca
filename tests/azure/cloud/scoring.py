"""What runs behind a deployment: the command of its container, or a scoring script in a small inference server."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.azure.cloud import nodes, script_server
from tests.azure.cloud.processes import Program
from tests.azure.cloud.resources import Workspace
from tests.azure.cloud.wire import Refusal

if TYPE_CHECKING:
    from tests.azure.cloud.stand_in import Cloud

READY_WITHIN = 300.0


@dataclass(frozen=True)
class Image:
    """How a deployment's container is started here. `argv` empty: the scoring script's server."""

    argv: tuple[str, ...]
    port_variable: str
    readiness: str


def image_of(cloud: Cloud, ws: Workspace, said: dict[str, Any]) -> Image:
    """The container of a deployment's environment; 400 when what it names is not there.

    An image's command is not in ARM: `cloud.images` (image name -> argv) says it, by default the product's scoring server.
    """
    environment = said.get("environmentId", "")
    id = (
        environment
        if environment.startswith("/")
        else f"{ws.id}/environments/" + environment.removeprefix("azureml:").replace(":", "/versions/")
    )
    found = cloud.resources.get(id)
    if found is None:
        raise Refusal(400, "BadArgument", f"The environment {environment} was not found")
    model = said.get("model")
    if model and model.startswith("/") and cloud.resources.get(model) is None:
        raise Refusal(400, "BadArgument", f"The model {model} was not found")
    if said.get("codeConfiguration"):
        return Image((), "SCRIPT_SERVER_PORT", "/")
    routes = found["properties"].get("inferenceConfig")
    if not routes:
        raise Refusal(
            400,
            "BadArgument",
            "A deployment needs a scoring script, or an environment with an inference configuration",
        )
    image = str(found["properties"].get("image") or "")
    argv = next((a for k, a in cloud.images.items() if k in image), cloud.images[""])
    return Image(tuple(argv), "ESML_SCORING_PORT", (routes.get("readinessRoute") or {}).get("path", "/"))


@dataclass
class Server:
    """One deployment's process, restarted when it dies."""

    port: int
    folder: Path
    stopped: threading.Event = field(default_factory=threading.Event)
    process: Program | None = None


class Servers:
    """Every deployment's server."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._lock = threading.Lock()
        self._running: dict[str, Server] = {}
        self._logs: dict[str, Path] = {}
        self._count = 0

    def start(
        self, ws: Workspace, id: str, endpoint: str, slot: str, said: dict[str, Any], image: Image
    ) -> None:
        """Start a deployment's server beside the one before, wait until it is ready, then let it take over.

        Raises:
            Refusal: it did not become ready.
        """
        with self._lock:
            self._count += 1
            folder = self._cloud.folder / "servers" / ws.env / f"{endpoint}-{slot}-{self._count}"
        folder.mkdir(parents=True)
        self._logs[id.lower()] = folder / "log.txt"
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            server = Server(int(s.getsockname()[1]), folder)
        variables = {
            image.port_variable: str(server.port), "ESML_SCORING_HOST": "127.0.0.1", "AZUREML_ENDPOINT_NAME": endpoint,
            "AZUREML_DEPLOYMENT_NAME": slot,
            "AZUREML_MODEL_DIR": str(self._model(ws, said, folder)),
        }  # fmt: skip
        env = nodes.environment(self._cloud, ws, {**(said.get("environmentVariables") or {}), **variables})
        argv = list(image.argv) or self._script(ws, said, folder)
        server.process = self._cloud.run(shlex.join(argv), env=env, cwd=folder, log=folder / "log.txt")
        if not self._ready(server, image.readiness):
            self._end(server)
            raise Refusal(
                400, "ResourceNotReady", f"User container has crashed or terminated: {self.log(id)[-1500:]}"
            )
        with self._lock:
            old = self._running.get(id.lower())
            self._running[id.lower()] = server
        if old is not None:
            self._end(old)
        threading.Thread(target=self._keep, args=(server, argv, env), daemon=True).start()

    def _model(self, ws: Workspace, said: dict[str, Any], folder: Path) -> Path:
        target = folder / "model"
        found = self._cloud.resources.get(str(said.get("model") or ""))
        if found is not None:
            nodes.bring(self._cloud, ws, found["properties"]["modelUri"], target)
        return target

    def _script(self, ws: Workspace, said: dict[str, Any], folder: Path) -> list[str]:
        config = said["codeConfiguration"]
        code = self._cloud.resources.get(str(config["codeId"]))
        if code is None:
            raise Refusal(400, "BadArgument", f"The code {config['codeId']} was not found")
        nodes.bring(self._cloud, ws, code["properties"]["codeUri"], folder / "code")
        return [sys.executable, script_server.__file__, str(folder / "code" / config["scoringScript"])]

    def _ready(self, server: Server, path: str) -> bool:
        until = time.monotonic() + READY_WITHIN
        while time.monotonic() < until and server.process is not None and server.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5):
                    return True
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)  # as a readiness probe does
        return False

    def _keep(self, server: Server, argv: list[str], env: dict[str, str]) -> None:
        while not server.stopped.is_set():
            assert server.process is not None
            try:
                server.process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            if server.stopped.wait(0.3):
                return
            server.process = self._cloud.run(
                shlex.join(argv), env=env, cwd=server.folder, log=server.folder / "log.txt"
            )

    def _end(self, server: Server) -> None:
        server.stopped.set()
        if server.process is not None:
            self._cloud.processes.end(server.process)

    def stop(self, id: str) -> None:
        """End a deployment's server."""
        with self._lock:
            server = self._running.pop(id.lower(), None)
        if server is not None:
            self._end(server)

    def port(self, id: str) -> int | None:
        """Where a deployment listens, or None."""
        found = self._running.get(id.lower())
        return found.port if found else None

    def pid(self, id: str) -> int | None:
        """The process id that watches a deployment's server (its child is the server), or None."""
        found = self._running.get(id.lower())
        return found.process.pid if found and found.process else None

    def log(self, id: str) -> str:
        """What it printed."""
        path = self._logs.get(id.lower())
        return path.read_text(encoding="utf-8", errors="replace") if path and path.exists() else ""

    def close(self) -> None:
        """No restarts any more."""
        for s in list(self._running.values()):
            s.stopped.set()
