"""A model's IN folders in an environment's lake: made with the model, else by the first act there.

A lake that can't be reached when a model is made, and one that came into the estate later, get them so.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from esml_engine.door.site import Site
from esml_engine.errors import PlatformError
from esml_engine.platforms import design
from esml_engine.platforms.base import Platform
from esml_engine.refs import ModelRef, model_folder
from esml_engine.store import schema as t

_SIDES = ("train", "inference")


def make(platform: Platform, ref: ModelRef, datasets: Iterable[str]) -> None:
    """The lake's mark and the folders; harmless where they are."""
    design.mark(platform)
    platform.make_skeleton(
        [f"{model_folder(ref)}/{side}/{d}/in" for side in _SIDES for d in sorted(datasets)]
    )


def ready(site: Site, ref: ModelRef, env: str) -> None:
    """Before an act works on a model in an environment: its lake is of a known design, and has the model's folders.

    Raises:
        ConflictError: the lake is of a newer design. PlatformError: it can't be reached, or is not where its tables were recorded.
    """
    if not require_reached(site, ref, env) and ref in site.files.models:
        make(site.platform(env), ref, site.settings.model(ref).datasets)


def require_reached(site: Site, ref: ModelRef, env: str) -> bool:
    """As `ready`, and nothing is made; whether something of the model was recorded there."""
    if _begun(site, ref, env):
        design.require_known(site.platform(env))
        require_there(site, ref, env)
        return True
    require_lake(site, env)
    return False


def require_lake(site: Site, env: str) -> None:
    """Before anything is made in a lake: it is of a known design, and it is the one that the catalogue speaks of.

    Raises:
        ConflictError, PlatformError: as `ready`.
    """
    design.require_known(site.platform(env))
    for table in (t.versions, t.in_files):
        k = table.c
        newest = site.store.first(sa.select(k.object).where(k.env == env).order_by(k.at.desc()).limit(1))
        if newest is not None:
            require_there(site, ModelRef.parse(newest["object"]), env)


def require_there(site: Site, ref: ModelRef, env: str) -> None:
    """Before anything of a model that tables or files were recorded of is written: its folder is there.

    Raises:
        PlatformError: it is not, or can't be reached.
    """
    platform = site.platform(env)
    if not platform.folders(model_folder(ref)):
        raise PlatformError(
            f"the lake of {env} is not at {platform.lake_root()}, though what {ref} has was recorded there",
            hint=f"bring it back from where it went, or from a backup; esml doctor --env {env} says what is missing",
        )


def missing(site: Site, env: str, most: int) -> list[ModelRef]:
    """Models that have not all of their folders in a lake; of those without a table there, the first `most` are looked at."""
    settings, platform, out = site.settings, site.platform(env), []
    v = t.versions
    begun = {r["object"] for r in site.store.rows(sa.select(v.c.object).where(v.c.env == env).distinct())}
    for ref in [r for r in settings.models() if str(r) not in begun][:most]:
        wanted = set(settings.model(ref).datasets)
        if any(not wanted <= set(platform.folders(f"{model_folder(ref)}/{side}")) for side in _SIDES):
            out.append(ref)
    return out


def _begun(site: Site, ref: ModelRef, env: str) -> bool:
    """Whether a table or an IN file of the model was recorded in an environment, and its folders are there so."""
    return any(
        site.store.first(sa.select(k.name).where(k.object == str(ref), k.env == env).limit(1)) is not None
        for k in (t.versions.c, t.in_files.c)
    )
