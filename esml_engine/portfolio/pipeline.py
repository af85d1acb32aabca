"""Pipeline: one act, one plan, one run over the chain; its steps are those of the acts that it is made of.

A step is named `<act>/<step>` in the run's own environment and `<env>@<act>/<step>` in one further on the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from esml_engine.door import requests
from esml_engine.door.facts import Act, Call, Desk, Draft, Part
from esml_engine.door.policy import others
from esml_engine.door.site import Site
from esml_engine.door.under_way import joined
from esml_engine.errors import NotFoundError, UsageError
from esml_engine.lake.catalogue import all_latest, next_numbers
from esml_engine.lake.retention import replaced
from esml_engine.lake.specs import code_hash, step_file
from esml_engine.promotion.acts import Promote
from esml_engine.promotion.cases import case_of
from esml_engine.promotion.records import step_result
from esml_engine.refining.acts import Refine
from esml_engine.refining.split_act import Split
from esml_engine.refining.staleness import in_rnd
from esml_engine.refs import ModelRef, check_purpose
from esml_engine.runs import records as runs
from esml_engine.runs.facts import JobResult, JobSpec, step_env
from esml_engine.serving.scoring import ScoreBatch
from esml_engine.training import records as models
from esml_engine.training.acts import OVERHEAD_SECONDS, Train, check_settings, profile_of

_PARTS: dict[str, type[Act]] = {
    "refine": Refine,
    "split": Split,
    "train": Train,
    "promote": Promote,
    "score": ScoreBatch,
}
UNTIL = ("gold", "trained", "test", "prod")
_ACT = {"score": "score_batch"}  # a part's name in the steps -> the act
_STANDS = "stands"  # a promotion with nothing to promote: the source's champion is the target's already


def act_of(step: str) -> str:
    """The act that a step of a chain belongs to: `score_batch` for `prod@score/score`."""
    part = step.rpartition("@")[2].partition("/")[0]
    return _ACT.get(part, part)


@dataclass
class _Chain:
    """What a plan gathers along the way."""

    steps: list[str] = field(default_factory=list)
    will: list[str] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    makes: list[str] = field(default_factory=list)
    irreversible: list[str] = field(default_factory=list)
    code: str = ""
    bound: float = 0.0
    size: float = 0.0
    parts: list[Part] = field(default_factory=list)

    def add(
        self,
        home: str,
        env: str,
        act: str,
        steps: tuple[str, ...],
        will: list[str],
        bound: float,
        *,
        size: float = 0.0,
        search: float = 0.0,
    ) -> None:
        """An act's steps in one environment."""
        at = "" if env == home else f"{env}@"
        if steps:
            self.parts.append(Part(_ACT.get(act, act), env, bound, size, search))
        self.steps += [f"{at}{act}/{s}" for s in steps]
        self.will += [f"in {env}: {w}" if at else w for w in will]
        self.bound += bound

    def made(self, home: str, env: str, makes: Iterable[str], gone: Iterable[str] = ()) -> None:
        """What an act makes in one environment, and what goes for good."""
        self.makes += [m if env == home else f"{m} in {env}" for m in makes]
        self.irreversible += [g if env == home else f"in {env}: {g}" for g in gone]


