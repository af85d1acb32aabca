"""Managed online endpoints: what is wanted is made so in a thread of its own, step by step, each found again by name.

Blue and green are deployments. A deployment is described by a document in the lake that its container reads; the
document's address is in its tags, so that a repetition, also by another worker, sees what is there already.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esml_engine import replacing
from esml_engine.errors import ConflictError, EsmlError
from esml_engine.platforms.azure import endpoint_keys, limits, names, online
from esml_engine.platforms.azure.errors import (
    AzureBusyError,
    AzureDeniedError,
    AzureFailedError,
    AzureMissingError,
)
from esml_engine.platforms.azure.extra import MissingExtraError
from esml_engine.platforms.azure.following import AT_WORK, Following, WorkerEndsError
from esml_engine.platforms.azure.lake import AzureFiles
from esml_engine.platforms.azure.trouble import Trouble, keep, kept, with_trouble
from esml_engine.platforms.azure.vault import Vault
from esml_engine.platforms.azure.workspace import Workspace
from esml_engine.platforms.base import EndpointState

log = logging.getLogger("esml.azure")

_LOOK_AGAIN = 300.0  # seconds after which what is made is held against Azure again
_RECENT = 120.0  # seconds for which what a worker saw is good enough for a page
_TROUBLED = 300.0  # seconds for which its trouble is: it tries again, and says so, more often
_NOT_UP = ("Creating", "Failed", "Deleting")


class Endpoints:
    """The endpoints of one environment.

    Args:
        folder: of this machine; keeps each endpoint's address, so that no page waits for Azure.
    """

    def __init__(self, workspace: Workspace, files: AzureFiles, vault: Vault, env: str, folder: Path) -> None:
        self.workspace, self.files, self.vault, self.env, self.folder = workspace, files, vault, env, folder
        self.closing = threading.Event()
        self._azure = Following(workspace, self.closing)
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._done: dict[str, tuple[str, float]] = {}
        self._trouble = Trouble()
        self._seen: dict[str, tuple[float, EndpointState]] = {}

    def legal(self, name: str) -> str:
        """The endpoint's name in Azure: of this estate, also where another keeps its lake beside the same workspace."""
        return names.endpoint(name, f"{self.workspace.path}/{self.files.lake_root()}")

    def apply(self, name: str, config: dict[str, Any]) -> None:
        """Want the endpoint as `config` says; returns at once."""
        mark = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        with self._lock:
            self._aim_at(name, mark)
            done, at = self._done.get(name, ("", 0.0))
            looked, seen = self._seen.get(name, (0.0, EndpointState(False)))
            opens = seen.keys is None or set(config["control"]["key_sha256"]) <= set(seen.keys)
            if done == mark and opens and time.monotonic() - at < _LOOK_AGAIN:
                if time.monotonic() - looked > _RECENT / 3:
                    self._thread(name, lambda: self._look(name))
                return
            if self._at_it(name) or self.closing.is_set():
                return
            if not self._trouble.pauses(name):
                revision = int(config["control"]["revision"])
                self._thread(name, lambda: self._guarded(name, mark, revision, self._make_so, config))

    def _aim_at(self, name: str, mark: str) -> None:
        """Begin afresh where something else is wanted than before: the caller holds the lock."""
        if self._trouble.aim(name, mark):
            self._done.pop(name, None)
            self._seen.pop(name, None)
            self._seen_file(name).unlink(missing_ok=True)  # nobody is to believe it any longer

    def _thread(self, name: str, body: Callable[[], Any]) -> None:
        """One thread an endpoint at a time; the caller holds the lock."""
        if not self._at_it(name):
            self._threads[name] = threading.Thread(target=body, name=f"esml-{name}", daemon=True)
            self._threads[name].start()

    def _at_it(self, name: str) -> bool:
        """Whether another thread than the caller's works on the endpoint."""
        thread = self._threads.get(name)
        return thread is not None and thread.is_alive() and thread is not threading.current_thread()

    def _guarded(self, name: str, mark: str, revision: int, make: Callable[..., None], *given: Any) -> None:
        """Do it; a failure is tried again, after a while that grows."""
        try:
            make(name, *given)
        except WorkerEndsError:
            return
        except EsmlError as e:
            log.warning("endpoint %s: %s (%s)", name, e.message, e.hint)
            with self._lock:
                mine = self._trouble.aims(name, mark)  # else something else is wanted by now
                if mine:
                    self._trouble.failed(name, e, revision)
            if mine:
                self._look(name)
            return
        with self._lock:
            if self._trouble.aims(name, mark):
                self._trouble.over(name)
                self._done[name] = (mark, time.monotonic())
        self._look(name)

    def _make_so(self, name: str, config: dict[str, Any]) -> None:
        control, legal = config["control"], self.legal(name)
        client = self.workspace.client
        endpoint = self._azure.get(legal)
        if endpoint is None:
            self._azure.run(
                f"making endpoint {legal}",
                lambda: client.online_endpoints.begin_create_or_update(
                    online.endpoint(self.workspace, self.env, legal, name)
                ),
            )
            endpoint = self._azure.get(legal)
        endpoint = self._azure.settled(legal, endpoint)
        if endpoint.provisioning_state == "Failed":
            endpoint = self._mended(name, legal, endpoint)
        self._key(legal, config)
        have = {d.name: d for d in self._azure.deployments(legal)}
        anew = (endpoint.tags or {}).get(online.REVISION) != str(control["revision"])
        for slot, wanted in control["slots"].items():
            self._slot(name, legal, slot, wanted, config, have.get(slot), anew)
        traffic = {k: int(v) for k, v in control["traffic"].items() if v}
        tags = {
            **(endpoint.tags or {}),
            **online.tags_of(self.env, name),
            online.REVISION: str(control["revision"]),
        }
        live = {k: int(v) for k, v in (endpoint.traffic or {}).items() if v}
        ready = {d.name for d in self._azure.deployments(legal) if d.provisioning_state == "Succeeded"}
        if set(traffic) <= ready and (
            live != traffic or (endpoint.tags or {}).get(online.REVISION) != tags[online.REVISION]
        ):
            shifted = online.endpoint(self.workspace, self.env, legal, name, traffic, tags)
            begin = client.online_endpoints.begin_create_or_update
            self._azure.run(f"shifting traffic of {legal}", lambda: begin(shifted))
        for left in set(have) - set(control["slots"]) - set(traffic):
            self._azure.run(
                f"removing deployment {left} of {legal}",
                lambda left=left: client.online_deployments.begin_delete(name=left, endpoint_name=legal),
            )
            self._trouble.slot_over(name, left)
        self._remember(name, self._azure.get(legal))

    def _slot(
        self,
        name: str,
        legal: str,
        slot: str,
        wanted: dict[str, Any],
        config: dict[str, Any],
        have: Any,
        anew: bool,
    ) -> None:
        document = {
            "endpoint": name, "slot": slot, "folder": wanted["folder"], "sha256": wanted["sha256"],
            "model_version": wanted["model_version"],
            "deployment": wanted["deployment"], "save": config["control"]["save"], "instances": int(wanted.get("instances", 1)),
            "lake": self.files.lake_root(), "smoke_sha256": endpoint_keys.sha(self._smoke(name)),
        }  # fmt: skip
        text = json.dumps(document, sort_keys=True).encode()
        address = f"{self.files.lake_root()}/endpoints/{name}/documents/{slot}-{hashlib.sha256(text).hexdigest()[:16]}.json"
        if have is not None and (have.tags or {}).get(online.DOCUMENT) == address:
            if have.provisioning_state in AT_WORK:
                have = self._azure.deployment_settled(legal, slot)
            ended = have is not None and have.provisioning_state
            if ended == "Succeeded" or (ended == "Failed" and not anew):
                return  # a failed one stays as it is until its deploy run withdraws it, or another revision is wanted
        self.files.create_file(address, text)
        self._trouble.slot_over(name, slot)
        client, of = self.workspace.client, self._azure.get(legal)
        try:
            self._azure.run(
                f"deployment {slot} of {legal}",
                lambda: client.online_deployments.begin_create_or_update(
                    online.deployment(self.workspace, self.env, of, name, slot, address, document)
                ),
                late=online.after_failing(self.files, of),
            )
        except (AzureBusyError, ConflictError):
            raise  # tried again: what was taken without an answer is found by its document then
        except EsmlError as e:
            last = online.keep_log(self.workspace, legal, slot, self._log_of(name, slot))
            why = f"{e.message}; its log ends: {last}" if last else e.message
            self._trouble.of_slot(name, slot, why, e.hint)
            log.warning("deployment %s of %s: %s", slot, legal, e.message)

    def _log_of(self, name: str, slot: str) -> Path:
        return self.folder / name / f"{slot}.log"

    def _key(self, legal: str, config: dict[str, Any]) -> None:
        """The endpoint's key is the engine's own, which lies in the vault; it is told to Azure when they differ."""
        wanted = set(config["control"]["key_sha256"])
        ws = self.workspace
        for _ in range(10):
            if not wanted or wanted & set(endpoint_keys.opening(ws, legal)):
                return
            value = self.vault.get(config["secret"])
            if not value:
                break  # it went from the vault meanwhile
            endpoint_keys.give(ws, legal, value)
            self._azure.pause()
        raise AzureFailedError(
            f"{legal} does not take the key from the vault", hint="esml keys --rotate, then deploy again"
        )

    def _smoke(self, name: str) -> str:
        """What lets a request pass without being kept: known to workers alone."""
        found = self.vault.get(f"smoke-{name}")
        if not found:
            self.vault.put(f"smoke-{name}", secrets.token_urlsafe(24))
            found = self.vault.get(f"smoke-{name}")
        return found or ""

    def aim(self, name: str, slot: str) -> dict[str, str]:
        """Headers that aim at a deployment without traffic."""
        return {"azureml-model-deployment": slot, "x-esml-slot": slot, "x-esml-smoke": self._smoke(name)}

    def _mended(self, name: str, legal: str, endpoint: Any) -> Any:
        """An endpoint whose last operation failed (a shift, say), put again as it is: that works, or says the reason once more."""
        traffic = {k: int(v) for k, v in (endpoint.traffic or {}).items() if v}
        as_it_is = online.endpoint(self.workspace, self.env, legal, name, traffic, dict(endpoint.tags or {}))
        begin = self.workspace.client.online_endpoints.begin_create_or_update
        self._azure.run(f"mending endpoint {legal}", lambda: begin(as_it_is))
        endpoint = self._azure.settled(legal, self._azure.get(legal))
        if endpoint.provisioning_state == "Failed":
            raise AzureFailedError(
                f"endpoint {legal} is Failed",
                hint="see it in Azure ML studio; remove it there to have it made anew",
            )
        return endpoint

    # what is there
    def state(self, name: str, fresh: bool = False) -> EndpointState:
        """As Azure says it. Who does not look after the endpoint is told what its worker saw, if that is recent."""
        if fresh:
            return self._look(name)
        at, state = self._seen.get(name, (-1e9, EndpointState(False)))
        if time.monotonic() - at < limits.poll():
            return state
        said = None if self._trouble.looks_after(name) else kept(self._seen_file(name), _RECENT)
        return said or self._look(name)

    def _look(self, name: str) -> EndpointState:
        """Ask Azure. A look that fails, by whatever, says so and ends nobody's wait: what is wanted may come all the same."""
        legal = self.legal(name)
        try:
            endpoint = self._azure.get(legal)
            found = EndpointState(False) if endpoint is None else self._state(name, legal, endpoint)
        except AzureMissingError:  # it went between the two questions
            found = EndpointState(False)
        except MissingExtraError:
            raise
        except EsmlError as e:
            found = EndpointState(False, error=e.message, hint=e.hint)
            log.warning("endpoint %s can't be looked at: %s (%s)", name, e.message, e.hint)
        mine = self._trouble.looks_after(name)
        found = (
            self._trouble.told(name, found)
            if mine
            else with_trouble(found, kept(self._seen_file(name), _TROUBLED))
        )
        self._seen[name] = (time.monotonic(), found)
        if mine:  # for those who only ask, and know nothing of its trouble
            keep(self._seen_file(name), found)
        return found

    def _seen_file(self, name: str) -> Path:
        return self.folder / name / "state.json"

    def _state(self, name: str, legal: str, endpoint: Any) -> EndpointState:
        slots: dict[str, Any] = {}
        wrong = self._trouble.slots(name)
        for d in self._azure.deployments(legal):
            state = {"Succeeded": "ready", "Failed": "failed"}.get(d.provisioning_state, "loading")
            if state == "failed" and self._at_it(name):  # its operation says why, a moment later
                state = "loading"
            failed = (f"deployment {d.name} of {legal} failed", online.after_failing(self.files, endpoint))
            error, hint = wrong.get(d.name) or (failed if state == "failed" else ("", ""))
            slots[d.name] = {
                "state": state,
                "error": error,
                "hint": hint,
                "model_version": int((d.tags or {}).get(online.VERSION, 0)),
                "deployment": d.name,
            }
        for slot, (error, hint) in wrong.items():
            slots[slot] = {**slots.get(slot, {}), "state": "failed", "error": error, "hint": hint}
        traffic = {k: int(v) for k, v in (endpoint.traffic or {}).items() if v}
        live = max(traffic, key=lambda k: traffic[k]) if traffic else ""
        revision = int((endpoint.tags or {}).get(online.REVISION, -1))
        running = bool(endpoint.scoring_uri) and endpoint.provisioning_state not in _NOT_UP
        failed_one = next((slot for slot, its in slots.items() if its["state"] == "failed"), "")
        kept = self._log_of(name, failed_one)
        log = (
            str(kept)
            if failed_one and kept.exists()
            else online.log(self.workspace, legal, failed_one or live or "blue")
        )
        return EndpointState(
            running, revision, slots, live, log=log, keys=self._opening(legal) if running else None
        )

    def _opening(self, legal: str) -> tuple[str, ...] | None:
        """Which keys open it; not known to who may look at endpoints, but not at keys."""
        try:
            return endpoint_keys.opening(self.workspace, legal)
        except (AzureDeniedError, AzureBusyError) as e:
            log.info("keys of %s can't be looked at: %s", legal, e.message)
            return None

    def url(self, name: str) -> str:
        """The address that callers use."""
        path = self.folder / name / "address.txt"
        if path.is_file():
            return path.read_text(encoding="utf-8")
        endpoint = self._azure.get(self.legal(name))
        if endpoint is not None and endpoint.scoring_uri:
            return self._remember(name, endpoint)
        return f"https://{self.legal(name)}.{self.workspace.settings.region}.inference.ml.azure.com/score"

    def _remember(self, name: str, endpoint: Any) -> str:
        address = str(endpoint.scoring_uri or "") if endpoint is not None else ""
        if address:
            replacing.put(self.folder / name / "address.txt", address)
        return address

    def stop(self, name: str, revision: int) -> None:
        """Want the endpoint gone, with its deployments; returns at once."""
        with self._lock:
            mark = f"gone at {revision}"
            self._aim_at(name, mark)
            if self._done.get(name, ("", 0.0))[0] == mark or self._at_it(name):
                return
            if not self.closing.is_set() and not self._trouble.pauses(name):
                self._thread(name, lambda: self._guarded(name, mark, revision, self._unmake))

    def _unmake(self, name: str) -> None:
        legal, client = self.legal(name), self.workspace.client
        if self._azure.get(legal) is not None:
            self._azure.run(
                f"removing endpoint {legal}", lambda: client.online_endpoints.begin_delete(name=legal)
            )
        (self.folder / name / "address.txt").unlink(missing_ok=True)
