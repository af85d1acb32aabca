"""`doctor`: does each part answer, and if not, what to do."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from esml_engine.door import audit
from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.platforms import design
from esml_engine.runs import leases


def doctor(site: Site, env: str = "") -> list[dict[str, Any]]:
    """`[{"part", "ok", "message", "hint"}]` over settings, store, audit, worker and each environment's platform."""
    rows: list[dict[str, Any]] = []

    def row(part: str, ok: bool, message: str, hint: str = "") -> None:
        rows.append({"part": part, "ok": ok, "message": message, "hint": "" if ok else hint})

    settings = site.settings
    row(
        "python",
        sys.version_info >= (3, 11),
        f"Python {sys.version.split()[0]}",
        "install Python 3.11 or newer",
    )
    for broken in site.files.broken.values():
        row("settings", False, broken.message, broken.hint)
    if not site.files.broken:
        row(
            "settings",
            True,
            f"{len(settings.files.projects)} projects, {len(settings.models())} models, all files valid",
        )
    chain = audit.verify(site.store, site.state)
    row(
        "audit",
        chain["ok"],
        f"{chain['events']} events" if chain["ok"] else f"event {chain['first_bad']}: {chain['reason']}",
        "restore the store from a backup; esml audit --verify names the event",
    )
    holder = leases.holder(site.store)
    up = holder is not None and holder.alive
    row(
        "worker",
        True,
        f"{holder.kind} holds the lease (pid {holder.pid})"
        if up and holder
        else "no worker is up: commands work for themselves; esml up starts one",
    )
    try:
        import lightgbm  # noqa: F401
    except OSError as e:
        row("lightgbm", False, f"LightGBM does not load: {e}", "apt-get install libgomp1")
    else:
        row("lightgbm", True, "LightGBM loads")
    row("git", True, "git is there" if shutil.which("git") else "git is not there (not needed)")
    for name in settings.environments if not env else (settings.check_env(env),):
        try:
            rows += site.platform(name).check()
            design.require_known(site.platform(name))
        except EsmlError as e:
            row(f"{name} platform", False, e.message, e.hint)
    return rows
