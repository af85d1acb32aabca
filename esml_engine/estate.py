"""The SDK: Estate -> Project -> Model -> Dataset, Table. Knows acts and reads only; each command of the CLI has its method."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esml_engine import templates
from esml_engine.door import access, audit
from esml_engine.door.facts import Actor, Call, Plan
from esml_engine.door.site import Site
from esml_engine.door.start import local_admin
from esml_engine.errors import NotFoundError, NotYetError, UsageError
from esml_engine.handing import Hand, OnProgress
from esml_engine.refs import ENVIRONMENTS, ModelRef, Purpose, TableName, check_name
from esml_engine.runs import records as runs
from esml_engine.store import schema as t

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from esml_engine.runs.facts import TableIn


def init_estate(folder: str | Path, environments: list[str] | None = None, name: str = "") -> dict[str, Any]:
    """Make an estate's folder: settings file, .gitignore, state.

    Raises:
        UsageError: there is one already, or an environment that is none.
    """
    root = Path(folder)
    wanted = environments or list(ENVIRONMENTS)
    for e in wanted:
        if e not in ENVIRONMENTS:
            raise UsageError(f"{e!r} is no environment", hint=f"choose from {', '.join(ENVIRONMENTS)}")
    if (root / "estate.toml").exists():
        raise UsageError(f"there is an estate at {root} already", hint=f"use it: esml --estate {root} status")
    root.mkdir(parents=True, exist_ok=True)
    label = name or root.resolve().name
    ordered = [e for e in ENVIRONMENTS if e in wanted]
    (root / "projects").mkdir(exist_ok=True)
    ignore = root / ".gitignore"
    if not ignore.exists():
        ignore.write_text(templates.GITIGNORE, encoding="utf-8")
    from esml_engine.door.acts import write_new

    write_new(root / "estate.toml", templates.estate_toml(label.replace('"', ""), ordered), "estate")
    estate = open_estate(root)
    with estate.site.store.write() as c:
        audit.append(c, estate.actor, "init", "estate", "", "done", detail={"environments": ordered})
    audit.anchor(estate.site.store, estate.site.state)
    return {"estate": str(root.resolve()), "environments": ordered}


def open_estate(
    folder: str | Path | None = None, *, act_as: str | None = None, on_progress: OnProgress | None = None
) -> Estate:
    """Open an estate: `folder`, else `ESML_ESTATE`, else `./estate`.

    Raises:
        NotFoundError: no estate there. SettingsError: a file is wrong.
    """
    root = Path(folder or os.environ.get("ESML_ESTATE") or "estate")
    return Estate(Site(root), Actor(local_admin(), act_as), on_progress)


class Estate:
    """Everything one company runs."""

    def __init__(self, site: Site, actor: Actor, on_progress: OnProgress | None = None) -> None:
        self.site, self.actor = site, actor
        self.hand = Hand(site, actor, on_progress=on_progress)

    # sight
    def may(self, rule: str, project: str = "estate") -> access.Verdict:
        """May the actor, and if not, who can."""
        return access.may(self.site.store, self.actor, rule, project, local_admin=local_admin())

    def require(self, rule: str, project: str = "estate") -> None:
        """Raise unless the actor may."""
        access.require(self.site.store, self.actor, rule, project, local_admin=local_admin())

    def _projects_for(self, rule: str) -> frozenset[str]:
        found = access.may_each(
            self.site.store, self.actor, rule, self.site.files.projects, local_admin=local_admin()
        )
        return frozenset(p for p, verdict in found.items() if verdict.allowed)

    def visible(self) -> list[ModelRef]:
        """Models of projects on which the actor has a role."""
        seen = self._projects_for("read_status")
        return [r for r in self.site.settings.models() if r.project in seen]

    # nouns
    @property
    def environments(self) -> tuple[str, ...]:
        """Environments in the order of promotion."""
        return self.site.settings.environments

    def project(self, name: str) -> Project:
        """A project.

        Raises:
            NotFoundError: there is none.
        """
        self.site.files.raw(check_name(name, "project"))
        return Project(self, name)

    def projects(self) -> list[str]:
        """Names of projects that the actor may see."""
        return sorted(self._projects_for("read_status"))

    def model(self, name: str, env: str = "dev") -> Model:
        """A model by `project/model`."""
        ref = ModelRef.parse(name)
        self.site.files.raw(str(ref))
        return Model(self, ref, env)

    # acts
    def new_project(
        self, name: str, team: str, owner: str = "", contact: str = "", risk: str = "medium", **how: Any
    ) -> Any:
        """Write a project's settings file."""
        return self._do(
            Call(
                "new_project",
                "estate",
                "",
                {"name": name, "team": team, "owner": owner, "contact": contact, "risk": risk},
            ),
            **how,
        )

    def new_model(
        self, model: str, task: str, datasets: list[str], label: str = "", key: str = "", **more: Any
    ) -> Any:
        """Write a model's settings file and its lake skeleton."""
        how = {k: more.pop(k) for k in ("dry_run", "plan", "key_", "detach") if k in more}
        ref = ModelRef.parse(model)
        return self._do(
            Call(
                "new_model",
                str(ref),
                "",
                {"task": task, "datasets": datasets, "label": label, "key": key, **more},
            ),
            **how,
        )

    def member_add(self, on: str, actor: str, role: str, **how: Any) -> Any:
        """Give a role on `estate` or a project."""
        return self._do(Call("member_add", on, "", {"actor": actor, "role": role}), **how)

    def member_remove(self, on: str, actor: str, role: str = "", **how: Any) -> Any:
        """Take a role away."""
        return self._do(Call("member_remove", on, "", {"actor": actor, "role": role}), **how)

    def set(self, scope: str, name: str, value: str, **how: Any) -> Any:
        """Override the setting `name` (dotted) of `estate`, a project or a model."""
        return self._do(Call("set", scope, "", {"key": name, "value": str(value)}), **how)

    def catalogue_rebuild(self, **how: Any) -> Any:
        """The catalogue anew, from the lakes alone."""
        return self._do(Call("catalogue_rebuild", "estate"), **how)

    def cancel(self, run: str, **how: Any) -> Any:
        """End an open run."""
        return self._do(self._on_run("cancel", run), **how)

    def retry(self, run: str, **how: Any) -> Any:
        """Run a failed or cancelled run again; waits for its end."""
        answer = self._do(self._on_run("retry", run), **how)
        if isinstance(answer, Plan) or how.get("detach"):
            return answer
        return self.hand.follow(run)

    def _on_run(self, act: str, run: str) -> Call:
        row = runs.get(self.site.store, run)
        rule = access.rule_name(Call(row["act"], row["object"], row["env"], row["params"]))
        return Call(act, row["object"], row["env"], {"run": run, "rule": rule})

    def _do(
        self,
        call: Call,
        *,
        dry_run: bool = False,
        plan: Plan | str | None = None,
        key: str = "",
        detach: bool = False,
    ) -> Any:
        if dry_run:
            return self.hand.plan(call)
        return self.hand.do(call, plan=plan, key=key, detach=detach)

    # reads
    def members(self, on: str = "") -> list[dict[str, Any]]:
        """`[{"actor", "role", "on"}]`."""
        self.require("read_status", on if on and on != "estate" else "estate")
        m = t.members
        q = m.select().order_by(m.c.scope, m.c.actor, m.c.role)
        return [
            {"actor": r["actor"], "role": r["role"], "on": r["scope"]}
            for r in self.site.store.rows(q.where(m.c.scope == on) if on else q)
        ]

    def settings(self, scope: str = "estate") -> list[dict[str, Any]]:
        """Effective values with their origin."""
        self.require("read_status", scope.split("/")[0])
        return [e.row() for e in self.site.settings.rows(scope)]

    def status(self, scope: str = "") -> list[dict[str, Any]]:
        """How far each model is, from evidence."""
        from esml_engine.portfolio.status import status

        if scope:
            self.require("read_status", scope.split("/")[0])
            self.site.files.raw(scope)
        return status(self.site, [r for r in self.visible() if scope in ("", r.project, str(r))])

    def runs(self, run: str = "", **filters: Any) -> list[dict[str, Any]]:
        """Runs, newest first."""
        if run:
            runs.get(self.site.store, run)
        objects = None if self.actor.rights == local_admin() else [str(r) for r in self.visible()]
        found = runs.listing(self.site.store, run=run, objects=objects, **filters)
        if run and not found:
            raise NotFoundError(f"no run {run}", hint="list them: esml runs")
        return found

    def cost(self, scope: str = "estate", env: str = "dev") -> dict[str, Any]:
        """Predicted, spent, budget, month end, policy."""
        from esml_engine.portfolio.money import cost

        self.require("read_status", scope.split("/")[0])
        return cost(self.site, scope, self.site.settings.check_env(env))

    def audit(
        self, *, verify: bool = False, actor: str = "", act: str = "", since: str = "", limit: int = 1000
    ) -> Any:
        """Events, or the chain's state."""
        if since:
            try:
                dt.datetime.fromisoformat(since)
            except ValueError as e:
                raise UsageError(f"{since!r} is no time", hint="write YYYY-MM-DD or an ISO time") from e
        if verify:
            self.require("read_audit")
            return audit.verify(self.site.store, self.site.state)
        if self.may("read_audit").allowed:
            return audit.events(self.site.store, actor=actor, act=act, since=since, limit=limit)
        mine = self._projects_for("read_audit")
        if not mine:
            self.require("read_audit")
        return audit.events(self.site.store, actor=actor, act=act, since=since, projects=mine, limit=limit)

    def doctor(self, env: str = "") -> list[dict[str, Any]]:
        """What works and what does not."""
        from esml_engine.portfolio.checks import doctor

        self.require("read_status")
        return doctor(self.site, env)


