"""The comparison of a promotion: its job, its verdict, and whether it is still current."""

from __future__ import annotations

from typing import Any

from esml_engine.costs.pricing import priced
from esml_engine.door.facts import Call, Desk
from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError, PlatformError
from esml_engine.faults import point
from esml_engine.lake.catalogue import table_in
from esml_engine.lake.specs import job_spec, model_within_reach, table_within_reach
from esml_engine.promotion import records
from esml_engine.promotion.cases import case_of, expectations_of, looked_up, rnd_of
from esml_engine.promotion.facts import Case, Side, case_from
from esml_engine.promotion.judging import document, judged
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobResult, JobSpec, TableIn
from esml_engine.training.behind import LEARNED, behind
from esml_engine.training.facts import RESAMPLES
from esml_engine.training.judging.ways import again, split_of

KEPT = ("from", "to", "verdict", "rows", "gates", "challenger", "champion", "metrics", "baseline", "intervals", "data",
    "cost_1000_rows", "evidence_from", "primary")  # fmt: skip


def compare_job(call: Call, version: int | None, desk: Desk) -> JobSpec | None:
    """The comparison's specification; None where there are no rows to compare on."""
    ref, site = ModelRef.parse(call.object), desk.site
    case = case_of(site, ref, call.params["source"], call.env, version or call.params.get("version"))
    if case.test is None:
        return None
    inputs = {"gold_test": table_in(site, ref, case.test["env"], "gold_test", case.test["version"])}
    if case.train is not None:
        inputs["gold_train"] = table_in(site, ref, case.train["env"], "gold_train", case.train["version"])
        if case.train["validate"] is not None:
            inputs["gold_validate"] = table_in(
                site, ref, case.train["env"], "gold_validate", case.train["validate"]
            )
    for who, side in (("challenger", case.challenger), ("champion", case.champion)):
        if side is not None:
            inputs |= _behind(site, ref, case.target, who, side)
    forecast = site.settings.model(ref).forecast
    key = [forecast.time_column, *forecast.series] if case.task == "forecasting" else [case.key]
    params = {
        "task": case.task, "label": case.label, "key": [k for k in key if k], "primary": case.primary, "resamples": RESAMPLES,
        "forecast": forecast.model_dump(), "case": case.document(),
        "challenger": _model(site, case.target, case.challenger),
        "champion": _model(site, case.target, case.champion) if case.champion else None,
    }  # fmt: skip
    return job_spec(desk, ref, case.target, "promotion.compare", inputs=inputs, outputs={}, params=params)


def _behind(site: Site, ref: ModelRef, env: str, who: str, side: Side) -> dict[str, TableIn]:
    """What a model was trained on, where jobs of `env` read it.

    A version that is not to be found is left out, and the gate `rows` refuses by it.

    Raises:
        PlatformError: where it was trained can't be reached: no promotion without knowing what was learned.
    """
    known = {n: v for n in LEARNED if (v := side.data_version(n)) is not None}
    try:
        found = behind(site, ref, who, side.trained_in, known)
        return {k: table_within_reach(site, env, table) for k, table in found.items()}
    except PlatformError as e:
        raise type(e)(
            f"what v{side.version} was trained on lies in {side.trained_in}, and can't be read: {e.message}",
            hint=f"{e.hint}; rows of the test that it learned must be found, so the promotion waits for {side.trained_in}: retry the run then",
        ) from e


def _model(site: Site, env: str, side: Side) -> dict[str, Any]:
    signature = list(side.signature) if side.signature is not None else None
    folder = model_within_reach(site, env, side.env, side.folder, side.sha256)
    return {"folder": folder, "sha256": side.sha256, "version": side.version, "task": side.task,
        "signature": signature}  # fmt: skip


