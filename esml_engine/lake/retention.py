"""What is kept: in R&D mode one version of a table, whose predecessor's files go with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from esml_engine.door.facts import Desk
from esml_engine.lake.catalogue import Version, files_of, latest, table_uri
from esml_engine.refs import ModelRef


def replaced(
    have: Mapping[str, Version], names: Iterable[str], given: Mapping[str, int], *, rnd: bool
) -> tuple[str, ...]:
    """What goes for good when these tables get their next versions, for a plan; nothing outside R&D mode."""
    return tuple(
        f"{n} v{have[n].version} is removed when v{given[n]} stands: R&D mode keeps one version"
        for n in names
        if rnd and n in have and have[n].rnd
    )


def keep_one(
    desk: Desk, ref: ModelRef, env: str, made: Sequence[Version], commit: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Commit versions to the catalogue; then remove the files of R&D versions that they replaced.

    A crash before the files are gone leaves files that nothing names, never a version without its files.
    """
    site = desk.site
    before = {v.name: latest(site.store, ref, env, v.name) for v in made if v.rnd}
    answer = commit()
    storage = site.platform(env).storage_options()
    for v in made:
        old = before.get(v.name)
        if old is None or not old.rnd or old.version >= v.version:
            continue
        uri = table_uri(site, ref, env, v.name)
        for name in set(files_of(uri, old.delta_version, storage)) - set(
            files_of(uri, v.delta_version, storage)
        ):
            site.platform(env).remove_file(f"{uri}/{name}")
    return answer
