"""Grouped reads that pages need beside the SDK: a fixed number of queries, whatever the number of models."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from esml_engine.door import access
from esml_engine.door.site import Site
from esml_engine.door.start import local_admin
from esml_engine.estate import Estate
from esml_engine.refs import ModelRef
from esml_engine.runs import leases, records
from esml_engine.store import schema as t

_PEOPLE = sa.select(t.members.c.actor).distinct().order_by(t.members.c.actor)  # asked at each rerun


def days(first: dt.date, last: dt.date) -> list[str]:
    """ISO dates from `first` to `last`, both in."""
    return [(first + dt.timedelta(n)).isoformat() for n in range((last - first).days + 1)]


def worker_alive(site: Site) -> bool:
    """Whether somebody would take a run now."""
    found = leases.holder(site.store)
    return bool(found and found.alive)


def who_can(site: Site, rule: str, project: str, limit: int = 3, *, but: str = "") -> str:
    """People whose roles permit it: `engineer@demo (Data engineer)`; '' when nobody has such a role. `but`: who may not all the same."""
    from cockpit.words import role

    roles = access.RULES.get(rule, frozenset()) | (frozenset() if rule in access.STRICT else {"admin"})
    m = t.members
    rows = site.store.rows(
        sa.select(m.c.actor, m.c.role)
        .where(m.c.scope.in_(("estate", project)), m.c.role.in_(sorted(roles)))
        .order_by(m.c.actor)
    )
    said = list(dict.fromkeys(f"{r['actor']} ({role(r['role'])})" for r in rows if r["actor"] != but))
    if not said and "admin" in roles and local_admin() != but:  # on a laptop, whoever started the cockpit
        said = [f"{local_admin()} ({role('admin')})"]
    return ", ".join(said[:limit]) + (f" and {len(said) - limit} more" if len(said) > limit else "")


def people(site: Site) -> list[str]:
    """Everybody who has a role somewhere."""
    with site.store.read() as c:
        return [str(a) for a in c.execute(_PEOPLE).scalars()]


def roles_on(estate: Estate) -> Callable[[str], frozenset[str]]:
    """The actor's roles on each project; on a laptop the operating system's user is administrator everywhere."""
    who = estate.actor.rights
    if who == local_admin():
        return lambda project: frozenset({"admin"})
    found = access.roles_of(estate.site.store, frozenset({who}))
    nobody: frozenset[str] = frozenset()
    return lambda project: found.get((who, project), nobody) | found.get((who, "estate"), nobody)


def roles_anywhere(estate: Estate) -> frozenset[str]:
    """Every role that the actor has on some project or on the estate."""
    who = estate.actor.rights
    if who == local_admin():
        return frozenset({"admin"})
    return frozenset().union(*access.roles_of(estate.site.store, frozenset({who})).values())


def crowned(estate: Estate, limit: int = 50) -> list[dict[str, Any]]:
    """Champions of the models that the actor may see, newest first."""
    h = t.champion_history
    names = [str(r) for r in estate.visible()]
    return estate.site.store.rows(
        h.select().where(h.c.object.in_(names)).order_by(h.c.at.desc()).limit(limit)
    )


def runs_of(estate: Estate, ref: ModelRef, env: str = "", limit: int = 50) -> list[dict[str, Any]]:
    """A model's runs, newest first.

    Raises:
        NotAllowedError: the actor has no sight of the project.
    """
    estate.require("read_status", ref.project)
    return records.listing(estate.site.store, objects=[str(ref)], env=env, limit=limit)


def runs_by_id(estate: Estate, runs: list[str]) -> dict[str, dict[str, Any]]:
    """Runs by their ids, each with `profile`: the training settings that its plan rested on."""
    r = t.runs
    q = sa.select(r.c.run, r.c.seconds, r.c.actor, r.c.as_actor, r.c.act, r.c.plan, r.c.object).where(
        r.c.run.in_(runs)
    )
    seen = {str(x) for x in estate.visible()}
    out = {}
    for x in estate.site.store.rows(q):
        if x["object"] in seen:
            found = (x["plan"] or {}).get("settings") if x["act"] == "train" else None
            profile = found.get("profile", found) if isinstance(found, dict) else {}
            out[x["run"]] = {**x, "as": x["as_actor"], "profile": profile}
    return out


def runs_now(
    estate: Estate, ref: ModelRef, env: str, acts: tuple[str, ...], purpose: str = "", most: int = 4
) -> list[dict[str, Any]]:
    """The newest run of these acts on a model and every other that is still open, newest first; `purpose`: only runs on that side of the lake."""
    estate.require("read_status", ref.project)
    r = t.runs
    q = (
        sa.select(r.c.run, r.c.params, r.c.state)
        .where(r.c.object == str(ref), r.c.env == env, r.c.act.in_(acts))
        .order_by(r.c.run.desc())
        .limit(20)
    )
    found = [x for x in estate.site.store.rows(q) if not purpose or (x["params"] or {}).get("purpose",
        "train") == purpose]  # fmt: skip
    ids = [x["run"] for n, x in enumerate(found) if n == 0 or x["state"] in records.OPEN]
    return [records.listing(estate.site.store, run=i)[0] for i in ids[:most]]


def log_tail(work: str | None, folder: Path, lines: int = 40, most: int = 64_000) -> str | None:
    """The last lines of a step's log; None when there is none. Reads at most `most` bytes, only inside `folder`."""
    if not work:
        return None
    # a job elsewhere: its log is copied here while it is followed; an estate that was moved: it came along
    here = folder.joinpath("runs", *work.split("/")[-3:])
    places = [here] if "://" in work else [Path(work), here]
    found = ((p / "log.txt").resolve() for p in places)
    path = next((p for p in found if p.is_relative_to(folder.resolve()) and p.is_file()), None)
    if path is None:
        return None
    with path.open("rb") as f:
        f.seek(max(0, path.stat().st_size - most))
        text = f.read().decode("utf-8", "replace")
    return "\n".join(text.splitlines()[-lines:])
