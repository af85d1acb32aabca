"""Refine: IN -> bronze -> silver -> gold, only what is stale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from esml_engine.door.facts import Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.door.under_way import joined
from esml_engine.errors import NotFoundError, UsageError
from esml_engine.faults import point
from esml_engine.lake import deliveries as d
from esml_engine.lake.catalogue import has, latest, next_numbers, put, table_in
from esml_engine.lake.commit import make_versions
from esml_engine.lake.later import require_built
from esml_engine.lake.numbers import numbers_of
from esml_engine.lake.retention import keep_one, replaced
from esml_engine.lake.specs import archive, job_spec, step_file
from esml_engine.refining import bronze
from esml_engine.refining.bronze import kept_beside, layer_row
from esml_engine.refining.staleness import (
    goal_table,
    in_rnd,
    input_version,
    layer_code,
    rnd_version,
    samples,
    stale,
    table_name,
)
from esml_engine.refs import ModelRef, Purpose, check_purpose
from esml_engine.runs.facts import JobResult, JobSpec, TableIn
from esml_engine.settings import ModelSettings

_GONE = "in IN no more, and bronze is read anew from what is there"
_NO_DAY = "files are read from a day's folder, in/yyyy/mm/dd"


def _leaving_out(files: Sequence[str], why: str) -> str:
    """A plan's line about files that a refinement does not take."""
    return f"leave out {', '.join(files[:3])}{' and more' if len(files) > 3 else ''}: {why}"