class Pipeline:
    """`params`: until (gold | trained | test | prod), purpose (train | inference)."""

    name = "pipeline"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """What is stale along the chain, as of now."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        purpose = check_purpose(call.params.get("purpose", "train"))
        until = call.params.get("until") or "trained"
        if until not in UNTIL:
            raise UsageError(f"--until {until} is no stage of a pipeline", hint=", ".join(UNTIL))
        settings = site.settings.model(ref)
        if until != "gold" or purpose == "inference":
            site.settings.require_training(ref)
        chain = _Chain()
        refine = self._refine(chain, site, ref, call.env, call.env, purpose)
        train_seconds = 0.0
        if purpose == "inference":
            self._score(chain, site, ref, call.env)
        elif until != "gold":
            train_seconds = self._train(chain, site, ref, call.env)
            if until != "trained":
                self._promotions(chain, site, ref, call.env, until)
        joins = self._waiting(chain, site, ref, call) if until in site.settings.environments else ""
        nothing = "" if chain.steps else (refine.nothing_to_do or "everything up to there is current")
        draft = Draft(
            will=tuple(chain.will), inputs=tuple(chain.inputs), makes=tuple(chain.makes), steps=tuple(chain.steps),
            irreversible=tuple(chain.irreversible),
            params={"purpose": purpose, "until": until, "train_seconds": train_seconds},
            code=chain.code, settings=settings.model_dump(mode="json"), nothing_to_do=nothing, contains=rules_of(chain.steps),
            answer={"steps": [], "stage": stage_of(site, ref, call.env)}, size=chain.size, bound_seconds=chain.bound,
            parts=tuple(chain.parts), joins=joins,
        )  # fmt: skip
        return draft if joins else joined(site, call, draft, ("purpose", "until"))

    def _waiting(self, chain: _Chain, site: Site, ref: ModelRef, call: Call) -> str:
        """The run of the same call that waits for an approval and has just this left, on facts that still hold."""
        way = site.settings.environments
        for row in runs.listing(site.store, objects=[str(ref)], env=call.env, act=self.name, state="waiting"):
            asked = requests.of_run(site.store, row["run"])
            if asked is None or asked["kind"] != requests.PROMOTION or asked["state"] != requests.WAITING:
                continue
            left = [s["name"] for s in row["steps"] if s["state"] != "done"]
            compare = left[0].removesuffix("decide") + "compare"
            if chain.steps != [compare, *left] or runs.get(site.store, row["run"])["params"] != call.params:
                continue
            source = way[way.index(asked["env"]) - 1]
            if case_of(site, ref, source, asked["env"]).facts == asked["facts"]:
                return str(row["run"])
        return ""

    def _refine(self, chain: _Chain, site: Site, ref: ModelRef, home: str, env: str, purpose: str) -> Draft:
        refine = Refine().draft(Call("refine", str(ref), env, {"purpose": purpose}), site)
        will = list(refine.will) if refine.steps else []
        chain.add(home, env, "refine", refine.steps, will, refine.bound_seconds, size=refine.size)
        chain.inputs += [i if env == home else {**i, "env": env} for i in refine.inputs]
        chain.made(home, env, refine.makes, refine.irreversible)
        chain.code += refine.code
        chain.size += refine.size
        return refine

    def _split(self, chain: _Chain, site: Site, ref: ModelRef, home: str, env: str) -> bool:
        """Whether the split is stale; its step is added when it is."""
        fresh = any(s.endswith("refine/gold") and step_env(s, home) == env for s in chain.steps)
        if not fresh and "gold" not in all_latest(site.store, ref, env):
            return False
        if not fresh and Split().plan(Call("split", str(ref), env, {}), site).nothing_to_do:
            return False
        chain.add(
            home, env, "split", ("split",), ["split gold"], site.settings.estate.worker.max_step_seconds
        )
        names = ("gold_train", "gold_validate", "gold_test")
        given, rnd = next_numbers(site.store, ref, env, names), in_rnd(site.settings.model(ref), env)
        chain.made(home, env, names, replaced(all_latest(site.store, ref, env), names, given, rnd=rnd))
        return True

    def _train(self, chain: _Chain, site: Site, ref: ModelRef, env: str) -> float:
        if not any(s.endswith("refine/gold") for s in chain.steps) and "gold" not in all_latest(
            site.store, ref, env
        ):
            return 0.0
        if not self._split(chain, site, ref, env, env) and self._trained(site, ref, env):
            return 0.0
        check_settings(site.settings.model(ref), ref)
        profile = profile_of(site, ref, env, {})
        if profile.mode == "custom" and (own := step_file(site.root, ref, "train")):
            chain.code += code_hash(own, "custom")
        will = [f"train at most {profile.seconds:g} s and register"]
        bound = profile.seconds + OVERHEAD_SECONDS
        chain.add(env, env, "train", Train.steps, will, bound, search=profile.seconds)
        chain.makes.append(f"a model version of {ref}")
        return float(profile.seconds)

    def _promotions(self, chain: _Chain, site: Site, ref: ModelRef, home: str, until: str) -> None:
        """Refine and split each environment on the way, then promote into it."""
        way = site.settings.environments
        site.settings.check_env(until)
        first, last = way.index(home), way.index(until)
        if last <= first:
            raise UsageError(
                f"{until} does not come after {home}", hint=f"the way is {' → '.join(way)}; start with --env"
            )
        for source, target in zip(way[first:last], way[first + 1 : last + 1], strict=True):
            self._refine(chain, site, ref, home, target, "train")
            self._split(chain, site, ref, home, target)
            champions = [models.champion(site.store, ref, e) for e in (source, target)]
            moving = any(s.rpartition("@")[2].startswith(("train/", "promote/")) for s in chain.steps)
            stands = champions[0] and champions[1] and champions[0]["version"] == champions[1]["version"]
            if not moving and (stands or champions[0] is None):
                continue
            policy, _ = site.settings.policy(ref, target)
            asks = f", with the approval of {others(policy.approvals)}" if policy.approvals else ""
            will = [f"promote the champion of {source}{asks}"]
            chain.add(
                home, target, "promote", Promote.steps, will, site.settings.estate.worker.max_step_seconds
            )
            chain.makes.append(f"champion of {target}")

    def _score(self, chain: _Chain, site: Site, ref: ModelRef, env: str) -> None:
        try:
            stale = not ScoreBatch().plan(Call("score_batch", str(ref), env, {}), site).nothing_to_do
        except NotFoundError:
            models.get_version(site.store, ref, env)  # without a champion nothing can be scored: said now
            stale = False
        if stale or any(s.endswith("refine/gold") for s in chain.steps):
            bound = site.settings.estate.worker.max_step_seconds
            chain.add(env, env, "score", ("score",), ["score what is new in to_score"], bound)
            chain.makes.append("rows in scored")

    def _trained(self, site: Site, ref: ModelRef, env: str) -> bool:
        head = all_latest(site.store, ref, env).get("gold_train")
        return head is not None and any(
            {"table": "gold_train", "version": head.version} in v["inputs"]
            for v in models.versions(site.store, ref, env)
        )

    def _part(self, call: Call, draft: Draft, desk: Desk) -> tuple[Act, Call, Draft]:
        env, name = step_env(desk.step, call.env), desk.step.rpartition("@")[2].split("/")[0]
        params: dict[str, Any] = {}
        if name == "refine":
            params = {"purpose": draft.params["purpose"]}
        elif name == "promote":
            way = desk.site.settings.environments
            params = {"source": way[way.index(env) - 1]}
        its_call = Call(act_of(desk.step), call.object, env, params)
        return _PARTS[name](), its_call, replace(draft, params={})

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """The part's own."""
        part, its_call, its_draft = self._part(call, draft, desk)
        if its_call.act == "promote" and _stands(its_call, desk):
            return None
        return part.jobs(its_call, its_draft, desk)

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """The part's own; how far the whole has come is `so_far`."""
        part, its_call, its_draft = self._part(call, draft, desk)
        if its_call.act == "promote" and result is None and (version := _stands(its_call, desk)):
            return desk.commit(lambda c: {_STANDS: version})
        return part.record(its_call, its_draft, result, desk)


