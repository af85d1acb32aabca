"""The evidence pack: all that a decision rested on, as one document with hashes that anyone can verify.

`{"format", "evidence", "sections": {name: …}, "hashes": {name: sha256}, "sha256"}`. A section's hash is the sha256 over
its canonical JSON (sorted keys, no spaces, UTF-8); the document's is over all but itself, in the same form.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esml_engine.clock import now
from esml_engine.door import audit, requests
from esml_engine.door.facts import Actor
from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError, UsageError
from esml_engine.lake.catalogue import get
from esml_engine.promotion import page, records
from esml_engine.promotion.facts import EXPIRED, WAITING, canonical, case_from, sha256_of
from esml_engine.refs import ModelRef
from esml_engine.runs import records as runs

FORMAT = "esml-evidence-1"
ONE_PERSON = "requester and approver are one operating system user who acted as both"


def sealed(id_: str, sections: Mapping[str, Any]) -> dict[str, Any]:
    """A document with its hashes."""
    plain: dict[str, Any] = json.loads(json.dumps(sections, allow_nan=False))
    body = {
        "format": FORMAT,
        "evidence": id_,
        "sections": plain,
        "hashes": {k: sha256_of(v) for k, v in plain.items()},
    }
    return {**body, "sha256": sha256_of(body)}


def made(
    site: Site,
    comparison: Mapping[str, Any],
    *,
    run: str,
    state: str,
    decided_by: str,
    reason: str,
    decision: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The pack of one decided (or waiting) promotion.

    Args:
        comparison: its row in the store.
        decision: an approval or refusal that is being written in the same transaction, so not in the store yet.
    """
    said = comparison["document"]
    case = case_from(said["case"])
    row = runs.get(site.store, run)
    asked = records.request_of(site.store, run, case.target)
    ref = ModelRef.parse(case.object)
    approvals = [*(asked["decisions"] if asked else ()), *([dict(decision)] if decision else ())]
    by, person = row["as_actor"] or row["actor"], row["actor"]
    one = any(a["person"] == person and a["by"] != by for a in approvals)
    keys = ("request", "at", "expires", "needed", "facts")
    sections = {
        "decision": {"object": case.object, "from": case.source, "to": case.target, "version": case.challenger.version,
            "state": state, "decided_by": decided_by, "reason": reason, "at": now()},
        "models": {"challenger": _model(case.challenger, said, "challenger"),
            "champion": _model(case.champion, said, "champion") if case.champion else None},
        "metrics": {
            "primary": case.primary, "direction": said["direction"], **said["metrics"], "baseline": said["baseline"],
            "intervals_of_difference": said["intervals"], "bootstrap": said["bootstrap"],
            "distribution": said["distribution"], "rows": said["rows"], "cost_1000_rows": said["cost_1000_rows"],
            "price_hour": said["price_hour"],
        },
        "gates": {"verdict": said["verdict"], "gates": said["gates"], "settings": case.thresholds},
        "data": {"evidence_from": said["evidence_from"], "tables": _tables(site, ref, case),
            "rows_trained_on": said["trained_on"], "expectations": said["expectations"], "rnd": said["rnd"]},
        "policy": {"environment": case.target, "in_force": case.policy, "origin": case.origin},
        "request": {"run": run, "by": by, "person": person, "at": row["created"],
            **({k: asked[k] for k in keys} if asked else {}), "talk": asked["talk"] if asked else []},
        "approvals": {"needed": int(case.policy.get("approvals", 0)), "decisions": approvals, "note": ONE_PERSON if one else ""},
        "engine": {"version": _version(), "estate": site.settings.estate.name, "comparison": comparison["comparison"],
            "compared_at": comparison["at"], "facts": comparison["facts"]},
    }  # fmt: skip
    return sealed(records.evidence_id(run, case.target), sections)


def _version() -> str:
    """The engine's version: the installed distribution's, or that this is a checkout."""
    try:
        return importlib.metadata.version("esml-cockpit")
    except importlib.metadata.PackageNotFoundError:
        return "checkout"


def _model(side: Any, said: Mapping[str, Any], who: str) -> dict[str, Any]:
    seen = side.data_version("gold")
    return {
        "version": side.version, "environment": side.env, "trained_in": side.trained_in, "training_run": side.run,
        "sha256": side.sha256, "task": side.task, "estimator": side.estimator,
        "signature": list(side.signature) if side.signature is not None else None, "data": said["data"][who], "gold": seen,
        "rnd": side.rnd, "registered_at": side.at, "registered_by": side.by,
    }  # fmt: skip


def _tables(site: Site, ref: ModelRef, case: Any) -> list[dict[str, Any]]:
    """Each table version with rows and the hash of its schema."""
    wanted: dict[tuple[str, str, int], set[str]] = {}
    if case.test:
        wanted[(case.test["env"], "gold_test", int(case.test["version"]))] = {"compared on"}
    for who, side in (("challenger", case.challenger), ("champion", case.champion)):
        for d in side.data if side else ():
            wanted.setdefault((side.trained_in, d["table"], int(d["version"])), set()).add(
                f"behind the {who}"
            )
    out = []
    for (env, name, version), use in sorted(wanted.items()):
        entry: dict[str, Any] = {"environment": env, "table": name, "version": version, "use": sorted(use)}
        try:
            v = get(site.store, ref, env, name, version)
            entry |= {
                "rows": v.rows,
                "schema_sha256": sha256_of(v.schema),
                "run": v.run,
                "at": v.at,
                "quality": list(v.quality),
            }
        except NotFoundError:
            entry |= {"rows": None, "schema_sha256": None, "missing": True}
        out.append(entry)
    return out


