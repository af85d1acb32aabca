"""What makes the gate `rows` pass: a split that leaves no learned row in gold_test, or enough newer rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from esml_engine.door.site import Site
from esml_engine.errors import NotFoundError
from esml_engine.lake.catalogue import get, latest
from esml_engine.refs import ModelRef
from esml_engine.settings import ModelSettings
from esml_engine.training.behind import trained_in

Split = Mapping[str, Any]
"""A split's parameters, as the tables that came from it keep them (`facts["split"]`)."""


def split_of(site: Site, ref: ModelRef, env: str, table: str, version: int | None) -> dict[str, Any] | None:
    """How this version of a split table was made; None: not known."""
    if version is None:
        return None
    try:
        found = get(site.store, ref, env, table, version).facts.get("split")
    except NotFoundError:
        return None
    return dict(found) if found else None


def again(settings: ModelSettings, split: Split | None) -> Split | None:
    """This split, where asking for it once more gives each row the side that it had; None where that is not sure.

    A side follows from seed and key (or group, or the whole row), so it is the same for the same key and fractions, or
    from time, where it is the same for the same rows. A stratified side follows from the rows that were there before.
    """
    if split is None or split.get("stratify") or settings.split.stratify:
        return None
    same_key = split.get("key") == (settings.key or None)
    return split if split.get("by") == "time" or same_key else None


def command(ref: ModelRef | str, env: str, split: Split) -> str:
    """The command that splits so."""
    sides = " ".join(f"--{s} {split[s]:g}" for s in ("train", "validate", "test"))
    by = f"--by {split['by']}" + (f" --group {split['group']}" if split["by"] == "group" else "")
    seed = "" if split["by"] == "time" else f" --seed {split['seed']}"
    return f"esml split {ref} --env {env} {sides} {by}{seed}"


def newer_rows(split: Split, left: int, fewest: int) -> int:
    """Newer rows of gold that bring what is left of gold_test to `fewest`.

    By time that many go there, and the number is exact. Otherwise the test's fraction p of them does, by hash: the
    number is where the expected count lies two standard deviations (of a Poisson count) above what is missing.
    """
    missing = max(0, fewest - left)
    if split["by"] == "time":
        return missing
    return math.ceil((1 + math.sqrt(1 + missing)) ** 2 / float(split["test"]))


def way_on(
    site: Site, ref: ModelRef, env: str, champion: Mapping[str, Any], overlap: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What to do where the champion learned too many rows of gold_test, as a gate's `would_pass_if`; None: not known.

    Args:
        champion: its row. overlap: see `beside.Beside`.
    """
    head = latest(site.store, ref, env, "gold_train")
    present = head.facts.get("split") if head else None
    known = {str(i["table"]): int(i["version"]) for i in champion["inputs"] if "table" in i}
    there = trained_in(champion)
    old = again(site.settings.model(ref), split_of(site, ref, there, "gold_train", known.get("gold_train")))
    if old is not None and old["by"] == "time":
        gold = latest(site.store, ref, env, "gold")
        if there != env or gold is None or gold.version != known.get("gold"):
            old = None  # on other rows the same fractions are other times
    ways: list[str] = []
    value, rows = None, None
    if old is not None and old != present:
        value = {k: old[k] for k in ("train", "validate", "test", "seed", "by", "group")}
        ways.append(
            f"the split that v{champion['version']} was trained on ({command(ref, env, old)}) and a new training"
        )
    if present and overlap.get("fewest") and present.get("test"):
        rows = newer_rows(present, overlap["left"], overlap["fewest"])
        exact = present["by"] == "time"
        many = f"{rows} newer rows" if exact else f"about {rows} newer rows (an estimate: {present['test']:g} of them go to gold_test)"  # fmt: skip
        ways.append(f"{many} delivered, refined and split as now, and a new training")
    if not ways:
        return None
    estimate = value is None and bool(present and present["by"] != "time")
    return {"setting": "split" if value else "", "value": value, "rows": rows, "estimate": estimate,
        "text": ", or ".join(ways)}  # fmt: skip
