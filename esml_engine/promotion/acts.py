"""Compare versions of two environments, and promote one from an environment to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from esml_engine.door import requests
from esml_engine.door.facts import Call, Desk, Draft
from esml_engine.door.policy import others
from esml_engine.door.site import Site
from esml_engine.errors import UsageError
from esml_engine.faults import point
from esml_engine.lake.catalogue import all_latest
from esml_engine.promotion import records
from esml_engine.promotion.cases import case_of, check_pair, check_way
from esml_engine.promotion.comparing import KEPT, compare_job, compared, measured_document
from esml_engine.promotion.facts import Case
from esml_engine.promotion.promoting import copied, copy_job, crown, decide, standing_answer
from esml_engine.refining.staleness import input_version
from esml_engine.refs import ModelRef
from esml_engine.runs import records as runs
from esml_engine.runs.facts import JobResult, JobSpec
from esml_engine.training.registering import write_aliases

_ANSWER = (*KEPT, "distribution", "bootstrap", "direction", "expectations", "rnd", "seconds")


class Compare:
    """Env is the target. `params`: source, version (None: the source's champion)."""

    name = "compare"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """Between any two environments."""
        ref = ModelRef.parse(call.object)
        source = str(call.params.get("source") or "")
        check_pair(site, source, call.env)
        site.settings.require_training(ref)
        case = case_of(site, ref, source, call.env, call.params.get("version"))
        return _draft(case, site, call, ("compare",), (), ())

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """Both models, asked afresh."""
        return compare_job(call, draft.params.get("version"), desk)

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """The verdict, kept for readers."""
        said = measured_document(call, draft.params.get("version"), result, desk)
        ref = ModelRef.parse(call.object)

        def change(c: Any) -> dict[str, Any]:
            made = records.put_comparison(c, ref, desk.run, said)
            return {"comparison": made, "evidence": None, **{k: said[k] for k in _ANSWER}}

        return desk.commit(change)


class Promote:
    """Env is the target. `params`: source, version (None: the source's champion).

    compare: on the same rows · decide: gates, then people · copy: the folder, its hash checked · crown: the facts
    looked at again, then one transaction, which is the promotion · alias: MLflow told.
    """

    name = "promote"
    durable = True
    steps = ("compare", "decide", "copy", "crown", "alias")

    def plan(self, call: Call, site: Site) -> Draft:
        """To the next environment on the way, never past one."""
        ref = ModelRef.parse(call.object)
        source = str(call.params.get("source") or "")
        if not source:
            raise UsageError("promote from where?", hint="name the source: --from dev")
        check_way(site, source, call.env)
        site.settings.require_training(ref)
        case = case_of(site, ref, source, call.env, call.params.get("version"))
        policy, origin = site.settings.policy(ref, call.env)
        will = (
            f"then ask {others(policy.approvals)} to approve, as {origin['approvals']} says"
            if policy.approvals
            else "no approval needed by policy",
            f"copy v{case.challenger.version} to {call.env}, its hash checked, and make it the champion",
        )
        nothing = ""
        answer: dict[str, Any] = {}
        if case.champion is not None and case.champion.version == case.challenger.version:
            nothing = f"v{case.champion.version} is the champion of {call.env} already"
            answer = standing_answer(site, ref, call.env)
        makes = (f"v{case.challenger.version} of {ref} in {call.env}", "an evidence pack")
        draft = _draft(case, site, call, self.steps, will, makes, nothing, answer)
        run = "" if nothing else _under_way(site, call, draft)
        if not run:
            return draft
        return replace(
            draft, joins=run, will=(f"join run {run}, which does exactly this already", *draft.will)
        )

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """Comparing and copying are jobs; deciding is not."""
        step = records.step_name(desk.step)
        if step == "compare":
            return compare_job(call, draft.params.get("version"), desk)
        return copy_job(call, desk) if step == "copy" else None

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """See the class."""
        step = records.step_name(desk.step)
        if step == "compare":
            return compared(call, draft.params.get("version"), result, desk)
        if step == "decide":
            return decide(call, desk)
        if step == "copy":
            assert result is not None
            return copied(call, result, desk)
        if step == "crown":
            return crown(call, desk)
        point("promote:alias")
        return write_aliases(call, desk)


def _under_way(site: Site, call: Call, draft: Draft) -> str:
    """The open run that promotes this very version on these very facts, whether it was asked for by its number or not.

    Also a pipeline whose request for it waits, or was approved.
    """
    for state in runs.OPEN:
        for row in runs.listing(site.store, objects=[call.object], env=call.env, act=call.act, state=state):
            if runs.get(site.store, row["run"])["plan"]["params"] == draft.params:
                return str(row["run"])
    wanted = (call.env, requests.PROMOTION, draft.params["version"], draft.params["facts"])
    for asked in requests.listing(site.store, objects=[call.object]):
        if asked["state"] in (requests.WAITING, "approved") and wanted == (
            asked["env"], asked["kind"], asked["detail"].get("challenger"), asked["facts"]
        ) and runs.get(site.store, asked["run"])["state"] in runs.OPEN:  # fmt: skip
            return str(asked["run"])
    return ""


def _behind(site: Site, call: Call, test: dict[str, Any]) -> str:
    """That gold is newer than the split that both models are asked on."""
    have = all_latest(site.store, ModelRef.parse(call.object), test["env"])
    split, gold = input_version(have.get("gold_train"), "gold"), have.get("gold")
    if gold is None or split is None or split == gold.version:
        return ""
    return f", split from gold v{split} while gold is v{gold.version} (esml split {call.object} --env {test['env']})"


def _draft(
    case: Case, site: Site, call: Call, steps: tuple[str, ...], will: tuple[str, ...], makes: tuple[str, ...], nothing: str = "",
    answer: dict[str, Any] | None = None
) -> Draft:  # fmt: skip
    new, old, test = case.challenger, case.champion, case.test
    against = (
        f"champion v{old.version}" if old else "floors and the trivial baseline (no champion stands there)"
    )
    rows = (
        f"the {test['rows']} rows of gold_test v{test['version']} of {test['env']}{_behind(site, call, test)}"
        if test
        else "no rows: there is no gold_test"
    )
    return Draft(
        will=(f"compare v{new.version} of {case.source} with {against} of {case.target} on {rows}", *will),
        inputs=(
            {"model_version": new.version, "env": new.env, "sha256": new.sha256},
            {"champion": old.version if old else None, "env": case.target, "sha256": old.sha256 if old else None,
                "revision": case.revision},
            {"table": "gold_test", **(test or {"version": None})},
        ),
        makes=(*makes, "a comparison"), steps=steps, params={"version": new.version, "facts": case.facts},
        settings={"gates": case.thresholds, "primary": case.primary},
        nothing_to_do=nothing, answer=answer or {}, size=float(test["rows"]) if test else 0.0,
        bound_seconds=site.settings.estate.worker.max_step_seconds,
    )  # fmt: skip
