"""What must hold of an estate at rest, whatever was killed before. Counted independently of the engine where it can be."""

from __future__ import annotations

import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path

import psutil
import pyarrow.parquet as pq
from deltalake import DeltaTable

from esml_engine.door import audit
from esml_engine.estate import open_estate
from esml_engine.lake import deliveries
from esml_engine.lake.catalogue import listing
from esml_engine.lake.replay import lake_versions
from esml_engine.promotion import evidence
from esml_engine.refs import ModelRef, TableName
from esml_engine.runs import records
from esml_engine.scored.ledger_reader import LedgerReader
from esml_engine.store import schema as t
from esml_engine.training import records as models
from esml_engine.training import tracking
from esml_engine.training.storage import content_hash


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
    found += _runs(site) + _requests(site)
    for ref in site.settings.models():
        found += _numbers(site, ref)
    for env in site.settings.environments:
        for ref in site.settings.models():
            found += (
                _tables(site, ref, env)
                + _files(site, ref, env)
                + _scored(site, ref, env)
                + _champion(site, ref, env)
                + _registry(site, ref, env)
                + _evidence(site, ref, env)
            )
    if at_rest:
        found += [f"orphan process {p.pid}: {' '.join(p.cmdline())[:120]}" for p in processes(root)]
    return found


def processes(root: Path) -> list[psutil.Process]:
    """Processes whose command line names this estate."""
    out = []
    for p in psutil.process_iter(["cmdline"]):
        line = " ".join(p.info["cmdline"] or [])
        who = line.replace(str(root), "")  # the estate may lie in a folder of pytest's
        if (
            str(root) in line
            and "esml_engine" in line + "esml_engine"
            and p.pid != psutil.Process().pid
            and "pytest" not in who
            and "tests.soak" not in line
        ):
            out.append(p)
    return out


def _tables(site, ref: ModelRef, env: str) -> list[str]:
    found = []
    lake = {(v.name, v.version): v for v in lake_versions(site, ref, env)[0]}
    names = {n for n, _ in lake} | {
        r["name"]
        for r in site.store.rows(
            t.versions.select().where(t.versions.c.object == str(ref), t.versions.c.env == env)
        )
    }
    f = t.forgotten
    gone = {
        r["name"]: r["version"]
        for r in site.store.rows(f.select().where(f.c.object == str(ref), f.c.env == env))
    }
    for name in names:
        rows = listing(site.store, ref, env, name)
        numbers = sorted(v.version for v in rows)
        mine = [v for (n, _), v in lake.items() if n == name]
        rnd = max((v.version for v in mine if v.rnd), default=0)  # of R&D's versions one is kept
        lost = {*range(1, max(numbers, default=0) + 1)} - {*numbers}
        if any(n > max(gone.get(name, 0), rnd) for n in lost) or len(set(numbers)) < len(numbers):
            found.append(f"{ref} {env} {name}: versions {numbers}")
        if {*numbers} != {v.version for v in mine if not v.rnd or v.version == rnd}:
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
    return TableName.parse(name).path()


def _files(site, ref: ModelRef, env: str) -> list[str]:
    """rows read from IN = rows in bronze + rows in quarantine, per file."""
    found = []
    for dataset in site.settings.model(ref).datasets:
        for purpose in ("train", "inference"):
            bronze = str(TableName("bronze", dataset, purpose))
            its_mode = {v.version: v.rnd for v in listing(site.store, ref, env, bronze)}
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
                its = site.settings.model(ref).datasets[dataset]
                counted = _records(Path(site.platform(env).lake_root()) / path.path, its)
                sampled = its_mode.get(f.version, False)
                if not (sampled or counted == f.rows_in) or f.rows_in != f.rows_bronze + f.rows_quarantine:
                    found.append(
                        f"{path.shown}: {counted} rows in the file, {f.rows_in} read, {f.rows_bronze} + {f.rows_quarantine} kept"
                    )
    return found


