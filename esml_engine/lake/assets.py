"""Table versions as data assets that other tools find: a projection of the catalogue, told to the platform again and again.

What was told already is remembered in a file that may be lost: saying it again is harmless.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import Counter
from pathlib import Path

from esml_engine import replacing
from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.lake.catalogue import Version, all_latest, listing, table_uri
from esml_engine.platforms.base import DataAsset
from esml_engine.refs import ModelRef, TableName

log = logging.getLogger("esml.assets")
_one_at_a_time = threading.Lock()


def asset_name(site: Site, ref: ModelRef, table: str) -> str:
    """`<MODEL>_<DATASET>_<PURPOSE>_<LAYER>`; with the project in front where two projects have a model of that name.

    A hash goes behind it where another model's table would have the same name (`a_b` with `c`, `a` with `b_c`).
    """
    its, settings = TableName.parse(table), site.settings
    models = settings.models()
    count = Counter(one.model for one in models)

    def front(one: ModelRef) -> str:
        return f"{one.project}_{one.model}" if count[one.model] > 1 else one.model

    said = f"{front(ref)}_{its.dataset}" if its.dataset else front(ref)
    name = f"{said}_{its.purpose}_{its.layer}".upper()

    def alike(other: ModelRef) -> bool:
        if not its.dataset:
            return front(other).upper() == said.upper()
        its_own = said.removeprefix(f"{front(other)}_")
        return (
            its_own != said
            and site.files.wrong(str(other)) is None
            and its_own in settings.model(other).datasets
        )

    if any(other != ref and alike(other) for other in models):
        return f"{name}_{hashlib.sha256(f'{ref}/{table}'.encode()).hexdigest()[:8].upper()}"
    return name


def asset_of(site: Site, ref: ModelRef, v: Version) -> DataAsset:
    """A version as the platform lists it."""
    inputs = [f"{i['table']} v{i['version']}" if "table" in i else str(i.get("file", "")) for i in v.inputs]
    tags = {
        "esml-project": ref.project, "esml-model": ref.model, "esml-env": v.env, "esml-table": v.name, "esml-run": v.run or "",
        "esml-by": v.by or "",
        "rows": str(v.rows), "bytes": str(v.bytes), "delta_version": str(v.delta_version),
        "inputs": "; ".join(i for i in inputs if i),
    }  # fmt: skip
    return DataAsset(
        asset_name(site, ref, v.name),
        v.version,
        table_uri(site, ref, v.env, v.name),
        {k: t for k, t in tags.items() if t},
    )


def announce_new(site: Site, ref: ModelRef, env: str, *, anew: bool = False) -> int:
    """Tell the platform of versions that it was not told of; returns how many. Trouble is logged: the next run says it again.

    R&D versions are left out, and of `scored`, which grows by the minute, all but the newest. `anew`: all, once more.
    A table whose asset got another name is told whole under it: who reads the old one keeps what was there.
    """
    path = site.state / "announced" / f"{env}.json"
    with _one_at_a_time:
        told: dict[str, int] = {} if anew else _read(path)
        count = 0
        for name, newest in all_latest(site.store, ref, env).items():
            key = f"{ref}/{name}: {asset_name(site, ref, name)}"
            if newest.rnd or told.get(key, 0) >= newest.version:
                continue
            one = name == "scored" or (told.get(key, 0) == newest.version - 1)
            for v in [newest] if one else reversed(listing(site.store, ref, env, name)):
                if v.version <= told.get(key, 0) or v.rnd:
                    continue
                try:
                    site.platform(env).announce(asset_of(site, ref, v))
                except EsmlError as e:
                    log.warning(
                        "%s v%s of %s was not announced: %s (%s)", name, v.version, ref, e.message, e.hint
                    )
                    break
                told[key] = v.version
                count += 1
        if count:
            replacing.put(path, json.dumps({**_read(path), **told}, indent=1, sort_keys=True))
        return count


def _read(path: Path) -> dict[str, int]:
    try:
        found: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found
