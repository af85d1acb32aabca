"""Refine: IN -> bronze -> silver -> gold, only what is stale. Split: gold -> train, validate, test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esml_engine.door.facts import Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError, UsageError
from esml_engine.faults import point
from esml_engine.lake import deliveries as d
from esml_engine.lake.catalogue import Version, all_latest, latest, put, table_in
from esml_engine.lake.commit import expected_versions, make_versions
from esml_engine.lake.files import columns_of
from esml_engine.lake.specs import archive, code_hash, job_spec, step_file
from esml_engine.refs import ModelRef, Purpose, TableName
from esml_engine.runs.facts import JobResult, JobSpec, TableIn
from esml_engine.settings import ModelSettings
from esml_engine.store import schema as t
from esml_engine.store.database import upsert

_DEFAULT = "default-1"


def _table(layer: str, dataset: str | None, purpose: Purpose) -> str:
    return str(TableName(layer, dataset, purpose))


def goal_table(purpose: Purpose) -> str:
    """Where a purpose's way ends."""
    return "gold" if purpose == "train" else "to_score"


def layer_code(site: Site, ref: ModelRef, settings: ModelSettings, layer: str, dataset: str = "") -> str:
    """Hash of all that shapes a layer besides its input: step code, expectations, row-by-row or not."""
    expect = [
        e.model_dump()
        for e in (settings.datasets[dataset].expect if dataset else settings.expect)
        if e.on == layer or (layer == "gold" and not dataset)
    ]
    if layer == "silver":
        code = code_hash(step_file(site.root, ref, dataset), _DEFAULT)
    else:
        code = code_hash(step_file(site.root, ref, "gold"), _DEFAULT)
    shape = [
        code,
        expect,
        settings.key if layer == "gold" else "",
        list(settings.datasets) if layer == "gold" else settings.datasets[dataset].rows,
    ]
    return hashlib.sha256(json.dumps(shape, sort_keys=True, default=str).encode()).hexdigest()[:16]


def input_version(v: Version | None, table: str) -> int | None:
    """Which version of `table` stands behind `v`."""
    for i in v.inputs if v else ():
        if i.get("table") == table:
            return int(i["version"])
    return None


@dataclass(frozen=True)
class _Stale:
    """What a refinement has to do for one purpose."""

    files: dict[str, list[d.InFile]]
    bronze: list[str]
    silver: list[str]
    gold: bool
    blocked: list[str]


def stale(
    site: Site, ref: ModelRef, env: str, purpose: Purpose, layer: str = "", dataset: str = ""
) -> _Stale:
    """Compare IN, bronze, silver and gold; nothing is read but listings and the catalogue."""
    settings = site.settings.model(ref)
    have = all_latest(site.store, ref, env)
    sets = [dataset] if dataset else list(settings.datasets)
    files = {ds: d.waiting(site, ref, env, ds, purpose) for ds in sets}
    bronze = [ds for ds in sets if files[ds]] if layer in ("", "bronze") else []
    silver = []
    if layer in ("", "silver"):
        for ds in sets:
            b, s = have.get(_table("bronze", ds, purpose)), have.get(_table("silver", ds, purpose))
            if ds in bronze or (
                b
                and (
                    s is None
                    or input_version(s, b.name) != b.version
                    or s.code != layer_code(site, ref, settings, "silver", ds)
                )
            ):
                silver.append(ds)
    blocked = [
        ds for ds in settings.datasets if ds not in silver and _table("silver", ds, purpose) not in have
    ]
    gold = False
    if layer in ("", "gold") and not blocked:
        g = have.get(goal_table(purpose))
        moved = any(
            input_version(g, n) != have[n].version
            for n in (_table("silver", ds, purpose) for ds in settings.datasets)
            if n in have
        )
        gold = bool(silver) or g is None or moved or g.code != layer_code(site, ref, settings, "gold")
    return _Stale(files, bronze, silver, gold, blocked)


