"""Pipeline: one act, one plan, one run over the chain; its steps are those of the acts it is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from esml_engine.door.facts import Act, Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import NotYetError, UsageError
from esml_engine.lake.catalogue import all_latest
from esml_engine.refining.acts import Refine
from esml_engine.refining.split_act import Split
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobResult, JobSpec
from esml_engine.serving.scoring import ScoreBatch
from esml_engine.training import records as models
from esml_engine.training.acts import OVERHEAD_SECONDS, Train, profile_of

_PARTS: dict[str, type[Act]] = {"refine": Refine, "split": Split, "train": Train, "score": ScoreBatch}


class Pipeline:
    """`params`: until (gold | trained), purpose (train | inference)."""

    name = "pipeline"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """What is stale along the chain, as of now."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        purpose, until = call.params.get("purpose", "train"), call.params.get("until") or "trained"
        if until in ("test", "prod"):
            raise NotYetError(
                f"a pipeline to {until} needs promotion, which comes with the next version",
                hint="--until trained works now",
            )
        if until not in ("gold", "trained"):
            raise UsageError(f"--until {until} is no stage of a pipeline", hint="gold, trained, test or prod")
        refine = Refine().plan(Call("refine", call.object, call.env, {"purpose": purpose}), site)
        steps = [f"refine/{s}" for s in refine.steps]
        will, inputs, makes = (
            list(refine.will) if refine.steps else [],
            list(refine.inputs),
            list(refine.makes),
        )
        bound, size = refine.bound_seconds, refine.size
        has_goal = "gold" in all_latest(site.store, ref, call.env) or "refine/gold" in steps
        if purpose == "inference":
            if (
                "refine/gold" in steps
                or not ScoreBatch().plan(Call("score_batch", call.object, call.env, {}), site).nothing_to_do
            ):
                steps.append("score/score")
                will.append("score what is new in to_score")
                bound += site.settings.estate.worker.max_step_seconds
        elif until == "trained" and has_goal:
            fresh_gold = "refine/gold" in steps
            split_stale = (
                fresh_gold or not Split().plan(Call("split", call.object, call.env, {}), site).nothing_to_do
            )
            if split_stale:
                steps.append("split/split")
                will.append("split gold")
                bound += site.settings.estate.worker.max_step_seconds
            if split_stale or not self._trained(site, ref, call.env):
                steps += ["train/train", "train/register", "train/alias"]
                profile = profile_of(site, ref, call.env, {})
                will.append(f"train at most {profile.seconds:g} s and register")
                bound += profile.seconds + OVERHEAD_SECONDS
        settings = site.settings.model(ref)
        nothing = "" if steps else (refine.nothing_to_do or "everything up to there is current")
        return Draft(
            will=tuple(will), inputs=tuple(inputs), makes=tuple(makes), steps=tuple(steps), params={"purpose": purpose, "until": until, "train_seconds": profile_of(site, ref, call.env, {}).seconds if "train/train" in steps else 0},
            code=refine.code, settings=settings.model_dump(mode="json"), nothing_to_do=nothing, answer={"steps": [], "stage": self._stage(site, ref, call.env)}, size=size, bound_seconds=bound,
        )  # fmt: skip

    def _trained(self, site: Site, ref: ModelRef, env: str) -> bool:
        head = all_latest(site.store, ref, env).get("gold_train")
        return head is not None and any(
            {"table": "gold_train", "version": head.version} in v["inputs"]
            for v in models.versions(site.store, ref, env)
        )

    def _stage(self, site: Site, ref: ModelRef, env: str) -> str:
        if models.versions(site.store, ref, env):
            return "trained"
        have = all_latest(site.store, ref, env)
        return next((s for s in ("gold", "silver", "bronze") if any(n.endswith(s) for n in have)), "new")

    def _part(self, call: Call, draft: Draft, desk: Desk) -> tuple[Act, Call, Draft]:
        name = desk.step.split("/")[0]
        params: dict[str, Any] = {"purpose": draft.params["purpose"]} if name == "refine" else {}
        return (
            _PARTS[name](),
            Call("score_batch" if name == "score" else name, call.object, call.env, params),
            replace(draft, params={}),
        )

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """The part's own."""
        part, its_call, its_draft = self._part(call, draft, desk)
        return part.jobs(its_call, its_draft, desk)

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """The part's own, and where the model stands now."""
        part, its_call, its_draft = self._part(call, draft, desk)
        got = part.record(its_call, its_draft, result, desk)
        stage = self._stage(desk.site, ModelRef.parse(call.object), call.env)
        return {**got, "steps": [desk.step], "stage": stage}
