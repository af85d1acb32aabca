"""The workspace's MLflow address: plain MLflow with a token, which is kept fresh in this process's environment."""

from __future__ import annotations

import os
import threading

from esml_engine.errors import PlatformError
from esml_engine.platforms.azure.identity import Identity

_EVERY = 60.0
_kept: set[int] = set()
_starting = threading.Lock()


def ready(identity: Identity) -> None:
    """Have MLflow's requests of this process carry a token that is good for at least five minutes."""
    os.environ["MLFLOW_TRACKING_TOKEN"] = identity.bearer(identity.cloud.audience)


def keep_ready(identity: Identity) -> None:
    """The same for as long as this process lives: a job may train longer than a token lasts."""
    with _starting:
        if os.getpid() in _kept:
            return
        _kept.add(os.getpid())
    ready(identity)
    threading.Thread(target=_refresh, args=(identity,), name="esml-token", daemon=True).start()


def _refresh(identity: Identity) -> None:
    pause = threading.Event()
    while not pause.wait(_EVERY):
        try:
            ready(identity)
        except PlatformError:  # the token that is there lasts five minutes more: asked again in one
            continue
