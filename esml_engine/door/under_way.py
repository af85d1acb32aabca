"""An act asked for while a run does its work already: a plan of steps that make tables moves with each of them.

(An act whose facts stay as they are while it runs is found by its plan's hash.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from esml_engine.door.facts import Call, Draft
from esml_engine.door.site import Site
from esml_engine.runs import records as runs


def joined(site: Site, call: Call, draft: Draft, what: Sequence[str]) -> Draft:
    """The plan, naming the open run that reads these very files and makes these steps, with the same code and settings.

    What that run was planned to read and do covers what is still to be done: also nothing, where it has only to end.

    Args:
        what: the parameters that say what is asked for.
    """
    for state in ("running", "queued"):
        for row in runs.listing(site.store, objects=[call.object], env=call.env, act=call.act, state=state):
            its = runs.get(site.store, row["run"])
            resumes = state == "queued" and any(s["state"] == "done" for s in row["steps"])
            # one that goes on after an approval is about the facts that were approved
            if not resumes and _covers(its, call, draft, what):
                will = (f"join run {row['run']}, which does exactly this already", *draft.will)
                return replace(draft, joins=str(row["run"]), will=will)
    return draft


def _covers(its: dict[str, Any], call: Call, draft: Draft, what: Sequence[str]) -> bool:
    plan = its["plan"]
    return (
        all((its["params"].get(k) or "") == (call.params.get(k) or "") for k in what)
        and (plan["code"], plan["settings"]) == (draft.code, draft.settings)
        and set(draft.steps) <= set(plan["steps"])
        and _files(draft.inputs) <= _files(plan["inputs"])
    )


def _files(inputs: Sequence[dict[str, Any]]) -> set[tuple[str, ...]]:
    return {(i.get("env", ""), i["file"], i["sha256"]) for i in inputs if "file" in i}
