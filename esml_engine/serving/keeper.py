"""Makes what runs be what is wanted: endpoints up with their slots, ledgers drained into `scored`."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable
from typing import Any

from esml_engine.costs import records as costs
from esml_engine.costs.pricing import Node, endpoint_node, endpoint_nodes
from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.refs import ModelRef
from esml_engine.scored.collecting import answered_folder
from esml_engine.scored.commits import drain_ledger, ledger_path, purge_ledger
from esml_engine.serving import records
from esml_engine.serving.counting import Collector
from esml_engine.serving.saving import saves
from esml_engine.serving.tally import path_of
from esml_engine.settings import Settings

log = logging.getLogger("esml.keeper")
PURGE_EVERY = 3600.0
AGAIN_AFTER = 10.0
METER_EVERY = 30.0
APPLY_EVERY = 1.0
"""Seconds after which what is wanted is made so again, though nothing changed: a process may have ended."""


class Keeper:
    """One worker's hand on its endpoints."""

    def __init__(self, site: Site, platform: Callable[[str], Any]) -> None:
        self.site, self.platform = site, platform
        self._again: dict[str, float] = {}  # endpoints in trouble, and when they are looked after again
        self._drained: dict[str, float] = {}
        self._purged = time.monotonic()
        self._counts = Collector()
        self._started: set[tuple[str, str]] = set()
        self._applied: dict[str, tuple[float, int, dict[str, Any]]] = {}  # when, which revision, what
        self._metered = time.monotonic()
        self._metered_to: dict[str, dt.datetime] = {}  # endpoints that this keeper looks after
        self._nodes: dict[str, int] = {}  # how many each takes
        self._gone: set[str] = set()  # ended, and seen to be gone
        self._settings: Settings | None = None  # as of this turn

    def turn(self, wanted: frozenset[str] | None) -> None:
        """Apply every deployment (`wanted` None), or those named; drain when it is time."""
        rows = records.listing(self.site.store)
        try:
            self._settings = self.site.settings
        except EsmlError as e:  # endpoints stay as they were told while a settings file is mended
            log.warning("settings: %s", e.message)
        for row in rows:
            if time.monotonic() < self._again.get(row["endpoint"], 0.0):
                continue
            try:
                self._look_after(row, wanted)
            except EsmlError as e:  # one environment's trouble is not the others'
                log.warning("endpoint %s: %s", row["endpoint"], e.message)
                self._again[row["endpoint"]] = time.monotonic() + AGAIN_AFTER
        for env in {row["env"] for row in rows}:
            if (
                time.monotonic() - self._drained.get(env, 0.0)
                >= self.platform(env).capabilities.drain_seconds
            ):
                self.drain([row for row in rows if row["env"] == env])
                self._drained[env] = time.monotonic()
        if time.monotonic() - self._metered >= METER_EVERY:
            self.meter(rows)
            self._metered = time.monotonic()
        if time.monotonic() - self._purged >= PURGE_EVERY:
            for row in rows:
                purge_ledger(self.site, ModelRef.parse(row["object"]), row["env"])
            self._purged = time.monotonic()

    def _look_after(self, row: dict[str, Any], wanted: frozenset[str] | None) -> None:
        if not row["slots"]:
            self._end(row)
        elif wanted is None or row["endpoint"] in wanted:
            self._apply(row)

    def _apply(self, row: dict[str, Any]) -> None:
        """Have the platform make it so: at once when it or its key changed, else once a second."""
        name, platform = row["endpoint"], self.platform(row["env"])
        at, revision, known = self._applied.get(name, (-APPLY_EVERY, -1, {}))
        fresh = revision == row["revision"] and time.monotonic() - at < APPLY_EVERY
        if fresh and platform.capabilities.far_secrets:  # its key is not asked for every turn
            return
        broken = self.site.files.wrong(row["object"]) is not None
        wanted = config(self.site, row, None if broken else self._settings, fresh=revision != row["revision"])
        if fresh and wanted == known:
            return
        platform.apply_endpoint(name, wanted)
        self._count_from(row)
        self._applied[name] = (time.monotonic(), row["revision"], wanted)
        self._started.add((row["env"], name))

    def _end(self, row: dict[str, Any]) -> None:
        """Nothing is wanted there any more: end what runs; the next drain takes its last answers."""
        platform = self.platform(row["env"])
        self._meter_end(row)
        if (row["env"], row["endpoint"]) in self._started or platform.capabilities.endpoints_outlive:
            platform.stop_endpoint(row["endpoint"], row["revision"])
            self._started.discard((row["env"], row["endpoint"]))
            self._applied.pop(row["endpoint"], None)

    def _count_from(self, row: dict[str, Any]) -> None:
        """From when an endpoint that is wanted is counted, and at how many nodes.

        One that outlives its worker ran meanwhile: from where its meter stands, or from its deployment if that is later.
        """
        name, can = row["endpoint"], self.platform(row["env"]).capabilities
        instances = sum(int(s.get("instances", 1)) for s in row["slots"].values())
        self._nodes[name] = endpoint_nodes(can, instances)
        self._gone.discard(name)
        if name in self._metered_to:
            return
        since = dt.datetime.now(dt.UTC)
        if can.endpoints_outlive:
            told, at = costs.endpoint_metered(self.site.store, name), dt.datetime.fromisoformat(row["at"])
            since = max(told[0], at) if told else at
        self._metered_to[name] = since

    def _meter_end(self, row: dict[str, Any]) -> None:
        """Count an endpoint that is no longer wanted for as long as it is there: also one that no keeper looked after."""
        name = row["endpoint"]
        outlives = self.platform(row["env"]).capabilities.endpoints_outlive
        if outlives and name not in self._metered_to and name not in self._gone:
            told = costs.endpoint_metered(self.site.store, name)
            if told:
                self._metered_to[name], self._nodes[name] = told
        if name not in self._metered_to:
            return
        self.meter([row])
        if not outlives or self._ended(row):
            self._metered_to.pop(name, None)
            self._gone.add(name)

    def _ended(self, row: dict[str, Any]) -> bool:
        """Whether an endpoint is known to be gone: one whose platform does not answer may run on."""
        state = self.platform(row["env"]).endpoint_state(row["endpoint"])
        return not state.running and not state.error

    def meter(self, rows: list[dict[str, Any]]) -> None:
        """Count the hours of the endpoints that are up; one that does not answer costs nothing meanwhile.

        Where endpoints outlive the worker, one whose platform can't be asked is counted when it can be again.
        """
        for row in rows:
            try:
                self._meter(row)
            except EsmlError as e:  # one environment's trouble is not the others': its meter catches up
                log.warning("endpoint %s is not metered now: %s", row["endpoint"], e.message)

    def _meter(self, row: dict[str, Any]) -> None:
        name = row["endpoint"]
        since = self._metered_to.get(name)
        if since is None:
            return
        until, platform = dt.datetime.now(dt.UTC), self.platform(row["env"])
        state = platform.endpoint_state(name)
        if state.running:
            node = self._node(row)
            with self.site.store.write() as c:
                costs.meter_endpoint(
                    c,
                    endpoint=name,
                    object_=row["object"],
                    env=row["env"],
                    node=node.name,
                    price=node.counted,
                    since=since,
                    until=until,
                    nodes=self._nodes[name],
                )
        elif state.error and platform.capabilities.endpoints_outlive:
            return
        self._metered_to[name] = until

    def _node(self, row: dict[str, Any]) -> Node:
        """The node that an endpoint runs on, as it is predicted."""
        settings, platform = self.site.settings, self.platform(row["env"])
        policy, _ = settings.policy(settings.around(ModelRef.parse(row["object"])), row["env"])
        return endpoint_node(settings, policy, platform.prices, platform.capabilities)

    def drain(self, rows: list[dict[str, Any]]) -> None:
        """Every ledger; one endpoint's trouble does not stop the others."""
        for row in rows:
            try:
                ref = ModelRef.parse(row["object"])
                drain_ledger(self.site, ref, row["env"])
                counts = path_of(ledger_path(self.site, ref, row["env"]))
                self._counts.collect(self.platform(row["env"]), answered_folder(row["endpoint"]), counts)
            except EsmlError as e:
                log.warning("drain of %s: %s", row["endpoint"], e.message)

    def close(self) -> None:
        """End the endpoints that this keeper started, metered to the end, after a last drain."""
        self.meter(records.listing(self.site.store))
        for env, name in self._started:
            if not self.platform(env).capabilities.endpoints_outlive:
                self.platform(env).stop_endpoint(name)
        self.drain(records.listing(self.site.store))


def config(
    site: Site, row: dict[str, Any], settings: Settings | None, *, fresh: bool = False
) -> dict[str, Any]:
    """The endpoint process's configuration and its control file. The key comes from the secret store, as its hash.

    Without settings answers are kept as they were when it was deployed. `fresh`: something else is wanted, maybe another
    key; one that was remembered would be taken for it.
    """
    ref = ModelRef.parse(row["object"])
    keys = list(records.key_sha256(site.platform(row["env"]), ref, row["env"], fresh=fresh))
    server = {
        "endpoint": row["endpoint"],
        "port": row["port"],
        "ledger": str(ledger_path(site, ref, row["env"])),
    }
    control = {
        "revision": row["revision"],
        "live": row["live"],
        "slots": {k: {**v, "folder": site.outside(v["folder"])} for k, v in row["slots"].items()},
        "traffic": {row["live"]: 100} if row["live"] else {},
        "save": row["save"] if settings is None else saves(settings, ref, row["env"]),
        "key_sha256": keys,
    }
    return {"server": server, "control": control, "secret": records.secret_name(ref, row["env"])}