def rules_of(steps: Iterable[str]) -> tuple[str, ...]:
    """The role table's rows for the acts behind a pipeline's steps; gold alone may be refined by more people."""
    parts = [s.rpartition("@")[2].split("/") for s in steps]
    names = list(dict.fromkeys(p[0] for p in parts))
    gold_alone = all(p[1] == "gold" for p in parts if p[0] == "refine")
    rule = {"refine": "refine_gold" if gold_alone else "refine", "score": "score_batch"}
    return tuple(rule.get(n, n) for n in names)


def _stands(call: Call, desk: Desk) -> int | None:
    """The version that is champion of source and target alike, as it was when the promotion's first step looked."""
    ref, store = ModelRef.parse(call.object), desk.site.store
    if not desk.step.endswith("/compare"):
        found = step_result(store, desk.run, "compare", call.env, "")
        return found.get(_STANDS)
    source = models.champion(store, ref, call.params["source"])
    target = models.champion(store, ref, call.env)
    return int(target["version"]) if source and target and source["version"] == target["version"] else None


def so_far(site: Site, row: dict[str, Any]) -> dict[str, Any]:
    """How far a pipeline's run has come, whoever made its steps: those that are done, and where the model stands by them."""
    done = [s["step"] for s in runs.steps(site.store, row["run"]) if s["state"] == "done"]
    return {"steps": done, "stage": stage_of(site, ModelRef.parse(row["object"]), row["env"])}


def stage_of(site: Site, ref: ModelRef, env: str) -> str:
    """How far a model is, as the pipeline's answer says it."""
    for stage in ("prod", "test"):
        if stage in site.settings.environments and models.champion(site.store, ref, stage):
            return stage
    if models.versions(site.store, ref, env):
        return "trained"
    have = all_latest(site.store, ref, env)
    return next((s for s in ("gold", "silver", "bronze") if any(n.endswith(s) for n in have)), "new")
