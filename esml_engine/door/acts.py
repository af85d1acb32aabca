"""Acts on the estate itself: settings, people, new projects and models."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from esml_engine import templates
from esml_engine.clock import now
from esml_engine.door import skeleton
from esml_engine.door.access import ROLES
from esml_engine.door.facts import AtOnce, Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import ConflictError, NotFoundError, PlatformError, UsageError
from esml_engine.refs import ModelRef, check_name
from esml_engine.runs.facts import JobResult
from esml_engine.settings import KINDS, Override, validate, words
from esml_engine.store import schema as t
from esml_engine.store.database import upsert


class Set(AtOnce):
    """An override of a setting. Object: estate, project or model. `params`: key, value (text)."""

    name = "set"

    def plan(self, call: Call, site: Site) -> Draft:
        """Checked against the whole scope before anything is stored."""
        key = call.params["key"]
        asked = site.settings.check_override(call.object, key, call.params["value"])
        replaced = asked.replaced
        said = "".join(
            f"; {o.by} set {'it' if o.key == key else o.key} to {json.dumps(o.value)} on {o.at[:10]}"
            for o in asked.before
        )
        return Draft(
            will=(
                f"set {key} of {call.object} to {json.dumps(asked.value)} (the file says {'nothing' if replaced is None else json.dumps(replaced)}{said})",
            ),
            makes=(f"a value of {key} that counts at once, beside the file's",),
            params={"value": asked.value, "replaced": replaced},
            settings={
                "before": [[o.key, o.value, o.at] for o in asked.before]
            },  # another's change meanwhile makes the plan stale
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """One row for each leaf: a table that is set is the same as setting what it names. Audited as it was asked."""
        key, value = call.params["key"], draft.params["value"]
        whole = Override(call.object, key, value, draft.params["replaced"], desk.actor.rights, now())

        def change(c: Any) -> dict[str, Any]:
            for _, leaf in words(whole):
                upsert(c, t.overrides, asdict(leaf))
            return {**asdict(whole), "origin": "override", "_audit": {"key": key, "value": value}}

        return desk.commit(change)


class MemberAdd(AtOnce):
    """A role for a person on the estate or a project. `params`: actor, role."""

    name = "member_add"

    def plan(self, call: Call, site: Site) -> Draft:
        """Known role, known project."""
        role = call.params["role"].replace("-", "_").replace(" ", "_")
        if role not in ROLES:
            raise UsageError(f"no role {call.params['role']!r}", hint=f"roles: {', '.join(ROLES)}")
        if role == "admin" and call.object != "estate":
            raise UsageError("admin is a role on the estate", hint="esml member add estate …")
        site.files.raw(call.object)
        m = t.members
        there = site.store.first(
            m.select().where(m.c.actor == call.params["actor"], m.c.scope == call.object, m.c.role == role)
        )
        return Draft(
            will=(f"give {call.params['actor']} the role {role} on {call.object}",),
            params={"role": role},
            nothing_to_do="that role is given already" if there else "",
            answer={"actor": call.params["actor"], "role": role, "on": call.object},
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """One row."""
        row = {
            "actor": call.params["actor"],
            "scope": call.object,
            "role": draft.params["role"],
            "by": desk.actor.rights,
            "at": now(),
        }

        def change(c: Any) -> dict[str, Any]:
            upsert(c, t.members, row)
            return {**draft.answer, "_audit": draft.answer}

        return desk.commit(change)


class MemberRemove(AtOnce):
    """Take a role away. `params`: actor, role ('' all)."""

    name = "member_remove"

    def plan(self, call: Call, site: Site) -> Draft:
        """Only what is given can be taken."""
        m = t.members
        q = m.select().where(m.c.actor == call.params["actor"], m.c.scope == call.object)
        rows = [r["role"] for r in site.store.rows(q) if call.params.get("role", "") in ("", None, r["role"])]
        if not rows:
            raise NotFoundError(
                f"{call.params['actor']} has no such role on {call.object}",
                hint=f"esml member list {call.object}",
            )
        return Draft(
            will=tuple(f"take {r} on {call.object} from {call.params['actor']}" for r in rows),
            params={"roles": rows},
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Delete the rows."""
        m, roles = t.members, draft.params["roles"]

        def change(c: Any) -> dict[str, Any]:
            c.execute(
                m.delete().where(
                    m.c.actor == call.params["actor"], m.c.scope == call.object, m.c.role.in_(roles)
                )
            )
            gone = {"actor": call.params["actor"], "roles": roles, "on": call.object}
            return {**gone, "_audit": gone}

        return desk.commit(change)


