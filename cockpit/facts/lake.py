"""Where the data of a model lies: listings and the catalogue of one side of the lake; no table is opened."""

from __future__ import annotations

from dataclasses import dataclass

from esml_engine.door.site import Site
from esml_engine.lake.deliveries import InFile, delivered, kept_out
from esml_engine.refining.staleness import Stale, stale
from esml_engine.refs import ModelRef, Purpose
from esml_engine.settings import ModelSettings


@dataclass(frozen=True)
class LakeFacts:
    """One side of a model's lake in one environment; files by dataset."""

    settings: ModelSettings
    purpose: Purpose
    todo: Stale  # what the next refinement does, and every table's current version
    delivered: dict[str, list[InFile]]
    refused: dict[str, list[tuple[InFile, str]]]  # those that could not be read, each with the reason
    away: bool = False  # the environment can't be reached, so nobody knows what was delivered


def lake_facts(site: Site, ref: ModelRef, env: str, purpose: Purpose, *, away: bool = False) -> LakeFacts:
    """Read once for all that a page shows of it. `away`: the environment is not asked for anything."""
    settings = site.settings.model(ref)
    return LakeFacts(
        settings,
        purpose,
        stale(site, ref, env, purpose, listed=not away),
        {} if away else {ds: delivered(site, ref, env, ds, purpose) for ds in settings.datasets},
        {ds: [] if away else kept_out(site, ref, env, ds, purpose) for ds in settings.datasets},
        away,
    )
