"""The bronze layer of a refinement: which IN files its job reads, and how what it read is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from esml_engine.door.facts import Call, Desk
from esml_engine.door.site import Site
from esml_engine.errors import FailedError, StalePlanError, UsageError
from esml_engine.faults import point
from esml_engine.lake import deliveries as d
from esml_engine.lake.catalogue import Version, latest, put, table_in
from esml_engine.lake.commit import make_versions
from esml_engine.lake.landing import mending
from esml_engine.lake.numbers import numbers_of
from esml_engine.lake.retention import keep_one
from esml_engine.lake.specs import job_spec
from esml_engine.refining.staleness import in_rnd, samples, table_name, to_read
from esml_engine.refs import ModelRef, Purpose, TableName
from esml_engine.runs import records as runs
from esml_engine.runs.facts import JobResult, JobSpec, TableIn
from esml_engine.settings import ModelSettings
from esml_engine.store import schema as t
from esml_engine.store.database import upsert


def job(
    call: Call,
    ref: ModelRef,
    settings: ModelSettings,
    purpose: Purpose,
    dataset: str,
    desk: Desk,
    planned: Sequence[dict[str, Any]],
) -> JobSpec | None:
    """Read the files that wait, and what is replaced with them; None when another run did it meanwhile.

    Args:
        planned: inputs of the run's plan. A file that came since waits for the next run; a run that is tried again reads
            what is there now, as what made it fail was to be changed.
    """
    site, env = desk.site, call.env
    ds = settings.datasets[dataset]
    bronze, quarantine = (
        table_name("bronze", dataset, purpose),
        table_name("quarantine", dataset, purpose),
    )
    rnd = in_rnd(settings, env)
    files, anew = to_read(
        site, ref, env, dataset, purpose, rnd=rnd, bronze=latest(site.store, ref, env, bronze)
    )
    if desk.retry == 1:
        asked = {(i["file"], i["sha256"]) for i in planned if "file" in i and i.get("env", env) == env}
        later = [f for f in files if (f.path, f.sha256) not in asked]
        held = d.loaded(site.store, ref, env, dataset, purpose) if anew and later else {}
        if missed := [f for f in later if (f.date, f.name) in held]:
            raise StalePlanError(  # made anew without them, bronze would lose their rows
                f"{missed[0].shown} is not what this run was planned to read, and bronze is read anew from all files",
                hint="start it again: what is there now is planned anew",
            )
        files = [f for f in files if (f.path, f.sha256) in asked]
    if not files:
        return None
    have = {} if anew else d.loaded(site.store, ref, env, dataset, purpose)
    root = site.platform(env).lake_root()
    other: Purpose = "inference" if purpose == "train" else "train"
    types = _fixed_types(site, ref, env, dataset, purpose) or _fixed_types(site, ref, env, dataset, other)
    todo = []
    for f in files:
        old = have.get((f.date, f.name))
        replaces = (
            {"bronze": list(old.bronze), "quarantine": list(old.quarantine)}
            if old
            else {"bronze": [], "quarantine": []}
        )
        todo.append(
            {
                "path": f"{root}/{f.path}",
                "name": f.shown,
                "sha256": f.sha256,
                "replaces": replaces,
                "date": f.date,
                "delivered": f.name,
                "lake_path": f.path,
            }
        )
    params = {
        "dataset": dataset, "purpose": purpose, "format": ds.format,
        "dialect": {"delimiter": ds.delimiter, "encoding": ds.encoding, "null": ds.null},
        "types": {**types, **ds.types}, "drift": ds.drift, "label": settings.label,
        "expect": [e.model_dump() for e in ds.expect if e.on == "bronze"],
        "rnd": rnd, "sample": samples(settings, env), "key": settings.key, "how": d.reading(ds), "checks": d.checks(ds), "files": todo,
        "tables": {"bronze": bronze, "quarantine": quarantine},
        "numbers": numbers_of(desk.site, ref, env, [quarantine, bronze]), "anew": anew, "others": len(steps_of(desk)) > 1,
    }  # fmt: skip
    inputs = {
        k: table_in(site, ref, env, n, missing_ok=True)
        for k, n in (("bronze", bronze), ("quarantine", quarantine))
    }
    if anew:  # a version of its own: no row of what was there stays
        inputs = {k: TableIn(i.table, i.uri, None) for k, i in inputs.items()}
    return job_spec(
        desk,
        ref,
        env,
        "lake.bronze",
        inputs=inputs,
        outputs={"bronze": bronze, "quarantine": quarantine},
        params=params,
    )


def record(call: Call, ref: ModelRef, p: dict[str, Any], result: JobResult, desk: Desk) -> dict[str, Any]:
    """Commit what was read and what was kept out, then the catalogue and which files are in it."""
    purpose: Purpose = p["purpose"]
    by_name = {f["name"]: f for f in result.value["files"]}
    outs = {o.table: o for o in result.tables}
    names = p["tables"]
    bronze, quarantine = outs[names["bronze"]], outs.get(names["quarantine"])
    read, refused, kept_out, rows = [], [], [], []
    for f in p["files"]:
        said = by_name[f["name"]]
        if said["status"] == "refused":
            refused.append({"file": f["name"], "reason": said["reason"]})
            kept_out.append(
                {k: f[k] for k in ("date", "sha256")}
                | {"name": f["delivered"], "reason": said["reason"], "how": p["how"]}
            )
            continue
        mine = {
            "date": f["date"], "name": f["delivered"], "path": f["lake_path"], "sha256": f["sha256"],
            "rows_in": said["rows_in"], "bronze": said["bronze"], "quarantine": said["quarantine"],
            "bronze_files": [x.path for x in bronze.add if x.source == f["name"]],
            "quarantine_files": [x.path for x in quarantine.add if x.source == f["name"]] if quarantine else [],
        }  # fmt: skip
        if said["rows_in"] != said["bronze"] + said["quarantine"]:
            raise UsageError(
                f"{f['name']}: {said['rows_in']} rows read, {said['bronze']} + {said['quarantine']} kept",
                hint="nothing was committed; report this with the run's id",
            )
        read.append(mine)
    facts = {
        "files": read,
        "refused": kept_out,
        "types": result.value["types"],
        "drift": result.value.get("drift", []),
        "how": p["how"],
        "checks": p["checks"],
        "sample": p["sample"],
        "anew": p["anew"],
    }
    had = latest(desk.site.store, ref, call.env, names["quarantine"])
    emptied = p["anew"] and had is not None and had.rows > 0
    tables = [o for o in (quarantine,) if o is not None and (o.add or o.remove or emptied)] + [bronze]
    inputs = [{"file": x["path"], "sha256": x["sha256"]} for x in read]
    made = make_versions(
        desk, ref, call.env, tables, numbers=p["numbers"], inputs=inputs, facts=facts, rnd=p["rnd"]
    )
    point("store:before")
    seen = [f for f in d.delivered(desk.site, ref, call.env, p["dataset"], purpose)]
    stats = {
        path: (size, m)
        for path, size, m in desk.site.platform(call.env).list_files(d.in_folder(ref, p["dataset"], purpose))
    }
    for f in seen:
        rows.append(d.seen_row(ref, call.env, f, *stats[f.path], by=desk.actor.rights))
    beside = next((v for v in made if v.name == names["quarantine"]), had)

    def change(c: Any) -> dict[str, Any]:
        for v in made:
            put(c, v)
        for row in rows:
            upsert(c, t.in_files, row, ("path", "stat"))  # when it was delivered stays
        return {"layers": [layer_row(made[-1], beside, changed=True)], "refused": refused}

    return keep_one(desk, ref, call.env, made, lambda: desk.commit(change))


def nothing_read(result: JobResult, desk: Desk) -> dict[str, Any]:
    """No file of this dataset could be read: told, unless no dataset's could.

    Raises:
        FailedError: nothing at all was readable in this run.
    """
    refused = [{"file": f["name"], "reason": f["reason"]} for f in result.value["files"]]
    steps = steps_of(desk)
    read = [x for s in steps for x in (s["result"] or {}).get("layers", []) if x["changed"]]
    if desk.step == steps[-1]["step"] and not read:
        reasons = "; ".join(r["reason"] for r in refused)
        raise FailedError(
            f"no file could be read: {reasons}", hint=mending(result.value["files"]), files=refused
        )
    return desk.commit(lambda c: {"refused": refused})


def steps_of(desk: Desk) -> list[dict[str, Any]]:
    """The run's steps that read IN files of the same environment, in order."""
    act, _, _ = desk.step.rpartition("/")
    here = [(s, *s["step"].rpartition("/")) for s in runs.steps(desk.site.store, desk.run)]
    return [s for s, mine, _, step in here if mine == act and step.startswith("bronze:")]


def _fixed_types(site: Site, ref: ModelRef, env: str, dataset: str, purpose: Purpose) -> dict[str, str]:
    """Types that bronze settled on; none of a bronze that was read another way than now."""
    found = latest(site.store, ref, env, table_name("bronze", dataset, purpose))
    if found is None or d.read_otherwise(found, site.settings.model(ref).datasets[dataset]):
        return {}
    return dict(found.facts.get("types", {}))


def kept_beside(table: str) -> str:
    """The name of the quarantine beside a bronze; '' for another table."""
    name = TableName.parse(table)
    if name.layer != "bronze" or name.dataset is None:
        return ""
    return table_name("quarantine", name.dataset, name.purpose)


def layer_row(v: Version, beside: Version | None = None, *, changed: bool) -> dict[str, Any]:
    """What an answer says of one layer; `beside`: the quarantine that stands beside a bronze."""
    name = TableName.parse(v.name)
    return {
        "dataset": name.dataset,
        "layer": name.layer,
        "version": v.version,
        "rows": v.rows,
        "quarantined": beside.rows if beside else 0,
        "changed": changed,
        "warnings": [q for q in v.quality if not q["passed"]],
    }