def pack(site: Site, id_: str) -> dict[str, Any]:
    """An evidence pack as it was stored; of a promotion that nobody decided yet (or that expired), as it stands.

    Raises:
        NotFoundError: no promotion has this evidence.
    """
    row = records.evidence(site.store, id_)
    if row is not None:
        return dict(row["document"])
    run, target = records.run_of_evidence(id_)
    comparison = records.comparison(site.store, records.comparison_id(run, target))
    if comparison is None:
        raise NotFoundError(f"no evidence {id_}", hint="a promotion's answer names its evidence")
    asked = records.request_of(site.store, run, target)
    state = asked["state"] if asked else runs.get(site.store, run)["state"]
    state = WAITING if state == requests.WAITING else state
    reason = {
        WAITING: "it waits for an approval",
        EXPIRED: "nobody decided in time",
        "approved": "approved, being carried out",
    }
    return made(
        site, comparison, run=run, state=state, decided_by="", reason=reason.get(state, f"its run is {state}")
    )


def keep(site: Site, request: dict[str, Any]) -> None:
    """Store what a promotion's request ended on when nobody decided; what is stored stays as it is."""
    if request["kind"] != requests.PROMOTION:
        return
    id_ = str(request["detail"]["evidence"])
    document, ref = pack(site, id_), ModelRef.parse(request["object"])
    if records.evidence(site.store, id_) is not None:
        return
    actor = Actor(request["person"], request["by"] if request["by"] != request["person"] else None)
    with site.store.write() as c:
        records.put_evidence(c, id_, ref, request["env"], request["run"], document)
        audit.append(
            c, actor, "promote", request["object"], request["env"], request["state"], run=request["run"],
            detail={"evidence": id_, "sha256": document["sha256"], "request": request["request"]},
        )  # fmt: skip
    audit.anchor(site.store, site.state)


def settle_late(site: Site) -> None:
    """End requests whose time is over, and keep what they ended on."""
    for late in requests.expire(site.store):
        keep(site, late)


def html(document: dict[str, Any]) -> str:
    """The pack as one self-contained page: no scripts, nothing from elsewhere; it carries the JSON inside."""
    return page.render(json.loads(canonical(document)))


def verify(source: str | Path | dict[str, Any]) -> dict[str, Any]:
    """Whether a pack is whole: a document, or a JSON or HTML file.

    Returns:
        `{"ok", "sections": {name: bool}, "sha256", "reason"}`; `sha256` is the one computed here, to be held against
        the one that the store or the audit log keeps.

    Raises:
        UsageError: the file can't be read at all.
    """
    text = ""
    if isinstance(source, dict):
        document = source
    else:
        try:
            text = Path(source).read_bytes().decode("utf-8")
        except OSError as e:
            raise UsageError(f"{source} can't be read: {e.strerror}") from e
        except UnicodeDecodeError:
            return _bad("the file is not UTF-8 text")
        found = page.json_in(text) if text.lstrip()[:1] == "<" else text
        if found is None:
            return _bad("the page holds no evidence")
        try:
            document = json.loads(found, object_pairs_hook=_each_once)
        except (ValueError, RecursionError) as e:
            return _bad(f"its JSON can't be read: {e}")
    return _verified(document, text)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names are all different: of a doubled one another reader may show the other value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [k for k, _ in pairs]
        raise ValueError(
            f"the name {next(k for k in names if names.count(k) > 1)!r} stands twice in one object"
        )
    return found


def _verified(document: Any, text: str) -> dict[str, Any]:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return _bad(f"this is no document of the form {FORMAT}")
    sections, hashes = document.get("sections"), document.get("hashes")
    if not isinstance(sections, dict) or not isinstance(hashes, dict):
        return _bad("sections or hashes are missing")
    try:
        each = {
            k: sha256_of(sections[k]) == hashes.get(k) if k in sections else False
            for k in {*sections, *hashes}
        }
        whole = sha256_of({k: v for k, v in document.items() if k != "sha256"})
    except (ValueError, RecursionError) as e:
        return _bad(f"it holds a value that is no JSON: {e}")
    reason = ""
    changed = sorted(k for k, fine in each.items() if not fine)
    if changed:
        reason = f"changed: {', '.join(changed)}"
    elif whole != document.get("sha256"):
        reason = "the document's hash is not its content's"
    elif text.lstrip()[:1] == "<":
        if not page.comparable(text):  # its mark may be part of what was changed: fail closed
            reason = "the page is of a form that this engine does not render: verify it with the engine that made it, or verify its JSON"
        elif not _shows(document, text):
            reason = "the page shows something else than its JSON says"
    return {"ok": not reason, "sections": dict(sorted(each.items())), "sha256": whole, "reason": reason}


def _shows(document: dict[str, Any], text: str) -> bool:
    """Whether the page is the one that this engine makes of the document; a document without its parts makes none."""
    try:
        return page.render(json.loads(canonical(document))) == text
    except (LookupError, TypeError, ValueError, AttributeError):
        return False


def _bad(reason: str) -> dict[str, Any]:
    return {"ok": False, "sections": {}, "sha256": None, "reason": reason}
