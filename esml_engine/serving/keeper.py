"""Makes what runs be what is wanted: endpoints up with their slots, ledgers drained into `scored`."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any

from esml_engine.costs import records as costs
from esml_engine.costs.pricing import next_node
from esml_engine.door.site import Site
from esml_engine.errors import EsmlError
from esml_engine.refs import ModelRef
from esml_engine.scored.collecting import answered_folder
from esml_engine.scored.commits import drain_ledger, ledger_path, purge_ledger
from esml_engine.serving import records
from esml_engine.serving.counting import Collector
from esml_engine.serving.tally import path_of

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

    def turn(self, wanted: frozenset[str] | None) -> None:
        """Apply every deployment (`wanted` None), or those named; drain when it is time."""
        rows = records.listing(self.site.store)
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
        if fresh and platform.capabilities.endpoints_outlive:  # asking for its key there is a call as well
            return
        wanted = config(self.site, row)
        if fresh and wanted == known:
            return
        platform.apply_endpoint(name, wanted)
        if not platform.capabilities.endpoints_outlive:  # where they do, their platform bills them
            self._metered_to.setdefault(name, dt.datetime.now(dt.UTC))
        self._applied[name] = (time.monotonic(), row["revision"], wanted)
        self._started.add((row["env"], name))

    def _end(self, row: dict[str, Any]) -> None:
        """Nothing is wanted there any more: end what runs; the next drain takes its last answers."""
        platform = self.platform(row["env"])
        self.meter([row])
        self._metered_to.pop(row["endpoint"], None)
        if (row["env"], row["endpoint"]) in self._started or platform.capabilities.endpoints_outlive:
            platform.stop_endpoint(row["endpoint"])
            self._started.discard((row["env"], row["endpoint"]))
            self._applied.pop(row["endpoint"], None)

    def meter(self, rows: list[dict[str, Any]]) -> None:
        """Count the hours of the endpoints that are up; one that does not answer costs nothing meanwhile."""
        for row in rows:
            since = self._metered_to.get(row["endpoint"])
            if since is None:
                continue
            until = dt.datetime.now(dt.UTC)
            if self.platform(row["env"]).endpoint_state(row["endpoint"]).running:
                node, price = self._price(row)
                with self.site.store.write() as c:
                    costs.meter_endpoint(
                        c,
                        endpoint=row["endpoint"],
                        object_=row["object"],
                        env=row["env"],
                        node=node,
                        price=price,
                        since=since,
                        until=until,
                    )
            self._metered_to[row["endpoint"]] = until

    def _price(self, row: dict[str, Any]) -> tuple[str, float]:
        """The node that an endpoint is predicted on, and its price an hour."""
        settings = self.site.settings
        policy, _ = settings.policy(ModelRef.parse(row["object"]), row["env"])
        node = next_node(settings, policy, self.platform(row["env"]).prices)
        return node.name, node.counted

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
        try:
            self.meter(records.listing(self.site.store))
        except EsmlError as e:  # a full disk, say: they end all the same
            log.warning("the last minute of endpoints is not metered: %s", e.message)
        for env, name in self._started:
            if not self.platform(env).capabilities.endpoints_outlive:
                self.platform(env).stop_endpoint(name)
        self.drain(records.listing(self.site.store))


def config(site: Site, row: dict[str, Any]) -> dict[str, Any]:
    """The endpoint process's configuration and its control file. The key comes from the secret store, as its hash."""
    ref = ModelRef.parse(row["object"])
    key = site.platform(row["env"]).get_secret(records.secret_name(ref, row["env"]))
    keys = [hashlib.sha256(key.encode()).hexdigest()] if key else []
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
        "save": row["save"],
        "key_sha256": keys,
    }
    return {"server": server, "control": control, "secret": records.secret_name(ref, row["env"])}
