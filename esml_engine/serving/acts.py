"""Deploy (blue/green with a smoke test), and an endpoint's keys."""

from __future__ import annotations

import secrets
from typing import Any

from esml_engine.clock import now
from esml_engine.costs import records as costs
from esml_engine.costs.pricing import endpoint_nodes
from esml_engine.door.facts import AtOnce, Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import (
    CancelledError,
    EsmlError,
    FailedError,
    NotYetError,
    UsageError,
)
from esml_engine.faults import point
from esml_engine.lake.specs import job_spec
from esml_engine.refining.staleness import in_rnd
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobResult, JobSpec
from esml_engine.runs.records import set_step
from esml_engine.scored.commits import endpoint_name
from esml_engine.serving import client, records
from esml_engine.serving.applied import LOOKED, MADE, ready, wait_shifted
from esml_engine.serving.saving import saves
from esml_engine.settings import ServingSettings
from esml_engine.training import records as models


def live_version(row: dict[str, Any] | None) -> int | None:
    """The model version that answers."""
    return int(row["slots"][row["live"]]["model_version"]) if row and row["live"] else None


class Deploy:
    """`params`: version (None: the environment's champion), traffic (100)."""

    name = "deploy"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """Which version, beside which one."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        site.settings.require_training(ref)
        traffic = call.params.get("traffic")
        if traffic is not None and not 0 <= traffic <= 100:
            raise UsageError(
                f"{traffic} % is no share of the traffic", hint="leave --traffic out: it gets all"
            )
        if traffic not in (None, 100):
            raise NotYetError(
                f"a deployment with {traffic} % of the traffic comes with the next version",
                hint="leave --traffic out: it gets all, after its smoke test",
            )
        model = models.get_version(site.store, ref, call.env, call.params.get("version"))
        row = records.get(site.store, ref, call.env)
        old = live_version(row)
        same = old == model["version"]
        will = [
            f"start v{model['version']} beside v{old}" if old else f"start v{model['version']}",
            "smoke-test it with its input example",
            "shift all traffic to it",
        ]
        if old:
            will.append(f"keep v{old} for rollback")
        if in_rnd(site.settings.model(ref), call.env):
            will.append("keep no scored rows: R&D mode")
        serving = site.settings.model(ref).serving.get(call.env, ServingSettings())  # type: ignore[call-overload]
        return Draft(
            will=tuple(will),
            inputs=({"model_version": model["version"], "sha256": model["sha256"]}, {"deployed": old}),
            makes=(f"endpoint {endpoint_name(ref, call.env)}",),
            steps=("smoke", "slot", "shift"),
            params={"version": model["version"]},
            settings={**serving.model_dump(), "save": saves(site.settings, ref, call.env)},
            nothing_to_do=f"v{old} is deployed already" if same else "",
            answer=answer(site, ref, call.env, row) if same and row else {},
            endpoint=MADE if same else "",  # else its run waits for it
            size=1.0,
            stands=serving.instances,
            bound_seconds=3 * 120.0,
        )

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """The smoke test's first half: the model loads and predicts in a process of its own."""
        if desk.step != "smoke":
            return None
        ref = ModelRef.parse(call.object)
        model = models.get_version(desk.site.store, ref, call.env, draft.params["version"])
        params = {
            "model": {
                "folder": desk.site.outside(model["folder"]),
                "sha256": model["sha256"],
                "version": model["version"],
            }
        }
        return job_spec(desk, ref, call.env, "serving.smoke", inputs={}, outputs={}, params=params)

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """smoke: it predicts · slot: it stands beside the old one, without traffic · shift: it answered over HTTP, so it is live."""
        if desk.step == "smoke":
            return desk.commit(lambda c: {})
        ref = ModelRef.parse(call.object)
        return (
            self._slot(call, ref, draft, desk) if desk.step == "slot" else self._shift(call, ref, draft, desk)
        )

    def _slot(self, call: Call, ref: ModelRef, draft: Draft, desk: Desk) -> dict[str, Any]:
        site, env = desk.site, call.env
        platform = site.platform(env)
        name = records.secret_name(ref, env)
        if platform.get_secret(name) is None:
            platform.put_secret(name, secrets.token_urlsafe(32))
        model = models.get_version(site.store, ref, env, draft.params["version"])
        row = records.get(site.store, ref, env)
        live = row["live"] if row else ""
        slot = "green" if live == "blue" else "blue"
        serving = site.settings.model(ref).serving.get(env, ServingSettings())  # type: ignore[call-overload]
        slots = dict(row["slots"]) if row else {}
        slots[slot] = {
            "folder": model["folder"],
            "sha256": model["sha256"],
            "model_version": model["version"],
            "deployment": f"v{model['version']}",
            "instances": serving.instances,
        }
        save, at = saves(site.settings, ref, env), now()
        point("deploy:slot")

        def change(c: Any) -> dict[str, Any]:
            port = records.port_of(c, row, site.settings.estate.serving.ports, site.state)
            records.put(c, {
                "object": str(ref), "env": env, "endpoint": endpoint_name(ref, env), "port": port, "live": live, "slots": slots,
                "save": save,
                "at": at, "by": desk.actor.rights, "run": desk.run,
            })  # fmt: skip
            if row is None or not row["slots"]:
                nodes = endpoint_nodes(platform.capabilities, serving.instances)
                costs.endpoint_begins(
                    c, endpoint=endpoint_name(ref, env), object_=str(ref), env=env, at=at, nodes=nodes
                )
            return {"slot": slot}

        return desk.commit(change)

    def _shift(self, call: Call, ref: ModelRef, draft: Draft, desk: Desk) -> dict[str, Any]:
        site, env = desk.site, call.env
        row = records.get(site.store, ref, env)
        assert row is not None
        version = draft.params["version"]
        slot = next((s for s, v in row["slots"].items() if v["model_version"] == version), "")
        if not slot:
            raise FailedError(
                f"v{version} was taken away while it was being deployed",
                hint="deploy it again if it is wanted",
            )
        name = row["endpoint"]
        desk.want_endpoint(name)
        if row["live"] != slot:
            row = self._smoke_test(ref, row, slot, version, desk)
            point("deploy:shift")
            row = self._go_live(ref, row, slot, desk)
        try:
            wait_shifted(desk, ref, env, slot, f"v{version} getting the traffic of {name}")
        except FailedError as e:
            self._withdraw(site, row, slot)
            if isinstance(e, CancelledError):
                raise
            raise FailedError(
                f"v{version} did not get the traffic of {name}: {e.message}",
                hint="the version before is wanted again; " + (e.hint or "see the endpoint's log"),
            ) from e
        point("deploy:shifted")
        said = answer(site, ref, env, row)
        return desk.commit(lambda c: said)

    def _smoke_test(
        self, ref: ModelRef, row: dict[str, Any], slot: str, version: int, desk: Desk
    ) -> dict[str, Any]:
        """The slot becomes ready and answers over HTTP, without traffic; else it is withdrawn. Returns what is wanted now."""
        site, env, name = desk.site, row["env"], row["endpoint"]
        platform = site.platform(env)
        asked, last = False, ""

        def comes_up() -> bool:
            nonlocal last, row
            state = platform.endpoint_state(name)
            last = state.error
            if state.port_taken == row["port"] and not row["live"]:  # nobody has its address yet
                row = records.move(site.store, row, site.settings.estate.serving.ports)
                return False
            return ready(state, row["revision"], slot)

        try:
            desk.wait(comes_up, f"v{version} becoming ready on {name}", platform.capabilities.start_seconds)
            model = models.get_version(site.store, ref, env, version)
            example = model["detail"]["example"]
            key = platform.get_secret(records.secret_name(ref, env)) or ""
            asked = True
            url, rows = platform.endpoint_url(name, row["port"]), {k: [v] for k, v in example.items()}
            test = client.Asking(
                lambda: client.score(url, key, rows, "smoke", headers=platform.aim(name, slot))
            )
            here = not platform.capabilities.endpoints_outlive
            desk.wait(test, f"{name} taking its key", client.key_seconds(here))
        except CancelledError:
            self._withdraw(site, row, slot)
            raise
        except EsmlError as e:
            self._withdraw(site, row, slot)
            was = "failed its smoke test on" if asked else "did not come up on"
            said = last in e.message or e.message in last
            why = f": {last}" if last and not said and not asked else ""
            raise FailedError(
                f"v{version} {was} {name}: {e.message}{why}",
                hint="traffic is unchanged; " + (e.hint or "see the endpoint's log"),
            ) from e
        return row

    def _go_live(self, ref: ModelRef, row: dict[str, Any], slot: str, desk: Desk) -> dict[str, Any]:
        """Want the traffic on the slot; returns what is wanted now. A repetition finds it so and waits for it."""
        with desk.site.store.write() as c:
            kept = records.current(c, row)
            if kept["slots"].get(slot) != row["slots"][slot]:
                raise FailedError(
                    f"{row['slots'][slot]['deployment']} was taken away while it was being deployed",
                    hint="deploy it again if it is wanted",
                )
            records.put(c, {**kept, "live": slot, "at": now(), "by": desk.actor.rights, "run": desk.run})
        return {**row, "live": slot}

    def _withdraw(self, site: Site, row: dict[str, Any], slot: str) -> None:
        """The slot is not wanted any more, if it still is this run's; the other one, where there is one, answers as before."""
        with site.store.write() as c:
            kept = records.current(c, row)
            if kept["slots"].get(slot) != row["slots"][slot]:
                return
            slots = {k: v for k, v in kept["slots"].items() if k != slot}
            live = next(iter(slots), "") if kept["live"] == slot else kept["live"]
            records.put(c, {**kept, "live": live, "slots": slots})
            if kept["run"]:  # a retry makes the slot anew
                set_step(c, kept["run"], "slot", state="queued")

    def take_back(self, site: Site, run: dict[str, Any]) -> None:
        """Before a run ends badly whose worker was killed: what it wanted and did not finish is not wanted any more."""
        row = records.get(site.store, ModelRef.parse(run["object"]), run["env"])
        if row is None or row["run"] != run["run"]:
            return  # it had not begun, or took its slot back itself, or somebody else deployed since
        version = run["plan"]["params"]["version"]
        for slot in [s for s, its in row["slots"].items() if its["model_version"] == version]:
            self._withdraw(site, row, slot)