def _records(path: Path, its) -> int:
    """Rows of a delivered file; a byte that is no text is one all the same (its row is in quarantine)."""
    if its.format == "parquet":
        return pq.read_metadata(path).num_rows
    with path.open(newline="", encoding=its.encoding, errors="replace") as text:
        return sum(1 for row in csv.reader(text, delimiter=its.delimiter) if row) - 1


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
    """One champion once there was one; its history has no gap and ends with it; no version is crowned after itself."""
    m, k, h = t.model_versions, t.champions, t.champion_history
    champions = site.store.rows(k.select().where(k.c.object == str(ref), k.c.env == env))
    history = site.store.rows(h.select().where(h.c.object == str(ref), h.c.env == env).order_by(h.c.revision))
    versions = [
        r["version"] for r in site.store.rows(m.select().where(m.c.object == str(ref), m.c.env == env))
    ]
    found = []
    if len(champions) > 1 or bool(history) != bool(champions):
        found.append(f"{ref} {env}: {len(champions)} champions, {len(history)} in their history")
    line = [r["version"] for r in history]
    if [r["revision"] for r in history] != list(range(1, len(history) + 1)):
        found.append(f"{ref} {env}: revisions {[r['revision'] for r in history]}")
    if any(a == b for a, b in pairwise(line)):
        found.append(f"{ref} {env}: champions after each other {line}")
    for c in champions:
        before = line[-2] if len(line) > 1 else None
        if (c["version"], c["previous"], c["revision"]) != (line[-1] if line else None, before, len(line)):
            found.append(
                f"{ref} {env}: champion v{c['version']} after v{c['previous']}, revision {c['revision']}; history {line}"
            )
    if not {*line} <= {*versions}:
        found.append(f"{ref} {env}: of the champions {line} only {versions} are registered")
    if len(set(versions)) != len(versions):
        found.append(f"{ref} {env}: versions {versions}")
    return found


def _numbers(site, ref: ModelRef) -> list[str]:
    """A number means one training and the same bytes in every environment, and was reserved for it."""
    m, r = t.model_versions, t.reservations
    found = []
    reserved = {x["version"]: x["run"] for x in site.store.rows(r.select().where(r.c.object == str(ref)))}
    if len(set(reserved.values())) != len(reserved):
        found.append(f"{ref}: a training has two numbers: {reserved}")
    meant: dict[int, set] = {}
    for v in site.store.rows(m.select().where(m.c.object == str(ref))):
        meant.setdefault(v["version"], set()).add((v["run"], v["sha256"]))
        if reserved.get(v["version"]) != v["run"]:
            found.append(f"{ref} {v['env']} v{v['version']} of {v['run']}: reserved {reserved}")
        folder = site.outside(v["folder"])
        if content_hash(folder) != v["sha256"]:
            found.append(
                f"{ref} {v['env']} v{v['version']}: the bytes in {folder} are not the registered ones"
            )
    return found + [f"{ref} v{n} means {what}" for n, what in meant.items() if len(what) > 1]


def _registry(site, ref: ModelRef, env: str) -> list[str]:
    """MLflow has each version of an environment once, by its tag, and its aliases say what the store says."""
    m = t.model_versions
    rows = site.store.rows(m.select().where(m.c.object == str(ref), m.c.env == env))
    uri, name = site.platform(env).tracking_uri(), f"{ref.project}-{ref.model}"
    if not rows and not site.store.rows(t.reservations.select().where(t.reservations.c.env == env)):
        return []  # nobody trained or promoted here: there may be no registry yet
    have = [
        (v.tags.get("esml.version"), int(v.version))
        for v in tracking.client(uri).search_model_versions(f"name='{name}'")
    ]
    found = []
    if sorted(have) != sorted((str(r["version"]), r["registry_version"]) for r in rows):
        found.append(
            f"{ref} {env}: MLflow has {have}, the store {[(r['version'], r['registry_version']) for r in rows]}"
        )
    if experiment := tracking.client(uri).get_experiment_by_name(name):
        still = {r["run"] for r in records.open_runs(site.store)}
        for logged in tracking.client(uri).search_runs(
            [experiment.experiment_id], "attributes.status = 'RUNNING'"
        ):
            if logged.data.tags.get(tracking.RUN_TAG) not in still:
                found.append(
                    f"{ref} {env}: MLflow says that {logged.data.tags.get(tracking.RUN_TAG)} still runs"
                )
    number = {r["version"]: r["registry_version"] for r in rows}
    champion = models.champion(site.store, ref, env)
    newest = max(number, default=0)
    after = newest > (champion["version"] if champion else 0)
    told = tracking.get_alias(uri, name, "challenger")
    if told != (number.get(newest) if after else None):
        found.append(f"{ref} {env}: MLflow's challenger is {told}, the newest version v{newest}")
    if champion is None:
        return found
    if champion["aliased"] != champion["revision"]:
        found.append(f"{ref} {env}: aliases told to revision {champion['aliased']} of {champion['revision']}")
    for alias, version in (("champion", champion["version"]), ("previous", champion["previous"])):
        told = tracking.get_alias(uri, name, alias)
        if version is not None and told != number.get(version):
            found.append(f"{ref} {env}: MLflow's {alias} is {told}, the store's {number.get(version)}")
    return found


