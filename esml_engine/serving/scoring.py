"""Scoring: online through an endpoint, or in batch by the environment's champion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from esml_engine.clock import now
from esml_engine.door.facts import AtOnce, Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import ConflictError, NotFoundError, UsageError
from esml_engine.lake.catalogue import has, latest, listing, table_in
from esml_engine.lake.numbers import numbers_of
from esml_engine.lake.specs import job_spec
from esml_engine.refining.staleness import in_rnd
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobResult, JobSpec
from esml_engine.scored.commits import append_batch, batch_of, scored_to
from esml_engine.scored.facts import ScoredFilter
from esml_engine.scored.reads import scored
from esml_engine.scored.where import written
from esml_engine.serving import client, records
from esml_engine.serving.acts import live_version
from esml_engine.serving.facts import LONGEST_NAME
from esml_engine.serving.handed import dialect_of
from esml_engine.serving.rows import check_file
from esml_engine.serving.saving import why_not
from esml_engine.training import records as models


class Score(AtOnce):
    """Online: rows to the endpoint. `params`: columns (name -> values), caller, request_id, parallel."""

    name = "score"

    def plan(self, call: Call, site: Site) -> Draft:
        """Which version answers how many rows."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        site.settings.require_training(ref)
        row = records.require(site.store, ref, call.env)
        columns = call.params["columns"]
        rows = len(next(iter(columns.values()), []))
        check_caller(call.params.get("caller"))
        check_request_id(call.params.get("request_id"))
        check_parallel(call.params.get("parallel", 1))
        lost = why_not(site.settings, ref, call.env)
        return Draft(
            will=(f"score {rows} rows by v{live_version(row)} at {row['endpoint']}",
                f"keep nothing ({lost})" if lost else "keep them in scored"),
            inputs=({"model_version": live_version(row)},), params={"rows": rows},
        )  # fmt: skip

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Ask the endpoint; its ledger keeps the answer before it answers. A batch's id is no id for a call.

        Raises:
            ConflictError: the request id belongs to a batch.
        """
        if call.params.get("request_id") and batch_of(
            desk.site, ModelRef.parse(call.object), call.env, call.params["request_id"]
        ):
            raise ConflictError(
                f"request {call.params['request_id']} was answered for a batch already",
                hint="give another --request-id",
            )
        ref, platform, p = ModelRef.parse(call.object), desk.site.platform(call.env), call.params
        row = records.require(desk.site.store, ref, call.env)
        key = records.key_of(platform, ref, call.env)
        said = client.score(
            platform.endpoint_url(row["endpoint"], row["port"]),
            key,
            p["columns"],
            p["caller"],
            p.get("request_id"),
            int(p.get("parallel") or 1),
        )
        version = said.model_versions[-1] if said.model_versions else live_version(row)
        given = (("low", said.low), ("high", said.high), ("stale", said.stale or None))
        extra = {k: v for k, v in given if v is not None}
        if len(said.request_ids) > 1:
            extra["request_ids"] = list(said.request_ids)
        return desk.commit(lambda c: {
            "request_id": said.request_id, "rows": len(said.predictions), "model_version": version,
            "predictions": said.predictions, **extra,
            "_audit": {"request_id": said.request_id, "rows": len(said.predictions), "caller": p["caller"]},
        })  # fmt: skip


def check_caller(caller: Any) -> str:
    """A caller as scored rows and headers can name it.

    Raises:
        UsageError: none, not one line of text, or too long.
    """
    if not caller:
        raise UsageError("a caller is needed", hint="say who asks: --caller ID")
    if (
        not isinstance(caller, str)
        or not caller.isprintable()
        or caller != caller.strip()
        or len(caller.encode()) > LONGEST_NAME
    ):
        raise UsageError(
            f"{str(caller)[:40]!r} is no caller",
            hint=f"one line of at most {LONGEST_NAME} bytes, without space around it",
        )
    return caller


def check_parallel(given: Any) -> None:
    """How many calls at a time.

    Raises:
        UsageError: no whole number of at least 1.
    """
    if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
        raise UsageError(f"parallel is {given!r}", hint="a whole number of calls at a time, from 1 on")


def check_request_id(given: Any) -> None:
    """A request id is a name that headers, files and queries carry unchanged.

    Raises:
        UsageError: not so.
    """
    if given is None or given == "":
        return
    if (
        not isinstance(given, str)
        or not given.isascii()
        or not given.isprintable()
        or " " in given
        or len(given) > LONGEST_NAME
    ):
        raise UsageError(
            f"{str(given)[:40]!r} is no request id",
            hint=f"at most {LONGEST_NAME} ASCII characters without spaces",
        )


def _source(call: Call, to_score: int | None) -> dict[str, Any]:
    """Which rows a batch is over, as its commit keeps it: a file by its hash, or a version of to_score."""
    return {"sha256": call.params["sha256"]} if call.params.get("file") else {"to_score": to_score}


def _beyond(site: Site, ref: ModelRef, env: str, done: int) -> str:
    """Which of the rows, where version `done` of to_score was scored."""
    there = has(site.store, ref, env, "to_score", done)
    return f" that v{done} did not have" if there else " that scored does not have"


class ScoreBatch:
    """Batch: FILE, or all of to_score that is not scored yet. `params`: file, sha256, caller, request_id."""

    name = "score_batch"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """By the environment's champion."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        site.settings.require_training(ref)
        if in_rnd(site.settings.model(ref), call.env):
            raise UsageError(
                f"{ref} is in R&D mode in {call.env}, which keeps no scored rows",
                hint=f"score online, or switch it off: esml set {ref} rnd.{call.env} false",
            )
        model = models.get_version(site.store, ref, call.env)
        caller = check_caller(call.params.get("caller") or "batch")
        check_request_id(call.params.get("request_id"))
        base: dict[str, Any] = {"inputs": [{"model_version": model["version"], "sha256": model["sha256"]}]}
        if call.params.get("file"):
            path = Path(call.params["file"])
            check_file(path, model["detail"]["signature"], dialect_of(site, ref, call.env))
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
                + (_beyond(site, ref, call.env, done) if done else "")
                + f" by v{model['version']}"
            )
            size, made_from = float(table.bytes), table.version
        answered = self._answered(call, site, ref, model["version"], made_from)
        if answered:
            nothing = f"request {answered['request_id']} was answered by v{answered['model_version']} already"
        return Draft(
            will=(will,), inputs=tuple(base["inputs"]), makes=("rows in scored",), steps=("score",), nothing_to_do=nothing,
            size=size, bound_seconds=site.settings.estate.worker.max_step_seconds,
            params={"version": model["version"], "to_score": made_from, "caller": caller},
            answer=answered or ({"request_id": None, "rows": 0, "model_version": model["version"]} if nothing else {}),
        )  # fmt: skip

    def _answered(
        self, call: Call, site: Site, ref: ModelRef, version: int, to_score: int | None
    ) -> dict[str, Any]:
        """The answer that a request id has already, from a batch over the same rows; empty where it is new.

        Raises:
            ConflictError: the id belongs to other rows, or to an online call.
        """
        request_id = call.params.get("request_id")
        if not request_id:
            return {}
        facts = batch_of(site, ref, call.env, request_id)
        if facts and _source(call, to_score).items() <= facts.items():
            return {
                "request_id": request_id,
                "rows": facts.get("batch_rows", 0),
                "model_version": facts.get("model_version", version),
            }
        if facts or self._online(site, ref, call.env, request_id):
            raise ConflictError(
                f"request {request_id} was answered for other rows already", hint="give another --request-id"
            )
        return {}

    @staticmethod
    def _of_batches(site: Site, ref: ModelRef, env: str, model: dict[str, Any]) -> dict[str, Any]:
        """The request ids of all batches over to_score, and the features that their models and this one have in common."""
        made = [v.facts for v in listing(site.store, ref, env, "scored") if v.facts.get("to_score")]
        by = {f["model_version"] for f in made}
        known = [model, *(m for m in models.versions(site.store, ref, env) if m["version"] in by)]
        features = [{f["name"] for f in m["detail"]["signature"]} for m in known]
        return {"requests": [f["request_id"] for f in made], "features": sorted(set.intersection(*features))}

    def _online(self, site: Site, ref: ModelRef, env: str, request_id: str) -> bool:
        wanted = ScoredFilter(where=(written("request_id", "=", request_id),), count_only=True)
        return bool(scored(site, ref, env, wanted)["total"])

    def jobs(self, call: Call, draft: Draft, desk: Desk) -> JobSpec | None:
        """One streaming job."""
        ref, site, env = ModelRef.parse(call.object), desk.site, call.env
        version = draft.params.get("version")
        model = models.get_version(site.store, ref, env, version)
        self._answered(
            call, site, ref, model["version"], draft.params.get("to_score")
        )  # by another run meanwhile?
        settings = site.settings.model(ref)
        inputs, batches = {}, {}
        numbers_of(
            desk.site, ref, env, ["scored"]
        )  # a table that went takes no rows: said before they are scored
        number = draft.params.get("to_score")
        if not call.params.get("file"):
            now_version = latest(site.store, ref, env, "to_score")
            number = number or (now_version.version if now_version else None)
            done = scored_to(listing(site.store, ref, env, "scored"))
            if done == number:
                return None
            inputs["rows"] = table_in(site, ref, env, "to_score", number)
            if done and has(site.store, ref, env, "to_score", done):
                inputs["scored_before"] = table_in(site, ref, env, "to_score", done)
            elif done:  # that version was forgotten: what was scored says itself which rows it has
                inputs["scored"] = table_in(site, ref, env, "scored")
                batches["of_batches"] = self._of_batches(site, ref, env, model)
        params = {
            "model": {"folder": site.outside(model["folder"]), "sha256": model["sha256"], "version": model["version"]},
            "request_id": call.params.get("request_id") or desk.run,
            "caller": draft.params.get("caller", "batch"), "label": settings.label, "key": settings.key, "chunk_rows": 50_000,
            "at": now(), "table": "scored", "to_score": number, **batches,
        }  # fmt: skip
        if call.params.get("file"):
            path = Path(call.params["file"])
            near = site.platform(env).bring(str(path.parent), call.params["sha256"], [path.name])
            params["file"] = f"{near}/{path.name}"
            params["file_sha256"] = call.params["sha256"]
            params["dialect"] = dialect_of(site, ref, env)
        return job_spec(
            desk, ref, env, "serving.batch", inputs=inputs, outputs={"scored": "scored"}, params=params
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Append the run's rows, once."""
        ref = ModelRef.parse(call.object)
        if result is None or desk.spec is None:
            return desk.commit(lambda c: {"rows": 0})
        p = desk.spec.params
        said: dict[str, Any] = {
            "request_id": p["request_id"],
            "rows": result.value["rows"],
            "model_version": p["model"]["version"],
            **{k: result.value[k] for k in ("stale", "filled_steps", "history_until") if k in result.value},
        }
        if not result.tables:
            return desk.commit(lambda c: said)
        source = (
            {"file": Path(p["file"]).name, "sha256": call.params["sha256"]}
            if p.get("file")
            else {"table": "to_score", "version": p["to_score"]}
        )
        facts = {
            "request_id": p["request_id"],
            **_source(call, p["to_score"]),
            "batch_rows": result.value["rows"],
            "model_version": p["model"]["version"],
        }
        return append_batch(
            desk,
            ref,
            call.env,
            result.tables[0],
            [source, {"model_version": p["model"]["version"]}],
            facts,
            said,
        )
