"""What Azure says of one endpoint, and long operations on it followed to their end or to this worker's."""

from __future__ import annotations

import threading
from typing import Any

from esml_engine.errors import ConflictError
from esml_engine.platforms.azure import limits, online
from esml_engine.platforms.azure.errors import (
    AzureBusyError,
    AzureDeniedError,
    AzureFailedError,
    AzureMissingError,
)
from esml_engine.platforms.azure.extra import need
from esml_engine.platforms.azure.workspace import Workspace

AT_WORK = ("Creating", "Updating", "Scaling", "Deleting")
"""Provisioning states of what an operation is under way on."""


class WorkerEndsError(Exception):
    """This worker is ending: the operation goes on in Azure, the next worker looks again."""


class Following:
    """Looks at the endpoints of one workspace, and waits for what is under way on them.

    Args:
        closing: set when this worker ends.
    """

    def __init__(self, workspace: Workspace, closing: threading.Event) -> None:
        self.workspace, self.closing = workspace, closing

    def run(self, what: str, begin: Any, late: str = "") -> None:
        """Begin a long operation and follow it to its end, or until this worker ends. `late`: what to do where it was taken and failed then."""
        with self.workspace.asking(what):
            poller = begin()
        try:
            with self.workspace.asking(what):
                while not poller.done():
                    if self.closing.is_set():
                        raise WorkerEndsError(what)
                    poller.wait(0.5)
                poller.result()
        except AzureFailedError as e:
            raise AzureFailedError(
                f"{e.message} (it was accepted, and failed later)", hint=late or e.hint
            ) from e
        except (AzureDeniedError, AzureMissingError, ConflictError) as e:  # a look: the operation goes on
            raise AzureBusyError(f"{e.message} (it was accepted, and can't be followed)", hint=e.hint) from e

    def pause(self) -> None:
        """Wait until Azure may be asked again.

        Raises:
            WorkerEndsError: this worker ends meanwhile.
        """
        if self.closing.wait(limits.poll()):
            raise WorkerEndsError("paused")

    def settled(self, legal: str, endpoint: Any) -> Any:
        """The endpoint once no operation of somebody else's is under way on it."""
        while endpoint is not None and endpoint.provisioning_state in AT_WORK:
            self.pause()
            endpoint = self.get(legal)
        if endpoint is None:
            raise AzureFailedError(
                f"endpoint {legal} is gone", hint="it is made anew; see in Azure ML studio who removes it"
            )
        return endpoint

    def deployment_settled(self, legal: str, slot: str) -> Any:
        """A deployment once no operation is under way on it; None where it is gone."""
        while True:
            found = next((d for d in self.deployments(legal) if d.name == slot), None)
            if found is None or found.provisioning_state not in AT_WORK:
                return found
            self.pause()

    def get(self, legal: str) -> Any:
        """The endpoint; None where there is none.

        A 404 alone is not believed: made anew, one that is there would lose its traffic; taken for gone, it would run on.
        """
        missing = need("azure.core.exceptions").ResourceNotFoundError
        with self.workspace.asking(f"endpoint {legal}"):
            try:
                return self.workspace.client.online_endpoints.get(legal)
            except missing:
                if not online.listed(self.workspace, legal):
                    return None
        raise AzureBusyError(
            f"endpoint {legal} of workspace {self.workspace.settings.workspace} is listed, and can't be read: 404",
            hint="it is looked at again; esml doctor checks the environment",
        )

    def deployments(self, legal: str) -> list[Any]:
        """The endpoint's deployments."""
        with self.workspace.asking(f"deployments of {legal}"):
            return list(self.workspace.client.online_deployments.list(legal))
