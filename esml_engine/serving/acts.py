"""Deploy (blue/green with a smoke test), keys, online and batch scoring, rollback."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from esml_engine.clock import now
from esml_engine.door.facts import Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import FailedError, NotFoundError, NotYetError, UsageError
from esml_engine.faults import point
from esml_engine.lake.catalogue import latest, listing, table_in
from esml_engine.lake.specs import job_spec
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobResult, JobSpec
from esml_engine.scored.commits import append_batch, endpoint_name, scored_to
from esml_engine.serving import client, records
from esml_engine.settings import ServingSettings
from esml_engine.training import records as models
from esml_engine.training.acts import write_aliases


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
        traffic = call.params.get("traffic")
        if traffic not in (None, 100):
            raise NotYetError(
                "traffic splits other than all or nothing come with the next version",
                hint="leave --traffic out",
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
        serving = site.settings.model(ref).serving.get(call.env, ServingSettings())  # type: ignore[call-overload]
        return Draft(
            will=tuple(will),
            inputs=({"model_version": model["version"], "sha256": model["sha256"]}, {"deployed": old}),
            makes=(f"endpoint {endpoint_name(ref, call.env)}",),
            steps=("smoke", "slot", "shift"),
            params={"version": model["version"]},
            settings=serving.model_dump(),
            nothing_to_do=f"v{old} is deployed already" if same else "",
            answer=answer(site, ref, call.env, row) if same and row else {},
            size=1.0,
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
        slots = dict(row["slots"]) if row else {}
        slots[slot] = {
            "folder": model["folder"],
            "sha256": model["sha256"],
            "model_version": model["version"],
            "deployment": f"v{model['version']}",
        }
        save = site.settings.model(ref).serving.get(env, ServingSettings()).save  # type: ignore[call-overload]
        point("deploy:slot")

        def change(c: Any) -> dict[str, Any]:
            port = row["port"] if row else records.free_port(c, site.settings.estate.serving.ports)
            records.put(c, {
                "object": str(ref), "env": env, "endpoint": endpoint_name(ref, env), "port": port, "live": live, "slots": slots, "save": save,
                "at": now(), "by": desk.actor.rights, "run": desk.run,
            })  # fmt: skip
            return {"slot": slot}

        return desk.commit(change)

    def _shift(self, call: Call, ref: ModelRef, draft: Draft, desk: Desk) -> dict[str, Any]:
        site, env = desk.site, call.env
        row = records.get(site.store, ref, env)
        assert row is not None
        version = draft.params["version"]
        slot = next(s for s, v in row["slots"].items() if v["model_version"] == version)
        name, platform = row["endpoint"], site.platform(env)
        if row["live"] != slot:
            try:
                desk.want_endpoint(name)
                desk.wait(
                    lambda: _ready(platform.endpoint_state(name), row["revision"], slot),
                    f"v{version} becoming ready on {name}",
                    90,
                )
                model = models.get_version(site.store, ref, env, version)
                example = model["detail"]["example"]
                key = platform.get_secret(records.secret_name(ref, env)) or ""
                client.score(
                    platform.endpoint_url(name, row["port"]),
                    key,
                    {k: [v] for k, v in example.items()},
                    "smoke",
                    slot=slot,
                )
            except FailedError as e:
                self._withdraw(site, row, slot)
                raise FailedError(
                    f"v{version} failed its smoke test on {name}: {e.message}",
                    hint="traffic is unchanged; " + (e.hint or "see the endpoint's log"),
                ) from e
        point("deploy:shift")

        def change(c: Any) -> dict[str, Any]:
            if row["live"] != slot:
                records.put(
                    c,
                    {
                        **{k: v for k, v in row.items() if k != "revision"},
                        "live": slot,
                        "at": now(),
                        "by": desk.actor.rights,
                        "run": desk.run,
                    },
                )
            return answer(site, ref, env, {**row, "live": slot})

        done = desk.commit(change)
        return done

    def _withdraw(self, site: Site, row: dict[str, Any], slot: str) -> None:
        with site.store.write() as c:
            slots = {k: v for k, v in row["slots"].items() if k != slot}
            records.put(c, {**{k: v for k, v in row.items() if k != "revision"}, "slots": slots})


def _ready(state: Any, revision: int, slot: str) -> bool:
    its = (state.slots or {}).get(slot, {})
    if state.running and state.revision >= revision and its.get("state") == "failed":
        raise FailedError(f"the model did not load: {its.get('error')}", hint="see the endpoint's log")
    return bool(state.running and state.revision >= revision and its.get("state") == "ready")


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


class Keys:
    """The endpoint's address and key. `params`: rotate."""

    name = "keys"
    durable = False

    def plan(self, call: Call, site: Site) -> Draft:
        """Show, or make a new one."""
        ref = ModelRef.parse(call.object)
        records.require(site.store, ref, call.env)
        rotate = bool(call.params.get("rotate"))
        return Draft(
            will=("make a new key; the old one stops working at once",) if rotate else ("show the key",),
            irreversible=("callers with the old key are refused",) if rotate else (),
            params={"rotate": rotate},
        )

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """None."""
        return None

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """The audit event is written before the key is shown."""
        ref, platform = ModelRef.parse(call.object), desk.site.platform(call.env)
        row = records.require(desk.site.store, ref, call.env)
        name = records.secret_name(ref, call.env)
        if draft.params["rotate"]:
            platform.put_secret(name, secrets.token_urlsafe(32))
        key = platform.get_secret(name)
        url = platform.endpoint_url(row["endpoint"], row["port"])
        return desk.commit(lambda c: {"url": url, "key": key, "_audit": {"rotated": draft.params["rotate"]}})


