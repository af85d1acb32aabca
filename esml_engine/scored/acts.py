"""Named views of scored data: filters that people of a project share under a name."""

from __future__ import annotations

from typing import Any

from esml_engine.clock import now
from esml_engine.door.facts import AtOnce, Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError, UsageError
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobResult
from esml_engine.scored.facts import VIEW_KEYS
from esml_engine.scored.reads import view_of
from esml_engine.store import schema as t
from esml_engine.store.database import upsert

_LONGEST = 60


def _name(call: Call) -> str:
    name = str(call.params.get("name", "")).strip()
    if not name or len(name) > _LONGEST:
        raise UsageError(f"a view's name has 1 to {_LONGEST} characters", hint="give it a short name")
    return name


class SaveView(AtOnce):
    """Keep filters under a name; one of that name is replaced. `params`: name, filters (`VIEW_KEYS` -> text or texts)."""

    name = "save_view"

    def plan(self, call: Call, site: Site) -> Draft:
        """Checked: only filters that there are."""
        ref, name = ModelRef.parse(call.object), _name(call)
        site.settings.model(ref)
        site.settings.check_env(call.env)
        filters = {k: v for k, v in (call.params.get("filters") or {}).items() if v}
        unknown = sorted(set(filters) - set(VIEW_KEYS))
        if unknown:
            raise UsageError(f"a view has no filter {unknown[0]!r}", hint=f"it has {', '.join(VIEW_KEYS)}")
        old = view_of(site, ref, call.env, name)
        same = old is not None and old["filters"] == filters
        return Draft(
            will=(f"{'replace' if old else 'keep'} view {name!r}",),
            makes=(f"view {name}",),
            params={"name": name, "filters": filters},
            nothing_to_do=f"view {name!r} is just that already" if same else "",
            answer=old if same and old else {},
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """One row."""
        row = {"object": call.object, "env": call.env, "name": draft.params["name"], "filters": draft.params["filters"],
            "by": desk.actor.rights, "at": now()}  # fmt: skip

        def change(c: Any) -> dict[str, Any]:
            upsert(c, t.saved_views, row)
            return {k: row[k] for k in ("name", "filters", "by", "at")}

        return desk.commit(change)


class DropView(AtOnce):
    """Forget a named view. `params`: name."""

    name = "drop_view"

    def plan(self, call: Call, site: Site) -> Draft:
        """It must be there."""
        ref, name = ModelRef.parse(call.object), _name(call)
        if view_of(site, ref, site.settings.check_env(call.env), name) is None:
            raise NotFoundError(f"{ref} has no view {name!r} in {call.env}", hint="esml view list")
        return Draft(will=(f"forget view {name!r}; links to its filters stay good",), params={"name": name})

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """One row less."""
        v = t.saved_views

        def change(c: Any) -> dict[str, Any]:
            c.execute(
                v.delete().where(
                    v.c.object == call.object, v.c.env == call.env, v.c.name == draft.params["name"]
                )
            )
            return {"name": draft.params["name"]}

        return desk.commit(change)