class Project:
    """A team with its own data, access and budget."""

    def __init__(self, estate: Estate, name: str) -> None:
        self.estate, self.name = estate, name

    def model(self, name: str, env: str = "dev") -> Model:
        """One of its models."""
        return self.estate.model(f"{self.name}/{name}", env)

    def models(self) -> list[str]:
        """Names of its models."""
        return [r.model for r in self.estate.visible() if r.project == self.name]

    def status(self) -> list[dict[str, Any]]:
        """Of its models."""
        return self.estate.status(self.name)

    def cost(self, env: str = "dev") -> dict[str, Any]:
        """Of the project."""
        return self.estate.cost(self.name, env)


class Cost(dict):
    """A model's costs; the contract's dictionary with a shortcut."""

    def predicted(self, act: str) -> dict[str, Any]:
        """`{"p50", "p90", "currency", "basis"}` of an act's next run."""
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
        self, dataset: str, files: list[str | Path], date: str, purpose: Purpose = "train", **how: Any
    ) -> Any:
        """Deliver files into a dataset's IN folder."""
        return self._do(
            "ingest",
            {"dataset": dataset, "files": [str(f) for f in files], "date": date, "purpose": purpose},
            how,
        )

    def refine(self, layer: str = "", dataset: str = "", purpose: Purpose = "train", **how: Any) -> Any:
        """IN -> bronze -> silver -> gold, only what is stale."""
        if layer not in ("", "bronze", "silver", "gold"):
            raise UsageError(f"no layer {layer!r}", hint="bronze, silver or gold")
        return self._do("refine", {"purpose": purpose, "layer": layer, "dataset": dataset}, how)

    def split(self, **params: Any) -> Any:
        """Gold into train, validate, test: train, validate, test, stratify, group, seed, by."""
        how: dict[str, Any] = {k: params.pop(k) for k in ("dry_run", "plan", "key", "detach") if k in params}
        return self._do("split", {k: v for k, v in params.items() if v is not None}, how)

    def train(self, profile: str = "", budget: float | None = None, **how: Any) -> Any:
        """Train with the environment's profile."""
        params: dict[str, Any] = {k: v for k, v in (("profile", profile), ("budget", budget)) if v}
        return self._do("train", params, how)

    def register(self, run: str, **how: Any) -> Any:
        """A past run's model as a version."""
        return self._do("register", {"run": run}, how)

    def deploy(self, version: int | None = None, traffic: int | None = None, **how: Any) -> Any:
        """Blue/green with a smoke test."""
        return self._do("deploy", {"version": version, "traffic": traffic}, how)

    def rollback(self, **how: Any) -> Any:
        """Champion and previous change places."""
        return self._do("rollback", {}, how)

    def keys(self, rotate: bool = False, **how: Any) -> Any:
        """The endpoint's address and key; audited."""
        return self._do("keys", {"rotate": rotate}, how)

    def pipeline(self, until: str = "trained", purpose: Purpose = "train", **how: Any) -> Any:
        """The chain as one run."""
        return self._do("pipeline", {"until": until, "purpose": purpose}, how)

    def score(
        self, rows: Any = None, caller: str = "", request_id: str | None = None, parallel: int = 1, **how: Any
    ) -> Any:
        """Online: a data frame, a list of dictionaries, columns by name, or a csv, parquet or json file."""
        from esml_engine.serving.rows import columns_of

        return self._do(
            "score",
            {"columns": columns_of(rows), "caller": caller, "request_id": request_id, "parallel": parallel},
            how,
        )

    def score_batch(
        self, file: str | Path | None = None, caller: str = "batch", request_id: str | None = None, **how: Any
    ) -> Any:
        """Batch: a file, or all of to_score that is not scored yet."""
        params: dict[str, Any] = {"caller": caller, "request_id": request_id}
        if file is not None:
            path = Path(file).resolve()
            if not path.is_file():
                raise UsageError(f"there is no file {file}", hint="name a csv or parquet file")
            params |= {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        return self._do("score_batch", params, how)

    def compare(self, to: str, **_: Any) -> Any:
        """Not in this version."""
        raise NotYetError(
            "comparing between environments comes with the next version",
            hint="the leaderboard shows gates within an environment",
        )

    def promote(self, to: str, **_: Any) -> Any:
        """Not in this version."""
        raise NotYetError(
            "promotion comes with the next version", hint="train in the target environment meanwhile"
        )

    def plan_refine(self, **params: Any) -> Plan:
        """The plan of `refine`."""
        return self.refine(**params, dry_run=True)  # type: ignore[no-any-return]

    def plan_split(self, **params: Any) -> Plan:
        """The plan of `split`."""
        return self.split(**params, dry_run=True)  # type: ignore[no-any-return]

    def plan_train(self, **params: Any) -> Plan:
        """The plan of `train`."""
        return self.train(**params, dry_run=True)  # type: ignore[no-any-return]

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
        since: str = "",
        until: str = "",
        caller: str | list[str] = "",
        model_version: int | list[int] | None = None,
        **more: Any,
    ) -> Scored:
        """Scored rows, filtered; with no match the result is empty."""
        self.estate.require("read_scored", self.ref.project)
        callers = (caller,) if isinstance(caller, str) and caller else tuple(caller or ())
        numbers = (model_version,) if isinstance(model_version, int) else tuple(model_version or ())
        return Scored(
            self, {"since": since, "until": until, "callers": callers, "model_versions": numbers, **more}
        )

    def leaderboard(self, env: str = "all") -> list[dict[str, Any]]:
        """Candidates, best first."""
        from esml_engine.training.reads import leaderboard

        self.estate.require("read_status", self.ref.project)
        return leaderboard(self.site, self.ref, env)

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


