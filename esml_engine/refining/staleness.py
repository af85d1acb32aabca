"""What of a model's tables is stale: IN, bronze, silver and gold compared by the catalogue alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from esml_engine.door.site import Site
from esml_engine.lake import deliveries as d
from esml_engine.lake.catalogue import Version, all_latest, latest
from esml_engine.lake.specs import code_hash, step_file
from esml_engine.refs import ModelRef, Purpose, TableName
from esml_engine.settings import ModelSettings

_DEFAULT = "default-1"


def table_name(layer: str, dataset: str | None, purpose: Purpose) -> str:
    """A table's contract name."""
    return str(TableName(layer, dataset, purpose))


def goal_table(purpose: Purpose) -> str:
    """Where a purpose's way ends."""
    return "gold" if purpose == "train" else "to_score"


def layer_code(site: Site, ref: ModelRef, settings: ModelSettings, layer: str, dataset: str = "") -> str:
    """Hash of all that shapes a layer besides its input: step code, expectations, row-by-row or not."""
    expect = [
        e.model_dump()
        for e in (settings.datasets[dataset].expect if dataset else settings.expect)
        if e.on == layer or (layer == "gold" and not dataset)
    ]
    if layer == "silver":
        code = code_hash(step_file(site.root, ref, dataset), _DEFAULT)
    else:
        code = code_hash(step_file(site.root, ref, "gold"), _DEFAULT)
    shape = [
        code,
        expect,
        settings.key if layer == "gold" else "",
        list(settings.datasets) if layer == "gold" else settings.datasets[dataset].rows,
    ]
    return hashlib.sha256(json.dumps(shape, sort_keys=True, default=str).encode()).hexdigest()[:16]


def input_version(v: Version | None, table: str) -> int | None:
    """Which version of `table` stands behind `v`."""
    for i in v.inputs if v else ():
        if i.get("table") == table:
            return int(i["version"])
    return None


@dataclass(frozen=True)
class Stale:
    """What a refinement has to do for one purpose."""

    files: dict[str, list[d.InFile]]
    bronze: list[str]
    silver: list[str]
    gold: bool
    blocked: list[str]
    have: dict[str, Version]  # the tables that this was said of
    anew: dict[str, str]  # dataset that has something to read -> why it is read anew from all files, or ''
    # of those read anew: files that IN has no more, with their rows in bronze
    gone: dict[str, list[tuple[str, int]]] = field(default_factory=dict)


def stale(
    site: Site,
    ref: ModelRef,
    env: str,
    purpose: Purpose,
    layer: str = "",
    dataset: str = "",
    *,
    listed: bool = True,
) -> Stale:
    """Compare IN, bronze, silver and gold; nothing is read but listings and the catalogue.

    Args:
        listed: False: IN is not asked for, as its environment does not answer; no file is known to wait.
    """
    settings = site.settings.model(ref)
    have = all_latest(site.store, ref, env)
    sets = [dataset] if dataset else list(settings.datasets)
    rnd = in_rnd(settings, env)
    files: dict[str, list[d.InFile]] = {ds: [] for ds in sets}
    gone: dict[str, list[tuple[str, int]]] = {}
    for ds in sets if listed else []:
        bronze_now = have.get(table_name("bronze", ds, purpose))
        files[ds], whole = to_read(site, ref, env, ds, purpose, rnd=rnd, bronze=bronze_now)
        if whole and files[ds] and bronze_now:
            gone[ds] = d.gone(site, ref, env, ds, purpose)
    bronze = [ds for ds in sets if files[ds]] if layer in ("", "bronze") else []
    silver = []
    if layer in ("", "silver"):
        for ds in sets:
            b, s = have.get(table_name("bronze", ds, purpose)), have.get(table_name("silver", ds, purpose))
            if ds in bronze or (
                b
                and (
                    s is None
                    or input_version(s, b.name) != b.version
                    or s.code != layer_code(site, ref, settings, "silver", ds)
                )
            ):
                silver.append(ds)
    blocked = [
        ds for ds in settings.datasets if ds not in silver and table_name("silver", ds, purpose) not in have
    ]
    gold = False
    if layer in ("", "gold") and not blocked:
        g = have.get(goal_table(purpose))
        moved = any(
            input_version(g, n) != have[n].version
            for n in (table_name("silver", ds, purpose) for ds in settings.datasets)
            if n in have
        )
        gold = bool(silver) or g is None or moved or g.code != layer_code(site, ref, settings, "gold")
    anew = {ds: d.why_anew(site, ref, env, ds, purpose) for ds in bronze}
    return Stale(files, bronze, silver, gold, blocked, have, anew, gone)


def in_rnd(settings: ModelSettings, env: str) -> bool:
    """Whether a model is in R&D mode in an environment."""
    return bool(settings.rnd.get(env, False))  # type: ignore[call-overload]


def samples(settings: ModelSettings, env: str) -> bool:
    """Whether bronze is a sample of IN: in R&D mode, but for a series, which a sample of its rows would tear."""
    return in_rnd(settings, env) and settings.task != "forecasting"


def to_read(
    site: Site, ref: ModelRef, env: str, dataset: str, purpose: Purpose, *, rnd: bool, bronze: Version | None
) -> tuple[list[d.InFile], bool]:
    """The IN files that the next bronze reads (none where it is current), and whether it is read anew from all.

    Anew: always in R&D mode, where one version is kept, after the mode was switched, whole or as a sample, and after
    the settings say another way to read the files, or expect other things of bronze.
    """
    otherwise = bool(d.why_anew(site, ref, env, dataset, purpose))
    switched = otherwise or (bronze is not None and bronze.rnd != rnd)
    new = [] if switched else d.waiting(site, ref, env, dataset, purpose)
    if not (rnd or switched):
        return new, False
    return (d.readable(site, ref, env, dataset, purpose) if switched or new else []), True


def rnd_version(site: Site, ref: ModelRef, env: str, name: str) -> bool:
    """Whether the current version of a table comes from R&D mode."""
    found = latest(site.store, ref, env, name)
    return found is not None and found.rnd
