"""Lineage across rooms: recorded, not guessed. From a table version or a scored row back to IN files and lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError, NotYetError
from esml_engine.lake.catalogue import Version, get, latest, listing, on_disk, table_in, table_uri
from esml_engine.lake.files import paths
from esml_engine.refs import ModelRef, TableName
from esml_engine.scored.facts import ScoredFilter
from esml_engine.scored.query import query
from esml_engine.scored.reads import source
from esml_engine.serving.client import CHUNK_ROWS
from esml_engine.serving.handed import row_line
from esml_engine.training import records as models
from esml_engine.training.behind import trained_in


class _Graph:
    def __init__(self, site: Site, ref: ModelRef, env: str) -> None:
        self.site, self.ref, self.env = site, ref, env
        self.nodes: dict[str, dict[str, Any]] = {}
        self.edges: list[dict[str, Any]] = []

    def node(
        self,
        id_: str,
        kind: str,
        name: str,
        version: int | None = None,
        rows: int | None = None,
        at: str | None = None,
    ) -> bool:
        """Add a node; False when it is there already."""
        if id_ in self.nodes:
            return False
        self.nodes[id_] = {"id": id_, "kind": kind, "name": name, "version": version, "rows": rows, "at": at}
        return True

    def edge(self, a: str, b: str, run: str | None) -> None:
        """From what was read to what was made."""
        e = {"from": a, "to": b, "run": run}
        if e not in self.edges:
            self.edges.append(e)

    def table(self, name: str, version: int) -> str:
        """A table version with all that is behind it; one that R&D mode replaced since is shown as gone."""
        id_ = f"{self.env}/{name}@{version}"
        try:
            v = get(self.site.store, self.ref, self.env, name, version)
        except NotFoundError:
            self.node(id_, "table", name, version)
            self.nodes[id_]["gone"] = True
            return id_
        if not self.node(id_, "table", name, v.version, v.rows, v.at):
            return id_
        if TableName.parse(name).layer in ("bronze", "quarantine"):
            self._files(v, id_)
            return id_
        for i in v.inputs:
            if "table" in i:
                self.edge(self.table(i["table"], i["version"]), id_, v.run)
            elif "model_version" in i:
                self.edge(self.model(i["model_version"]), id_, v.run)
            elif "file" in i:
                f = f"file/{i['sha256'][:16]}"
                self.node(f, "file", i["file"])
                self.edge(f, id_, v.run)
            elif "ledger" in i:
                f = f"ledger/{i['ledger']}/{i['last_seq']}"
                self.node(f, "ledger", f"requests {i['after'] + 1} to {i['last_seq']}")
                self.edge(f, id_, v.run)
        return id_

    def _files(self, v: Version, id_: str) -> None:
        """All IN files that stand in this bronze version: the facts of its versions laid over each other."""
        name = v.name if v.name.endswith("bronze") else v.name.removesuffix("quarantine") + "bronze"
        have: dict[tuple[str, str], dict[str, Any]] = {}
        for older in reversed(listing(self.site.store, self.ref, self.env, name)):
            if older.version <= v.version or name != v.name:
                for f in older.facts.get("files", []):
                    have[(f["date"], f["name"])] = {**f, "run": older.run}
        for f in have.values():
            node = f"{self.env}/{f['path']}@{f['sha256'][:16]}"
            self.node(node, "file", f["path"], None, f["rows_in"], f["date"])
            self.nodes[node]["sha256"] = f["sha256"]
            self.edge(node, id_, f["run"])

    def model(self, version: int) -> str:
        """A model version with the data that it was trained on."""
        row = models.get_version(self.site.store, self.ref, self.env, version)
        id_ = f"{self.env}/model@{version}"
        if self.node(id_, "model", str(self.ref), version, None, row["at"]):
            there = self._there(trained_in(row))
            for i in row["inputs"]:
                if i["table"] != "gold":
                    self.edge(there.table(i["table"], i["version"]), id_, row["run"])
        return id_

    def _there(self, env: str) -> _Graph:
        """The same graph, seen from another environment: a promoted version was trained on that one's tables."""
        if env == self.env:
            return self
        other = _Graph(self.site, self.ref, env)
        other.nodes, other.edges = self.nodes, self.edges
        return other

    def document(self, **more: Any) -> dict[str, Any]:
        """The contract's JSON."""
        return {"nodes": list(self.nodes.values()), "edges": self.edges, **more}


