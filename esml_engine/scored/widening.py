"""An append whose types the table can't hold: the table's rows are written anew with wider types, in the same commit.

Model versions disagree about a feature now and then (whole numbers, then decimals, then text). Delta has one type a
column, so that every other reader of the table needs every file to have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from esml_engine.door.site import Site
from esml_engine.faults import point
from esml_engine.lake.catalogue import files_of, table_uri
from esml_engine.lake.files import describe, schema_of, schema_text
from esml_engine.lake.log import open_table
from esml_engine.platforms.base import Files
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import FileOut, TableOut
from esml_engine.scored.drain import PARTITION, day_file, together

if TYPE_CHECKING:
    import pyarrow as pa


def fitted(site: Site, ref: ModelRef, env: str, out: TableOut, run: str) -> TableOut:
    """The append with the schema of table and new rows together; files of narrower types are replaced by rewritten ones.

    Where the table's own types are too narrow, the result holds all its rows and takes the place of its files
    (`remove_all`), and its facts say which columns were `widened`. Earlier versions keep theirs.

    Args:
        run: names the new files.
    """
    import pyarrow as pa

    platform, uri = site.platform(env), table_uri(site, ref, env, "scored")
    storage = platform.storage_options()
    handle = open_table(uri, storage)
    if handle is None:
        return out
    table, rows = pa.schema(handle.schema().to_arrow()), schema_of(out.schema)
    both = together(table, rows)
    new = _cast(platform, uri, [f.path for f in out.add], both, run) if _narrower(rows, both) else out.add
    if not _narrower(table, both):
        return replace(out, schema=schema_text(both), add=new)
    old = _cast(platform, uri, files_of(uri, handle.version(), storage), both, run)
    point("scored:widened")
    widened = {
        f.name: f"{f.type} to {both.field(f.name).type}" for f in table if f.type != both.field(f.name).type
    }
    facts = {**out.facts, "widened": widened}
    return replace(out, schema=schema_text(both), add=(*old, *new), remove_all=True, facts=facts)


def _narrower(some: pa.Schema, both: pa.Schema) -> bool:
    return any(both.field(f.name).type != f.type for f in some)


def _cast(platform: Files, uri: str, names: Iterable[str], both: pa.Schema, run: str) -> tuple[FileOut, ...]:
    """The files written anew with the types of `both`, one for one and a row group at a time, and handed in."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names, drafts = list(names), platform.drafts(uri)
    here = platform.here(uri, names)
    made: list[FileOut] = []
    for name in names:
        day = name.split(f"{PARTITION}=", 1)[1].split("/", 1)[0]
        path = day_file(day, run, 1)
        target = Path(drafts) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetFile(Path(here) / name) as old:
            schema = pa.schema([both.field(f.name) for f in old.schema_arrow if f.name != PARTITION])
            with pq.ParquetWriter(target, schema, compression="zstd", compression_level=1) as new:
                for group in range(old.num_row_groups):
                    new.write_table(old.read_row_group(group, columns=schema.names).cast(schema, safe=False))
        made.append(describe(drafts, path, partition={PARTITION: day}))
    platform.hand_in(uri, [f.path for f in made])
    return tuple(made)