class Refine:
    """`params`: purpose, layer ('' all), dataset ('' all)."""

    name = "refine"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """What is stale, and what refining it makes."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        settings = site.settings.model(ref)
        purpose: Purpose = call.params.get("purpose", "train")
        layer, dataset = call.params.get("layer", ""), call.params.get("dataset", "")
        if dataset and dataset not in settings.datasets:
            raise NotFoundError(
                f"{ref} has no dataset {dataset!r}", hint=f"it has {', '.join(settings.datasets)}"
            )
        have = all_latest(site.store, ref, call.env)
        s = stale(site, ref, call.env, purpose, layer, dataset)
        goal = goal_table(purpose)
        steps = (
            *(f"bronze:{ds}" for ds in s.bronze),
            *(f"silver:{ds}" for ds in s.silver),
            *(("gold",) if s.gold else ()),
        )
        todo = {
            *(_table("bronze", x, purpose) for x in s.bronze),
            *(_table("silver", x, purpose) for x in s.silver),
            *((goal,) if s.gold else ()),
        }
        waiting = [f for ds in s.bronze for f in s.files[ds]]
        nothing = ""
        if not steps:
            nothing = "no new IN file; every layer is current"
            if not any(_table("bronze", ds, purpose) in have for ds in settings.datasets):
                nothing = f"no IN file was delivered for {purpose} in {call.env}: deliver with esml ingest"
            elif s.blocked and layer in ("", "gold"):
                nothing = f"nothing new; {goal} waits for {', '.join(s.blocked)}, which has no IN file"
        if layer == "gold" and s.blocked:
            raise UsageError(
                f"{goal} needs a silver table of {', '.join(s.blocked)}",
                hint=f"deliver and refine {s.blocked[0]} first",
            )
        names = [_table(x, ds, purpose) for ds in settings.datasets for x in ("bronze", "silver")] + [goal]
        unchanged = [_layer(have[n], 0, changed=False) for n in names if n in have and n not in todo]
        standing = [
            {"file": f.shown, "reason": reason}
            for ds in ([dataset] if dataset else list(settings.datasets))
            for f, reason in d.kept_out(site, ref, call.env, ds, purpose)
        ]
        size = float(sum(f.bytes for f in waiting) or sum(v.bytes for n, v in have.items() if n in todo))
        will = [
            f"read {len(s.files[ds])} file{'s' if len(s.files[ds]) != 1 else ''} of {ds} into bronze"
            for ds in s.bronze
        ]
        will += [f"clean {ds} into silver" for ds in s.silver] + ([f"build {goal}"] if s.gold else [])
        if s.blocked and steps and layer == "":
            will.append(f"{goal} waits for {', '.join(s.blocked)}")
        return Draft(
            will=tuple(will),
            inputs=(
                *({"file": f.path, "sha256": f.sha256} for f in waiting),
                *({"table": n, "version": have[n].version} for n in names if n in have),
            ),
            makes=tuple(f"{n} v{(have[n].version if n in have else 0) + 1}" for n in names if n in todo),
            steps=steps,
            params={"purpose": purpose, "bytes": int(size)},
            code="".join(layer_code(site, ref, settings, "silver", ds) for ds in settings.datasets)
            + layer_code(site, ref, settings, "gold"),
            settings=settings.model_dump(mode="json", include={"datasets", "expect", "key", "label", "rnd"}),
            nothing_to_do=nothing,
            answer={"layers": unchanged, "refused": standing},
            size=size,
            bound_seconds=len(steps) * site.settings.estate.worker.max_step_seconds,
        )

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """One specification a layer."""
        ref = ModelRef.parse(call.object)
        settings = desk.site.settings.model(ref)
        purpose: Purpose = call.params.get("purpose", "train")
        layer, _, dataset = desk.step.rpartition("/")[2].partition(":")
        make = {"bronze": self._bronze, "silver": self._silver, "gold": self._gold}[layer]
        return make(call, ref, settings, purpose, dataset, desk)

    def _bronze(
        self, call: Call, ref: ModelRef, settings: ModelSettings, purpose: Purpose, dataset: str, desk: Desk
    ) -> JobSpec | None:
        site, env = desk.site, call.env
        ds = settings.datasets[dataset]
        bronze, quarantine = _table("bronze", dataset, purpose), _table("quarantine", dataset, purpose)
        files = d.waiting(site, ref, env, dataset, purpose)
        if not files:
            return None
        have = d.loaded(site.store, ref, env, dataset, purpose)
        root = Path(site.platform(env).lake_root())
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
                    "path": str(root / f.path),
                    "name": f.shown,
                    "sha256": f.sha256,
                    "replaces": replaces,
                    "date": f.date,
                    "delivered": f.name,
                    "lake_path": f.path,
                }
            )
        params = {
            "dataset": dataset, "purpose": purpose, "format": ds.format, "dialect": {"delimiter": ds.delimiter, "encoding": ds.encoding, "null": ds.null},
            "types": {**types, **ds.types}, "drift": ds.drift, "label": settings.label, "expect": [e.model_dump() for e in ds.expect if e.on == "bronze"],
            "rnd": settings.rnd.get(env, False), "how": d.reading(ds), "files": todo, "tables": {"bronze": bronze, "quarantine": quarantine},  # type: ignore[call-overload]
            "expected": expected_versions(desk, ref, env, [quarantine, bronze]),
        }  # fmt: skip
        inputs = {
            "bronze": table_in(site, ref, env, bronze, missing_ok=True),
            "quarantine": table_in(site, ref, env, quarantine, missing_ok=True),
        }
        return job_spec(
            desk,
            ref,
            env,
            "lake.bronze",
            inputs=inputs,
            outputs={"bronze": bronze, "quarantine": quarantine},
            params=params,
        )

    def _silver(
        self, call: Call, ref: ModelRef, settings: ModelSettings, purpose: Purpose, dataset: str, desk: Desk
    ) -> JobSpec | None:
        site, env = desk.site, call.env
        bronze, silver = _table("bronze", dataset, purpose), _table("silver", dataset, purpose)
        now_bronze, now_silver = latest(site.store, ref, env, bronze), latest(site.store, ref, env, silver)
        if now_bronze is None:
            return None
        code = layer_code(site, ref, settings, "silver", dataset)
        same_code = now_silver is not None and now_silver.code == code
        if same_code and input_version(now_silver, bronze) == now_bronze.version:
            return None
        before = input_version(now_silver, bronze) if same_code else None
        path = step_file(site.root, ref, dataset)
        params = {
            "dataset": dataset, "purpose": purpose, "env": env, "version": (now_silver.version if now_silver else 0) + 1, "step": archive(desk, path), "rows": settings.datasets[dataset].rows,
            "label": settings.label, "expect": [e.model_dump() for e in settings.datasets[dataset].expect if e.on == "silver"], "params": {}, "table": silver,
            "code": code, "made_from": [{"table": bronze, "version": now_bronze.version}], "expected": expected_versions(desk, ref, env, [silver]),
        }  # fmt: skip
        inputs = {
            "bronze": table_in(site, ref, env, bronze), "silver": table_in(site, ref, env, silver, missing_ok=True),
            "previous_bronze": table_in(site, ref, env, bronze, before) if before else TableIn(bronze, "", None),
        }  # fmt: skip
        return job_spec(
            desk, ref, env, "refining.silver", inputs=inputs, outputs={"silver": silver}, params=params
        )

    def _gold(
        self, call: Call, ref: ModelRef, settings: ModelSettings, purpose: Purpose, dataset: str, desk: Desk
    ) -> JobSpec | None:
        site, env = desk.site, call.env
        goal = goal_table(purpose)
        silvers = {ds: _table("silver", ds, purpose) for ds in settings.datasets}
        inputs = {ds: table_in(site, ref, env, n) for ds, n in silvers.items()}
        now_gold = latest(site.store, ref, env, goal)
        code = layer_code(site, ref, settings, "gold")
        if (
            now_gold
            and now_gold.code == code
            and all(input_version(now_gold, n) == inputs[ds].version for ds, n in silvers.items())
        ):
            return None
        params = {
            "datasets": list(settings.datasets), "key": settings.key, "purpose": purpose, "env": env, "version": (now_gold.version if now_gold else 0) + 1,
            "step": archive(desk, step_file(site.root, ref, "gold")), "label": settings.label, "expect": [e.model_dump() for e in settings.expect], "params": {}, "table": goal,
            "code": code, "made_from": [{"table": n, "version": inputs[ds].version} for ds, n in silvers.items()], "expected": expected_versions(desk, ref, env, [goal]),
        }  # fmt: skip
        return job_spec(desk, ref, env, "refining.gold", inputs=inputs, outputs={"gold": goal}, params=params)

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Commit the layer's version, then the catalogue."""
        if result is None or desk.spec is None:
            return desk.commit(lambda c: {})
        ref = ModelRef.parse(call.object)
        p = desk.spec.params
        if desk.spec.kind == "lake.bronze":
            return self._record_bronze(call, ref, p, result, desk)
        facts = {k: v for k, v in result.value.items() if k in ("rows_in", "duplicates", "incremental")}
        made = make_versions(
            desk,
            ref,
            call.env,
            list(result.tables),
            expected=p["expected"],
            inputs=p["made_from"],
            code=p["code"],
            facts=facts,
            rnd=p.get("rnd", False),
        )
        point("store:before")

        def change(c: Any) -> dict[str, Any]:
            for v in made:
                put(c, v)
            return {"layers": [_layer(made[-1], 0, changed=True)]}

        return desk.commit(change)

    def _record_bronze(
        self, call: Call, ref: ModelRef, p: dict[str, Any], result: JobResult, desk: Desk
    ) -> dict[str, Any]:
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
                "date": f["date"], "name": f["delivered"], "path": f["lake_path"], "sha256": f["sha256"], "rows_in": said["rows_in"], "bronze": said["bronze"], "quarantine": said["quarantine"],
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
        }
        tables = [o for o in (quarantine,) if o is not None and (o.add or o.remove)] + [bronze]
        inputs = [{"file": x["path"], "sha256": x["sha256"]} for x in read]
        made = make_versions(
            desk, ref, call.env, tables, expected=p["expected"], inputs=inputs, facts=facts, rnd=p["rnd"]
        )
        point("store:before")
        seen = [f for f in d.delivered(desk.site, ref, call.env, p["dataset"], purpose)]
        stats = {
            path: (size, m)
            for path, size, m in desk.site.platform(call.env).list_files(
                d.in_folder(ref, p["dataset"], purpose)
            )
        }
        for f in seen:
            rows.append(d.seen_row(ref, call.env, f, *stats[f.path], by=desk.actor.rights))
        quarantined = sum(x["quarantine"] for x in read)
        drift = facts["drift"] if p["drift"] != "evolve" else []

        def change(c: Any) -> dict[str, Any]:
            for v in made:
                put(c, v)
            for row in rows:
                upsert(c, t.in_files, row, ("path", "stat"))  # when it was delivered stays
            return {"layers": [_layer(made[-1], quarantined, changed=True, drift=drift)], "refused": refused}

        return desk.commit(change)


