"""A lake of one test: runs steps with real specifications and commits what they return in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from esml_engine.lake.files import arrow, new_name, schema_text, write_arrow
from esml_engine.lake.steps import bronze
from esml_engine.runs.context import JobContext
from esml_engine.runs.facts import JobSpec, TableIn, TableOut

Step = Callable[[JobContext], tuple[dict[str, Any], list[TableOut]]]


class TestLake:
    """Tables below a folder, with their current versions."""

    __test__ = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tables: dict[str, TableIn] = {}
        self.outs: dict[str, TableOut] = {}
        self.runs = 0

    def table(self, name: str) -> TableIn:
        return self.tables.get(name, TableIn(name, str(self.root / name), None))

    def run(
        self, step: Step, params: dict[str, Any], inputs: Mapping[str, TableIn], outputs: Mapping[str, str]
    ) -> dict[str, Any]:
        """Run a step; `outputs` maps the specification's output names to tables."""
        self.runs += 1
        work = self.root / f"work{self.runs}"
        work.mkdir(parents=True)
        folders = {key: str(self.root / table) for key, table in outputs.items()}
        spec = JobSpec(
            f"r{self.runs}", "s", 1, "kind", "dev", "p", "m", params, str(work), dict(inputs), folders
        )
        value, outs = step(JobContext(JobSpec.from_json(spec.to_json())))
        for out in outs:
            self.commit(out)
        return value

    def commit(self, out: TableOut) -> None:
        before = self.table(out.table)
        kept = () if out.remove_all else tuple(f for f in before.files if f not in set(out.remove))
        files = kept + tuple(f.path for f in out.add)
        self.tables[out.table] = TableIn(
            out.table, before.uri, (before.version or 0) + 1, files, out.schema, out.rows
        )
        self.outs[out.table] = out
        assert sum(pq.read_metadata(f"{before.uri}/{f}").num_rows for f in files) == out.rows

    def put(self, name: str, *parts: pa.Table) -> TableIn:
        """Write a table version of one file a part."""
        uri = str(self.root / name)
        files = tuple(write_arrow(part, uri, new_name("put", 1)).path for part in parts)
        version = (self.table(name).version or 0) + 1
        table = TableIn(
            name, uri, version, files, schema_text(parts[0].schema), sum(p.num_rows for p in parts)
        )
        self.tables[name] = table
        return table

    def rows(self, name: str) -> list[dict[str, Any]]:
        return arrow(self.tables[name]).to_pylist()

    def deliver(
        self, files: Mapping[str, bytes], replaces: Sequence[str] = (), **params: Any
    ) -> dict[str, Any]:
        """Read IN files into `ds/bronze` and `ds/quarantine`; what files of the names in `replaces` brought is replaced."""
        entries = []
        for name, content in files.items():
            path = self.root / "in" / f"{self.runs}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            entries.append(
                {
                    "path": str(path),
                    "name": name,
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "replaces": {},
                }
            )
        for entry in entries[:1]:
            entry["replaces"] = {
                layer: [f.path for f in self.outs[f"ds/{layer}"].add if f.source in replaces]
                for layer in ("bronze", "quarantine")
                if replaces
            }
        tables = {"bronze": "ds/bronze", "quarantine": "ds/quarantine"}
        all_params = {
            "dataset": "ds",
            "purpose": "train",
            "format": "csv",
            "files": entries,
            "tables": tables,
            **params,
        }
        inputs = {key: self.table(name) for key, name in tables.items()}
        return self.run(bronze, all_params, inputs, tables)