class Score:
    """Online: rows to the endpoint. `params`: columns (name -> values), caller, request_id, parallel."""

    name = "score"
    durable = False

    def plan(self, call: Call, site: Site) -> Draft:
        """Which version answers how many rows."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        row = records.require(site.store, ref, call.env)
        columns = call.params["columns"]
        rows = len(next(iter(columns.values()), []))
        if not call.params.get("caller"):
            raise UsageError("a caller is needed", hint="say who asks: --caller ID")
        return Draft(
            will=(f"score {rows} rows by v{live_version(row)} at {row['endpoint']}", "keep them in scored" if row["save"] else "keep nothing (save = false)"),
            inputs=({"model_version": live_version(row)},), params={"rows": rows},
        )  # fmt: skip

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """None: the endpoint does it."""
        return None

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Ask the endpoint; its ledger keeps the answer before it answers."""
        ref, platform, p = ModelRef.parse(call.object), desk.site.platform(call.env), call.params
        row = records.require(desk.site.store, ref, call.env)
        key = platform.get_secret(records.secret_name(ref, call.env)) or ""
        said = client.score(
            platform.endpoint_url(row["endpoint"], row["port"]),
            key,
            p["columns"],
            p["caller"],
            p.get("request_id"),
            int(p.get("parallel") or 1),
        )
        version = said.model_versions[-1] if said.model_versions else live_version(row)
        extra = {k: v for k, v in (("low", said.low), ("high", said.high)) if v is not None}
        return desk.commit(lambda c: {
            "request_id": said.request_id, "rows": len(said.predictions), "model_version": version, "predictions": said.predictions, **extra,
            "_audit": {"request_id": said.request_id, "rows": len(said.predictions), "caller": p["caller"]},
        })  # fmt: skip


