"""Split: gold -> gold_train, gold_validate, gold_test."""

from __future__ import annotations

from typing import Any, get_args

from esml_engine.door.facts import Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import FailedError, NotFoundError, UsageError
from esml_engine.faults import point
from esml_engine.lake.catalogue import all_latest, latest, next_numbers, put, table_in
from esml_engine.lake.commit import make_versions
from esml_engine.lake.files import columns_of
from esml_engine.lake.numbers import numbers_of
from esml_engine.lake.retention import keep_one, replaced
from esml_engine.lake.specs import job_spec
from esml_engine.refining.staleness import input_version, rnd_version
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobResult, JobSpec
from esml_engine.settings import ModelSettings, SplitSettings

_WAYS = get_args(SplitSettings.model_fields["by"].annotation)
_TIMES = (
    "date",
    "timestamp",
    "int",
    "uint",
    "float",
    "double",
    "decimal",
)  # Arrow types that have an order in time
_KINDS = {float: "a number from 0 to 1", int: "a whole number", bool: "true or false", str: "a text"}


class Split:
    """Gold into gold_train, gold_validate, gold_test. `params` override `[split]` of model.toml."""

    name = "split"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """On the current gold; nothing to do when that gold is split so already."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        site.settings.require_training(ref)
        settings = site.settings.model(ref)
        wanted = split_params(settings, call.params)
        have = all_latest(site.store, ref, call.env)
        gold = have.get("gold")
        if gold is None:
            raise NotFoundError(
                f"{ref} has no gold in {call.env} yet", hint=f"esml refine {ref} --env {call.env}"
            )
        if not gold.rows:
            raise UsageError(
                f"gold v{gold.version} of {ref} in {call.env} has no row to split",
                hint=f"see why: esml quarantine {ref} DATASET --env {call.env}; deliver mended files and refine again",
            )
        kinds = {c["name"]: c["type"] for c in columns_of(gold.schema)}
        columns = list(kinds)
        needed = {
            "group": wanted["group"] if wanted["by"] == "group" else None,
            "stratify": wanted["stratify"],
            "key": wanted["key"] if wanted["by"] == "key" else None,
            "forecast.time_column of model.toml": wanted["time_column"] if wanted["by"] == "time" else None,
        }
        for what, column in needed.items():
            if column and column not in columns:
                raise UsageError(
                    f"gold has no column {column!r} to split by ({what})", hint=f"it has {', '.join(columns)}"
                )
        if wanted["by"] == "time" and not kinds[wanted["time_column"]].startswith(_TIMES):
            raise UsageError(
                f"{wanted['time_column']!r} of gold is {kinds[wanted['time_column']]}: a split by time needs dates, times or numbers",
                hint="name another column as forecast.time_column, or turn it into dates in a step",
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
            and all(n in have and have[n].version == v for n, v in head.siblings.items())
        )
        given = next_numbers(site.store, ref, call.env, names)
        tables = {n: {"version": have[n].version, "rows": have[n].rows} for n in names if n in have}
        parts = f"{wanted['train']:g} / {wanted['validate']:g} / {wanted['test']:g}"
        moves = (
            f"the newest rows by {wanted['time_column']} are tested on: where newer ones came, rows move from test to validate and to train, never back",
        )
        alike = head is not None and head.facts.get("split") == wanted
        return Draft(
            will=(
                f"split gold v{gold.version} ({gold.rows} rows) into {parts} by {wanted['by']}",
                *(moves if wanted["by"] == "time" and alike else ()),
            ),
            inputs=({"table": "gold", "version": gold.version},),
            makes=tuple(f"{n} v{given[n]}" for n in names),
            irreversible=replaced(have, names, given, rnd=gold.rnd),
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
            **wanted, "label": settings.label, "tables": {n: n for n in names},
            "numbers": numbers_of(desk.site, ref, call.env, names),
            "previous": previous.facts.get("split") if previous else None,
            "made_from": [{"table": "gold", "version": gold.version}], "split": wanted,
            "rnd": rnd_version(desk.site, ref, call.env, "gold"),
        }  # fmt: skip
        return job_spec(
            desk, ref, call.env, "refining.split", inputs=inputs, outputs={n: n for n in names}, params=params
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Validate and test first, train last: readers reach them through it.

        Raises:
            FailedError: every row falls on other sides than gold_train, which a model could learn from.
        """
        ref = ModelRef.parse(call.object)
        assert result is not None and desk.spec is not None
        p = desk.spec.params
        outs = {o.table: o for o in result.tables}
        order = [outs["gold_validate"], outs["gold_test"], outs["gold_train"]]
        if p["split"]["train"] and not order[-1].rows and (whole := sum(o.rows for o in order)):
            raise FailedError(
                f"this split by {p['split']['group'] or p['split']['by']} leaves gold_train empty: all {whole} rows fall on other sides",
                hint="take a column with more values, another seed or other fractions; the last split stays current",
            )
        lost = next((n for n in ("validate", "test") if p["split"][n] and not outs[f"gold_{n}"].rows), None)
        if p["split"]["by"] == "group" and lost and order[-1].rows:
            raise FailedError(
                f"this split by {p['split']['group']} leaves gold_{lost} empty: no group fell there",
                hint="take a column with more values, another seed or other fractions; the last split stays current",
            )
        made = make_versions(
            desk,
            ref,
            call.env,
            order,
            numbers=p["numbers"],
            inputs=p["made_from"],
            facts={"split": p["split"]},
            rnd=p["rnd"],
        )
        point("store:before")

        def change(c: Any) -> dict[str, Any]:
            for v in made:
                put(c, v)
            return {
                "gold": p["made_from"][0]["version"],
                "tables": {v.name: {"version": v.version, "rows": v.rows} for v in made},
            }

        return keep_one(desk, ref, call.env, made, lambda: desk.commit(change))


