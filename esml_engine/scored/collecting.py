"""From the files of answered requests that endpoints elsewhere leave in the lake into this machine's ledger, each once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from esml_engine.door.site import Site
from esml_engine.lake.catalogue import files_in, latest, table_uri
from esml_engine.refs import ModelRef
from esml_engine.scored.answered import file_of, from_json
from esml_engine.scored.facts import Shape
from esml_engine.scored.ledger import Ledger
from esml_engine.scored.ledger_reader import LedgerReader

DAY = 86_400.0
_SIDE_BY_SIDE = 8
_seen: dict[str, set[str]] = {}  # by ledger path: files that this process knows to be in it


def answered_folder(name: str) -> str:
    """The folder of an endpoint's answered requests, below the lake's root."""
    return f"endpoints/{name}/answered"


def collect(site: Site, ref: ModelRef, env: str, name: str, path: Path, window_days: float) -> int:
    """Take what is new into the ledger at `path`; returns how many requests.

    A ledger that is new on this machine (another worker's disk is gone) takes the requests whose rows the table has
    already without their rows, so that nothing drains twice.
    """
    platform, folder = site.platform(env), answered_folder(name)
    listed = platform.list_files(folder)
    if not listed:
        return 0
    known = _seen.setdefault(str(path), set())
    if not known and path.exists():
        with LedgerReader(path) as reader:
            known |= {file_of(i) for i in reader.request_ids()}
    fresh = [(at, f) for f, _, at in listed if f.rpartition("/")[2] not in known]
    if not fresh:
        return 0
    oldest = min(at for at, _ in fresh) / 1e9 - DAY
    drained = _in_table(site, ref, env, max(oldest, time.time() - (window_days + 1) * DAY))
    ledger = Ledger(path)
    try:
        for shape_file, _, _ in platform.list_files(f"endpoints/{name}/shapes"):
            raw = platform.read_file(shape_file)
            if raw is not None:
                said = json.loads(raw)
                version = int(Path(shape_file).stem)
                ledger.describe(
                    version,
                    Shape(said["features"], said["prediction"], tuple(said["classes"]), said["interval"]),
                )
        names = [file for _, file in sorted(fresh)]
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            texts = list(pool.map(platform.read_file, names))
        requests = [from_json(text) for text in texts if text is not None]
        taken = [ledger.take(f, rows=f.request_id not in drained) for f in requests]
        count = sum(one is not None and bool(one.result()) for one in taken)
        known |= {file_of(f.request_id) for f in requests}  # on disk now
        return count
    finally:
        ledger.close()


def _in_table(site: Site, ref: ModelRef, env: str, since: float) -> set[str]:
    """Request ids of the table's rows since a moment (whole days)."""
    import pyarrow.dataset as ds

    now = latest(site.store, ref, env, "scored")
    if now is None:
        return set()
    uri, platform = table_uri(site, ref, env, "scored"), site.platform(env)
    day = time.strftime("%Y-%m-%d", time.gmtime(since))
    files = [f for f in files_in(site, now) if f.split("scored_date=", 1)[1].split("/", 1)[0] >= day]
    if not files:
        return set()
    near = platform.here(uri, files)
    column = ds.dataset([f"{near}/{f}" for f in files], format="parquet").to_table(columns=["request_id"])
    return {str(i) for i in column.column("request_id").unique().to_pylist()}


def forget(site: Site, env: str, name: str, ids: Iterable[str]) -> None:
    """Remove the files of requests that are about to leave the ledger: files first, or they would be collected anew."""
    platform = site.platform(env)
    if not platform.list_files(answered_folder(name)):
        return
    for i in ids:
        platform.remove_file(f"{answered_folder(name)}/{file_of(i)}")
