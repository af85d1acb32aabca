"""What people can do with files and the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from esml_engine.door import skeleton
from esml_engine.door.facts import AtOnce, Call, Desk, Draft
from esml_engine.door.site import Site
from esml_engine.errors import FailedError, NotFoundError, UsageError
from esml_engine.lake import deliveries as d
from esml_engine.lake import replay
from esml_engine.lake.assets import announce_new
from esml_engine.platforms import design
from esml_engine.refs import ModelRef, check_purpose
from esml_engine.runs.facts import JobResult
from esml_engine.store import schema as t
from esml_engine.store.database import upsert


class Ingest(AtOnce):
    """Deliver files into a dataset's IN folder. `params`: dataset, files (paths), date, purpose."""

    name = "ingest"

    def outside(self, draft: Draft) -> bool:
        """Files in the lake."""
        return bool(draft.makes)

    def plan(self, call: Call, site: Site) -> Draft:
        """Read each file's hash; say what is new, unchanged, replaced or refused."""
        ref = ModelRef.parse(call.object)
        p = call.params
        purpose = check_purpose(p["purpose"])
        settings = site.settings.model(ref)
        site.settings.check_env(call.env)
        if p["dataset"] not in settings.datasets:
            raise NotFoundError(
                f"{ref} has no dataset {p['dataset']!r}", hint=f"it has {', '.join(settings.datasets)}"
            )
        if not p["files"]:
            raise UsageError("no file given", hint="name at least one file")
        date = d.check_date(p["date"])
        have = {f.name: f for f in d.delivered(site, ref, call.env, p["dataset"], purpose) if f.date == date}
        rows: list[dict[str, Any]] = []
        mine: dict[str, str] = {}  # name -> hash of what this delivery brings
        for text in p["files"]:
            path = Path(text)
            if not path.is_file():
                why = "is a folder: name its files" if path.is_dir() else "no such file"
                rows.append({"path": str(path), "sha256": None, "status": "refused", "reason": why})
                continue
            name = path.name
            try:
                d.check_delivered_name(name)
                if path.suffix.lower() != f".{settings.datasets[p['dataset']].format}":
                    raise UsageError(
                        f"is not a .{settings.datasets[p['dataset']].format} file, which is what dataset {p['dataset']} takes"
                    )
                sha, again = d.hash_file(path), name in mine  # `again`: the same file named twice
                if mine.setdefault(name, sha) != sha:
                    raise UsageError(
                        f"another file called {name} is in the same delivery, with other content"
                    )
            except (UsageError, OSError) as e:
                rows.append({"path": str(path), "sha256": None, "status": "refused", "reason": str(e)})
                continue
            old = have.get(name)
            same = again or (old is not None and old.sha256 == sha)
            status = "unchanged" if same else "replaced" if old else "added"
            rows.append(
                {
                    "path": str(path),
                    "sha256": sha,
                    "status": status,
                    "reason": None,
                    "target": d.in_path(ref, p["dataset"], purpose, date, name, sha),
                    "name": name,
                }
            )
        new = [r for r in rows if r["status"] in ("added", "replaced")]
        return Draft(
            will=tuple(f"deliver {r['name']} ({r['status']})" for r in new),
            inputs=tuple({"file": r["path"], "sha256": r["sha256"]} for r in rows if r["sha256"]),
            makes=tuple(r["target"] for r in new),
            params={"files": rows, "date": date, "purpose": purpose, "dataset": p["dataset"]},
            nothing_to_do=""
            if new or any(r["status"] == "refused" for r in rows)
            else "every file is there already, unchanged",
            answer={"files": [_shown(r) for r in rows]},
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """Copy each file under a name that holds its hash (so doing it twice is harmless), then note them.

        Raises:
            FailedError: every file was refused.
        """
        ref = ModelRef.parse(call.object)
        refused = [r for r in draft.params["files"] if r["status"] == "refused"]
        if len(refused) == len(draft.params["files"]):
            reasons = "; ".join(f"{r['path']}: {r['reason']}" for r in refused)
            raise FailedError(
                f"nothing was delivered: {reasons}",
                hint="correct what is named and deliver again",
                files=[_shown(r) for r in refused],
            )
        platform = desk.site.platform(call.env)
        noted = []
        for r in draft.params["files"]:
            if r["status"] not in ("added", "replaced"):
                continue
            platform.put_file(Path(r["path"]), r["target"])
            found = [
                (size, mtime)
                for path, size, mtime in platform.list_files(str(Path(r["target"]).parent))
                if path == r["target"]
            ]
            f = d.InFile(
                draft.params["dataset"],
                draft.params["purpose"],
                draft.params["date"],
                r["name"],
                r["sha256"],
                r["target"],
                found[0][0],
                "",
            )
            noted.append(d.seen_row(ref, call.env, f, *found[0], by=desk.actor.rights))

        def change(c: sa.Connection) -> dict[str, Any]:
            for row in noted:
                upsert(c, t.in_files, row)
            return {
                "files": [_shown(r) for r in draft.params["files"]],
                "_audit": {"files": [r["name"] for r in draft.params["files"] if "name" in r]},
            }

        return desk.commit(change)


def _shown(r: dict[str, Any]) -> dict[str, Any]:
    return {k: r[k] for k in ("path", "sha256", "status", "reason")}


class CatalogueRebuild(AtOnce):
    """Make the catalogue anew from the lakes alone. `params`: forget (environments whose missing tables are forgotten)."""

    name = "catalogue_rebuild"

    def outside(self, draft: Draft) -> bool:
        """Folders in the lakes, and all of the catalogue before its event."""
        return True

    def plan(self, call: Call, site: Site) -> Draft:
        """Always possible; a table that is not there is forgotten only where that is asked for."""
        forget = tuple(call.params["forget"])
        for env in forget:
            site.settings.check_env(env)
        lost = tuple(f"forget what is not there any more in {env}" for env in forget)
        return Draft(
            will=("read every table's log in every lake", "replace the catalogue by what they say", *lost)
        )

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """One transaction replaces the catalogue.

        Raises:
            FailedError: a table that was recorded is not in its lake, which may be away.
        """
        for env in desk.site.settings.environments:
            design.require_known(desk.site.platform(env))
        counts = replay.rebuild(desk.site, call.params["forget"])
        for env in call.params["forget"]:  # the lake begins anew: every model has its folders there
            for ref in desk.site.settings.models():
                skeleton.make(desk.site.platform(env), ref, desk.site.settings.model(ref).datasets)
        for env in desk.site.settings.environments:
            for ref in desk.site.settings.models():
                announce_new(desk.site, ref, env, anew=True)
        return desk.commit(lambda c: dict(counts))