class NewProject(AtOnce):
    """A project's folder and settings. Object: estate. `params`: name, team, owner, contact, risk."""

    name = "new_project"

    def outside(self, draft: Draft) -> bool:
        """Its settings file."""
        return True

    def plan(self, call: Call, site: Site) -> Draft:
        """The name must be free."""
        name = check_name(call.params["name"], "project")
        if (site.root / "projects" / name).exists():
            raise UsageError(f"project {name} is there already", hint=f"see projects/{name}/project.toml")
        if call.params.get("risk", "medium") not in ("low", "medium", "high"):
            raise UsageError("risk is low, medium or high")
        return Draft(will=(f"write projects/{name}/project.toml",), makes=(f"projects/{name}/project.toml",))

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Write the file, whole or not at all."""
        p = call.params
        path = desk.site.root / "projects" / p["name"] / "project.toml"
        write_new(
            path,
            templates.project_toml(
                p["team"], p.get("owner") or "", p.get("contact") or "", p.get("risk") or "medium"
            ),
            "project",
        )
        desk.site.reload()
        return desk.commit(lambda c: {"project": p["name"], "files": [str(path.relative_to(desk.site.root))]})


class NewModel(AtOnce):
    """A model's folder, settings and lake skeleton. `params`: task, datasets, label, key, and forecasting's."""

    name = "new_model"

    def outside(self, draft: Draft) -> bool:
        """Its settings file, and folders in the lakes."""
        return True

    def plan(self, call: Call, site: Site) -> Draft:
        """The project must be there, the name free, the datasets well named."""
        ref = ModelRef.parse(call.object)
        site.files.raw(ref.project)
        p = call.params
        if p["task"] not in ("regression", "classification", "forecasting", "analytics"):
            raise UsageError(
                f"no task {p['task']!r}", hint="regression, classification, forecasting or analytics"
            )
        if not p["datasets"]:
            raise UsageError("a model needs at least one dataset", hint="--datasets ds01_visits,ds02_labs")
        for d in p["datasets"]:
            check_name(d, "dataset")
        if len(set(p["datasets"])) != len(p["datasets"]):
            raise UsageError("a dataset is named twice")
        if (site.root / "projects" / ref.project / ref.model).exists():
            raise UsageError(f"model {ref} is there already", hint=f"see projects/{ref}/model.toml")
        return Draft(
            will=(f"write projects/{ref}/model.toml", "make its folders in each lake"),
            makes=(f"projects/{ref}/model.toml",),
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Write the file, make the skeleton in every environment's lake that can be reached; `warnings` name the others."""
        ref, site, p = ModelRef.parse(call.object), desk.site, call.params
        away: dict[str, PlatformError] = {}
        for env in site.settings.environments:
            try:
                skeleton.require_lake(site, env)
            except PlatformError as e:
                away[env] = e
        path = site.root / "projects" / ref.project / ref.model / "model.toml"
        write_new(path, templates.model_toml(p, list(site.settings.environments)), "model")
        (path.parent / "steps").mkdir(exist_ok=True)
        site.reload()
        for env in [e for e in site.settings.environments if e not in away]:
            try:
                skeleton.make(site.platform(env), ref, p["datasets"])
            except PlatformError as e:
                away[env] = e
        answer: dict[str, Any] = {"model": str(ref), "files": [str(path.relative_to(site.root))]}
        warnings = [_later(ref, env, away[env]) for env in sorted(away)]
        if p.get("series"):
            warnings.append({
                "env": "",
                "message": f"many series come later: {ref} can't be trained while forecast.series names any",
                "hint": "empty forecast.series in model.toml and deliver one row a timestamp, to train now",
            })  # fmt: skip
        if away:
            answer["_audit"] = {"later": sorted(away)}
        if warnings:
            answer["warnings"] = warnings
        return desk.commit(lambda c: answer)


def _later(ref: ModelRef, env: str, error: PlatformError) -> dict[str, Any]:
    """What is said of an environment whose lake could not be reached; `ready` makes there what is missing."""
    return {
        "env": env,
        "message": f"{ref} has no folders in {env} yet: {error.message}",
        "hint": f"{error.hint}; the first act on {ref} in {env} makes them",
    }


def write_new(path: Path, text: str, kind: str) -> None:
    """Write a settings file that is valid and was not there."""
    validate(tomllib.loads(text), KINDS[kind], path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as f:
            f.write(text)
    except FileExistsError as e:
        raise ConflictError(f"{path.name} was written by somebody else meanwhile", hint="look at it") from e