class Dataset:
    """An input of a model."""

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.name = model, name

    def ingest(self, *files: str | Path, date: str, purpose: Purpose = "train", **how: Any) -> Any:
        """Deliver files."""
        return self.model.ingest(self.name, list(files), date, purpose, **how)

    @property
    def bronze(self) -> Table:
        """Typed, nothing lost."""
        return self.model.table(f"{self.name}/bronze")

    @property
    def silver(self) -> Table:
        """Cleaned and checked."""
        return self.model.table(f"{self.name}/silver")

    def quarantine(self, purpose: Purpose = "train") -> list[dict[str, Any]]:
        """`[{"file", "line", "reason", "raw"}]`."""
        prefix = "inference/" if purpose == "inference" else ""
        table = self.model.table(f"{prefix}{self.name}/quarantine")
        self.model.estate.require("read_tables", self.model.ref.project)
        return [
            {k: r[k] for k in ("file", "line", "reason", "raw")}
            for r in table._arrow(missing_ok=True).to_pylist()
        ]


class Table:
    """A versioned table. `read()` gives pandas; `.arrow()`, `.polars()`, `.duckdb()` too."""

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.name = model, name

    def _rule(self) -> str:
        if self.name == "scored":
            return "read_scored"
        return "read_gold" if TableName.parse(self.name).dataset is None else "read_tables"

    def _in(self, version: int | None, *, missing_ok: bool = False) -> TableIn:
        from esml_engine.lake.catalogue import table_in

        self.model.estate.require(self._rule(), self.model.ref.project)
        return table_in(
            self.model.site, self.model.ref, self.model.env_name, self.name, version, missing_ok=missing_ok
        )

    def _arrow(self, version: int | None = None, *, missing_ok: bool = False) -> pa.Table:
        from esml_engine.lake.files import arrow

        return arrow(self._in(version, missing_ok=missing_ok))

    def arrow(self, version: int | None = None) -> pa.Table:
        """As one Arrow table."""
        return self._arrow(version)

    def read(self, version: int | None = None) -> pd.DataFrame:
        """As a pandas data frame; `version` None is the current one."""
        frame: pd.DataFrame = self._arrow(version).to_pandas()
        return frame

    def polars(self, version: int | None = None) -> pl.DataFrame:
        """As a polars data frame."""
        import polars as pl

        return pl.from_arrow(self._arrow(version))  # type: ignore[return-value]

    def duckdb(self, version: int | None = None) -> duckdb.DuckDBPyRelation:
        """As a DuckDB relation over the version's files."""
        import duckdb

        from esml_engine.lake.files import relation

        return relation(duckdb.connect(), self._in(version))

    def versions(self) -> list[dict[str, Any]]:
        """Newest first: `[{"version", "delta_version", "rows", "at", "run", "inputs", "note", "origin"}]`."""
        from esml_engine.lake.catalogue import listing

        self.model.estate.require("read_status", self.model.ref.project)
        found = listing(self.model.site.store, self.model.ref, self.model.env_name, self.name)
        keys = ("version", "delta_version", "rows", "at", "run", "note", "origin", "by", "bytes")
        return [
            {**{k: getattr(v, k) for k in keys}, "inputs": list(v.inputs), "quality": list(v.quality)}
            for v in found
        ]

    def show(self, version: int | None = None, limit: int = 20) -> dict[str, Any]:
        """First rows: `{"version", "columns", "rows"}`."""
        from esml_engine.lake.files import columns_of
        from esml_engine.lake.preview import first_rows

        table = self._in(version)
        return {
            "version": table.version,
            "columns": columns_of(table.schema),
            "rows": first_rows(table, limit),
        }

    def diff(self, a: int, b: int) -> dict[str, Any]:
        """What changed from version a to b, by counts."""
        from esml_engine.lake.preview import diff

        key = self.model.site.settings.model(self.model.ref).key
        return diff(self._in(a), self._in(b), key)


class Scored:
    """A filtered view of scored data; nothing is read before it is asked for."""

    def __init__(self, model: Model, wanted: dict[str, Any]) -> None:
        self.model, self.wanted = model, wanted

    def _filter(self, **over: Any) -> Any:
        from esml_engine.scored.facts import ScoredFilter
        from esml_engine.scored.reads import moment

        w = {**self.wanted, **over}
        return ScoredFilter(
            **{
                **w,
                "since": moment(w.get("since")),
                "until": moment(w.get("until")),
                "where": tuple(w.get("where") or ()),
            }
        )

    def document(self, out: str = "") -> dict[str, Any]:
        """The contract's answer."""
        from esml_engine.scored.reads import scored

        return scored(self.model.site, self.model.ref, self.model.env_name, self._filter(), out)

    def to_pandas(self) -> pd.DataFrame:
        """All matching rows."""
        import pandas as pd

        from esml_engine.scored.reads import scored

        said = scored(self.model.site, self.model.ref, self.model.env_name, self._filter(limit=None))
        return pd.DataFrame(said["rows"], columns=[c["name"] for c in said["columns"]])

    def export(self, path: str | Path) -> dict[str, Any]:
        """The whole filtered result as csv or parquet."""
        return self.document(str(path))