def split_params(settings: ModelSettings, asked: dict[str, Any]) -> dict[str, Any]:
    """Effective split: the call's values over model.toml's, checked."""
    base = settings.split.model_dump(by_alias=True)
    given = {k: v for k, v in asked.items() if v is not None and k in base}
    for key, value in given.items():
        wanted = type(base[key])
        if not isinstance(value, int | float if wanted is float else wanted) or (
            isinstance(value, bool) and wanted is not bool
        ):
            raise UsageError(f"split can't take {key} = {value!r}", hint=f"{key} is {_KINDS[wanted]}")
        if key == "seed" and not 0 <= value < 2**32:
            raise UsageError(
                f"split can't take seed = {value}", hint="a seed is a whole number from 0 to 4294967295"
            )
    if given.get("by", base["by"]) not in _WAYS:
        raise UsageError(f"no way to split by {given['by']!r}", hint=f"by is one of {', '.join(_WAYS)}")
    sides = ("train", "validate", "test")
    open_sides = [k for k in sides if k not in given]
    if len(open_sides) < 3:  # what is not said shares the rest in the model's own proportions
        rest = 1 - sum(given[k] for k in sides if k in given)
        weight = sum(base[k] for k in open_sides)
        given.update({k: round(rest * base[k] / weight, 9) if weight else 0.0 for k in open_sides})
    merged = {**base, **given}
    if given.get("group"):
        if given.get("by", "group") != "group":
            raise UsageError(
                f"a split by {given['by']} can't keep the groups of {given['group']} on one side",
                hint="leave one of --by and --group out",
            )
        merged["by"] = "group"
    elif given.get("by", "group") != "group":
        merged["group"] = ""  # this one split goes another way than by the model's group
    if merged["by"] == "group" and merged["group"] and merged["group"] == settings.label:
        raise UsageError(
            f"a split by the groups of the label {settings.label!r} tests on values that no training saw",
            hint="name the column of what belongs together: a person, a machine, a shop",
        )
    if settings.task == "forecasting" and merged["by"] != "time":
        raise UsageError(
            f"a forecast can't be split by {merged['by']}",
            hint="leave --by and --group out: forecasting splits by time",
        )
    if merged["stratify"] and merged["by"] != "key":
        raise UsageError(
            f"a split by {merged['by']} can't be stratified as well", hint="leave --stratify out, or that"
        )
    total = merged["train"] + merged["validate"] + merged["test"]
    if not merged["train"] > 0:
        raise UsageError("a split without rows to train on", hint="give train a fraction above 0")
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
        **{k: merged[k] for k in ("train", "validate", "test", "seed", "by")}, "group": merged["group"] or None,
        "stratify": settings.label if merged["stratify"] else None,
        "key": settings.key or None, "time_column": settings.forecast.time_column or None,
    }  # fmt: skip