def _evidence(site, ref: ModelRef, env: str) -> list[str]:
    """Each promotion has one pack that verifies, whose hash the audit chain holds once; no pack says promoted without one."""
    h, e, a = t.champion_history, t.evidence, t.audit
    packs = {
        r["evidence"]: r for r in site.store.rows(e.select().where(e.c.object == str(ref), e.c.env == env))
    }
    told = [
        (r["detail"] or {}).get("sha256")
        for r in site.store.rows(a.select().where(a.c.object == str(ref), a.c.env == env))
    ]
    found = []
    for id_, row in packs.items():
        said = evidence.verify(row["document"])
        if not said["ok"] or said["sha256"] != row["sha256"]:
            found.append(f"{id_}: {said}")
        if told.count(row["sha256"]) != 1:
            found.append(f"{id_}: {told.count(row['sha256'])} times in the audit chain")
    decided = {k: r["document"]["sections"]["decision"] for k, r in packs.items()}
    promoted = Counter(
        (r["run"], decided[k]["version"]) for k, r in packs.items() if decided[k]["state"] == "promoted"
    )
    crowned = Counter(
        (r["run"], r["version"])
        for r in site.store.rows(h.select().where(h.c.object == str(ref), h.c.env == env))
        if (r["why"] or "").startswith("promoted")
    )
    if promoted != crowned:
        found.append(f"{ref} {env}: crowned by promotion {dict(crowned)}, evidence of {dict(promoted)}")
    return found


def _runs(site) -> list[str]:
    """An ended run has an end and no step that goes on; a waiting one has exactly one request that waits."""
    found = []
    steps: dict[str, Counter] = {}
    for s in site.store.rows(t.run_steps.select()):
        steps.setdefault(s["run"], Counter())[s["state"]] += 1
    waits = Counter(
        q["run"] for q in site.store.rows(t.requests.select().where(t.requests.c.state == "waiting"))
    )
    for r in site.store.rows(t.runs.select()):
        its = steps.get(r["run"], Counter())
        said = f"run {r['run']} ({r['act']}) is {r['state']}, its steps {dict(its)}"
        if r["state"] in records.ENDED and (r["ended"] is None or {*its} & {"queued", "running", "waiting"}):
            found.append(f"{said}, ended {r['ended']}")
        if r["state"] == "done" and {*its} - {"done", "skipped"}:
            found.append(said)
        if waits[r["run"]] != (r["state"] == "waiting"):
            found.append(f"{said}, {waits[r['run']]} requests wait for it")
    return found


def _requests(site) -> list[str]:
    """None is both decided and waiting; what decided it is there, and nobody decided twice."""
    found = []
    given: dict[str, list] = {}
    for d in site.store.rows(t.decisions.select()):
        given.setdefault(d["request"], []).append(d)
    for q in site.store.rows(t.requests.select()):
        votes = given.get(q["request"], [])
        yes = len({d["by"] for d in votes if d["verdict"] == "approve"})
        no = any(d["verdict"] == "refuse" for d in votes)
        said = (
            f"request {q['request']} is {q['state']}, decided {q['decided']}, {yes} for it of {q['needed']}"
        )
        if (q["state"] == "waiting") != (q["decided"] is None):
            found.append(said)
        if q["state"] == "waiting" and (no or yes >= q["needed"]):
            found.append(said)
        if (q["state"] == "approved" and (no or yes < q["needed"])) or (q["state"] == "refused") != no:
            found.append(said)
        if len({d["by"] for d in votes}) != len(votes):
            found.append(f"{said}; somebody decided twice")
    return found