class ScoreBatch:
    """Batch: FILE, or all of to_score that is not scored yet. `params`: file, sha256, caller, request_id."""

    name = "score_batch"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """By the environment's champion."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        model = models.get_version(site.store, ref, call.env)
        caller = call.params.get("caller") or "batch"
        base: dict[str, Any] = {"inputs": [{"model_version": model["version"], "sha256": model["sha256"]}]}
        if call.params.get("file"):
            path = Path(call.params["file"])
            base["inputs"].append({"file": path.name, "sha256": call.params["sha256"]})
            will, nothing, size = (
                f"score the rows of {path.name} by v{model['version']}",
                "",
                float(path.stat().st_size),
            )
            made_from = None
        else:
            table = latest(site.store, ref, call.env, "to_score")
            if table is None:
                raise NotFoundError(
                    f"{ref} has no to_score in {call.env} yet",
                    hint=f"deliver IN files for inference, then esml refine {ref} --env {call.env} --purpose inference",
                )
            done = scored_to(listing(site.store, ref, call.env, "scored"))
            nothing = f"to_score v{table.version} is scored already" if done == table.version else ""
            base["inputs"].append({"table": "to_score", "version": table.version})
            will = (
                f"score the rows of to_score v{table.version}"
                + (f" that v{done} did not have" if done else "")
                + f" by v{model['version']}"
            )
            size, made_from = float(table.bytes), table.version
        return Draft(
            will=(will,), inputs=tuple(base["inputs"]), makes=("rows in scored",), steps=("score",), nothing_to_do=nothing, size=size, bound_seconds=site.settings.estate.worker.max_step_seconds,
            params={"version": model["version"], "to_score": made_from, "caller": caller},
            answer={"request_id": None, "rows": 0, "model_version": model["version"]} if nothing else {},
        )  # fmt: skip

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """One streaming job."""
        ref, site, env = ModelRef.parse(call.object), desk.site, call.env
        version = draft.params.get("version")
        model = models.get_version(site.store, ref, env, version)
        settings = site.settings.model(ref)
        inputs = {}
        number = draft.params.get("to_score")
        if not call.params.get("file"):
            now_version = latest(site.store, ref, env, "to_score")
            number = number or (now_version.version if now_version else None)
            done = scored_to(listing(site.store, ref, env, "scored"))
            if done == number:
                return None
            inputs["rows"] = table_in(site, ref, env, "to_score", number)
            if done:
                inputs["scored_before"] = table_in(site, ref, env, "to_score", done)
        params = {
            "model": {"folder": site.outside(model["folder"]), "sha256": model["sha256"], "version": model["version"]}, "request_id": call.params.get("request_id") or desk.run,
            "caller": draft.params.get("caller", "batch"), "label": settings.label, "key": settings.key, "chunk_rows": 50_000, "at": now(), "table": "scored", "to_score": number,
        }  # fmt: skip
        if call.params.get("file"):
            params["file"] = call.params["file"]
        return job_spec(
            desk, ref, env, "serving.batch", inputs=inputs, outputs={"scored": "scored"}, params=params
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Append the run's rows, once."""
        ref = ModelRef.parse(call.object)
        if result is None or desk.spec is None:
            return desk.commit(lambda c: {"rows": 0})
        p = desk.spec.params
        said = {
            "request_id": p["request_id"],
            "rows": result.value["rows"],
            "model_version": p["model"]["version"],
        }
        if not result.tables:
            return desk.commit(lambda c: said)
        source = (
            {"file": Path(p["file"]).name, "sha256": call.params["sha256"]}
            if p.get("file")
            else {"table": "to_score", "version": p["to_score"]}
        )
        facts = {"request_id": p["request_id"], **({"to_score": p["to_score"]} if not p.get("file") else {})}
        return append_batch(
            desk,
            ref,
            call.env,
            result.tables[0],
            [source, {"model_version": p["model"]["version"]}],
            facts,
            said,
        )


class Rollback:
    """Champion and previous change places; a deployment that still holds the previous version answers with it again."""

    name = "rollback"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """Needs a previous champion."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        row = models.champion(site.store, ref, call.env)
        if row is None or row["previous"] is None:
            raise NotFoundError(
                f"{ref} has no earlier champion in {call.env}",
                hint="a rollback goes back to the champion before",
            )
        deployment = records.get(site.store, ref, call.env)
        slot = _slot_of(deployment, row["previous"])
        will = [f"make v{row['previous']} the champion of {call.env} again, v{row['version']} its previous"]
        if slot and deployment and deployment["live"] != slot:
            will.append(f"shift all traffic of {deployment['endpoint']} back to v{row['previous']}")
        return Draft(
            will=tuple(will),
            inputs=({"champion": row["version"], "revision": row["revision"]},),
            makes=(f"champion v{row['previous']}",),
            steps=("swap", "alias"),
            params={"revision": row["revision"], "to": row["previous"]},
        )

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """None: a decision, not work."""
        return None

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """One transaction: champion, history, traffic; then MLflow's aliases."""
        if desk.step == "alias":
            return write_aliases(call, desk)
        ref, to = ModelRef.parse(call.object), draft.params["to"]
        deployment = records.get(desk.site.store, ref, call.env)
        slot = _slot_of(deployment, to)
        before = models.champion(desk.site.store, ref, call.env)

        def change(c: Any) -> dict[str, Any]:
            models.crown(
                c,
                ref,
                call.env,
                to,
                run=desk.run,
                by=desk.actor.rights,
                why="rollback",
                expected=draft.params["revision"],
            )
            if slot and deployment and deployment["live"] != slot:
                records.put(
                    c,
                    {
                        **{k: v for k, v in deployment.items() if k != "revision"},
                        "live": slot,
                        "at": now(),
                        "by": desk.actor.rights,
                        "run": desk.run,
                    },
                )
            return {"champion": to, "previous": before["version"] if before else None}

        return desk.commit(change)


def _slot_of(row: dict[str, Any] | None, version: int) -> str | None:
    return next((s for s, v in row["slots"].items() if v["model_version"] == version), None) if row else None