def answer(site: Site, ref: ModelRef, env: str, row: dict[str, Any]) -> dict[str, Any]:
    """The contract's answer of `deploy`."""
    slot = row["slots"][row["live"]]
    url = site.platform(env).endpoint_url(row["endpoint"], row["port"])
    return {
        "endpoint": row["endpoint"],
        "url": url,
        "deployment": slot["deployment"],
        "model_version": slot["model_version"],
        "traffic": {slot["deployment"]: 100},
    }


class Undeploy(AtOnce):
    """End an endpoint. What it answered stays; its key, and its port if nobody takes it, are kept for the next deployment."""

    name = "undeploy"

    def plan(self, call: Call, site: Site) -> Draft:
        """Which version stops answering."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        site.settings.require_training(ref)
        row = records.get(site.store, ref, call.env)
        old = live_version(row)
        name = endpoint_name(ref, call.env)
        wanted = bool(row and row["slots"])
        # an earlier end was refused, or the store was lost
        stands = not wanted and _outlived(site, call.env, name)
        which = f"which serves v{old}" if old else "which serves no version yet"
        if not wanted:
            which = "which is not wanted any more" if row else "which this estate's store does not know"
        return Draft(
            will=(
                f"end endpoint {name}, {which}",
                "move its last answers into scored",
            ),
            inputs=({"deployed": old, "revision": row["revision"] if row else 0},),
            irreversible=("callers are refused until a version is deployed again",),
            nothing_to_do="" if wanted or stands else f"nothing is deployed in {call.env}",
            answer={"endpoint": name, "model_version": None},
            endpoint=MADE if row or stands else "",
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Nothing is wanted any more; the worker ends the process and drains its ledger."""
        ref = ModelRef.parse(call.object)
        row = records.get(desk.site.store, ref, call.env)
        name, none = endpoint_name(ref, call.env), {"live": "", "slots": {}}

        def change(c: Any) -> dict[str, Any]:
            if row is None:  # the store was lost: that it is not wanted is noted, so that a worker ends it
                port = records.port_of(c, None, desk.site.settings.estate.serving.ports, desk.site.state)
                kept = {
                    "object": str(ref),
                    "env": call.env,
                    "endpoint": name,
                    "port": port,
                    "save": True,
                    "run": "",
                }
            else:
                records.unchanged(c, row)
                kept = {k: v for k, v in row.items() if k != "revision"}
            records.put(c, {**kept, **none, "at": now(), "by": desk.actor.rights})
            return {"endpoint": name, "model_version": None, "ended": live_version(row)}

        return desk.commit(change)


