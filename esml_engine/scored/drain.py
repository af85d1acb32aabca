"""The drain: from the ledger's requests (a, b] to parquet files of the `scored` table.

Only files are made here. Their commit is a numbered version of the table that says `ledger` and `last_seq` in its
facts: a second drain of the same range meets that version, and its own files are garbage for vacuum.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esml_engine.lake.files import new_name, schema_of, schema_text, write_arrow
from esml_engine.runs.facts import FileOut, TableOut
from esml_engine.scored.facts import wider
from esml_engine.scored.ledger_reader import LedgerReader

if TYPE_CHECKING:
    import pyarrow as pa

PARTITION = "scored_date"


@dataclass(frozen=True)
class Drained:
    """What one drain made.

    Args:
        files: one a scored_date; the date is in `FileOut.partition` and, by Delta's rules, not in the file.
        schema: Arrow schema (text) of the table with these rows in it, `scored_date` included. Its types may be wider
            than the table's: the commit then brings the table to them (`scored.widening`).
    """

    ledger_id: str
    after: int
    last_seq: int
    rows: int
    files: tuple[FileOut, ...]
    schema: str

    def table_out(self, rows_before: int = 0) -> TableOut:
        """The append as the worker commits it; its facts say which range it holds."""
        facts = {"ledger": self.ledger_id, "after": self.after, "last_seq": self.last_seq}
        return TableOut("scored", self.schema, self.files, rows=rows_before + self.rows, facts=facts)


def drain(
    ledger: str | Path,
    after: int,
    folder: str,
    *,
    run: str = "drain",
    attempt: int = 1,
    table_schema: str = "",
    max_rows: int = 50_000,
) -> Drained:
    """Write the scored rows of the requests after `after` into `folder`, one parquet file a UTC day.

    Args:
        ledger: path of the endpoint's ledger.
        after: last sequence number that the table already holds.
        folder: the scored table's folder.
        table_schema: Arrow schema (text) of the table as it is, "" when it does not exist yet.
        max_rows: bounds the memory of one drain; call again while `last_seq` has not reached the ledger's.

    Raises:
        NotFoundError: there is no such ledger.
    """
    with LedgerReader(ledger) as reader:
        ledger_id = reader.id
        part = reader.rows_after(after, max_rows)
    rows, schema = fit(part.table, schema_of(table_schema) if table_schema else None)
    files = write_days(rows, folder, run, attempt)
    return Drained(ledger_id, after, part.last_seq, rows.num_rows, files, schema_text(schema))


def write_days(rows: pa.Table, folder: str, run: str, attempt: int) -> tuple[FileOut, ...]:
    """Write scored rows as one parquet file a day, without the partition's column."""
    import pyarrow.compute as pc

    files = []
    for day in sorted(pc.unique(rows.column(PARTITION)).to_pylist()):
        own = rows.filter(pc.equal(rows.column(PARTITION), day)).drop_columns([PARTITION])
        name = day_file(day.isoformat(), run, attempt)
        files.append(write_arrow(own, folder, name, partition={PARTITION: day.isoformat()}))
    return tuple(files)


def day_file(day: str, run: str, attempt: int) -> str:
    """Where a new file of that day's partition lies, relative to the table's folder."""
    return f"{PARTITION}={day}/{new_name(run, attempt)}"


def fit(rows: pa.Table, table: pa.Schema | None) -> tuple[pa.Table, pa.Schema]:
    """New rows with the types that table and rows have together, and that schema.

    Whole numbers beyond 2^53 that meet decimals are rounded to them.
    """
    import pyarrow as pa

    if table is None:
        return rows, rows.schema
    both = together(table, rows.schema)
    return rows.cast(pa.schema([both.field(name) for name in rows.schema.names]), safe=False), both


def together(table: pa.Schema, rows: pa.Schema) -> pa.Schema:
    """The schema that holds both: the table's columns first, then new ones, types as wide as both need."""
    import pyarrow as pa

    fields = {f.name: f for f in table}
    for field in rows:
        known = fields.setdefault(field.name, field)
        if known.type != field.type:
            both = wider(str(known.type), str(field.type))
            fields[field.name] = known.with_type(pa.float64() if both == "double" else pa.string())
    return pa.schema(list(fields.values()))