def _fixed_types(site: Site, ref: ModelRef, env: str, dataset: str, purpose: Purpose) -> dict[str, str]:
    found = latest(site.store, ref, env, _table("bronze", dataset, purpose))
    return dict(found.facts.get("types", {})) if found else {}


def _layer(
    v: Version, quarantined: int, *, changed: bool, drift: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    name = TableName.parse(v.name)
    warn = [q for q in v.quality if not q["passed"]]
    warn += [
        {"check": f"drift:{x['kind']}", "column": x["column"], "level": "warn", "passed": False}
        | {"message": f"{x['file']}: {x['kind']} column {x['column']}: {x['detail']}"}
        for x in drift
    ]
    return {
        "dataset": name.dataset,
        "layer": name.layer,
        "version": v.version,
        "rows": v.rows,
        "quarantined": quarantined,
        "changed": changed,
        "warnings": warn,
    }


class Split:
    """Gold into gold_train, gold_validate, gold_test. `params` override `[split]` of model.toml."""

    name = "split"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """On the current gold; nothing to do when that gold is split so already."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        settings = site.settings.model(ref)
        wanted = split_params(settings, call.params)
        have = all_latest(site.store, ref, call.env)
        gold = have.get("gold")
        if gold is None:
            raise NotFoundError(
                f"{ref} has no gold in {call.env} yet", hint=f"esml refine {ref} --env {call.env}"
            )
        columns = [c["name"] for c in columns_of(gold.schema)]
        needed = {
            "group": wanted["group"] if wanted["by"] == "group" else None,
            "stratify": wanted["stratify"],
            "key": wanted["key"] if wanted["by"] == "key" else None,
        }
        for what, column in needed.items():
            if column and column not in columns:
                raise UsageError(
                    f"gold has no column {column!r} to split by ({what})", hint=f"it has {', '.join(columns)}"
                )
        if wanted["by"] == "group" and not wanted["group"]:
            raise UsageError(
                "a split by group needs the group's column",
                hint="--group COLUMN, or split.group in model.toml",
            )
        head = have.get("gold_train")
        names = ("gold_train", "gold_validate", "gold_test")
        same = (
            head is not None
            and input_version(head, "gold") == gold.version
            and head.facts.get("split") == wanted
        )
        tables = {n: {"version": have[n].version, "rows": have[n].rows} for n in names if n in have}
        return Draft(
            will=(
                f"split gold v{gold.version} ({gold.rows} rows) into {wanted['train']:g} / {wanted['validate']:g} / {wanted['test']:g} by {wanted['by']}",
            ),
            inputs=({"table": "gold", "version": gold.version},),
            makes=tuple(f"{n} v{(have[n].version if n in have else 0) + 1}" for n in names),
            steps=("split",),
            params={"split": wanted},
            nothing_to_do=f"gold v{gold.version} is split so already" if same else "",
            answer={"gold": gold.version, "tables": tables} if same else {},
            size=float(gold.bytes),
            bound_seconds=site.settings.estate.worker.max_step_seconds,
        )

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """One specification."""
        ref = ModelRef.parse(call.object)
        settings = desk.site.settings.model(ref)
        names = ["gold_validate", "gold_test", "gold_train"]
        gold = table_in(desk.site, ref, call.env, "gold")
        wanted = draft.params.get("split") or split_params(settings, {})
        inputs = {"gold": gold, **{n: table_in(desk.site, ref, call.env, n, missing_ok=True) for n in names}}
        previous = latest(desk.site.store, ref, call.env, "gold_train")
        params = {
            **wanted, "label": settings.label, "tables": {n: n for n in names}, "expected": expected_versions(desk, ref, call.env, names),
            "previous": previous.facts.get("split") if previous else None, "made_from": [{"table": "gold", "version": gold.version}], "split": wanted,
        }  # fmt: skip
        return job_spec(
            desk, ref, call.env, "refining.split", inputs=inputs, outputs={n: n for n in names}, params=params
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Validate and test first, train last: readers reach them through it."""
        ref = ModelRef.parse(call.object)
        assert result is not None and desk.spec is not None
        p = desk.spec.params
        outs = {o.table: o for o in result.tables}
        order = [outs["gold_validate"], outs["gold_test"], outs["gold_train"]]
        made = make_versions(
            desk,
            ref,
            call.env,
            order,
            expected=p["expected"],
            inputs=p["made_from"],
            facts={"split": p["split"]},
        )
        point("store:before")

        def change(c: Any) -> dict[str, Any]:
            for v in made:
                put(c, v)
            return {
                "gold": p["made_from"][0]["version"],
                "tables": {v.name: {"version": v.version, "rows": v.rows} for v in made},
            }

        return desk.commit(change)


def split_params(settings: ModelSettings, asked: dict[str, Any]) -> dict[str, Any]:
    """Effective split: the call's values over model.toml's, checked."""
    base = settings.split.model_dump(by_alias=True)
    given = {k: v for k, v in asked.items() if v is not None and k in base}
    sides = ("train", "validate", "test")
    open_sides = [k for k in sides if k not in given]
    if len(open_sides) < 3:  # what is not said shares the rest in the model's own proportions
        rest = 1 - sum(given[k] for k in sides if k in given)
        weight = sum(base[k] for k in open_sides)
        given.update({k: round(rest * base[k] / weight, 9) if weight else 0.0 for k in open_sides})
    merged = {**base, **given}
    if asked.get("group"):
        merged["by"] = "group"
    total = merged["train"] + merged["validate"] + merged["test"]
    if abs(total - 1) > 1e-9 or any(not 0 <= merged[k] <= 1 for k in sides):
        raise UsageError(
            f"train, validate and test are {merged['train']:g}, {merged['validate']:g} and {merged['test']:g}",
            hint="give fractions from 0 to 1 that add up to 1",
        )
    if merged["by"] == "time" and not settings.forecast.time_column:
        raise UsageError(
            "a split by time needs the time column", hint="set forecast.time_column in model.toml"
        )
    if merged["stratify"] and not settings.label:
        raise UsageError("a stratified split needs a label", hint="set label in model.toml")
    return {
        **{k: merged[k] for k in ("train", "validate", "test", "seed", "by")}, "group": merged["group"] or None, "stratify": settings.label if merged["stratify"] else None,
        "key": settings.key or None, "time_column": settings.forecast.time_column or None,
    }  # fmt: skip
