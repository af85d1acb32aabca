"""Scored data as faces show it: the table at its version together with answered requests not drained yet."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from esml_engine.door.site import Site
from esml_engine.errors import UsageError
from esml_engine.lake.catalogue import files_in, listing, table_uri
from esml_engine.lake.files import schema_of
from esml_engine.refs import ModelRef
from esml_engine.scored import query as q
from esml_engine.scored.commits import drained_seq, ledger_path
from esml_engine.scored.export import export
from esml_engine.scored.facts import ScoredFilter, ScoredSource
from esml_engine.scored.ledger_reader import LedgerReader
from esml_engine.store import schema as t


def source(site: Site, ref: ModelRef, env: str) -> ScoredSource:
    """One consistent moment: rows are drained up to what this very version says, the rest comes from the ledger."""
    site.settings.model(ref)
    site.settings.check_env(env)
    versions = listing(site.store, ref, env, "scored")
    files: list[tuple[str, dt.date]] = []
    if versions:
        uri = table_uri(site, ref, env, "scored")
        for f in files_in(site, versions[0]):
            day = f.split("scored_date=", 1)[1].split("/", 1)[0]
            files.append((f"{uri}/{f}", dt.date.fromisoformat(day)))
    fresh = None
    path = ledger_path(site, ref, env)
    if path.exists():
        with LedgerReader(path) as reader:
            fresh = reader.rows_after(drained_seq(versions, reader.id)).table
    if versions:  # every column of the table is known, whichever files a filter leaves
        columns = schema_of(versions[0].schema).empty_table()
        fresh = columns if fresh is None else pa.concat_tables([columns, fresh], promote_options="permissive")
    return ScoredSource(tuple(files), fresh, lambda names: _near(site, env, names))


def _near(site: Site, env: str, files: list[str]) -> list[str]:
    """Files of the table on this machine, asked for when a filter has left them."""
    split = [f.rpartition("/")[::2] for f in files]
    names: dict[str, list[str]] = {}
    for folder, name in split:
        names.setdefault(folder, []).append(name)
    here = {folder: site.platform(env).here(folder, its) for folder, its in names.items()}
    return [f"{here[folder]}/{name}" for folder, name in split]


def views(site: Site, ref: ModelRef, env: str) -> list[dict[str, Any]]:
    """Named views of a model's scored data, by name: `[{"name", "filters", "by", "at"}]`."""
    v = t.saved_views
    rows = site.store.rows(v.select().where(v.c.object == str(ref), v.c.env == env).order_by(v.c.name))
    return [{k: r[k] for k in ("name", "filters", "by", "at")} for r in rows]


def view_of(site: Site, ref: ModelRef, env: str, name: str) -> dict[str, Any] | None:
    """One named view."""
    return next((v for v in views(site, ref, env) if v["name"] == name), None)


def moment(text: str | dt.date | None) -> dt.date | dt.datetime | None:
    """`--since`, `--until`: a date is a whole UTC day, else an ISO time.

    Raises:
        UsageError: neither.
    """
    if not text:
        return None
    if isinstance(text, dt.date):
        return text
    try:
        return dt.date.fromisoformat(text) if len(text) == 10 else dt.datetime.fromisoformat(text)
    except (ValueError, TypeError) as e:  # no text at all, from Python
        raise UsageError(
            f"{text!r} is neither a date nor a time", hint="write YYYY-MM-DD or an ISO time"
        ) from e


def scored(site: Site, ref: ModelRef, env: str, wanted: ScoredFilter, out: str = "") -> dict[str, Any]:
    """The contract's answer; with `out` the whole filtered result goes into that file as well."""
    src = source(site, ref, env)
    if out:
        path = Path(out)
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
            raise UsageError(f"{out} can't be written", hint="name a file in a folder that exists")
        export(src, wanted, path)
        return {**q.query(src, wanted), "file": out}
    return q.query(src, wanted)