def measured_document(
    call: Call, version: int | None, result: JobResult | None, desk: Desk
) -> dict[str, Any]:
    """The comparison as it is kept: the case as it was when the job began, and the verdict on what it measured."""
    ref, site = ModelRef.parse(call.object), desk.site
    value: dict[str, Any] | None = None
    seconds = 0.0
    if result is not None and desk.spec is not None:
        case, value, seconds = case_from(desk.spec.params["case"]), dict(result.value), result.seconds
        for who in ("challenger", "champion"):
            missing = [n for n in LEARNED if value.get(who) and f"{who}/{n}" not in desk.spec.inputs]
            if missing:
                value["trained_on"][who] = {"rows": None, "examples": [], "by": "",
                    "error": f"{missing[0]} behind it is not recorded or no longer there"}  # fmt: skip
        value["splits"] = _splits(site, ref, case)
        if case.test is not None and result is not None:
            found = looked_up(site, ref)(case.test["env"], "gold_test", case.test["version"])
            value["sample"] = found is None or found[1]
    else:
        case = case_of(site, ref, call.params["source"], call.env, version or call.params.get("version"))
    look = looked_up(site, ref)
    passed, rnd = expectations_of(case.challenger, look), rnd_of(case.challenger, look)
    node = next(iter(case.policy["nodes"]), "")
    price = priced(site.settings, node, site.platform(case.target).prices).price
    verdict = judged(case, value, expectations=passed, rnd=rnd, price=price)
    return document(case, value, verdict, expectations=passed, rnd=rnd, price=price, seconds=seconds)


def _splits(site: Site, ref: ModelRef, case: Case) -> dict[str, dict[str, Any] | None]:
    """How the data of each model and the test rows were split, where splitting so again would give the same sides."""
    settings = site.settings.model(ref)
    found: dict[str, dict[str, Any] | None] = {}
    for who, side in (("challenger", case.challenger), ("champion", case.champion)):
        if side is not None:
            version = side.data_version("gold_train")
            split = again(settings, split_of(site, ref, side.trained_in, "gold_train", version))
            found[who] = dict(split) if split else None
    if case.test is not None:
        found["test"] = split_of(site, ref, case.test["env"], "gold_test", case.test["version"])
    return found


def compared(call: Call, version: int | None, result: JobResult | None, desk: Desk) -> dict[str, Any]:
    """Keep a promotion's comparison."""
    said = measured_document(call, version, result, desk)
    ref = ModelRef.parse(call.object)
    point("promote:compared")

    def change(c: Any) -> dict[str, Any]:
        made = records.put_comparison(c, ref, desk.run, said)
        return {"comparison": made, "verdict": said["verdict"], "rows": said["rows"]}

    return desk.commit(change)


def outdated(site: Site, row: dict[str, Any]) -> str:
    """What changed since a comparison was made, in words; empty when it is still current."""
    old = case_from(row["document"]["case"])
    ref = ModelRef.parse(old.object)
    try:
        new = case_of(site, ref, old.source, old.target, old.challenger.version)
    except NotFoundError as e:
        return e.message
    if new.facts == row["facts"]:
        return ""
    for name, a, b in (
        ("champion", (old.champion and old.champion.version, old.revision),
            (new.champion and new.champion.version, new.revision)),
        ("gold_test", old.test, new.test), ("gates", old.thresholds, new.thresholds), ("policy", old.policy, new.policy),
        ("model", old.challenger.sha256, new.challenger.sha256),
    ):  # fmt: skip
        if a != b and name == "champion":
            then, now = (c.champion.version if c.champion else None for c in (old, new))
            again = ", crowned anew" if then == now else ""
            return f"the champion of {old.target} changed since the comparison: {_champion(then)} then, {_champion(now)}{again} now"
        if a != b and isinstance(a, dict) and isinstance(b, dict):
            keys = sorted(k for k in {*a, *b} if a.get(k) != b.get(k))
            told = "; ".join(f"{k} was {_short(a.get(k))}, is {_short(b.get(k))}" for k in keys)
            return f"the {name} of {old.target} changed since the comparison: {told}"
        if a != b:
            return (
                f"the {name} of {old.target} changed since the comparison: {_short(a)} then, {_short(b)} now"
            )
    return "what the comparison rested on changed since"


def _champion(version: int | None) -> str:
    return "none" if version is None else f"v{version}"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