def _outlived(site: Site, env: str, name: str) -> bool:
    """Whether an endpoint of this estate's stands there, by its platform's word."""
    platform = site.platform(env)
    if not platform.capabilities.endpoints_outlive:
        return False
    state = platform.endpoint_state(name, fresh=True)
    return state.running or bool(state.slots)


class Keys(AtOnce):
    """The endpoint's address and key. `params`: rotate."""

    name = "keys"
    unkept = ("key",)

    def again(self, call: Call, answer: dict[str, Any], desk: Desk) -> dict[str, Any]:
        """The key that is in force; none is made."""
        name = records.secret_name(ModelRef.parse(call.object), call.env)
        return {**answer, "key": desk.site.platform(call.env).get_secret(name, fresh=True)}

    def outside(self, draft: Draft) -> bool:
        """A new key."""
        return bool(draft.params["rotate"])

    def plan(self, call: Call, site: Site) -> Draft:
        """Show, or make a new one."""
        ref = ModelRef.parse(call.object)
        site.settings.require_training(ref)
        records.require(site.store, ref, call.env)
        rotate = bool(call.params.get("rotate"))
        return Draft(
            will=("make a new key; the old one stops working at once",) if rotate else ("show the key",),
            irreversible=("callers with the old key are refused",) if rotate else (),
            params={"rotate": rotate},
            endpoint=MADE if rotate else LOOKED,
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """The audit event is written before the key is shown."""
        ref, platform = ModelRef.parse(call.object), desk.site.platform(call.env)
        row = records.require(desk.site.store, ref, call.env)
        name = records.secret_name(ref, call.env)
        if draft.params["rotate"]:
            platform.put_secret(name, secrets.token_urlsafe(32))
        key = records.key_of(platform, ref, call.env, fresh=True)
        url = platform.endpoint_url(row["endpoint"], row["port"])

        def change(c: Any) -> dict[str, Any]:
            if draft.params["rotate"]:  # another revision: who looks sees when the platform has taken it
                records.put(c, records.current(c, row))
            return {"url": url, "key": key, "_audit": {"rotated": draft.params["rotate"]}}

        return desk.commit(change)
