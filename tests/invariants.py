"""What must hold of an estate at rest, whatever was killed before. Counted independently of the engine where it can be."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import psutil
import pyarrow.parquet as pq
from deltalake import DeltaTable

from esml_engine.door import audit
from esml_engine.estate import open_estate
from esml_engine.lake import deliveries
from esml_engine.lake.catalogue import listing
from esml_engine.lake.replay import lake_versions
from esml_engine.refs import ModelRef
from esml_engine.runs import records
from esml_engine.scored.ledger import LedgerReader
from esml_engine.store import schema as t


def violations(root: Path, *, at_rest: bool = True) -> list[str]:
    """Every broken invariant, in words; empty when all hold. `at_rest`: no worker should be up."""
    site = open_estate(root).site
    found: list[str] = []
    if records.open_runs(site.store):
        found.append(f"open runs: {records.open_runs(site.store)}")
    if site.store.rows(t.locks.select()):
        found.append("a lock is left")
    chain = audit.verify(site.store, site.state)
    if not chain["ok"]:
        found.append(f"audit: {chain}")
    for env in site.settings.environments:
        for ref in site.settings.models():
            found += (
                _tables(site, ref, env)
                + _files(site, ref, env)
                + _scored(site, ref, env)
                + _champion(site, ref, env)
            )
    if at_rest:
        found += [f"orphan process {p.pid}: {' '.join(p.cmdline())[:120]}" for p in processes(root)]
    return found


def processes(root: Path) -> list[psutil.Process]:
    """Processes whose command line names this estate."""
    out = []
    for p in psutil.process_iter(["cmdline"]):
        line = " ".join(p.info["cmdline"] or [])
        if (
            str(root) in line
            and "esml_engine" in line + "esml_engine"
            and p.pid != psutil.Process().pid
            and "pytest" not in line
            and "tests.soak" not in line
        ):
            out.append(p)
    return out


def _tables(site, ref: ModelRef, env: str) -> list[str]:
    found = []
    lake = {(v.name, v.version): v for v in lake_versions(site, ref, env)}
    names = {n for n, _ in lake} | {
        r["name"]
        for r in site.store.rows(
            t.versions.select().where(t.versions.c.object == str(ref), t.versions.c.env == env)
        )
    }
    for name in names:
        rows = listing(site.store, ref, env, name)
        numbers = sorted(v.version for v in rows)
        if numbers != list(range(1, len(numbers) + 1)):
            found.append(f"{ref} {env} {name}: versions {numbers}")
        if {(name, v.version) for v in rows} != {k for k in lake if k[0] == name}:
            found.append(
                f"{ref} {env} {name}: the catalogue says {numbers}, the lake {sorted(v for n, v in lake if n == name)}"
            )
        for v in rows:
            if (name, v.version) in lake and lake[(name, v.version)].delta_version != v.delta_version:
                found.append(
                    f"{ref} {env} {name} v{v.version}: delta version {v.delta_version} is not the lake's"
                )
        if rows:
            top = rows[0]
            uri = str(
                Path(site.platform(env).lake_root()) / "projects" / ref.project / ref.model / _path(name)
            )
            table = DeltaTable(uri, version=top.delta_version)
            counted = sum(pq.read_metadata(u.removeprefix("file://")).num_rows for u in table.file_uris())
            if counted != top.rows:
                found.append(f"{ref} {env} {name} v{top.version}: {counted} rows in files, {top.rows} said")
    return found


def _path(name: str) -> str:
    from esml_engine.refs import TableName

    return TableName.parse(name).path()


def _files(site, ref: ModelRef, env: str) -> list[str]:
    """rows read from IN = rows in bronze + rows in quarantine, per file."""
    found = []
    for dataset in site.settings.model(ref).datasets:
        for purpose in ("train", "inference"):
            for (date, name), f in deliveries.loaded(site.store, ref, env, dataset, purpose).items():
                path = next(
                    (
                        x
                        for x in deliveries.delivered(site, ref, env, dataset, purpose)
                        if (x.date, x.name) == (date, name) and x.sha256 == f.sha256
                    ),
                    None,
                )
                if path is None:
                    continue
                with (Path(site.platform(env).lake_root()) / path.path).open(
                    newline="", encoding="utf-8"
                ) as text:
                    counted = sum(1 for row in csv.reader(text) if row) - 1
                if not counted == f.rows_in == f.rows_bronze + f.rows_quarantine:
                    found.append(
                        f"{path.shown}: {counted} rows in the file, {f.rows_in} read, {f.rows_bronze} + {f.rows_quarantine} kept"
                    )
    return found


def _scored(site, ref: ModelRef, env: str) -> list[str]:
    """Each answered request once: (request, row) is unique over table and ledger, and every ledger row is somewhere."""
    from esml_engine.scored.commits import drained_seq, ledger_path
    from esml_engine.scored.reads import source

    found = []
    src = source(site, ref, env)
    pairs: Counter = Counter()
    for path, _ in src.files:
        part = pq.read_table(path, columns=["request_id", "row"])
        pairs.update(zip(part.column("request_id").to_pylist(), part.column("row").to_pylist(), strict=True))
    if src.fresh is not None:
        pairs.update(
            zip(src.fresh.column("request_id").to_pylist(), src.fresh.column("row").to_pylist(), strict=True)
        )
    twice = [k for k, n in pairs.items() if n > 1]
    if twice:
        found.append(f"{ref} {env}: scored twice: {twice[:5]}")
    path = ledger_path(site, ref, env)
    if path.exists():
        with LedgerReader(path) as reader:
            every = reader.rows_after(0).table
            drained = drained_seq(listing(site.store, ref, env, "scored"), reader.id)
            if drained > reader.last_seq():
                found.append(f"{ref} {env}: drained to {drained}, the ledger ends at {reader.last_seq()}")
        missing = [
            k
            for k in zip(every.column("request_id").to_pylist(), every.column("row").to_pylist(), strict=True)
            if k not in pairs
        ]
        if missing:
            found.append(f"{ref} {env}: answered but not in scored: {missing[:5]}")
    return found


def _champion(site, ref: ModelRef, env: str) -> list[str]:
    m, k, h = t.model_versions, t.champions, t.champion_history
    champions = site.store.rows(k.select().where(k.c.object == str(ref), k.c.env == env))
    history = site.store.rows(h.select().where(h.c.object == str(ref), h.c.env == env))
    versions = [
        r["version"] for r in site.store.rows(m.select().where(m.c.object == str(ref), m.c.env == env))
    ]
    found = []
    if len(champions) > 1 or (history and len(champions) != 1):
        found.append(f"{ref} {env}: {len(champions)} champions")
    if champions and champions[0]["version"] not in versions:
        found.append(f"{ref} {env}: champion v{champions[0]['version']} is not registered")
    if len(set(versions)) != len(versions):
        found.append(f"{ref} {env}: versions {versions}")
    return found
