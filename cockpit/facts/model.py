"""What the page of one model rests on: its data, versions and champions, and the first act that has something to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cockpit.facts.lake import LakeFacts, lake_facts
from esml_engine.door.facts import Plan
from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError, NotYetError, UsageError
from esml_engine.model import Model
from esml_engine.promotion.cases import next_env
from esml_engine.refs import ModelRef
from esml_engine.serving import records as serving
from esml_engine.training import records as training


@dataclass(frozen=True)
class ModelFacts:
    """Where a model stands in an environment, and who is champion in any."""

    env: str
    environments: tuple[str, ...]  # of the estate, in the order of promotion
    after: str | None  # the environment after this one
    metric: str  # what its profile here optimizes
    lake: LakeFacts  # of the train side
    versions: list[dict[str, Any]] = field(default_factory=list)  # registered here, newest first
    champions: dict[str, dict[str, Any]] = field(default_factory=dict)  # by environment that has one


def model_facts(site: Site, ref: ModelRef, env: str, *, away: bool = False) -> ModelFacts:
    """Read once for all parts of the page; an analytics model has neither versions nor champions."""
    settings = site.settings
    environments, after, main = settings.environments, next_env(site, env), settings.profile(ref, env).metric
    lake = lake_facts(site, ref, env, "train", away=away)
    if lake.settings.task == "analytics":
        return ModelFacts(env, environments, after, main, lake)
    found = {e: training.champion(site.store, ref, e) for e in environments}
    champions = {e: row for e, row in found.items() if row}
    return ModelFacts(
        env, environments, after, main, lake, training.versions(site.store, ref, env), champions
    )


@dataclass(frozen=True)
class ChampionFacts:
    """What one environment's card rests on; without a champion its metric alone."""

    metric: str
    champion: dict[str, Any] | None = None
    version: dict[str, Any] = field(default_factory=dict)  # as it is registered
    interval: list[float] | None = None  # 95 % of the metric, on gold_test
    deployment: dict[str, Any] | None = None


def champion_facts(
    site: Site, ref: ModelRef, champions: Mapping[str, dict[str, Any]]
) -> dict[str, ChampionFacts]:
    """By environment of the estate. `champions`: their rows, as `model_facts` read them."""
    settings, out = site.settings, {}
    for env in settings.environments:
        main = settings.profile(ref, env).metric
        champion = champions.get(env)
        if champion is None:
            out[env] = ChampionFacts(main)
            continue
        version = training.get_version(site.store, ref, env, champion["version"])
        band = training.intervals(site.store, ref, env, champion["version"]).get(main)
        out[env] = ChampionFacts(main, champion, version, band, serving.get(site.store, ref, env))
    return out


@dataclass(frozen=True)
class Planned:
    """An act with its plan; without one, what it waits for."""

    act: str
    plan: Plan | None
    waits: str = ""


def first_plan(model: Model, acts: Iterable[str]) -> Planned | None:
    """The first of these acts that has something to do, or has to wait; those after it are not planned."""
    for act in acts:
        try:
            plan: Plan = getattr(model, f"plan_{act}")()
        except NotYetError as e:
            return Planned(act, None, e.message)
        except (NotFoundError, UsageError):
            continue
        if not plan.draft.nothing_to_do:
            return Planned(act, plan)
    return None
