"""The SDK's first door: Estate -> Project -> Model. Knows acts and reads only; each command of the CLI has its method."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from esml_engine import templates
from esml_engine.by_id import ById, shown
from esml_engine.door import access, audit, requests
from esml_engine.door.facts import HOW, Actor, Call, Plan
from esml_engine.door.site import Site
from esml_engine.door.start import local_admin
from esml_engine.errors import NotFoundError, UsageError
from esml_engine.handing import Hand, OnProgress
from esml_engine.model import Model
from esml_engine.refs import ENVIRONMENTS, ModelRef, check_name
from esml_engine.runs import records as runs
from esml_engine.store import schema as t
from esml_engine.watching import worker_lives


def init_estate(folder: str | Path, environments: list[str] | None = None, name: str = "") -> dict[str, Any]:
    """Make an estate's folder: settings file, .gitignore, state.

    Raises:
        UsageError: there is one already, no folder can be made there, or an environment that is none.
    """
    root = Path(folder)
    wanted = environments or list(ENVIRONMENTS)
    for e in wanted:
        if e not in ENVIRONMENTS:
            raise UsageError(f"{e!r} is no environment", hint=f"choose from {', '.join(ENVIRONMENTS)}")
    if (root / "estate.toml").exists():
        raise UsageError(f"there is an estate at {root} already", hint=f"use it: esml --estate {root} status")
    try:
        (root / "projects").mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UsageError(
            f"no estate can be made at {root}: {e.strerror}", hint="name a folder that you may write to"
        ) from e
    label = name or root.resolve().name
    ordered = [e for e in ENVIRONMENTS if e in wanted]
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
    folder: str | Path | None = None,
    *,
    act_as: str | None = None,
    on_progress: OnProgress | None = None,
    lenient: bool = False,
) -> Estate:
    """Open an estate: `folder`, else `ESML_ESTATE`, else `./estate`.

    `lenient`: a model whose settings file is wrong stops only what is asked about it (`doctor` names it).

    Raises:
        NotFoundError: no estate there. SettingsError: a file is wrong.
    """
    root = Path(folder or os.environ.get("ESML_ESTATE") or "estate")
    return Estate(Site(root, lenient=lenient), Actor(local_admin(), act_as), on_progress)


class Estate:
    """Everything one company runs."""

    def __init__(self, site: Site, actor: Actor, on_progress: OnProgress | None = None) -> None:
        self.site, self.actor = site, actor
        self.hand = Hand(site, actor, on_progress=on_progress)
        self._by_id = ById(self)

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
        self._require_there(check_name(name, "project"), name, "project", self.projects)
        return Project(self, name)

    def projects(self) -> list[str]:
        """Names of projects that the actor may see."""
        return sorted(self._projects_for("read_status"))

    def model(self, name: str, env: str = "dev") -> Model:
        """A model by `project/model`; no environment: the first that the estate has."""
        ref = ModelRef.parse(name)
        self._require_there(str(ref), ref.project, "model", self.visible)
        return Model(self, ref, env or self.environments[0])

    def _require_there(self, scope: str, project: str, what: str, known: Callable[[], Iterable[Any]]) -> None:
        try:
            self.site.files.raw(scope)
        except NotFoundError:
            if not self.may("read_status", project).allowed:
                return  # refused by whatever is asked of it, as if it were there
            there = ", ".join(sorted(map(str, known()))) or "none yet"
            raise NotFoundError(f"no {what} {scope}", hint=f"{what}s: {there}") from None

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
        self,
        model: str,
        task: str,
        datasets: list[str],
        label: str = "",
        key: str = "",
        *,
        forecast: dict[str, Any] | None = None,
        **how: Any,
    ) -> Any:
        """Write a model's settings file and its lake skeleton. `forecast`: the keys of `[forecast]`."""
        params = {"task": task, "datasets": datasets, "label": label, "key": key, **(forecast or {})}
        call = Call("new_model", str(ModelRef.parse(model)), "", params)
        return self._do(call, **how)

    def member_add(self, on: str, actor: str, role: str, **how: Any) -> Any:
        """Give a role on `estate` or a project."""
        return self._do(Call("member_add", on, "", {"actor": actor, "role": role}), **how)

    def member_remove(self, on: str, actor: str, role: str = "", **how: Any) -> Any:
        """Take a role away."""
        return self._do(Call("member_remove", on, "", {"actor": actor, "role": role}), **how)

    def set(self, scope: str, name: str, value: Any, **how: Any) -> Any:
        """Override the setting `name` (dotted) of `estate`, a project or a model.

        `value`: a text as one types it behind `esml set`, or a Python value.
        """
        return self._do(Call("set", scope, "", {"key": name, "value": templates.as_toml(value)}), **how)

    def catalogue_rebuild(self, forget: Sequence[str] = (), **how: Any) -> Any:
        """The catalogue anew, from the lakes alone.

        `forget`: environments whose tables are forgotten where they are not there any more; elsewhere one that is missing ends the act.
        """
        return self._do(Call("catalogue_rebuild", "estate", "", {"forget": list(forget)}), **how)

    def cancel(self, run: str, **how: Any) -> Any:
        """End an open run; where no worker lives that would, the answer's `waits` says so."""
        said = self._by_id.on_run("cancel", run, how)
        if isinstance(said, dict) and said["state"] == "cancelling" and not worker_lives(self.site):
            return {
                **said,
                "waits": "no worker lives: it ends as soon as one does (esml up, or the next run)",
            }
        return said

    def retry(self, run: str, **how: Any) -> Any:
        """Run a failed or cancelled run again; waits for its end."""
        answer = self._by_id.on_run("retry", run, how)
        if isinstance(answer, Plan) or how.get("detach"):
            return answer
        return self.hand.follow(run)

    def approve(self, request: str, reason: str = "", **how: Any) -> Any:
        """Approve somebody else's request; waits until what it released has ended.

        Raises:
            RefusedError: the facts changed, before the approval or after it, and the promotion did not go up.
        """
        return self._by_id.decide("approve", request, reason, how)

    def refuse(self, request: str, reason: str = "", **how: Any) -> Any:
        """Refuse somebody else's request; the run that waited for it ends."""
        return self._by_id.decide("refuse", request, reason, how)

    def ask(self, request: str, text: str, **how: Any) -> Any:
        """Ask the requester something before deciding; the request waits on, and can still be decided."""
        return self._by_id.said(request, "ask", {"text": text}, how)

    def answer(self, request: str, text: str, **how: Any) -> Any:
        """Answer the open question about a request: by the requester, or who else may ask for the same."""
        return self._by_id.said(request, "answer", {"text": text}, how)

    def delegate(self, request: str, to: str, reason: str = "", **how: Any) -> Any:
        """Hand a request to another member who could decide it anyhow; everybody else who may decide still can."""
        return self._by_id.said(request, "delegate", {"to": to, "reason": reason}, how)

    def _do(self, call: Call, **how: Any) -> Any:
        """Plan (`dry_run`) or do an act; `plan`, `idempotency_key` and `detach` as on the command line."""
        if unknown := [k for k in how if k not in HOW]:
            raise TypeError(
                f"{call.act} takes no {unknown[0]}; every act takes {', '.join(HOW)} besides its own"
            )
        if how.pop("dry_run", False):
            return self.hand.plan(call)
        return self.hand.do(call, **how)

    # reads
    def members(self, on: str = "") -> list[dict[str, Any]]:
        """`[{"actor", "role", "on"}]`."""
        self.require("read_status", on if on and on != "estate" else "estate")
        if on and on != "estate" and on not in (known := self.site.files.projects):
            names = ", ".join(sorted(known)) or "none yet"
            raise NotFoundError(f"no project {on}", hint=f"projects: {names}; or estate")
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
            project, _, model = scope.partition("/")
            self.require("read_status", project)
            kind, known = ("model", self.visible) if model else ("project", self.projects)
            self._require_there(scope, project, kind, known)
        return status(self.site, [r for r in self.visible() if scope in ("", r.project, str(r))])

    def requests(self, state: str = "waiting") -> list[dict[str, Any]]:
        """Requests on what the actor may see, newest first."""
        if state not in ("", "waiting", "decided", "approved", "refused", "expired", "stale", "withdrawn"):
            raise UsageError(f"no state {state!r}", hint="waiting or decided")
        seen = None if self.actor.rights == local_admin() else [str(r) for r in self.visible()]
        return [shown(r) for r in requests.listing(self.site.store, state=state, objects=seen)]

    def runs(self, run: str = "", **filters: Any) -> list[dict[str, Any]]:
        """Runs, newest first.

        Raises:
            UsageError: no run can be in the `state` that is asked for. NotFoundError: no such run.
        """
        states, wanted = (*runs.OPEN, *runs.ENDED), filters.get("state", "")
        if wanted and wanted not in states:
            raise UsageError(f"no state {wanted!r}", hint=f"one of: {', '.join(states)}")
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
        self,
        *,
        verify: bool = False,
        actor: str = "",
        act: str = "",
        since: str = "",
        until: str = "",
        object_: str = "",
        result: str = "",
        limit: int = 1000,
    ) -> Any:
        """Events, newest first, or the chain's state. `until`: a day counts as a whole, a time is left out itself.

        Who may read some of the events may verify all of the chain: it tells nothing of what is in the others.
        """
        for text in (since, until):
            try:
                dt.datetime.fromisoformat(text or "2026-01-01")
            except ValueError as e:
                raise UsageError(f"{text!r} is no time", hint="write YYYY-MM-DD or an ISO time") from e
        mine = None
        if not self.may("read_audit").allowed:
            mine = self._projects_for("read_audit")
            if not mine:
                self.require("read_audit")
        if verify:
            return audit.verify(self.site.store, self.site.state)
        if len(until) == len("2026-01-01"):
            until = (dt.date.fromisoformat(until) + dt.timedelta(days=1)).isoformat()
        filters = {"actor": actor, "act": act, "since": since, "until": until, "object_": object_}
        return audit.events(self.site.store, **filters, result=result, projects=mine, limit=limit)

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