def of_table(site: Site, ref: ModelRef, env: str, name: str, version: int | None) -> dict[str, Any]:
    """Everything behind one table version."""
    graph = _Graph(site, ref, env)
    graph.table(str(TableName.parse(name)), get(site.store, ref, env, name, version).version)
    return graph.document()


def forward(*_: Any) -> dict[str, Any]:
    """Everything after one file."""
    raise NotYetError(
        "forward lineage comes with a later version", hint="lineage --table and --request-id work now"
    )


def of_request(
    site: Site, ref: ModelRef, env: str, request_id: str, row: int = 0, *, values: bool = True
) -> dict[str, Any]:
    """A row's passport: how the model came to be, and what was put in.

    Raises:
        NotFoundError: no such request or row in scored.
    """
    found = _row(site, ref, env, request_id, row)
    if found is None:
        raise NotFoundError(
            f"no row {row} of request {request_id} in scored of {ref} in {env}",
            hint=f"esml scored {ref} --env {env}",
        )
    scored = found
    request_id, row = scored["request_id"], int(scored["row"])
    graph = _Graph(site, ref, env)
    row_id = f"{env}/scored/{request_id}/{row}"
    graph.node(row_id, "row", f"{request_id} row {row}", None, 1, str(scored["scored_at"]))
    graph.edge(graph.model(int(scored["model_version"])), row_id, None)
    run = next(
        (v for v in listing(site.store, ref, env, "scored") if v.facts.get("request_id") == request_id), None
    )
    if run is None:
        features = {
            k: v
            for k, v in scored.items()
            if k
            not in (
                "request_id",
                "row",
                "scored_at",
                "scored_date",
                "caller_id",
                "model_version",
                "prediction",
                "low",
                "high",
            )
            and not k.startswith("probability_")
        }
        return graph.document(
            input={"request": features if values else None, "request_id": request_id, "row": row}
        )
    number = run.facts.get("to_score")
    if number is None:
        file = next((i for i in run.inputs if "file" in i), {})
        line = row_line(str(file.get("file")), run.facts.get("lines"), row)
        return graph.document(input={"file": file.get("file"), "line": line, "sha256": file.get("sha256")})
    graph.edge(graph.table("to_score", int(number)), row_id, run.run)
    return graph.document(input=_input(site, ref, env, scored, int(number), values=values))


def _row(site: Site, ref: ModelRef, env: str, request_id: str, row: int) -> dict[str, Any] | None:
    """Row `row` of a call; one that was cut into requests `<id>`, `<id>-1`, … counts over all of them."""
    src = source(site, ref, env)
    quoted = request_id.replace("'", "''")
    own = query(src, ScoredFilter(where=(f"request_id = '{quoted}'", f"row = {row}"), limit=1))["rows"]
    if own:
        return dict(own[0])
    first = query(src, ScoredFilter(where=(f"request_id = '{quoted}'",), limit=None))["rows"]
    if first and len(first) != CHUNK_ROWS:
        return None  # the whole call is that one request
    parts = query(src, ScoredFilter(where=(f"request_id contains '{quoted}-'",), limit=None))["rows"]
    cut = [(0, int(r["row"]), r) for r in first] + [
        (int(tail), int(r["row"]), r)
        for r in parts
        if (tail := r["request_id"].removeprefix(f"{request_id}-")).isdigit()
    ]
    cut.sort(key=lambda x: x[:2])
    return dict(cut[row][2]) if 0 <= row < len(cut) else None


