"""The SDK's model: one use case in one environment, its acts and its reads."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esml_engine.door.facts import Call, Plan
from esml_engine.errors import NotFoundError, RefusedError, UsageError
from esml_engine.refs import ModelRef, Purpose, TableName
from esml_engine.tables import Dataset, Scored, Table

if TYPE_CHECKING:
    from esml_engine.estate import Estate


class Cost(dict):
    """A model's costs; the contract's dictionary with a shortcut."""

    def predicted(self, act: str) -> dict[str, Any]:
        """`{"p50", "p90", "currency", "basis"}` of an act's next run.

        Raises:
            NotFoundError: no such act is predicted.
        """
        if act not in self["predicted"]:
            raise NotFoundError(f"nothing is predicted of {act!r}", hint=f"of {', '.join(self['predicted'])}")
        return dict(self["predicted"][act])


class Model:
    """One use case in one environment."""

    def __init__(self, estate: Estate, ref: ModelRef, env: str) -> None:
        self.estate, self.site, self.ref, self.env_name = estate, estate.site, ref, env
        self.site.settings.check_env(env)

    def env(self, name: str) -> Model:
        """The same model in another environment."""
        return Model(self.estate, self.ref, name)

    def dataset(self, name: str) -> Dataset:
        """One of its datasets."""
        self.estate.require("read_status", self.ref.project)
        if name not in self.site.settings.model(self.ref).datasets:
            raise NotFoundError(
                f"{self.ref} has no dataset {name!r}",
                hint=f"it has {', '.join(self.site.settings.model(self.ref).datasets)}",
            )
        return Dataset(self, name)

    def table(self, name: str) -> Table:
        """A table by its contract name."""
        return Table(self, str(TableName.parse(name)))

    def __getattr__(self, name: str) -> Any:
        if name in ("gold", "gold_train", "gold_validate", "gold_test", "to_score"):
            return self.table(name)
        raise AttributeError(f"a model has no attribute {name!r}")

    def _call(self, act: str, **params: Any) -> Call:
        return Call(act, str(self.ref), self.env_name, params)

    def _do(self, act: str, params: dict[str, Any], how: dict[str, Any]) -> Any:
        return self.estate._do(self._call(act, **params), **how)

    # acts
    def ingest(
        self,
        dataset: str,
        files: str | Path | Sequence[str | Path],
        date: str | dt.date,
        purpose: Purpose = "train",
        **how: Any,
    ) -> Any:
        """Deliver a file or several into a dataset's IN folder."""
        paths = [files] if isinstance(files, str | Path) else files
        if not isinstance(paths, list | tuple) or not all(isinstance(f, str | Path) for f in paths):
            raise UsageError(f"{type(files).__name__} is no file to deliver", hint="give a path, or a list of paths")  # fmt: skip
        day = date.date() if isinstance(date, dt.datetime) else date
        params = {"dataset": dataset, "files": [str(f) for f in paths], "date": str(day), "purpose": purpose}
        return self._do("ingest", params, how)

    def refine(self, layer: str = "", dataset: str = "", purpose: Purpose = "train", **how: Any) -> Any:
        """IN -> bronze -> silver -> gold, only what is stale."""
        if layer not in ("", "bronze", "silver", "gold"):
            raise UsageError(f"no layer {layer!r}", hint="bronze, silver or gold")
        return self._do("refine", {"purpose": purpose, "layer": layer, "dataset": dataset}, how)

    def split(
        self,
        *,
        train: float | None = None,
        validate: float | None = None,
        test: float | None = None,
        stratify: bool | None = None,
        group: str | None = None,
        seed: int | None = None,
        by: str | None = None,
        **how: Any,
    ) -> Any:
        """Gold into train, validate, test: train, validate, test, stratify, group, seed, by."""
        asked = {
            "train": train,
            "validate": validate,
            "test": test,
            "stratify": stratify,
            "group": group,
            "seed": seed,
            "by": by,
        }
        params = {k: v for k, v in asked.items() if v is not None}
        return self._do("split", {k: v for k, v in params.items() if v is not None}, how)

    def train(self, profile: str = "", budget: float | None = None, **how: Any) -> Any:
        """Train with the environment's profile."""
        params: dict[str, Any] = {"profile": profile} if profile else {}
        if budget is not None:
            params["budget"] = budget
        return self._do("train", params, how)

    def register(self, run: str, **how: Any) -> Any:
        """A past run's model as a version."""
        return self._do("register", {"run": run}, how)

    def deploy(self, version: int | None = None, traffic: int | None = None, **how: Any) -> Any:
        """Blue/green with a smoke test."""
        return self._do("deploy", {"version": version, "traffic": traffic}, how)

    def undeploy(self, **how: Any) -> Any:
        """End the endpoint; what it answered stays."""
        return self._do("undeploy", {}, how)

    def rollback(self, **how: Any) -> Any:
        """Champion and previous change places."""
        return self._do("rollback", {}, how)

    def keys(self, rotate: bool = False, **how: Any) -> Any:
        """The endpoint's address and key; audited."""
        return self._do("keys", {"rotate": rotate}, how)

    def pipeline(self, until: str = "trained", purpose: Purpose = "train", **how: Any) -> Any:
        """The chain as one run."""
        answer = self._do("pipeline", {"until": until, "purpose": purpose}, how)
        return answer if isinstance(answer, Plan) else promoted(answer)

    def score(
        self, rows: Any = None, caller: str = "", request_id: str | None = None, parallel: int = 1, **how: Any
    ) -> Any:
        """Online: a data frame, a list of dictionaries, columns by name, or a csv, parquet or json file."""
        from esml_engine.serving.handed import dialect_of
        from esml_engine.serving.reads import live_signature
        from esml_engine.serving.rows import columns_of

        if isinstance(rows, str | Path):
            dialect = dialect_of(self.site, self.ref, self.env_name)
            columns = columns_of(rows, live_signature(self.site, self.ref, self.env_name), dialect)
        else:
            columns = columns_of(rows)
        return self._do(
            "score",
            {"columns": columns, "caller": caller, "request_id": request_id, "parallel": parallel},
            how,
        )

    def score_batch(
        self, file: str | Path | None = None, caller: str = "batch", request_id: str | None = None, **how: Any
    ) -> Any:
        """Batch: a csv, parquet or json file, or all of to_score that is not scored yet."""
        params: dict[str, Any] = {"caller": caller, "request_id": request_id}
        if file is not None:
            path = Path(file).resolve()
            if not path.is_file():
                raise UsageError(f"there is no file {file}", hint="name a csv, parquet or json file")
            params |= {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        return self._do("score_batch", params, how)

    def save_view(self, name: str, filters: dict[str, Any], **how: Any) -> Any:
        """Keep filters of scored data under a name: from, to, caller, version, where, sort."""
        return self._do("save_view", {"name": name, "filters": filters}, how)

    def drop_view(self, name: str, **how: Any) -> Any:
        """Forget a named view."""
        return self._do("drop_view", {"name": name}, how)

    def compare(self, to: str, version: int | None = None, **how: Any) -> Any:
        """The champion of `to` and this environment's champion (or `version`) on the same rows."""
        return self.env(to)._do("compare", {"source": self.env_name, "version": version}, how)

    def promote(self, to: str, version: int | None = None, **how: Any) -> Any:
        """This environment's champion (or `version`) to `to`; its answer may be `waiting`.

        Raises:
            RefusedError: by the gates, with each of them in its details.
        """
        answer = self.env(to)._do("promote", {"source": self.env_name, "version": version}, how)
        return answer if isinstance(answer, Plan) else promoted(answer)

    def ask_exception(
        self, amount: float, reason: str, days: int = 7, limit: str = "max_cost_run", **how: Any
    ) -> Any:
        """Ask another person to lift a limit on money for runs of this model here, for so many days; its state is `waiting`.

        Args:
            amount: from `max_cost_run`, what each run may be predicted to cost; from `max_cost_month` or `budget.month`,
                what all that is spent on the model here from now on may come to.
        """
        asked = {"amount": float(amount), "reason": reason, "days": int(days), "limit": limit}
        return self._do("ask_exception", asked, how)

    def plan_refine(self, **params: Any) -> Plan:
        """The plan of `refine`."""
        return self.refine(**params, dry_run=True)  # type: ignore[no-any-return]

    def plan_split(self, **params: Any) -> Plan:
        """The plan of `split`."""
        return self.split(**params, dry_run=True)  # type: ignore[no-any-return]

    def plan_train(self, **params: Any) -> Plan:
        """The plan of `train`."""
        return self.train(**params, dry_run=True)  # type: ignore[no-any-return]

    def plan_compare(self, to: str, version: int | None = None) -> Plan:
        """The plan of `compare`."""
        return self.compare(to, version, dry_run=True)  # type: ignore[no-any-return]

    def plan_promote(self, to: str, version: int | None = None) -> Plan:
        """The plan of `promote`."""
        return self.promote(to, version, dry_run=True)  # type: ignore[no-any-return]

    def plan_deploy(self, **params: Any) -> Plan:
        """The plan of `deploy`."""
        return self.deploy(**params, dry_run=True)  # type: ignore[no-any-return]

    def plan_pipeline(self, **params: Any) -> Plan:
        """The plan of `pipeline`."""
        return self.pipeline(**params, dry_run=True)  # type: ignore[no-any-return]

    def plan_score_batch(self, **params: Any) -> Plan:
        """The plan of `score_batch`."""
        return self.score_batch(**params, dry_run=True)  # type: ignore[no-any-return]

    # reads
    def scored(
        self,
        since: str | dt.date = "",
        until: str | dt.date = "",
        caller: str | list[str] = "",
        model_version: int | list[int] | None = None,
        **more: Any,
    ) -> Scored:
        """Scored rows, filtered; with no match the result is empty."""
        self.estate.require("read_scored", self.ref.project)
        wanted = {
            "since": since,
            "until": until,
            "callers": _several("caller", caller, str),
            "model_versions": _several("model_version", model_version, Integral),
            **more,
        }
        return Scored(self, wanted)

    def views(self) -> list[dict[str, Any]]:
        """Named views of scored data here: `[{"name", "filters", "by", "at"}]`."""
        from esml_engine.scored.reads import views

        self.estate.require("read_scored", self.ref.project)
        return views(self.site, self.ref, self.env_name)

    def leaderboard(self, env: str = "all") -> list[dict[str, Any]]:
        """Candidates, best first."""
        from esml_engine.promotion.reads import leaderboard

        self.estate.require("read_status", self.ref.project)
        return leaderboard(self.site, self.ref, env)

    def evidence(self, id_: str = "", out: str = "") -> dict[str, Any]:
        """An evidence pack of this environment (the newest decided one, or `id_`); `out`: written as .html or .json.

        What a promotion that waits rests on has an id too, which its request names.
        """
        from esml_engine.promotion import evidence, records

        self.estate.require("read_evidence", self.ref.project)
        have = [e["evidence"] for e in records.evidence_of(self.site.store, self.ref, self.env_name)]
        have += records.evidence_asked(self.site.store, self.ref, self.env_name)
        if not have or (id_ and id_ not in have):
            raise NotFoundError(
                f"{self.ref} has no evidence {id_ or ''} in {self.env_name}".replace("  ", " "),
                hint=f"it has {', '.join(have)}" if have else "a promotion, or its refusal, leaves one",
            )
        document = evidence.pack(self.site, id_ or have[0])
        if not out:
            return document
        path = Path(out)
        if path.suffix not in (".html", ".json"):
            raise UsageError(f"{out} is neither .html nor .json", hint="--out evidence.html")
        text = evidence.html(document) if path.suffix == ".html" else json.dumps(document, indent=1)
        path.write_text(text, encoding="utf-8")
        return {"evidence": document["evidence"], "file": str(path), "sha256": document["sha256"]}

    def timeline(self) -> list[dict[str, Any]]:
        """Who was champion here when, newest first."""
        from esml_engine.promotion.reads import timeline

        self.estate.require("read_status", self.ref.project)
        return timeline(self.site, self.ref, self.env_name)

    def lineage(
        self,
        table: str = "",
        version: int | None = None,
        request_id: str = "",
        row: int = 0,
        file: str = "",
        forward: bool = False,
    ) -> dict[str, Any]:
        """Recorded lineage of a table version or of one scored row."""
        from esml_engine.portfolio import lineage as l

        self.estate.require("read_status", self.ref.project)
        if request_id:
            values = self.estate.may("read_scored", self.ref.project).allowed
            return l.of_request(self.site, self.ref, self.env_name, request_id, row, values=values)
        if forward or file:
            return l.forward()
        if not table:
            raise UsageError("lineage of what?", hint="--table T, or --request-id ID")
        return l.of_table(self.site, self.ref, self.env_name, table, version)

    def cost(self) -> Cost:
        """Predicted, spent, budget, policy."""
        return Cost(self.estate.cost(str(self.ref), self.env_name))

    def status(self) -> dict[str, Any]:
        """How far it is."""
        return self.estate.status(str(self.ref))[0]


def promoted(answer: dict[str, Any]) -> dict[str, Any]:
    """A promotion's answer, unless it was decided against.

    Raises:
        RefusedError: refused, expired or stale, with what was decided.
    """
    if answer.get("state") not in ("refused", "expired", "stale"):
        return answer
    failed = [g for g in answer.get("gates", []) if not g["passed"]]
    why = "; ".join(f"{g['gate']}: {g['reason']}" for g in failed) or answer.get("reason") or answer["state"]
    would = [g["would_pass_if"]["text"] for g in failed if g.get("would_pass_if")]
    hint = "see the gates; esml evidence shows the whole pack"
    if would and len(would) == len(failed):  # advice that leaves a gate out would be false
        hint = f"it would pass with {', and with '.join(would)}"
    keys = ("run", "request", "state", "decided_by", "gates", "champion", "evidence", "comparison", "stage")
    raise RefusedError(
        f"promotion {answer['state']}: {why}", hint=hint, **{k: answer[k] for k in keys if k in answer}
    )


def _several(name: str, given: Any, kind: type) -> tuple[Any, ...]:
    """One value or a list of them as a tuple; None or an empty text: no value."""
    values = tuple(given) if isinstance(given, list | tuple) else () if given in (None, "") else (given,)
    for v in values:
        if not isinstance(v, kind) or isinstance(v, bool):
            what = "a text" if kind is str else "a whole number"
            raise UsageError(f"{name} can't be {v!r}", hint=f"it is {what}, or a list of them")
    return values