class Refine:
    """`params`: purpose, layer ('' all), dataset ('' all)."""

    name = "refine"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """What is stale, and what refining it makes; or the run that does it already."""
        return joined(site, call, self.draft(call, site), ("purpose", "layer", "dataset"))

    def draft(self, call: Call, site: Site) -> Draft:
        """What is stale, whoever may be at it."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        settings = site.settings.model(ref)
        purpose = check_purpose(call.params.get("purpose", "train"))
        layer, dataset = call.params.get("layer", ""), call.params.get("dataset", "")
        if dataset and dataset not in settings.datasets:
            raise NotFoundError(
                f"{ref} has no dataset {dataset!r}", hint=f"it has {', '.join(settings.datasets)}"
            )
        declared = [e for ds in settings.datasets.values() for e in ds.expect]
        require_built(e.model_dump() for e in (*declared, *settings.expect))
        s = stale(site, ref, call.env, purpose, layer, dataset)
        have = s.have
        goal = goal_table(purpose)
        steps = (
            *(f"bronze:{ds}" for ds in s.bronze),
            *(f"silver:{ds}" for ds in s.silver),
            *(("gold",) if s.gold else ()),
        )
        todo = {
            *(table_name("bronze", x, purpose) for x in s.bronze),
            *(table_name("silver", x, purpose) for x in s.silver),
            *((goal,) if s.gold else ()),
        }
        waiting = [f for ds in s.bronze for f in s.files[ds]]
        nothing = ""
        if not steps:
            nothing = "no new IN file; every layer is current"
            if not any(table_name("bronze", ds, purpose) in have for ds in settings.datasets):
                nothing = f"no IN file was delivered for {purpose} in {call.env}: deliver with esml ingest"
                if layer and any(d.delivered(site, ref, call.env, ds, purpose) for ds in settings.datasets):
                    nothing = f"there is no bronze yet to make {layer} of: esml refine {ref} --env {call.env}"
            elif s.blocked and layer in ("", "gold"):
                nothing = f"nothing new; {goal} waits for {', '.join(s.blocked)}, which has no IN file"
        if layer == "gold" and s.blocked:
            raise UsageError(
                f"{goal} needs a silver table of {', '.join(s.blocked)}",
                hint=f"deliver and refine {s.blocked[0]} first",
            )
        names = [table_name(x, ds, purpose) for ds in settings.datasets for x in ("bronze", "silver")] + [
            goal
        ]
        unchanged = [
            layer_row(have[n], have.get(kept_beside(n)), changed=False)
            for n in names
            if n in have and n not in todo
        ]
        standing = [
            {"file": f.shown, "reason": reason}
            for ds in ([dataset] if dataset else list(settings.datasets))
            for f, reason in d.kept_out(site, ref, call.env, ds, purpose)
        ]
        lost = [
            f
            for ds in ([dataset] if dataset else settings.datasets)
            for f in d.misplaced(site, ref, call.env, ds, purpose)
        ]
        standing += [{"file": f, "reason": _NO_DAY} for f in lost]
        size = float(sum(f.bytes for f in waiting) or sum(v.bytes for n, v in have.items() if n in todo))
        left = [(f, f"{n} row{'s' if n != 1 else ''}") for ds in s.bronze for f, n in s.gone.get(ds, ())]
        standing += [{"file": f, "reason": f"{_GONE}: {rows}"} for f, rows in left]
        whole = in_rnd(settings, call.env) and not samples(settings, call.env)
        will = [
            f"read {len(s.files[ds])} file{'s' if len(s.files[ds]) != 1 else ''} of {ds} into bronze"
            + (f", all anew: {s.anew[ds]}" if s.anew[ds] else "")
            + (", whole: a sample would tear a series" if whole else "")
            for ds in s.bronze
        ]
        given = next_numbers(site.store, ref, call.env, todo)
        will += [f"clean {ds} into silver" for ds in s.silver] + ([f"build {goal}"] if s.gold else [])
        if lost and steps:
            will.append(_leaving_out(lost, _NO_DAY))
        elif lost:
            nothing += f"; {lost[0]} is left out: {_NO_DAY}"
        if left:
            will.append(_leaving_out([f"{f} ({rows})" for f, rows in left], _GONE))
        if s.blocked and steps and layer == "":
            will.append(f"{goal} waits for {', '.join(s.blocked)}")
        return Draft(
            will=tuple(will),
            inputs=(
                *({"file": f.path, "sha256": f.sha256} for f in waiting),
                *({"table": n, "version": have[n].version} for n in names if n in have),
            ),
            makes=tuple(f"{n} v{given[n]}" for n in names if n in todo),
            irreversible=replaced(
                have, [n for n in names if n in todo], given, rnd=in_rnd(settings, call.env)
            ),
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
        if layer == "bronze":
            return bronze.job(call, ref, settings, purpose, dataset, desk, draft.inputs)
        make = {"silver": self._silver, "gold": self._gold}[layer]
        return make(call, ref, settings, purpose, dataset, desk)

    def _silver(
        self, call: Call, ref: ModelRef, settings: ModelSettings, purpose: Purpose, dataset: str, desk: Desk
    ) -> JobSpec | None:
        site, env = desk.site, call.env
        source, silver = table_name("bronze", dataset, purpose), table_name("silver", dataset, purpose)
        now_bronze, now_silver = latest(site.store, ref, env, source), latest(site.store, ref, env, silver)
        if now_bronze is None:
            return None
        code = layer_code(site, ref, settings, "silver", dataset)
        same_code = now_silver is not None and now_silver.code == code
        if same_code and input_version(now_silver, source) == now_bronze.version:
            return None
        same_mode = now_silver is not None and now_silver.rnd == now_bronze.rnd and not now_bronze.rnd
        before = input_version(now_silver, source) if same_code and same_mode else None
        if before is not None and not has(site.store, ref, env, source, before):
            before = None
        path = step_file(site.root, ref, dataset)
        numbers = numbers_of(desk.site, ref, env, [silver])
        params = {
            "dataset": dataset, "purpose": purpose, "env": env, "version": numbers[silver]["next"],
            "step": archive(desk, env, path), "rows": settings.datasets[dataset].rows,
            "label": settings.label, "expect": [e.model_dump() for e in settings.datasets[dataset].expect if e.on == "silver"],
            "params": {}, "table": silver,
            "rnd": now_bronze.rnd, "code": code, "made_from": [{"table": source, "version": now_bronze.version}],
            "numbers": numbers,
        }  # fmt: skip
        inputs = {
            "bronze": table_in(site, ref, env, source), "silver": table_in(site, ref, env, silver, missing_ok=True),
            "previous_bronze": table_in(site, ref, env, source, before) if before else TableIn(source, "", None),
        }  # fmt: skip
        return job_spec(
            desk, ref, env, "refining.silver", inputs=inputs, outputs={"silver": silver}, params=params
        )

    def _gold(
        self, call: Call, ref: ModelRef, settings: ModelSettings, purpose: Purpose, dataset: str, desk: Desk
    ) -> JobSpec | None:
        site, env = desk.site, call.env
        goal = goal_table(purpose)
        silvers = {ds: table_name("silver", ds, purpose) for ds in settings.datasets}
        if any(latest(site.store, ref, env, n) is None for n in silvers.values()):
            return None  # a dataset whose files were all refused has none yet
        inputs = {ds: table_in(site, ref, env, n) for ds, n in silvers.items()}
        now_gold = latest(site.store, ref, env, goal)
        code = layer_code(site, ref, settings, "gold")
        if (
            now_gold
            and now_gold.code == code
            and all(input_version(now_gold, n) == inputs[ds].version for ds, n in silvers.items())
        ):
            return None
        numbers = numbers_of(desk.site, ref, env, [goal])
        params = {
            "datasets": list(settings.datasets), "key": settings.key, "purpose": purpose, "env": env, "version": numbers[goal]["next"],
            "step": archive(desk, env, step_file(site.root, ref, "gold")), "label": settings.label,
            "expect": [e.model_dump() for e in settings.expect], "params": {}, "table": goal,
            "rnd": any(rnd_version(site, ref, env, n) for n in silvers.values()), "code": code,
            "made_from": [{"table": n, "version": inputs[ds].version} for ds, n in silvers.items()],
            "numbers": numbers,
        }  # fmt: skip
        return job_spec(desk, ref, env, "refining.gold", inputs=inputs, outputs={"gold": goal}, params=params)

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Commit the layer's version, then the catalogue."""
        ref = ModelRef.parse(call.object)
        if result is None or desk.spec is None:  # another run did it meanwhile
            layer, _, dataset = desk.step.rpartition("/")[2].partition(":")
            purpose: Purpose = call.params.get("purpose", "train")
            name = goal_table(purpose) if layer == "gold" else table_name(layer, dataset, purpose)
            now, beside = (latest(desk.site.store, ref, call.env, n) for n in (name, kept_beside(name)))
            return desk.commit(lambda c: {"layers": [layer_row(now, beside, changed=False)]} if now else {})
        p = desk.spec.params
        if desk.spec.kind == "lake.bronze":
            if not result.tables:
                return bronze.nothing_read(result, desk)
            return bronze.record(call, ref, p, result, desk)
        facts = {k: v for k, v in result.value.items() if k in ("rows_in", "duplicates", "incremental")}
        made = make_versions(
            desk,
            ref,
            call.env,
            list(result.tables),
            numbers=p["numbers"],
            inputs=p["made_from"],
            code=p["code"],
            facts=facts,
            rnd=p.get("rnd", False),
        )
        point("store:before")

        def change(c: Any) -> dict[str, Any]:
            for v in made:
                put(c, v)
            return {"layers": [layer_row(made[-1], changed=True)]}

        return keep_one(desk, ref, call.env, made, lambda: desk.commit(change))