def _input(
    site: Site, ref: ModelRef, env: str, scored: dict[str, Any], to_score: int, *, values: bool
) -> dict[str, Any]:
    """IN file and line by the model's key; where the key was dropped, the table's version and why.

    Without `values` the key is left out.
    """
    key = site.settings.model(ref).key
    if not key or scored.get(key) is None:
        return {
            "table": "to_score",
            "version": to_score,
            "why": "the row carries no key" if key else "the model has no key",
            "file": None,
            "line": None,
        }
    silvers = [i for i in get(site.store, ref, env, "to_score", to_score).inputs if "table" in i]
    all_found = []
    for i in silvers:
        silver = get(site.store, ref, env, i["table"], i["version"])
        bronze = next((b for b in silver.inputs if "table" in b), None)
        if bronze is None:
            continue
        found = _line(site, ref, env, bronze["table"], int(bronze["version"]), key, scored[key])
        if found:
            all_found.append({"dataset": TableName.parse(bronze["table"]).dataset, **found})
    if not all_found:
        return {
            "table": "to_score",
            "version": to_score,
            "why": f"no IN row carries {key} = {scored[key]}" if values else f"no IN row carries its {key}",
            "file": None,
            "line": None,
        }
    first = all_found[0]
    return {
        "file": first["file"],
        "line": first["line"],
        "dataset": first["dataset"],
        "key": {key: scored[key]} if values else None,
        "all": all_found,
    }


def _line(
    site: Site, ref: ModelRef, env: str, table: str, version: int, key: str, value: Any
) -> dict[str, Any] | None:
    import duckdb

    from esml_engine.lake.delimited import Dialect
    from esml_engine.lake.incoming import line_of

    bronze = on_disk(site, env, table_in(site, ref, env, table, version))
    if not bronze.files:
        return None
    con = duckdb.connect()
    try:
        files = paths(bronze)
        have = {
            d[0]
            for d in con.execute(
                "SELECT * FROM read_parquet(?, union_by_name=true) LIMIT 0", [files]
            ).description
            or []
        }
        if key not in have:
            return None
        name = '"' + key.replace('"', '""') + '"'
        hit = con.execute(
            f"SELECT filename, file_row_number FROM read_parquet(?, union_by_name=true, filename=true, file_row_number=true) WHERE {name}::VARCHAR = ?::VARCHAR ORDER BY filename DESC, file_row_number LIMIT 1",
            [files, str(value)],
        ).fetchone()
    finally:
        con.close()
    if hit is None:
        return None
    relative = str(hit[0]).removeprefix(bronze.uri + "/")
    its = TableName.parse(table)
    for v in listing(site.store, ref, env, table):
        for f in v.facts.get("files", []):
            if relative in f["bronze_files"]:
                before = f["bronze_files"][: f["bronze_files"].index(relative)]
                position = int(hit[1]) + sum(_rows(Path(bronze.uri) / b) for b in before)
                folder, _, delivered = f["path"].rpartition("/")
                path = Path(site.platform(env).here(folder, [delivered], fixed=False)) / delivered
                lines = _quarantined(site, ref, env, its, f)
                ds = site.settings.model(ref).datasets[its.dataset or ""]
                line = line_of(
                    path,
                    Dialect.of({"delimiter": ds.delimiter, "encoding": ds.encoding, "null": ds.null}),
                    position,
                    lines,
                    sample=bool(v.facts.get("sample", v.rnd)),
                    sha256=f["sha256"],
                    key=site.settings.model(ref).key,
                )
                return {"file": f["path"], "line": line, "sha256": f["sha256"]}
    return None


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _quarantined(site: Site, ref: ModelRef, env: str, table: TableName, f: dict[str, Any]) -> set[int]:
    import pyarrow.parquet as pq

    name = str(TableName("quarantine", table.dataset, table.purpose))
    if not f["quarantine_files"] or latest(site.store, ref, env, name) is None:
        return set()
    near = site.platform(env).here(table_uri(site, ref, env, name), f["quarantine_files"])
    return {
        int(x)
        for q in f["quarantine_files"]
        for x in pq.read_table(f"{near}/{q}", columns=["line"]).column("line").to_pylist()
    }
