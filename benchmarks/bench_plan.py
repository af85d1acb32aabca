"""Planning a refinement with nothing new, 30 datasets, against listing the folders and opening the tables by hand.

    python -m benchmarks.bench_plan [VERSIONS]

Each dataset has a few delivered files, and as many versions of bronze. Target: no growth without need.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import psutil
import pyarrow as pa
from deltalake import DeltaTable

from benchmarks.harness import interleaved, report, timed
from esml_engine.estate import Estate, init_estate, open_estate
from esml_engine.lake import deliveries as d
from esml_engine.lake.catalogue import put, table_uri
from esml_engine.lake.commit import make_versions
from esml_engine.lake.files import schema_text
from esml_engine.refining.staleness import layer_code
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import TableOut
from esml_engine.scored.commits import DrainDesk

DATASETS, ROUNDS = [f"ds{n:02d}" for n in range(30)], 15
REF = ModelRef("project1", "model1")


def _make(root: Path, versions: int) -> Estate:
    """Delivered files, and the versions that refining them would have made (without rows)."""
    init_estate(root, ["dev"])
    open_estate(root).new_project(REF.project, "team")
    open_estate(root).new_model(str(REF), "regression", DATASETS, label="y", key="id")
    estate = open_estate(root)
    site, model = estate.site, estate.model(str(REF))
    settings = site.settings.model(REF)
    schema = schema_text(pa.schema([("id", pa.int64()), ("y", pa.int64())]))

    def commit(
        table: str, number: int, inputs: list[dict[str, object]], code: str, facts: dict[str, object]
    ) -> None:
        desk = DrainDesk(site, f"r-{table}-{number}", "made")
        out = TableOut(table, schema, ())
        made = make_versions(
            desk, REF, "dev", [out], numbers={table: {"on": number - 1, "next": number, "stands": number - 1}},
            inputs=inputs, code=code, facts=facts,
        )  # fmt: skip
        with site.store.write() as c:
            for v in made:
                put(c, v)

    file = root / "a.csv"
    for ds in DATASETS:
        for n in range(1, versions + 1):
            file.write_text(f"id,y\n{n},1\n", encoding="utf-8")
            model.ingest(ds, [file], f"2026-01-{n:02d}")
            found = max(d.delivered(site, REF, "dev", ds, "train"), key=lambda f: f.date)
            said = {
                "date": found.date, "name": found.name, "path": found.path, "sha256": found.sha256, "rows_in": 1, "bronze": 1,
                "quarantine": 0,
                "bronze_files": [], "quarantine_files": [],
            }  # fmt: skip
            commit(f"{ds}/bronze", n, [], "", {"files": [said], "types": {}})
        made_from: list[dict[str, object]] = [{"table": f"{ds}/bronze", "version": versions}]
        commit(f"{ds}/silver", 1, made_from, layer_code(site, REF, settings, "silver", ds), {})
    silvers: list[dict[str, object]] = [{"table": f"{ds}/silver", "version": 1} for ds in DATASETS]
    commit("gold", 1, silvers, layer_code(site, REF, settings, "gold"), {})
    return estate


def main(versions: int) -> None:
    """Make the estate, check that nothing is new, run both in turns."""
    with tempfile.TemporaryDirectory() as name:
        estate = _make(Path(name) / "estate", versions)
        site, model = estate.site, estate.model(str(REF))
        plan = model.plan_refine()
        assert plan.document()["nothing_to_do"], plan.document()
        root = Path(site.platform("dev").lake_root())
        tables = [f"{ds}/{layer}" for ds in DATASETS for layer in ("bronze", "silver")] + ["gold"]
        uris = [table_uri(site, REF, "dev", t) for t in tables]

        def by_hand() -> object:
            files = [
                (os.path.join(here, n), os.stat(os.path.join(here, n)).st_mtime_ns)  # noqa: PTH118, PTH116
                for ds in DATASETS
                for here, _, names in os.walk(root / d.in_folder(REF, ds, "train"))
                for n in names
            ]
            return files, [DeltaTable(u).version() for u in uris]

        a, b = interleaved(timed(model.plan_refine), timed(by_hand), ROUNDS)
        report(f"plan_30_datasets_{versions}_versions", a, b, psutil.Process().memory_info().rss / 1e6)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
