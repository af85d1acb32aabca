"""Rollback: the champion before takes its place again, in one act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from esml_engine.clock import now
from esml_engine.door.facts import Call, Desk, Draft, NoJobs
from esml_engine.door.site import Site
from esml_engine.door.under_way import joined
from esml_engine.errors import CancelledError, FailedError, NotFoundError
from esml_engine.refs import ModelRef
from esml_engine.runs.facts import JobResult
from esml_engine.serving import records
from esml_engine.serving.applied import wait_shifted
from esml_engine.training import records as models
from esml_engine.training import storage
from esml_engine.training.registering import write_aliases


class Rollback(NoJobs):
    """Champion and previous change places; a deployment that still holds the previous version answers with it again."""

    name = "rollback"
    durable = True

    def plan(self, call: Call, site: Site) -> Draft:
        """Needs a previous champion; a rollback that is under way is joined, not undone by the next."""
        ref = ModelRef.parse(call.object)
        site.settings.check_env(call.env)
        site.settings.require_training(ref)
        row = models.champion(site.store, ref, call.env)
        if row is None or row["previous"] is None:
            raise NotFoundError(
                f"{ref} has no earlier champion in {call.env}",
                hint="a rollback goes back to the champion before",
            )
        deployment = records.get(site.store, ref, call.env)
        slot = _slot_of(deployment, row["previous"])
        will = [f"make v{row['previous']} the champion of {call.env} again, v{row['version']} its previous"]
        shifts = bool(slot and deployment and deployment["live"] != slot)
        if shifts and deployment:
            will.append(f"shift all traffic of {deployment['endpoint']} back to v{row['previous']}")
        elif deployment and not slot:
            live = deployment["slots"].get(deployment["live"], {}).get("model_version")
            will.append(
                f"leave the traffic of {deployment['endpoint']} on v{live}: it no longer holds v{row['previous']}, deploy that next"
            )
        draft = Draft(
            will=tuple(will),
            inputs=({"champion": row["version"], "revision": row["revision"]},),
            makes=(
                f"champion v{row['previous']}",
                *((f"traffic of {call.env} on v{row['previous']}",) if shifts else ()),
            ),
            steps=("swap", "alias", *(("shift",) if shifts else ())),
            params={"revision": row["revision"], "to": row["previous"]},
        )
        return joined(site, call, draft, ())

    def record(self, call: Call, draft: Draft, result: JobResult | None, desk: Desk) -> dict[str, Any]:
        """One transaction: champion, history, traffic; then MLflow's aliases; then the traffic is there.

        Raises:
            FailedError: the model that would be champion is gone, or its bytes are not the registered ones; or the
                endpoint's platform refuses the shift: the champion is changed then, and the shift is wanted still.
        """
        if desk.step == "alias":
            return write_aliases(call, desk)
        ref, to = ModelRef.parse(call.object), draft.params["to"]
        if desk.step == "shift":
            return _shifted(ref, to, call.env, desk)
        _require_whole(desk.site, ref, call.env, to)
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


def _shifted(ref: ModelRef, to: int, env: str, desk: Desk) -> dict[str, Any]:
    row = records.get(desk.site.store, ref, env)
    slot = _slot_of(row, to)
    if row is not None and slot and row["live"] == slot:  # else somebody deployed or ended it since
        desk.want_endpoint(row["endpoint"])
        try:
            wait_shifted(desk, ref, env, slot, f"v{to} getting the traffic of {row['endpoint']}")
        except CancelledError:
            raise
        except FailedError as e:
            raise FailedError(
                f"v{to} is the champion of {env} again, and did not get the traffic of {row['endpoint']}: {e.message}",
                hint=f"the traffic is wanted there still, a worker (esml up) goes on; {e.hint}",
            ) from e
    return desk.commit(lambda c: {})


def _require_whole(site: Site, ref: ModelRef, env: str, version: int) -> None:
    row = models.get_version(site.store, ref, env, version)
    folder = Path(site.platform(env).here(site.outside(row["folder"])))
    found = storage.content_hash(folder) if folder.is_dir() else ""
    if found != row["sha256"]:
        why = "its bytes are not the registered ones" if found else "it is gone"
        raise FailedError(
            f"v{version} of {ref} can't be champion of {env}: {why}",
            hint="the champion stays; promote another version",
        )


def _slot_of(row: dict[str, Any] | None, version: int) -> str | None:
    return next((s for s, v in row["slots"].items() if v["model_version"] == version), None) if row else None
