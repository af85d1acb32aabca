"""`doctor`: does each part answer, and if not, what to do."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import sqlalchemy as sa

from esml_engine.door import audit, skeleton
from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.lake.catalogue import table_uri
from esml_engine.lake.log import commit_of
from esml_engine.lake.replay import table_names
from esml_engine.platforms import design, rows
from esml_engine.refs import ModelRef
from esml_engine.runs import leases
from esml_engine.store import schema as t

_LOOKED_AT = 20  # tables of an environment, the newest: a lake that is away misses them all


def environment(site: Site, env: str) -> list[dict[str, Any]]:
    """What an environment's platform says of itself, and whether its lake holds what the catalogue says."""
    platform = site.platform(env)
    found = platform.check(site.settings.prices())
    if away := rows.before_lake(found):
        return [*found, *(rows.unasked(f"{env} {part}", away) for part in ("design", "catalogue", "folders"))]
    try:
        design.require_known(platform)
    except EsmlError as e:
        return [*found, rows.bad(f"{env} design", e)]
    v = t.versions
    newest = (
        sa.select(v.c.object, v.c.name, sa.func.max(v.c.delta_version).label("number"))
        .where(v.c.env == env)
        .group_by(v.c.object, v.c.name)
        .order_by(sa.func.max(v.c.at).desc())
        .limit(_LOOKED_AT)
    )
    heads = site.store.rows(newest)
    lost = [
        h
        for h in heads
        if commit_of(platform, table_uri(site, ModelRef.parse(h["object"]), env, h["name"]), h["number"])
        is None
    ]
    said = f"{len(heads)} of its tables are where the catalogue says"
    if lost:
        said = f"{len(lost)} of {len(heads)} tables are not where the catalogue says: {lost[0]['name']} of {lost[0]['object']}, for one"
    unknown = "" if heads else _unknown(site, env)
    if unknown:
        said = f"its lake holds tables that the catalogue does not know: {unknown}, for one"
    hint = f"bring the lake of {env} back from where it went, or from a backup; esml catalogue rebuild --forget {env} forgets what stays away"
    if lost and len(lost) == len(
        heads
    ):  # what the platform found of it is said of a lake that is not this one
        found = [r for r in found if not r["part"].endswith(" lake")]
        try:
            skeleton.require_lake(site, env)
        except EsmlError as e:
            found.append(rows.bad(f"{env} lake", e))
    bare = skeleton.missing(site, env, _LOOKED_AT)
    folders = "every model that has no table there has its IN folders"
    if bare:  # nothing is wrong: whoever wants to put files there now is told how
        more = f" and {len(bare) - 1} more have" if bare[1:] else " has"
        folders = f"{bare[0]}{more} no IN folders there yet: the first act there makes them (esml refine {bare[0]} --env {env})"
    return [
        *found,
        rows.good(f"{env} design", f"its lake is of design {design.DESIGN} or before"),
        {
            "part": f"{env} catalogue",
            "ok": not (lost or unknown),
            "message": said,
            "hint": hint if lost else "esml catalogue rebuild" if unknown else "",
        },
        rows.good(f"{env} folders", folders),
    ]


def _unknown(site: Site, env: str) -> str:
    """A table that stands in a lake of which nothing is recorded: what a store leaves that was lost; '' where none does."""
    platform = site.platform(env)
    for ref in [r for r in site.settings.models() if site.files.wrong(str(r)) is None][:_LOOKED_AT]:
        for name in table_names(site, ref):
            if commit_of(platform, table_uri(site, ref, env, name), 0) is not None:
                return f"{name} of {ref}"
    return ""


def doctor(site: Site, env: str = "") -> list[dict[str, Any]]:
    """`[{"part", "ok", "message", "hint"}]` over settings, store, audit, worker and each environment's platform.

    `ok` None: not checked, since a part before it does not work.
    """
    found: list[dict[str, Any]] = []

    def row(part: str, ok: bool, message: str, hint: str = "") -> None:
        found.append({"part": part, "ok": ok, "message": message, "hint": "" if ok else hint})

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
            found += environment(site, name)
        except EsmlError as e:
            found.append(rows.bad(f"{name} platform", e))
    return found
