"""The catalogue from the lakes alone: every numbered commit of every table, siblings only through their head."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa

from esml_engine.door.site import Site
from esml_engine.errors import FailedError
from esml_engine.faults import point
from esml_engine.lake.catalogue import Version, all_latest, named_by, put, table_uri
from esml_engine.lake.commit import commit_version
from esml_engine.lake.log import APP, commits, open_table
from esml_engine.refs import DATASET_LAYERS, MODEL_TABLES, ModelRef, TableName, model_folder
from esml_engine.store import schema as t
from esml_engine.store.database import upsert

SIBLINGS_OF = {"gold_validate": "gold_train", "gold_test": "gold_train"}


def table_names(site: Site, ref: ModelRef) -> list[str]:
    """Every table that a model can have."""
    sets = list(site.settings.model(ref).datasets)
    names = [
        str(TableName(layer, d, p)) for p in ("train", "inference") for d in sets for layer in DATASET_LAYERS
    ]
    return [*names, *MODEL_TABLES]


def head_of(name: str) -> str | None:
    """The table through which this one is reached, or None where it is a head itself."""
    table = TableName.parse(name)
    if table.layer == "quarantine":
        return str(TableName("bronze", table.dataset, table.purpose))
    return SIBLINGS_OF.get(table.layer)


def lake_versions(site: Site, ref: ModelRef, env: str) -> tuple[list[Version], list[Version]]:
    """All versions that a lake's own logs tell, oldest first; and siblings without their head, which are none."""
    platform = site.platform(env)
    found: dict[str, dict[tuple[int, str], Version]] = {}
    for name in table_names(site, ref):
        uri = table_uri(site, ref, env, name)
        history = list(commits(platform, uri))
        if not history:
            continue
        found[name] = {}
        for entry in history:
            if APP in entry:
                v = commit_version(entry)
                found[name][(v.version, v.run or "")] = v
    out: list[Version] = []
    headless: list[Version] = []
    for name, its in found.items():
        head = head_of(name)
        for (number, run), v in its.items():
            heads = found.get(head or "", {}).values()
            whole = head is None or any(
                h.siblings.get(name) == number and (h.run or "") == run for h in heads
            )
            (out if whole else headless).append(v)
    return sorted(out, key=lambda v: (v.name, v.version)), headless


def catch_up(site: Site, ref: ModelRef, env: str) -> int:
    """Add versions that the lake has and the catalogue lacks; returns how many."""
    known = all_latest(site.store, ref, env)
    if not any(_ahead(site, ref, env, name, known.get(name)) for name in table_names(site, ref)):
        return 0
    missing = [
        v
        for v in lake_versions(site, ref, env)[0]
        if v.name not in known or v.version > known[v.name].version
    ]
    if missing:
        point("replay:read")
        with site.store.write() as c:
            for v in missing:
                put(c, v)
    return len(missing)


def _ahead(site: Site, ref: ModelRef, env: str, name: str, known: Version | None) -> bool:
    """Whether a table's log holds a numbered commit that the catalogue does not know; its history is not read."""
    uri, platform = table_uri(site, ref, env, name), site.platform(env)
    # a log has no gaps, and its old entries are kept: without the next commit there is no later one
    first = known.delta_version + 1 if known else 0
    if platform.read_file(f"{uri}/_delta_log/{first:020d}.json") is None:
        return False
    table = open_table(uri, platform.storage_options())
    here = (table.transaction_version(APP) or 0) if table is not None else 0
    return bool(here > (known.version if known else 0))


def rebuild(site: Site, forget: Collection[str] = ()) -> dict[str, int]:
    """Make the catalogue anew from the lakes: counts of tables and versions.

    Args:
        forget: environments whose tables and IN files are forgotten where they are not there any more.

    Raises:
        FailedError: in another environment a recorded table is not there: its lake may be away, and nothing is changed.
    """
    everything: list[Version] = []
    headless: list[Version] = []
    for env in site.settings.environments:
        for ref in site.settings.models():
            versions, left = lake_versions(site, ref, env)
            everything += versions
            headless += left
    _require_there(site, [*everything, *headless], forget)
    gone = [row for env in forget for row in _files_gone(site, env)]
    given = _no_more(site, everything, headless)
    point("rebuild:read")
    with site.store.write() as c:
        for row in given:
            upsert(c, t.forgotten, row)
        c.execute(t.versions.delete().where(t.versions.c.origin == "engine"))
        for env, path in gone:
            c.execute(t.in_files.delete().where(t.in_files.c.env == env, t.in_files.c.path == path))
        for v in everything:
            put(c, v)
    return {
        "models": len({v.object for v in everything}),
        "tables": len({(v.object, v.env, v.name) for v in everything}),
        "versions": len(everything),
    }


def _no_more(site: Site, found: Iterable[Version], headless: Iterable[Version]) -> list[dict[str, Any]]:
    """The highest number that each table had, where its versions tell less.

    As the store has it, as tables made from it say, or as siblings do whose head is an older one or went.
    """
    there: dict[tuple[str, str, str], int] = {}
    had: dict[tuple[str, str, str], int] = {}
    for x in found:
        _raise(there, (x.object, x.env, x.name), x.version)
        for name, number in named_by(x):
            _raise(had, (x.object, x.env, name), number)
    for x in headless:
        _raise(had, (x.object, x.env, x.name), x.version)
    for table in (t.versions, t.forgotten):
        key = (table.c.object, table.c.env, table.c.name)
        highest = sa.select(*key, sa.func.max(table.c.version).label("version")).group_by(*key)
        if table is t.versions:
            highest = highest.where(table.c.origin == "engine")
        for r in site.store.rows(highest):
            _raise(had, (r["object"], r["env"], r["name"]), r["version"])
    columns = ("object", "env", "name", "version")
    return [
        dict(zip(columns, (*key, number), strict=True))
        for key, number in had.items()
        if number > there.get(key, 0)
    ]


def _raise(numbers: dict[tuple[str, str, str], int], key: tuple[str, str, str], number: int) -> None:
    numbers[key] = max(number, numbers.get(key, 0))


def _files_gone(site: Site, env: str) -> list[tuple[str, str]]:
    """IN files (environment, path) that were noted and are not in the lake any more."""
    f, platform = t.in_files.c, site.platform(env)
    noted = site.store.rows(sa.select(f.object, f.path).where(f.env == env).distinct())
    there = {
        path
        for object_ in {r["object"] for r in noted}
        for path, _, _ in platform.list_files(model_folder(ModelRef.parse(object_)))
    }
    return [(env, r["path"]) for r in noted if r["path"] not in there]


def _require_there(site: Site, found: Iterable[Version], forget: Collection[str]) -> None:
    v = t.versions.c
    models = {str(m) for m in site.settings.models()}
    recorded = site.store.rows(
        sa.select(v.env, v.object, v.name)
        .where(v.origin == "engine")
        .distinct()
        .order_by(v.env, v.object, v.name)
    )
    there = {(x.env, x.object, x.name) for x in found}
    lost = [
        r
        for r in recorded
        if r["object"] in models
        and r["env"] in site.settings.environments
        and r["env"] not in forget
        and (r["env"], r["object"], r["name"]) not in there
    ]
    if lost:
        first, env = lost[0], lost[0]["env"]
        more = f" and {len(lost) - 1} more are" if lost[1:] else " is"
        raise FailedError(
            f"{first['name']} of {first['object']}{more} not in the lake of {env} at {site.platform(env).lake_root()}, where it was recorded; nothing was changed",
            hint=f"bring the lake back from where it went, or from a backup; esml catalogue rebuild --forget {env} forgets what stays away",
        )
