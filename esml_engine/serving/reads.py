"""What faces show of endpoints: what runs behind each, and how it answers."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.refs import ModelRef
from esml_engine.scored import reads as scored
from esml_engine.scored.commits import batch_ids, ledger_path
from esml_engine.scored.facts import ScoredFilter
from esml_engine.scored.query import query
from esml_engine.serving import records, tally
from esml_engine.serving.acts import live_version
from esml_engine.serving.saving import saves
from esml_engine.serving.tally import Counts
from esml_engine.training import records as models


@dataclass(frozen=True)
class Served:
    """One endpoint as wanted and as it stands."""

    env: str
    endpoint: str
    url: str
    version: int | None  # that answers; None: nothing is deployed
    previous: int | None  # that stands beside it
    since: str
    by: str
    save: bool
    running: bool
    trouble: str  # '' when it is well
    counts: Counts | None  # since it was first deployed; None: not measured
    last_call: str | None
    calls_7_days: int | None  # None: the table of scored rows can't be read now


def live_signature(site: Site, ref: ModelRef, env: str) -> list[dict[str, str]]:
    """The signature of the version that answers; empty where none does."""
    version = live_version(records.get(site.store, ref, env))
    if version is None:
        return []
    return list(models.get_version(site.store, ref, env, version)["detail"]["signature"])


def of_model(site: Site, ref: ModelRef) -> list[Served]:
    """Every endpoint of a model that there ever was, in the order of the environments."""
    out = []
    for env in site.settings.environments:
        row = records.get(site.store, ref, env)
        if row is not None:
            out.append(_served(site, ref, env, row))
    return out


def _served(site: Site, ref: ModelRef, env: str, row: dict[str, Any]) -> Served:
    platform = site.platform(env)
    slots, live = row["slots"], row["live"]
    others = [int(v["model_version"]) for s, v in slots.items() if s != live]
    url = platform.endpoint_url(row["endpoint"], row["port"])
    running, trouble = False, ""
    if live:
        state = platform.endpoint_state(row["endpoint"])
        running = state.running
        its = (state.slots or {}).get(live, {})
        trouble = (
            state.error or "it does not answer"
            if not running
            else str(its.get("error") or "")
            if its.get("state") == "failed"
            else ""
        )
    last: str | None = None
    calls: int | None = None
    with suppress(EsmlError):  # a lake that is away: the others' endpoints are shown all the same
        last, calls = _calls(site, ref, env)
    return Served(
        env, row["endpoint"], url, int(slots[live]["model_version"]) if live in slots else None, others[0] if others else None,
        row["at"], row["by"], saves(site.settings, ref, env), running, trouble,
        tally.known(tally.path_of(ledger_path(site, ref, env))), last, calls,
    )  # fmt: skip


def _calls(site: Site, ref: ModelRef, env: str) -> tuple[str | None, int]:
    """(moment of the last kept answer, calls of the last 7 days): the endpoint's, so no batch is one."""
    source, batches = scored.source(site, ref, env), batch_ids(site, ref, env)
    newest = query(source, ScoredFilter(without=batches, limit=1))["rows"]
    week = dt.datetime.now(dt.UTC) - dt.timedelta(days=7)
    found = query(source, ScoredFilter(since=week, without=batches, count_only=True))
    return (newest[0]["scored_at"] if newest else None), int(found["calls"])
