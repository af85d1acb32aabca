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
    platform = site.platform(env)
    design.require_known(platform)
    begun = _begun(site, ref, env)
    if begun and not platform.folders(model_folder(ref)):
        raise PlatformError(
            f"the lake of {env} is not at {platform.lake_root()}, though tables of {ref} were recorded there",
            hint=f"bring it back from where it went, or from a backup; esml doctor --env {env} says what is missing",
        )
    if ref in site.files.models and not begun:
        make(platform, ref, site.settings.model(ref).datasets)


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
    """Whether there is a table of the model in an environment, and its folders so."""
    v = t.versions
    found = site.store.first(sa.select(v.c.name).where(v.c.object == str(ref), v.c.env == env).limit(1))
    return found is not None
